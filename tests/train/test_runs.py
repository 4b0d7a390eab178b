"""Finished runs side by side: settings that differ, losses by tag, one page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from corpus.errors import RecipeError, TrainError
from corpus.settings import Home
from train.runs import compare, comparison_lines, list_runs, open_run, write_comparison


def tag_sums(loss: float, tokens: int) -> dict[str, float]:
    return {"loss": loss, "sum": loss * tokens, "tokens": tokens}


def put_run(home: Home, name: str, *, r: int, mixture: str, cn: float, held: str | None) -> None:
    """Write what a run of three steps leaves: English loss 1, Chinese loss `cn`."""
    folder = home.runs / name
    folder.mkdir(parents=True)
    tags = {"lang": {"EN": tag_sums(1.0, 10), "CN": tag_sums(cn, 30)}}
    mean = (10 + 30 * cn) / 40
    lines = [
        {"kind": kind, "step": step, "loss": mean, "tokens": 40, "tags": tags}
        for step in (1, 2, 3)
        for kind in ("train", "eval")
    ]
    settings = {"name": name, "mixture": mixture, "method": {"r": r}, "eval": {"mixture": held}}
    (folder / "run.yaml").write_text(yaml.safe_dump(settings))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    result = {
        "method": "lora",
        "mixture": mixture,
        "mixture_digest": mixture * 12,
        "measured_on": held or mixture,
        "steps": 3,
        "loss": mean,
        "eval": {"start": 9.0, "end": mean},
        "tags": {"train": tags, "eval": tags},
        "output": str(folder / "adapter"),
    }
    (folder / "result.json").write_text(json.dumps(result))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path)
    put_run(home, "plain", r=8, mixture="a", cn=2.0, held="shared")
    put_run(home, "with-cot", r=8, mixture="b", cn=1.5, held="shared")
    put_run(home, "own-holdout", r=16, mixture="c", cn=1.0, held=None)
    return home


def compared(home: Home, *names: str) -> dict[str, Any]:
    return compare([open_run(home, one) for one in names])


def test_runs_over_one_holdout_are_compared_by_its_losses(home: Home) -> None:
    found = compared(home, "plain", "with-cot")
    assert found["measured"] == "eval"
    rows = {(one["tag"], one["value"]): one["losses"] for one in found["losses"]}
    assert rows["lang", "EN"] == [1.0, 1.0]
    assert rows["lang", "CN"] == [2.0, 1.5]
    assert rows["total", ""] == [1.75, 1.375]
    assert found["differences"] == {"mixture": ["a", "b"], "mixture digest": ["a" * 12, "b" * 12]}
    told = "\n".join(comparison_lines(found))
    assert "1.5000 (-0.5000)" in told
    assert "mixture: a | b" in told


def test_runs_over_different_holdouts_are_not_compared_by_them(home: Home) -> None:
    found = compared(home, "plain", "own-holdout")
    assert found["measured"] == "train"
    assert "set eval.mixture to one mixture" in found["note"]
    assert found["differences"]["method.r"] == [8, 16]
    assert {one["tag"]: one["losses"] for one in found["losses"]}["total"] == [1.75, 1.0]


def test_a_tag_that_one_run_lacks_has_no_loss_there(home: Home) -> None:
    file = home.runs / "plain" / "result.json"
    result = json.loads(file.read_text())
    del result["tags"]["eval"]["lang"]["CN"]
    file.write_text(json.dumps(result))
    rows = {
        (one["tag"], one["value"]): one["losses"]
        for one in compared(home, "plain", "with-cot")["losses"]
    }
    assert rows["lang", "CN"] == [None, 1.5]
    lines = comparison_lines(compared(home, "plain", "with-cot"))
    assert [one.split() for one in lines if one.startswith("lang CN")] == [
        ["lang", "CN", "-", "1.5000"]
    ]


def test_the_page_overlays_the_curves_and_asks_no_address(home: Home, tmp_path: Path) -> None:
    runs = [open_run(home, one) for one in ("plain", "with-cot")]
    write_comparison(runs, compare(runs), tmp_path / "runs.html")
    page = (tmp_path / "runs.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 3  # total, EN, CN
    assert "with-cot" in page
    assert "http" not in page
    assert "<script" not in page


def test_unknown_and_unfinished_runs_are_told_in_one_line(home: Home) -> None:
    with pytest.raises(TrainError, match=r"run 'plian' is not in .*Did you mean 'plain'"):
        open_run(home, "plian")
    (home.runs / "plain" / "result.json").unlink()
    with pytest.raises(
        TrainError, match=r"not finished. Go on: woolgather train run --resume plain"
    ):
        open_run(home, "plain")
    assert [(one["run"], one["finished"]) for one in list_runs(home)] == [
        ("own-holdout", True),
        ("plain", False),
        ("with-cot", True),
    ]


def test_runs_on_different_mixtures_measure_one_holdout(
    a_run: Any, table: Any, table_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other mixture's held-out rows are measured, and leave the training."""
    from train import data
    from train.run import prepare, run_training

    other = table_of(table.records, table.codes)
    other.name = "other"
    home = Home(tmp_path)
    monkeypatch.setattr(data, "open_mixture", lambda name, home: table)
    named = {"eval": {"mixture": "table"}, "steps": 2}
    config = a_run(**named, name="measured")
    prepared = prepare(config, home, other)
    assert len(prepared.train.store) == len(other) - len(table.holdout)
    assert len(prepared.rows) == len(table)
    held = run_training(config, home, mixture=other).eval["start"]
    own = run_training(a_run(steps=2, name="own"), home, mixture=table).eval["start"]
    assert held == pytest.approx(own, rel=1e-6)
    found = compared(home, "measured", "own")
    assert found["measured"] == "eval"
    with pytest.raises(RecipeError, match=r"eval\.mixture: mixture other has no holdout"):
        data.measured_on(table, other)
