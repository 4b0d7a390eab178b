"""Plan counts what a run would see; check finds what would go wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corpus.settings import Home
from train.check import check_run
from train.plan import plan_run


def test_a_plan_counts_what_the_run_then_does(
    home: Home, table: Any, a_run: Callable[..., Any], trained: Any
) -> None:
    run = a_run(steps=None, epochs=2)
    plan = plan_run(run, home, table)
    assert (plan.rows, plan.holdout_rows) == (len(table), len(table.holdout))
    assert (plan.trainable, plan.parameters) == (trained.trainable, trained.parameters)
    assert plan.steps == -(-2 * plan.packs // 4)
    assert 0.5 < plan.fill <= 1
    assert plan.to_json()["trainable_share"] == plan.trainable / plan.parameters


def test_a_sound_run_passes_every_check(home: Home, table: Any, a_run: Callable[..., Any]) -> None:
    findings, rows = check_run(a_run(), home, table)
    assert [one for one in findings if not one.ok] == []
    assert len(findings) == 8
    assert [one.way_out for one in findings if one.way_out] == []
    assert {one.check: one.line() for one in findings}[
        "packed rows do not see each other"
    ].startswith("ok    packed rows do not see each other: logits move by ")
    learned = [text for text, is_learned in rows[0].pieces if is_learned]
    assert learned == ["你好，请问有什么可以帮你？</s>", "好的，这是第1个城市的介绍。</s>"]


def test_refused_rows_and_mixing_models_are_found(
    home: Home,
    table_of: Callable[..., Any],
    a_run: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from corpus.errors import TrainError

    def mixing(*arguments: Any) -> float:
        raise TrainError("packing: rows see each other")

    monkeypatch.setattr("train.check.probe_rows", mixing)
    rows = [{"instruction": "Hi", "output": "Hello"}] * 8 + [{"instruction": "Hi", "output": " "}]
    findings, _ = check_run(a_run(), home, table_of(rows))
    bad = {one.check: one.note for one in findings if not one.ok}
    assert set(bad) == {"rows have something to learn", "packed rows do not see each other"}
    assert bad["rows have something to learn"].startswith("1 rows: no reply text; first is ")


def test_a_few_refused_rows_are_worth_a_look_and_no_failure(
    home: Home, table_of: Callable[..., Any], a_run: Callable[..., Any]
) -> None:
    rows = [{"instruction": f"Say {n}", "output": f"{n}"} for n in range(99)]
    findings, _ = check_run(a_run(), home, table_of([*rows, {"instruction": "Hi", "output": " "}]))
    told = findings[0]
    assert told.ok
    assert told.line().startswith("LOOK  rows have something to learn: 1 rows: no reply text")
    assert told.line().endswith("They are left out; see them: woolgather trace ID")


def test_a_base_that_is_broken_or_speaks_other_tokens_is_found(
    home: Home, table: Any, a_run: Callable[..., Any], base: Path, tmp_path: Path
) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    folder = tmp_path / "broken"
    shutil.copytree(base, folder)
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight"] *= 100  # Sure of itself, and wrong.
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    findings, _ = check_run(a_run(base_model=str(folder)), home, table)
    found = {one.check: one for one in findings}["the base is no worse than guessing"]
    assert found.line().startswith("LOOK")
    assert found.way_out == "Is this the tokenizer of this base?"
    weights["model.norm.weight"][0] = float("nan")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    findings, _ = check_run(a_run(base_model=str(folder)), home, table)
    bad = {one.check: one.note for one in findings if not one.ok}
    assert "model.norm.weight is not finite" in bad["weights are sound"]


def test_shown_rows_mark_the_learned_part(
    home: Home, table_of: Callable[..., Any], a_run: Callable[..., Any]
) -> None:
    table = table_of([{"instruction": "Hi", "output": "Hello"}] * 4)
    _, rows = check_run(a_run(), home, table)
    assert len(rows) == 3
    assert rows[0].source == "alpaca"
    assert [one for one, learned in rows[0].pieces if learned] == ["Hello</s>"]
    assert rows[0].pieces[0][0].endswith("### Response:")


def test_the_package_stays_apart_from_torch_until_it_is_used() -> None:
    import subprocess
    import sys

    code = "import sys, train.cli, train.config; print('torch' in sys.modules)"
    root = Path(__file__).parent.parent.parent
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr
