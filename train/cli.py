"""The verbs of training on the command line: train plan|check|run, runs, merge, verify, chat.

Each is a thin door to a function of this package; torch is imported when a verb runs.
"""

from __future__ import annotations

import functools
import importlib.util
import inspect
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from corpus.errors import MissingExtraError, TrainError

if TYPE_CHECKING:
    from corpus.cli.session import Session

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Train on a mixture")

Verb = Callable[..., None]


def need_train() -> None:
    """Say in one line what is missing when the training extra is not installed."""
    for package in ("torch", "transformers", "peft", "accelerate"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError("train", package, "train")


def ready(session: Session, run: Any) -> Any:
    """Return the run when its mixture opens: so much can be said before torch is imported."""
    from train import data

    data.open_mixture(run.mixture, session.home)
    return run


def compose(
    file: Annotated[Path | None, typer.Argument(help="A run file; default none")] = None,
    base: Annotated[str | None, typer.Option(help="Folder or hub id of the base model")] = None,
    mixture: Annotated[str | None, typer.Option(help="Name or folder of a built mixture")] = None,
    method: Annotated[str | None, typer.Option(help="lora or full; default lora")] = None,
    preset: Annotated[str | None, typer.Option(help="A shipped run, below all else")] = None,
    name: Annotated[str | None, typer.Option(help="Default: made of the settings")] = None,
    template: Annotated[str | None, typer.Option(help="Prompt template; default alpaca")] = None,
    steps: Annotated[int | None, typer.Option(help="Optimizer steps; default one epoch")] = None,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate; default 2e-4")] = None,
    sets: Annotated[
        list[str], typer.Option("--set", help="Any setting, as batch.rows=8; may be repeated")
    ] = [],  # noqa: B006 - typer reads it and never changes it
) -> Any:
    """Make the run that these options describe."""
    from train.config import load_run

    given: dict[str, Any] = {
        "base_model": base,
        "mixture": mixture,
        "method.type": method,
        "name": name,
    }
    given |= {"template": template, "steps": steps, "optimizer.lr": lr}
    return load_run(file, preset=preset, given=given, sets=sets)


def run_options(verb: Verb) -> Verb:
    """Give a verb the options of `compose`, beside its own; it calls `make` for the run."""
    shared = inspect.signature(compose, eval_str=True).parameters
    own = inspect.signature(verb, eval_str=True).parameters

    @functools.wraps(verb)
    def wrapped(ctx: typer.Context, **values: Any) -> None:
        need_train()
        chosen = {key: values.pop(key) for key in shared}
        verb(ctx, make=lambda: compose(**chosen), **values)

    kept = [one for key, one in own.items() if key not in ("ctx", "make")]
    parameters = [own["ctx"], *shared.values(), *kept]
    wrapped.__annotations__ = {one.name: one.annotation for one in parameters}
    wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return wrapped


@app.command()
@run_options
def plan(ctx: typer.Context, make: Callable[[], Any]) -> None:
    """Count rows, tokens, steps and trainable weights of a run without training"""
    session: Session = ctx.obj
    described = ready(session, make())
    from train.check import plan_run

    found = plan_run(described, session.home).to_json()
    session.result(found, "\n".join(f"{key:>15}  {value}" for key, value in found.items()))


@app.command()
@run_options
def check(ctx: typer.Context, make: Callable[[], Any]) -> None:
    """Show what would be learned, and test masks, prompts, packing and accumulation"""
    session: Session = ctx.obj
    described = ready(session, make())
    from train.check import check_run

    findings, rows = check_run(described, session.home)
    lines = [f"-- {row.source}\n{_mark(row.pieces)}" for row in rows]
    lines += [f"{'ok ' if one.ok else 'BAD'}  {one.check}: {one.note}" for one in findings]
    value = {"findings": [asdict(one) for one in findings], "rows": [asdict(one) for one in rows]}
    session.result(value, "\n".join(lines))
    bad = [one.check for one in findings if not one.ok]
    if bad:
        raise TrainError(f"train check: not so: {'; '.join(bad)}")


def _mark(pieces: list[tuple[str, bool]]) -> str:
    """Mark what is learned: in colour on a terminal, else between angle quotes."""
    if sys.stdout.isatty():
        return "".join(typer.style(one, fg="green", bold=True) if on else one for one, on in pieces)
    return "".join(f"«{one}»" if on else one for one, on in pieces)


@app.command()
@run_options
def run(
    ctx: typer.Context,
    make: Callable[[], Any],
    resume: Annotated[
        str | None, typer.Option(help="Continue this run; its settings are kept, no others given")
    ] = None,
) -> None:
    """Train, and save the adapter after reading it back"""
    from train.config import load_run

    session: Session = ctx.obj
    saved = session.home.runs / (resume or "") / "run.yaml"
    if resume and not saved.is_file():
        raise TrainError(f"run {resume!r} is not in {session.home.runs}. See: woolgather runs")
    config = ready(session, load_run(saved, given={"resume": True}) if resume else make())
    from train.run import run_training

    with session.progress("training") as advance:
        result = run_training(config, session.home, advance)
    for line in tag_lines(result.tags["eval"] or result.tags["train"]):
        session.log(line)
    session.result(
        result.to_json(),
        f"trained {result.steps} steps, loss {result.loss:.4f}: {result.method} in {result.output}",
    )


def tag_lines(tags: dict[str, Any]) -> list[str]:
    """Return losses by tag as lines of text."""
    return [
        f"{tag:>8}  {value:<28} loss {group['loss']:.4f}  {group['tokens']:,} tokens"
        for tag, groups in tags.items()
        for value, group in sorted(groups.items())
    ]


def runs(ctx: typer.Context) -> None:
    """List the training runs in the home"""
    session: Session = ctx.obj
    found = []
    for folder in sorted(one for one in session.home.runs.glob("*") if one.is_dir()):
        file = folder / "result.json"
        kept = ("method", "mixture", "steps", "loss", "eval", "output")
        result = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        state = {"run": folder.name, "path": str(folder), "finished": bool(result)}
        found.append(state | {key: result.get(key) for key in kept})
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
