"""The verb `demo`: runs the chain of `corpus.demo` and tells what came of each step."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from corpus.cli.session import Session
from corpus.errors import MissingExtraError

if TYPE_CHECKING:
    from corpus.demo import Demo

FULL_STEPS, LORA_STEPS = 300, 250


def demo(
    ctx: typer.Context,
    out: Annotated[
        Path, typer.Option(help="Folder of everything the demo writes; default: woolgather-demo")
    ] = Path("woolgather-demo"),
    data_only: Annotated[
        bool, typer.Option(help="Stop after the mixture: needs no torch; default: the whole chain")
    ] = False,
) -> None:
    """Run the whole chain offline on the bundled samples."""
    from corpus import demo as chain

    session: Session = ctx.obj
    started = time.monotonic()
    if not data_only:
        _need_torch()
    made = chain.Demo(out.resolve(), session.log, session.progress)
    built = chain.build_samples(made)
    rows, rejected = sum(one[1] for one in built), sum(one[2] for one in built)
    session.log(f"built {rows} rows of {len(built)} sources ({rejected} records rejected)")
    chain.mix_samples(made)
    _say_plan(session, made)
    if not data_only:
        _learn(session, made)
    report = _write_report(session, made, required=not data_only)
    facts = {
        "folder": str(made.folder),
        "home": str(made.home.path),
        "sources": [{"id": id, "rows": n, "rejected": r} for id, n, r in built],
        "mixture": made.mixture.digest if made.mixture else None,
        "rows": len(made.mixture) if made.mixture else 0,
        "report": str(report) if report else None,
        "seconds": round(time.monotonic() - started, 1),
        **(_learned(made) if not data_only else {}),
    }
    where = report or made.home.path
    session.result(facts, f"wrote {where} in {facts['seconds']:.0f} s. Open it in a browser.")


def _need_torch() -> None:
    import importlib.util

    for package in ("torch", "transformers", "peft", "sentencepiece"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError("demo (without --data-only)", package, "train")


def _say_plan(session: Session, made: Demo) -> None:
    assert made.plan is not None
    rows = [
        (
            *(one.tags.name, one.tags.lang, one.tags.task, one.tags.gen),
            *(one.quota, one.unique, f"{one.epochs:.2f}", one.tags.license),
        )
        for one in made.plan.sources
    ]
    header = ("source", "lang", "task", "gen", "rows", "unique", "epochs", "licence")
    _say_table(session, header, rows)
    assert made.mixture is not None
    session.log(
        f"mixture {made.mixture.name} {made.mixture.digest[:12]}: {made.plan.rows} rows,"
        f" {made.plan.holdout} held out"
    )


def _learn(session: Session, made: Demo) -> None:
    from corpus import demo as chain

    chain.make_base(made)
    chain.learn(made, FULL_STEPS, LORA_STEPS)
    for tag in chain.TAGS:
        rows = [
            (value, f"{tokens:,}", f"{loss:.3f}", "" if held is None else f"{held:.3f}")
            for value, tokens, loss, held in chain.loss_table(made.lora, tag)
        ]
        _say_table(session, (tag, "tokens", "loss", "holdout"), rows)
    session.log(
        f"LoRA: last 10 losses {chain.fall(made.lora.losses):.1%} below the first 10; holdout loss"
        f" {made.lora.eval['start']:.3f} -> {made.lora.eval['end']:.3f}"
    )
    chain.merge_adapter(made)
    session.log(f"merged {made.merged['changed']} tensors into {made.merged['path']}")
    chain.answer(made)
    session.log(f"question: {chain.QUESTION}")
    for who, said in made.answers.items():
        session.log(f"{who}: {' '.join(said.split())}")


def _learned(made: Demo) -> dict[str, Any]:
    from corpus.demo import fall

    return {
        "full": {"steps": made.full.steps, "fall": fall(made.full.losses), "eval": made.full.eval},
        "lora": {
            "steps": made.lora.steps,
            "fall": fall(made.lora.losses),
            "eval": made.lora.eval,
            "tags": made.lora.tags,
        },
        "merged": made.merged,
        "answers": made.answers,
    }


def _write_report(session: Session, made: Demo, *, required: bool) -> Path | None:
    from corpus.demo_report import write_report

    path = made.folder / "report.html"
    try:
        write_report(made, path)
    except MissingExtraError as error:
        if required:
            raise
        session.log(f"no report.html: {error}")
        return None
    return path


def _say_table(session: Session, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    from corpus.cli.text import columns

    numbers = {"rows", "unique", "epochs", "tokens", "loss", "holdout"}
    shown = [[str(value) for value in row] for row in rows]
    session.log("\n" + columns(header, shown, right=numbers) + "\n")
