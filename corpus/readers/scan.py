"""The sequential JSON scanner: values one after another, broken ones isolated.

The slow path of `cut` and `decode`: for files that hold several indented objects, and for the
stretches of an array that do not decode as a whole.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

GAP = re.compile(r"[\s,\[\]]*")
"""What may stand between records: white space, commas, the brackets of an array."""
CANDIDATE = re.compile(r"\{(?=\s*\")")
"""Where a record may begin again after a broken one."""
MAX_CANDIDATES = 100_000
"""How many places are tried after a broken record, before the rest is given up as broken too."""

DECODER = json.JSONDecoder(strict=False)


@dataclass(frozen=True, slots=True)
class Scanned:
    """One value, or one broken stretch: its place in the text and why it is broken."""

    start: int
    end: int
    value: Any = None
    error: str | None = None


@dataclass(slots=True)
class Scanner:
    """Scans text for records; remembers which keys a good record has.

    The keys tell a record from an object nested in a broken one when scanning takes up again.
    """

    keys: frozenset[str] = frozenset()

    def scan(self, text: str, *, is_end: bool) -> Iterator[Scanned]:
        """Yield the values of a text in order.

        Without `is_end` the text may stop within a record: what then cannot be told broken from
        unfinished is left, so the last end yielded is where the next piece must begin.
        """
        position = _skip_gap(text, 0)
        while position < len(text):
            found = self._value_at(text, position)
            if found.error is not None:
                resumed = self._resume(text, position + 1)
                if resumed is None and not is_end:
                    return
                end = len(text) if resumed is None else resumed
                found = Scanned(position, _trim(text, position, end), error=found.error)
            elif not is_end and found.end == len(text) and not isinstance(found.value, dict):
                return
            yield found
            position = _skip_gap(text, found.end)

    def _value_at(self, text: str, position: int) -> Scanned:
        try:
            value, end = DECODER.raw_decode(text, position)
        except ValueError as error:
            return Scanned(position, position, error=str(error))
        except RecursionError:
            return Scanned(position, position, error="nested too deep")
        if isinstance(value, dict) and not self.keys:
            self.keys = frozenset(value)
        return Scanned(position, end, value)

    def _resume(self, text: str, position: int) -> int | None:
        """Return where the next good record begins, or None."""
        for number, match in enumerate(CANDIDATE.finditer(text, position)):
            if number == MAX_CANDIDATES:
                return None
            try:
                value, _ = DECODER.raw_decode(text, match.start())
            except (ValueError, RecursionError):
                continue
            if isinstance(value, dict) and (not self.keys or self.keys & value.keys()):
                return match.start()
        return None


def _skip_gap(text: str, position: int) -> int:
    match = GAP.match(text, position)
    return match.end() if match else position


def _trim(text: str, start: int, end: int) -> int:
    """Leave the gap before the next record out of a broken stretch."""
    while end > start + 1 and text[end - 1] in " \t\r\n,[]":
        end -= 1
    return end


@dataclass(frozen=True, slots=True)
class Broken:
    """A raw record that could not be decoded: a named reason, the detail, and its raw text."""

    reason: str
    detail: str
    raw: str


def decode_value(data: bytes) -> Any:
    """Decode one JSON text; what strict decoding refuses (NaN, say) the lenient decoder may take.

    Returns:
        the value, or `Broken`.
    """
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError) as strict_error:
        try:
            text = data.decode()
            value = json.loads(text, strict=False)
            msgspec.json.encode(value)
        except UnicodeError as error:
            return Broken("broken_encoding", str(error), data.decode(errors="backslashreplace"))
        except (ValueError, RecursionError):
            return Broken("broken_json", str(strict_error), data.decode(errors="backslashreplace"))
        return value
