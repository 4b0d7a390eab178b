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
    assert len(findings) == 5
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
