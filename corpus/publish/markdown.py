"""Markdown that stays what it is meant to be, whatever stands in the texts that are put into it.

Texts of data go into fences that they cannot close, or into cells and lines with every character
escaped that would mean something there.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}
MEANINGFUL = re.compile(r"([\\`*_\[\]#!|~$:@]|(?<=www)\.)")
"""Characters that begin or end something inside a line of Markdown, in its tables and formulas; and
those that make a link of an address, or a person of a name, by themselves."""

BIDI = {*range(0x202A, 0x202F), *range(0x2066, 0x206A)}
HIDDEN = {0xFEFF, 0x2028, 0x2029, 0x85, *range(0xE0000, 0xE0080)}
"""Marks that reorder lines, break them, or carry text that nobody sees."""

JOINING = {0x200D, *range(0xFE00, 0xFE10), *range(0x1F3FB, 0x1F400)}
"""What belongs to the character before it: joiners, variation selectors, skin tones."""

CUT = " […]"


def visible(text: str) -> str:
    """Write control characters, and marks that reorder or hide text, as escapes."""
    return "".join(_escaped(one) if _is_hidden(one) else one for one in text)


def _is_hidden(one: str) -> bool:
    if one in "\n\t":
        return False
    code = ord(one)
    return code in BIDI or code in HIDDEN or unicodedata.category(one) in ("Cc", "Cs", "Co")


def _escaped(one: str) -> str:
    return f"\\u{{{ord(one):x}}}"


def one_line(text: str) -> str:
    """Return a text on one line, white space as single blanks."""
    return " ".join(visible(text.replace("\r", "\n")).split())


def inline(text: str) -> str:
    """Return a text as a piece of a line or cell, in which nothing has a meaning of its own."""
    escaped = MEANINGFUL.sub(r"\\\1", one_line(text))
    return re.sub(r'[&<>"]', lambda found: ENTITIES[found.group()], escaped)


def code(text: str) -> str:
    """Return a short text of ours as code: a name, a path, a digest."""
    text = one_line(text).replace("|", "\\|")
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    ticks = "`" * (longest + 1)
    blank = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{ticks}{blank}{text}{blank}{ticks}"


def fence(text: str, language: str = "text") -> list[str]:
    """Return the lines of a block that shows a text as it is; nothing in it can end the block."""
    shown = visible(text.replace("\r\n", "\n").replace("\r", "\n"))
    longest = max((len(run) for run in re.findall("`+", shown)), default=0)
    ticks = "`" * max(3, longest + 1)
    return [f"{ticks}{language}", *shown.split("\n"), ticks]


def cut(text: str, limit: int) -> str:
    """Return the first characters of a text, never half of a joined one, and a mark if it goes on.

    Args:
        limit: characters of the text that may stay.
    """
    if len(text) <= limit:
        return text
    while limit and (_joins(text[limit]) or ord(text[limit - 1]) == 0x200D):
        limit -= 1
    return text[:limit] + CUT


def _joins(one: str) -> bool:
    return ord(one) in JOINING or unicodedata.combining(one) != 0


def table(header: Sequence[str], rows: Sequence[Sequence[str | int | float]]) -> list[str]:
    """Return the lines of a table; numbers stand right, texts must be escaped already."""
    numeric = [
        bool(rows) and all(not isinstance(row[place], str) for row in rows)
        for place in range(len(header))
    ]
    marks = ["---:" if is_number else "---" for is_number in numeric]
    return [
        f"| {' | '.join(header)} |",
        f"| {' | '.join(marks)} |",
        *(f"| {' | '.join(map(shown, row))} |" for row in rows),
        "",
    ]


def shown(value: str | int | float) -> str:
    """Write a number for people: 12,000 and 0.25."""
    return value if isinstance(value, str) else f"{value:,}"


def link(text: str, address: str | None) -> str:
    """Return a link to an address of the web, or a dash where there is none."""
    if not address:
        return "–"
    if not re.match(r"https?://", address):
        return inline(address)
    safe = re.sub(r"[\s<>|\\`\"]", lambda one: f"%{ord(one.group()):02X}", visible(address))
    return f"[{text}](<{safe}>)"
