"""The verbs beside training on the command line: runs, merge, verify, chat.

Each is a thin door to a function of this package; torch is imported when a verb runs.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from train.cli import need_train

if TYPE_CHECKING:
    from corpus.cli.session import Session


def runs(
    ctx: typer.Context,
    names: Annotated[
        list[str] | None, typer.Argument(help="Runs to compare, the first as the base line")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Also write the comparison as a page; default none")
    ] = None,
) -> None:
    """List the training runs in the home, or compare some of them by tag"""
    from train.runs import compare, comparison_lines, list_runs, open_run, write_comparison

    session: Session = ctx.obj
    if names:
        opened = [open_run(session.home, one) for one in dict.fromkeys(names)]
        comparison = compare(opened)
        if report:
            write_comparison(opened, comparison, report)
        return session.result(comparison, "\n".join(comparison_lines(comparison)))
    if report:
        raise typer.BadParameter("--report: name the runs to compare, such as: woolgather runs A B")
    found = list_runs(session.home)
    lines = [
        f"{one['run']:<40} {one['method'] or '-':<6} "
        + (f"{one['steps']:>7} steps  loss {one['loss']:.4f}" if one["finished"] else "unfinished")
        for one in found
    ]
    session.result({"runs": found}, "\n".join(lines) or f"no runs in {session.home.runs}")


def merge(
    ctx: typer.Context,
    adapter: Annotated[Path, typer.Option(help="Adapter folder")],
    out: Annotated[Path, typer.Option(help="New folder for the merged model")],
    base: Annotated[str | None, typer.Option(help="Default: the one the adapter names")] = None,
    check: Annotated[bool, typer.Option(help="Compare with the live adapter; default yes")] = True,
) -> None:
    """Merge an adapter into its base model, tensor by tensor"""
    need_train()
    from train.merge import merge as merge_adapter

    session: Session = ctx.obj
    done = merge_adapter(adapter, out, base, check=check)
    measured = f", KL {done.check['kl']:.1e} from the live adapter" if done.check else ""
    session.result(
        done.to_json(), f"merged {done.changed} of {done.tensors} tensors{measured}: {done.path}"
    )


def verify(
    ctx: typer.Context, folder: Annotated[Path, typer.Argument(help="A merged model")]
) -> None:
    """Check a merged model's tensors against its certificate"""
    need_train()
    from train.merge import verify_merged

    session: Session = ctx.obj
    found = verify_merged(folder)
    session.result(found, f"{found['tensors']} tensors are as merged: {found['path']}")


def chat(
    ctx: typer.Context,
    instruction: Annotated[str | None, typer.Argument(help="Default: a dialogue")] = None,
    base: Annotated[str | None, typer.Option(help="Default: the one the adapter names")] = None,
    adapter: Annotated[Path | None, typer.Option(help="Adapter folder; default none")] = None,
    input: Annotated[str, typer.Option(help="Context of the instruction; default none")] = "",
    template: Annotated[str | None, typer.Option(help="Default: the one trained with")] = None,
    max_new_tokens: Annotated[int, typer.Option(help="Longest answer in tokens")] = 256,
    temperature: Annotated[float, typer.Option(help="0: always the likeliest token")] = 0.0,
    top_p: Annotated[float, typer.Option(help="Draw within this probability")] = 1.0,
    top_k: Annotated[int, typer.Option(help="Draw from this many tokens; 0: all")] = 0,
    seed: Annotated[int, typer.Option(help="Decides the draws")] = 0,
    compare: Annotated[bool, typer.Option(help="Also without the adapter; default no")] = False,
) -> None:
    """Answer instructions with a model and an optional adapter"""
    need_train()
    from train.generate import Sampling, load_speaker

    session: Session = ctx.obj
    sampling = Sampling(max_new_tokens, temperature, top_p, top_k, seed)
    speaker = load_speaker(base, adapter, template=template)
    if instruction is None:
        return _dialogue(session, speaker, sampling)
    answer = speaker.answer(instruction, input, sampling=sampling)
    value = {"instruction": instruction, "answer": answer, "template": speaker.template.name}
    text = answer
    if compare and speaker.has_adapter:
        without = speaker.answer(instruction, input, sampling=sampling, adapter=False)
        value["without_adapter"] = without
        text = f"with the adapter:    {answer}\nwithout the adapter: {without}"
    session.result(value, text)


def _dialogue(session: Session, speaker: Any, sampling: Any) -> None:
    """Answer line by line until the end of input; earlier turns are remembered."""
    session.log("one instruction a line; end with Ctrl-D")
    history: list[tuple[str, str]] = []
    for line in sys.stdin:
        asked = line.strip()
        if asked:
            answer = speaker.answer(asked, history=history, sampling=sampling)
            history.append((asked, answer))
            session.result({"instruction": asked, "answer": answer}, answer)
