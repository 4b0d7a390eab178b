"""The verbs beside training on the command line: runs, merge, verify, convert-base.

Each is a thin door to a function of this package; torch is imported when a verb runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from corpus.errors import TrainError
from train.cli import need_train
from train.talk import Base, Trust

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
    base: Base = None,
    onto: Annotated[
        str | None,
        typer.Option(
            help="original, dequantised or quantised; default: what the adapter was trained on"
        ),
    ] = None,
    check: Annotated[bool, typer.Option(help="Compare with the live adapter; default yes")] = True,
    trust_remote_code: Trust = False,
) -> None:
    """Merge an adapter into its base model, tensor by tensor"""
    ways = ("original", "dequantised", "quantised")
    if onto not in (None, *ways):
        raise typer.BadParameter(f"--onto: got {onto!r}, supported: {', '.join(ways)}")
    need_train()
    from train.generate import check_pair

    check_pair(base, adapter)  # Before torch is imported, which takes seconds.
    from train.merge import merge as merge_adapter

    session: Session = ctx.obj
    options: dict[str, Any] = {"onto": onto, "trust_remote_code": trust_remote_code}
    done = merge_adapter(adapter, out, base, check=check, **options)
    measured = f", KL {done['check']['kl']:.1e} from the live adapter" if done["check"] else ""
    text = f"merged {done['changed']} of {done['tensors']} tensors{measured}: {done['path']}"
    session.result(done, text)


def verify(
    ctx: typer.Context, folder: Annotated[Path, typer.Argument(help="A merged model")]
) -> None:
    """Check a merged model's tensors against its certificate"""
    need_train()
    if not (folder / "merge.json").is_file():  # Said before torch is imported.
        raise TrainError(f"{folder}: expected a merge.json, which woolgather merge writes")
    from train.certificate import verify_merged

    session: Session = ctx.obj
    found = verify_merged(folder)
    session.result(found, f"{found['tensors']} tensors are as merged: {found['path']}")


def convert_base(
    ctx: typer.Context,
    base: Annotated[Path, typer.Option(help="Folder of the checkpoint")],
    out: Annotated[Path, typer.Option(help="New folder for the converted model")],
) -> None:
    """Convert Baichuan-7B or InternLM-7B to Llama, or .bin files to safetensors"""
    need_train()
    from train.convert import convert_base as convert

    session: Session = ctx.obj
    done = convert(base, out)
    told = f"converted {done['tensors']} tensors of {done['kind']}: {done['path']}"
    session.result(done, told)
