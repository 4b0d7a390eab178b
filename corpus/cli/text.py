"""Plain text for terminals: aligned tables and named values, with CJK characters two wide.

The verbs use it for what they print when --json is not given.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from typing import Any

MAX_WIDTH = 400
"""Longest text of one value, in characters; what is longer is cut and says so."""


def width(text: str) -> int:
    """Return the number of terminal cells that a text takes."""
    return sum(
        0 if unicodedata.combining(one) else 1 + (unicodedata.east_asian_width(one) in "WF")
        for one in text
    )


def pad(text: str, cells: int, *, right: bool = False) -> str:
    """Return a text filled up with blanks, on its left when `right`."""
    blanks = " " * (cells - width(text))
    return blanks + text if right else text + blanks


def columns(
    heads: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[str] = ()
) -> str:
    """Return an aligned table; the columns named in `right` end where they end."""
    lines = [heads, *rows]
    cells = [max(width(line[at]) for line in lines) for at in range(len(heads))]
    return "\n".join(
        "  ".join(
            pad(text, cells[at], right=heads[at] in right) for at, text in enumerate(line)
        ).rstrip()
        for line in lines
    )


def fields(values: Mapping[str, Any]) -> str:
    """Return one line a value, its name first; lists of mappings take one line an item."""
    cells = max((width(name) for name in values), default=0)
    lines = []
    for name, value in values.items():
        parts = value if _is_list_of_mappings(value) else [value]
        for at, part in enumerate(parts):
            lines.append(f"{pad(name if at == 0 else '', cells)}  {_one_line(part)}".rstrip())
    return "\n".join(lines)


def beside(title: str, record: Any, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a raw record above the rows that it gives, or the reasons why it gives none."""
    raw = record if isinstance(record, Mapping) else {"text": record}
    pieces = [title, _indented(fields(raw))]
    for row in rows:
        pieces += ["rejected" if "reason" in row else "row", told_row(row)]
    return "\n".join(pieces)


def told_row(row: Mapping[str, Any]) -> str:
    """Return the columns of a row that hold something, indented."""
    return _indented(
        fields({key: value for key, value in row.items() if value not in (None, "", [])})
    )


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.split("\n"))


def _is_list_of_mappings(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value)


def _one_line(value: Any) -> str:
    if isinstance(value, (list, tuple)) and all(isinstance(one, str) for one in value):
        value = ", ".join(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = printable(text)
    left_out = len(text) - MAX_WIDTH
    return text if left_out <= 0 else f"{text[:MAX_WIDTH]}... ({left_out} more characters)"


def printable(text: str) -> str:
    """Return a text whose control characters show: untrusted rows must not steer the terminal."""
    return text if text.isprintable() else "".join(map(_visible, text))


def _visible(character: str) -> str:
    if character == "\n":
        return "\\n"
    return character if character.isprintable() else f"\\x{ord(character):02x}"
