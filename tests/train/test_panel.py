"""A panel tells where a run is: live on a terminal, now and then elsewhere, never when quiet."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest

import train.panel
from train.panel import Panel, clock, drawn, open_panel


def line(step: int, **changes: Any) -> dict[str, Any]:
    langs = {"CN": {"loss": 3.0, "tokens": 30}, "EN": {"loss": 2.0, "tokens": 90}}
    many = {f"s{n}": {"loss": float(n), "tokens": n} for n in range(1, 7)}
    return {
        "kind": "train",
        "step": step,
        "loss": 2.25,
        "lr": 1e-4,
        "grad_norm": 0.5,
        "tokens_per_second": 12345.6,
        "learned_tokens_per_second": 678.9,
        "mfu": 0.314,
        "memory_bytes": 2_500_000_000,
        "tags": {"lang": langs, "source": many, "gen": {"SI": {"loss": 2.25, "tokens": 120}}},
    } | changes


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time of the panel's clock, to be set by the test."""
    seconds = [100.0]
    monkeypatch.setattr(train.panel.time, "monotonic", lambda: seconds[0])
    return seconds


def a_panel() -> Panel:
    return Panel(lambda panel: None, lambda text: None)


def test_a_panel_tells_numbers_and_the_time_left(now: list[float]) -> None:
    panel = a_panel()
    assert panel.facts()["time left"] == "-"
    panel.progress(10, 100)
    now[0] += 60
    panel.progress(40, 100)
    panel.line(line(40))
    panel.line({"kind": "eval", "loss": 2.5, "tags": {}})
    assert panel.facts() == {
        "step": "40 of 100",
        "loss": "2.2500",
        "holdout loss": "2.5000",
        "learning rate": "1.00e-04",
        "gradient norm": "0.500",
        "tokens/s": "12,346",
        "learned tokens/s": "679",
        "MFU": "31.4%",
        "memory": "2.50 GB",
        "time left": "0:02:00",
    }


def test_a_panel_shows_the_largest_values_of_tags_that_differ() -> None:
    panel = a_panel()
    panel.line(line(1))
    assert panel.tags() == {
        "lang": "EN 2.000  CN 3.000",
        "source": "s6 6.000  s5 5.000  s4 4.000  s3 3.000",
    }


def test_what_is_not_known_is_a_dash() -> None:
    panel = a_panel()
    panel.line(line(1, mfu=None, grad_norm=None))
    facts = panel.facts()
    assert (facts["MFU"], facts["gradient norm"], facts["holdout loss"]) == ("-", "-", "-")


def test_no_terminal_gets_a_line_now_and_then(
    now: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with open_panel(quiet=False) as panel:
        for step in range(1, 62):
            panel.progress(step, 61)
            panel.line(line(step))
            now[0] += 1.0
        panel.say("said beside")
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert [one.partition(",")[0] for one in lines] == [
        "step 1 of 61",
        "step 31 of 61",
        "step 61 of 61",
        "said beside",
    ]
    assert "loss 2.2500, learning rate 1.00e-04" in lines[1]
    assert lines[1].endswith("time left 0:00:30")


def test_quiet_gets_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with open_panel(quiet=True) as panel:
        panel.progress(1, 2)
        panel.line(line(1))
        panel.say("anything")
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_live_table(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    with open_panel(quiet=False) as panel:
        panel.progress(1, 2)
        panel.line(line(1))
        panel.say("said beside")
        shown = panel
    text = sys.stderr.getvalue()
    assert "said beside" in text
    assert "EN 2.000  CN 3.000" in text
    from rich.console import Console

    console = Console(file=io.StringIO(), width=80)
    console.print(drawn(shown))
    assert "1 of 2" in console.file.getvalue()  # type: ignore[attr-defined]


def test_a_clock_counts_hours() -> None:
    assert [clock(0.4), clock(61), clock(36_000 + 59)] == ["0:00:00", "0:01:01", "10:00:59"]
