"""Records of tables (CSV, TSV): where they end in the bytes, and their fields.

The cutter asks where records end; a worker asks again only for a span that does not read as a
whole. The csv module itself decides. It sees the bytes as Latin-1, in which quotes, delimiters
and line ends are what they are in every ASCII-based encoding.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator

from corpus.readers.span import BLOCK_BYTES, Dialect
from corpus.readers.window import MAX_RECORD_BYTES, Window

MAX_QUOTED_BYTES = 16 << 20
"""How far the end of a quoted record is looked for, before its quote counts as stray."""


def table_records(window: Window, dialect: Dialect) -> Iterator[tuple[int, bytes]]:
    """Yield (offset, raw bytes) of each record; under quoting it may span physical lines.

    A quote that never closes would swallow the rest of the file, and one that closes by chance
    further down some good records: where that shows, by the end of the file, by text after the
    closing quote or by a wrong number of columns, the first physical line stands alone.
    """
    lines = _Lines(window, ends_at_cr=dialect.quoted)
    while True:
        start = lines.position
        end = lines.end_of_line()
        if end is None:
            return
        if dialect.quoted and lines.has_quote(end):
            end = lines.end_of_record(dialect) or end
        yield start, lines.take(end)


def split_table(data: bytes, dialect: Dialect) -> Iterator[bytes]:
    """Yield the raw bytes of the records of a table span, as the cutter saw them."""
    for _, raw in table_records(Window(io.BytesIO(data), "", BLOCK_BYTES), dialect):
        yield raw


def parse_rows(text: str, dialect: Dialect) -> Iterator[list[str]]:
    """Split the records of a text into their fields; blank lines are no records.

    Raises:
        csv.Error: a quoted field does not end as it should.
    """
    if not dialect.quoted:
        for line in text.split("\n"):
            if line.strip():
                yield line.rstrip("\r").split(dialect.delimiter)
        return
    for row in _reader(io.StringIO(text, newline=""), dialect, strict=True):
        if len(row) > 1 or any(field.strip() for field in row):
            yield row


def parse_row(text: str, dialect: Dialect) -> list[str]:
    """Split one record into its fields, lenient about text after a closing quote.

    Raises:
        csv.Error: the csv module cannot make fields of it.
    """
    if not dialect.quoted:
        return text.rstrip("\r\n").split(dialect.delimiter)
    return next(_reader(io.StringIO(text, newline=""), dialect, strict=False), [])


def _reader(lines: Iterable[str], dialect: Dialect, *, strict: bool) -> Iterator[list[str]]:
    csv.field_size_limit(MAX_RECORD_BYTES)  # The default, 131,072, is less than real fields.
    return csv.reader(lines, delimiter=dialect.delimiter, strict=strict)


class _Lines:
    """Physical lines of a window, with a way to look ahead without losing the place."""

    def __init__(self, window: Window, *, ends_at_cr: bool) -> None:
        self._window, self._ends_at_cr, self._at = window, ends_at_cr, 0

    @property
    def position(self) -> int:
        """Return the offset in the file of the next line."""
        return self._window.offset + self._at

    def take(self, end: int) -> bytes:
        """Return the bytes up to a place in the window, and go on from there."""
        taken = self._window.data[self._at : end]
        self._at = end
        if self._at > self._window.block_bytes:
            self._window.drop(self._at)
            self._at = 0
        return taken

    def has_quote(self, end: int) -> bool:
        """Tell whether there is a quote before a place in the window."""
        return self._window.data.find(b'"', self._at, end) >= 0

    def end_of_line(self, start: int | None = None) -> int | None:
        """Return where a line ends in the window, or None at the end of the file."""
        start = self._at if start is None else start
        window = self._window
        while True:
            found = window.data.find(b"\n", start)
            if self._ends_at_cr:
                stop = found if found >= 0 else len(window.data)
                lone = window.data.find(b"\r", start, stop)
                if 0 <= lone < stop - 1:
                    return lone + 1
            if found >= 0:
                return found + 1
            if window.is_end:
                return len(window.data) if start < len(window.data) else None
            if len(window.data) - start > window.block_bytes:
                window.grow()
            else:
                window.fill(len(window.data) + window.block_bytes)

    def end_of_record(self, dialect: Dialect) -> int | None:
        """Return where the record that begins here ends, or None if its first line stands alone."""
        ends: list[int] = []
        was_asked_for_more = False

        def further_lines() -> Iterator[str]:
            # The window is not dropped while looking ahead, so places in it stay valid.
            nonlocal was_asked_for_more
            start = self._at
            while start - self._at < MAX_QUOTED_BYTES:
                end = self.end_of_line(start)
                if end is None:
                    break
                ends.append(end)
                yield self._window.data[start:end].decode("latin-1")
                start = end
            was_asked_for_more = True

        try:
            row = next(_reader(further_lines(), dialect, strict=True), [])
        except csv.Error:
            return None
        if was_asked_for_more or (len(ends) > 1 and len(row) != (len(dialect.columns) or len(row))):
            return None
        return ends[-1]
