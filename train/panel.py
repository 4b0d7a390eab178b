"""What a run shows while it trains: a live panel on a terminal, now and then a line elsewhere.

The run verb opens one, and the trainer tells it every step and every line of metrics.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

EVERY_SECONDS = 30.0
"""Time between two plain lines."""

TOLD = 4
"""Values of a tag in the panel, those with the most tokens."""


class Panel:
    """The state of a run as far as it was told; `draw` shows it, `say` shows a line beside it."""

    def __init__(self, draw: Callable[[Panel], None], say: Callable[[str], None]) -> None:
        self.draw, self.say = draw, say
        self.step = self.steps = 0
        self.lines: dict[str, dict[str, Any]] = {"train": {}, "eval": {}}
        self._first: tuple[float, int] | None = None
        self._printed = float("-inf")

    def progress(self, completed: float, total: float | None = None, note: str = "") -> None:
        """Take in a finished step."""
        self.step, self.steps = int(completed), int(total or 0)
        self._first = self._first or (time.monotonic(), self.step)
        self.draw(self)

    def line(self, line: dict[str, Any]) -> None:
        """Take in a line of metrics."""
        self.lines[line["kind"]] = line
        self.draw(self)

    def facts(self) -> dict[str, str]:
        """Return names and values of the panel's upper part, "-" for what is not known."""
        line, (began, first) = self.lines["train"], self._first or (0.0, self.step)
        done = self.step - first
        left = (time.monotonic() - began) / done * (self.steps - self.step) if done else None

        def shown(value: float | None, form: str, unit: str = "") -> str:
            return "-" if value is None else f"{value:{form}}{unit}"

        return {
            "step": f"{self.step:,} of {self.steps:,}",
            "loss": shown(line.get("loss"), ".4f"),
            "holdout loss": shown(self.lines["eval"].get("loss"), ".4f"),
            "learning rate": shown(line.get("lr"), ".2e"),
            "gradient norm": shown(line.get("grad_norm"), ".3f"),
            "tokens/s": shown(line.get("tokens_per_second"), ",.0f"),
            "learned tokens/s": shown(line.get("learned_tokens_per_second"), ",.0f"),
            "MFU": shown(line.get("mfu"), ".1%"),
            "memory": shown(line.get("memory_bytes", 0) / 1e9 or None, ".2f", " GB"),
            "time left": "-" if left is None else clock(left),
        }

    def tags(self) -> dict[str, str]:
        """Return for each tag of several values the most frequent ones with their losses."""
        found = {}
        for tag, groups in self.lines["train"].get("tags", {}).items():
            top = sorted(groups.items(), key=lambda one: -one[1]["tokens"])[:TOLD]
            if len(groups) > 1:
                found[tag] = "  ".join(f"{value} {group['loss']:.3f}" for value, group in top)
        return found

    def print_sometimes(self) -> None:
        """Say where the run is: at once, and then not before some time has passed."""
        now = time.monotonic()
        if self.lines["train"] and self.step and now - self._printed >= EVERY_SECONDS:
            self._printed = now
            known = (f"{name} {value}" for name, value in self.facts().items() if value != "-")
            self.say(", ".join(known))


def clock(seconds: float) -> str:
    """Return a time as h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


@contextmanager
def open_panel(quiet: bool) -> Iterator[Panel]:
    """Yield a panel on stderr: live on a terminal, lines elsewhere, nothing when quiet."""
    if quiet:
        yield Panel(lambda panel: None, lambda line: None)
    elif not sys.stderr.isatty():
        yield Panel(Panel.print_sometimes, lambda line: print(line, file=sys.stderr, flush=True))
    else:
        from rich.console import Console
        from rich.live import Live

        console = Console(stderr=True)
        with Live(console=console, refresh_per_second=4, transient=True) as live:
            yield Panel(lambda panel: live.update(drawn(panel)), console.print)


def drawn(panel: Panel) -> Any:
    """Return a panel as a table of rich."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_row("", ProgressBar(total=max(panel.steps, 1), completed=panel.step, width=40))
    for name, value in (panel.facts() | panel.tags()).items():
        table.add_row(Text(name, style="dim"), Text(value))
    return table
