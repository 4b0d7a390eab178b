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
    """The state of a run as far as it was told, and how to draw it."""

    def __init__(self, draw: Callable[[Panel], None], say: Callable[[str], None]) -> None:
        self.draw, self.say = draw, say
        self.step, self.steps = 0, 0
        self.train: dict[str, Any] = {}
        self.eval: dict[str, Any] = {}
        self._first: tuple[float, float] | None = None

    def progress(self, completed: float, total: float | None = None, note: str = "") -> None:
        """Take in a finished step."""
        now = time.monotonic()
        self._first = self._first or (now, completed)
        self.step, self.steps = int(completed), int(total or 0)
        self.draw(self)

    def line(self, line: dict[str, Any]) -> None:
        """Take in a line of metrics."""
        if line["kind"] == "train":
            self.train = line
        else:
            self.eval = line
        self.draw(self)

    @property
    def left_seconds(self) -> float | None:
        """The time to the last step at the mean speed since the first one told."""
        if self._first is None or self.step <= self._first[1]:
            return None
        a_step = (time.monotonic() - self._first[0]) / (self.step - self._first[1])
        return a_step * (self.steps - self.step)

    def facts(self) -> list[tuple[str, str]]:
        """Return names and values of the panel's upper part."""
        line, left = self.train, self.left_seconds
        mfu, norm = line.get("mfu"), line.get("grad_norm")
        facts = [
            ("step", f"{self.step:,} of {self.steps:,}"),
            ("loss", f"{line['loss']:.4f}" if line else "-"),
            ("holdout loss", f"{self.eval['loss']:.4f}" if self.eval else "-"),
            ("learning rate", f"{line['lr']:.2e}" if line else "-"),
            ("gradient norm", f"{norm:.3f}" if norm is not None else "-"),
            ("tokens/s", f"{line['tokens_per_second']:,.0f}" if line else "-"),
            ("learned tokens/s", f"{line['learned_tokens_per_second']:,.0f}" if line else "-"),
            ("MFU", f"{100 * mfu:.1f} %" if mfu is not None else "-"),
            ("memory", f"{line['memory_bytes'] / 1e9:.2f} GB" if line else "-"),
            ("time left", clock(left) if left is not None else "-"),
        ]
        return facts

    def tags(self) -> list[tuple[str, str]]:
        """Return for each tag of several values its most frequent ones with their losses."""
        found = []
        for tag, groups in self.train.get("tags", {}).items():
            top = sorted(groups.items(), key=lambda one: -one[1]["tokens"])[:TOLD]
            if len(groups) > 1:
                found.append((tag, "  ".join(f"{v} {group['loss']:.3f}" for v, group in top)))
        return found


def clock(seconds: float) -> str:
    """Return a time as h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


@contextmanager
def open_panel(quiet: bool) -> Iterator[Panel]:
    """Yield a panel on stderr: live on a terminal, lines elsewhere, nothing when quiet."""
    if quiet:
        yield Panel(lambda panel: None, lambda line: None)
        return
    if not sys.stderr.isatty():
        yield Panel(_Lines(), lambda line: print(line, file=sys.stderr, flush=True))
        return
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True)
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        yield Panel(lambda panel: live.update(drawn(panel)), lambda line: console.print(line))


def drawn(panel: Panel) -> Any:
    """Return a panel as a table of rich."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_row("", ProgressBar(total=max(panel.steps, 1), completed=panel.step, width=40))
    for name, value in [*panel.facts(), *panel.tags()]:
        table.add_row(Text(name, style="dim"), Text(value))
    return table


class _Lines:
    """Prints a panel as one line: at once, and then not before some time has passed."""

    def __init__(self) -> None:
        self.told = float("-inf")

    def __call__(self, panel: Panel) -> None:
        if panel.train and panel.step and time.monotonic() - self.told >= EVERY_SECONDS:
            self.told = time.monotonic()
            told = [f"{name} {value}" for name, value in panel.facts() if value != "-"]
            panel.say(", ".join(told))
