"""The verbs of training on the command line: train plan|check|run, runs, merge, verify, chat.

Each is a thin door to a function of this package; torch is imported when a verb runs.
"""

from __future__ import annotations

import functools
import importlib.util
import inspect
import logging
import os
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
    # At its import it complains of a kernel that nobody misses.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


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
    from train.compose import load_run

    given: dict[str, Any] = {"base_model": base, "mixture": mixture, "name": name}
    given |= {"template": template, "method.type": method, "optimizer.lr": lr, "steps": steps}
    return load_run(file, preset=preset, given=given, sets=sets)


def with_options(describe: Callable[..., Any], verb: Verb) -> Verb:
    """Give a verb a function's options, beside its own; it calls `make` for what that returns."""
    shared = inspect.signature(describe, eval_str=True).parameters
    own = inspect.signature(verb, eval_str=True).parameters

    @functools.wraps(verb)
    def wrapped(ctx: typer.Context, **values: Any) -> None:
        need_train()
        chosen = {key: values.pop(key) for key in shared}
        verb(ctx, make=lambda: describe(**chosen), **values)

    kept = [one for key, one in own.items() if key not in ("ctx", "make")]
    keyword = inspect.Parameter.KEYWORD_ONLY
    options = [one.replace(kind=keyword) for one in (*shared.values(), *kept)]
    parameters = [own["ctx"], *options]
    wrapped.__annotations__ = {one.name: one.annotation for one in parameters}
    wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return wrapped


run_options = functools.partial(with_options, compose)


@app.command()
@run_options
def plan(
    ctx: typer.Context,
    make: Callable[[], Any],
    gpu: Annotated[
        str | None, typer.Option(help="Plan for this GPU, as A100 or A100:40; default this machine")
    ] = None,
) -> None:
    """Foresee rows, tokens, steps, memory and time of a run without training"""
    session: Session = ctx.obj
    described = ready(session, make())
    from train.plan import plan_lines, plan_run

    found = plan_run(described, session.home, gpu=gpu)
    session.result(found.to_json(), "\n".join(plan_lines(described, found)))


@app.command()
@run_options
def check(ctx: typer.Context, make: Callable[[], Any]) -> None:
    """Show what would be learned, and test masks, prompts, packing and accumulation"""
    session: Session = ctx.obj
    described = ready(session, make())
    from train.check import check_run

    findings, rows = check_run(described, session.home)
    lines = [f"-- {row.source}\n{_mark(row.pieces)}" for row in rows]
    lines += [one.line() for one in findings]
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
    from train.compose import load_run

    session: Session = ctx.obj
    saved = session.home.runs / (resume or "") / "run.yaml"
    if resume and not saved.is_file():
        raise TrainError(f"run {resume!r} is not in {session.home.runs}. See: woolgather runs")
    config = ready(session, load_run(saved, given={"resume": True}) if resume else make())
    if config.distributed == "none" or "RANK" in os.environ:
        result = train_here(session, config)
    else:
        from train.worker import launch

        result = launch(config, session)
    show_result(session, result)


def train_here(session: Session, config: Any) -> dict[str, Any]:
    """Train in this process and return the result."""
    from train.panel import open_panel
    from train.run import run_training

    with open_panel(session.quiet) as panel:
        home, told = session.home, panel.progress
        return run_training(config, home, told, on_line=panel.line, say=panel.say).to_json()


def show_result(session: Session, result: dict[str, Any]) -> None:
    """Draw a run's losses, and tell what it came to."""
    from train.runs import open_run, write_losses

    write_losses(open_run(session.home, result["run"]))
    for tag, groups in (result["tags"]["eval"] or result["tags"]["train"]).items():
        for value, one in sorted(groups.items()):
            counted = f"loss {one['loss']:.4f}  {one['tokens']:,} tokens"
            session.log(f"{tag:>8}  {value:<28} {counted}")
    loss, method = f"loss {result['loss']:.4f}", f"{result['method']} in {result['output']}"
    session.result(result, f"trained {result['steps']} steps, {loss}: {method}")
