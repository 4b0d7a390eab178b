"""The demo's page: the mixture, the losses by tag, the merge and the answers, in one HTML file.

The last step of `corpus.demo`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from corpus.charts import bars, lines
from corpus.demo import QUESTION, TAGS, Demo, fall, loss_table
from corpus.engine import load
from corpus.report import Page

SMOOTHING = 8
"""Log lines that a point of the loss plots averages over."""


def write_report(demo: Demo, path: Path) -> None:
    """Write the page of a finished demo."""
    page = Page("woolgather demo")
    _mixture(page, demo)
    if demo.lora is not None:
        _losses(page, demo)
        _merge(page, demo)
    page.write(path)


def _mixture(page: Page, demo: Demo) -> None:
    assert demo.plan is not None
    assert demo.mixture is not None
    page.heading("The mixture")
    page.text(
        f"{demo.plan.rows} rows to train on and {demo.plan.holdout} held out, from the bundled"
        f" samples. Digest {demo.mixture.digest[:16]}: the same recipe over the same rows gives"
        " the same digest on any machine."
    )
    page.table(
        ("source", "lang", "task", "gen", "licence", "rows", "unique", "epochs", "held out"),
        [
            (
                *(one.tags.name, one.tags.lang, one.tags.task, one.tags.gen, one.tags.license),
                *(one.quota, one.unique, round(one.epochs, 2), len(one.held)),
            )
            for one in demo.plan.sources
        ],
    )
    records = [
        {"source": one.tags.name, "rows": one.quota, "language": one.tags.lang}
        | {"task": one.tags.task, "generation": one.tags.gen}
        for one in sorted(demo.plan.sources, key=lambda one: -one.quota)
    ]
    chart = bars(records, value="rows", label="source", color="language", title="Rows by source")
    page.chart(chart)
    for tag in ("task", "generation"):
        page.chart(bars(records, value="rows", label=tag, color="language", title=f"By {tag}"))
    removed = [
        (one.tags.name, reason, count)
        for one in demo.plan.sources
        for reason, count in one.removed.items()
        if count
    ]
    if removed:
        page.text("Rows that were left out, and why:")
        page.table(("source", "reason", "rows"), removed)


def _losses(page: Page, demo: Demo) -> None:
    page.heading("What was learned")
    for title, result in (("All weights, English", demo.full), ("LoRA, bilingual", demo.lora)):
        log = load("train.result:read_metrics")(Path(result.path))
        train = [line for line in log if line["kind"] == "train"]
        page.text(
            f"{title}: {result.steps} steps, {result.trainable:,} of {result.parameters:,}"
            f" parameters; the last ten losses lie {fall(result.losses):.1%} below the first ten;"
            f" holdout loss {result.eval['start']:.4f} before, {result.eval['end']:.4f} after."
        )
        for tag in ("lang", "gen"):
            title_of = f"{title}: loss by {tag}, mean of {SMOOTHING} steps"
            points = _curve(train, tag)
            page.chart(lines(points, x="step", y="loss", color=tag, title=title_of))
    for tag in TAGS:
        page.heading(f"LoRA: loss by {tag}")
        header = (tag, "learned tokens", "training loss", "holdout loss")
        page.table(header, [tuple(row) for row in loss_table(demo.lora, tag)])


def _curve(train: list[dict[str, Any]], tag: str) -> list[dict[str, Any]]:
    """Return the mean loss by tag over groups of log lines, weighted by tokens."""
    points = []
    for start in range(0, len(train), SMOOTHING):
        group = train[start : start + SMOOTHING]
        for value, sums in load("train.result:sum_tags")(group)[tag].items():
            points.append({"step": group[-1]["step"], "loss": sums["loss"], tag: value})
    return points


def _merge(page: Page, demo: Demo) -> None:
    page.heading("The merged model")
    facts = demo.merged
    page.text(
        f"{facts['changed']} of {facts['tensors']} tensors changed. Beside the live adapter, on"
        " the same prompts:"
    )
    page.table(("measure", "value"), [(k, f"{v:.3g}") for k, v in (facts["check"] or {}).items()])
    page.heading("One question")
    page.text(QUESTION)
    for who, said in demo.answers.items():
        page.quote(who, said)
    page.text(
        "The model has about a million weights and has read a thousand short rows: it shows that"
        " the chain works, not that it is clever."
    )
