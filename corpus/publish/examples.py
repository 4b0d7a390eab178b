"""The examples of a card: the first published row of its largest sources, shortened."""

from __future__ import annotations

from typing import Any

import numpy as np

from corpus.publish.markdown import code, cut, fence
from corpus.publish.told import Told

MOST_SOURCES = 6
MOST_TURNS = 2
MAX_CHARS = 600
"""Characters of each text that are shown."""

COLUMNS = ("id", "instruction", "input", "output", "history", "system")


def examples(told: Told) -> list[str]:
    """Return the section: texts stand in blocks that nothing in them can end."""
    parts = told.statistics.sources
    largest = sorted(parts, key=lambda name: -parts[name].total)[:MOST_SOURCES]
    lines = ["## Examples", "", "The first row of the largest sources; long texts are cut.", ""]
    for name in parts:
        if name in largest:
            row = _first_row(told, name)
            lines += [f"### {code(name)}", "", f"Row {code(row['id'])}", "", *_shown(row)]
    return lines


def _first_row(told: Told, name: str) -> dict[str, Any]:
    for _, _, rows in told.content.splits:
        for place, one in enumerate(rows.sources):
            found = np.flatnonzero(rows.index.source == place) if one.name == name else ()
            if len(found):
                return {key: value[0] for key, value in rows.rows(found[:1], COLUMNS).items()}
    raise AssertionError(f"{name} has no published row")


def _shown(row: dict[str, Any]) -> list[str]:
    lines = _text("system", row["system"])
    for turn in row["history"][:MOST_TURNS]:
        lines += [
            *_text("earlier instruction", turn["instruction"]),
            *_text("earlier output", turn["output"]),
        ]
    if len(row["history"]) > MOST_TURNS:
        lines += ["Further turns are left out.", ""]
    for name in ("instruction", "input", "output"):
        lines += _text(name, row[name])
    return lines


def _text(name: str, text: str | None) -> list[str]:
    return [f"**{name}**", "", *fence(cut(text, MAX_CHARS)), ""] if text else []
