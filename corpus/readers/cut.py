"""The cutter: walks a raw file once and yields spans that end at record ends.

Runs in the parent and must be quicker than the workers together, so lines and array separators
are counted, not parsed. A worker checks the count of an array span; where it disagrees, the
stretch is cut again by the scanner (`distrusted`).
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from corpus.errors import RawDataError
from corpus.readers.scan import Scanner
from corpus.readers.sniff import UTF8_BOM, Reading, as_utf8, sniff
from corpus.readers.source import RawSource, Transcoded, is_ascii_based, is_utf8
from corpus.readers.span import BLOCK_BYTES, Dialect, Span

BLANK_LINE = re.compile(rb"\n\s")
"""Finds every blank line, and a few that only begin with white space."""
MAX_RECORD_BYTES = 1 << 30
"""A single record longer than this is refused: it would not fit a worker's memory."""
csv.field_size_limit(MAX_RECORD_BYTES)


def cut(
    source: RawSource,
    options: dict[str, object],
    *,
    distrusted: Collection[int] = (),
    block_bytes: int = BLOCK_BYTES,
) -> Iterator[Span]:
    """Yield the spans of a file in order.

    Args:
        distrusted: offsets of array spans that did not decode as counted; they are scanned.

    Raises:
        RawDataError: the file cannot be read as what it is or is declared to be.
    """
    encoding = str(options.get("encoding", "utf-8"))
    foreign = not is_ascii_based(encoding)
    with source.open() as stream:
        text = _transcode(stream, encoding, source.name) if foreign else stream
        reading = sniff(source.name, text, options)
    if reading.shape == "arrow":
        yield from _cut_parquet(source)
        return
    # JSON is scanned as text, so that its brackets are never half of another character.
    foreign = foreign or (reading.shape != "table" and not is_utf8(encoding))
    with source.open() as stream:
        if foreign:
            stream = _transcode(stream, encoding, source.name)
        if foreign or is_utf8(encoding):
            reading = as_utf8(reading)
        path = None if source.is_packed or foreign else source.path
        window = _Window(stream, block_bytes)
        window.skip_bom()
        make = _Maker(source.name, reading, path)
        if reading.shape == "lines":
            yield from _cut_lines(window, make)
        elif reading.shape == "table":
            yield from _cut_table(window, make, reading)
        elif reading.shape == "array":
            yield from _cut_array(window, make, distrusted)
        else:
            yield from _cut_values(window, make, None)


def _transcode(stream: BinaryIO, encoding: str, name: str) -> BinaryIO:
    return io.BufferedReader(Transcoded(stream, encoding, name), 1 << 20)


class _Window:
    """The bytes of a stream from `offset` on that are in memory."""

    def __init__(self, stream: BinaryIO, block_bytes: int) -> None:
        self._stream, self.block_bytes = stream, block_bytes
        self.offset, self.data, self.is_end = 0, b"", False

    def skip_bom(self) -> None:
        self.fill(len(UTF8_BOM))
        if self.data.startswith(UTF8_BOM):
            self.drop(len(UTF8_BOM))

    def fill(self, wanted: int) -> None:
        """Have at least `wanted` bytes, or all that are left."""
        pieces, have = [self.data], len(self.data)
        while have < wanted and not self.is_end:
            piece = self._stream.read(wanted - have)
            self.is_end = not piece
            pieces.append(piece)
            have += len(piece)
        self.data = b"".join(pieces)

    def grow(self, name: str) -> None:
        """Have twice as much: a record is longer than what is in memory."""
        if len(self.data) > MAX_RECORD_BYTES:
            raise RawDataError(
                f"{name}: a record at byte {self.offset} is longer than {MAX_RECORD_BYTES} bytes,"
                " expected shorter ones. Split the file or declare its `container`."
            )
        self.fill(2 * max(len(self.data), self.block_bytes))

    def drop(self, count: int) -> None:
        self.data = self.data[count:]
        self.offset += count


@dataclass(slots=True)
class _Maker:
    """Makes the spans of one file and counts its records."""

    name: str
    reading: Reading
    path: Path | None
    records: int = 0

    def span(self, offset: int, data: bytes, count: int, shape: str | None = None) -> Span:
        first, self.records = self.records, self.records + count
        return Span(
            self.name,
            shape or self.reading.shape,
            first,
            count,
            len(data),
            self.path,
            offset,
            data if self.path is None else None,
            dialect=self.reading.dialect,
        )


def _cut_lines(window: _Window, make: _Maker) -> Iterator[Span]:
    while True:
        window.fill(window.block_bytes)
        end = len(window.data) if window.is_end else window.data.rfind(b"\n") + 1
        if not window.data:
            return
        if not end:
            window.grow(make.name)
            continue
        block = window.data[:end]
        count = count_lines(block)
        if count:
            yield make.span(window.offset, block, count)
        window.drop(end)


def count_lines(block: bytes) -> int:
    """Count the lines of a block that are not blank."""
    if BLANK_LINE.search(block) or block[:1].isspace():
        return sum(1 for line in block.split(b"\n") if line.strip())
    return block.count(b"\n") + (not block.endswith(b"\n") and bool(block))


def _cut_table(window: _Window, make: _Maker, reading: Reading) -> Iterator[Span]:
    rows = _table_rows(window, make, reading.dialect.delimiter)
    if reading.has_header:
        header = next(rows, None)
        if header is None:
            return
        names = _header_names(header[1], make)
        make.reading = replace(reading, dialect=replace(reading.dialect, columns=names))
    start: int | None = None
    count, size = 0, 0
    pieces: list[bytes] = []
    for offset, raw in rows:
        if start is None:
            start = offset
        pieces.append(raw)
        size += len(raw)
        count += bool(raw.strip())
        if size >= window.block_bytes:
            yield make.span(start, b"".join(pieces), count)
            start, count, pieces, size = None, 0, [], 0
    if start is not None and count:
        yield make.span(start, b"".join(pieces), count)


def _header_names(raw: bytes, make: _Maker) -> tuple[str, ...]:
    dialect = make.reading.dialect
    try:
        text = raw.decode(dialect.encoding)
    except UnicodeDecodeError as error:
        raise RawDataError(
            f"{make.name}: the header is not {dialect.encoding} ({error})."
            " Declare the right `encoding` in the catalog entry."
        ) from error
    return tuple(name.strip() for name in parse_table_row(text, dialect.delimiter, dialect.quoted))


def parse_table_row(text: str, delimiter: str, quoted: bool) -> list[str]:
    """Split one record of a table into its fields."""
    if not quoted:
        return text.rstrip("\r\n").split(delimiter)
    return next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), [])


def _table_rows(window: _Window, make: _Maker, delimiter: str) -> Iterator[tuple[int, bytes]]:
    """Yield (offset, raw bytes) of each record; under quoting it may span physical lines.

    The csv module itself says where a record ends; it sees the bytes as Latin-1, in which
    quotes and line ends are what they are in every ASCII-based encoding. A quote that never
    closes would swallow the rest of the file: such a line stands alone as a broken record.
    """
    quoted = make.reading.dialect.quoted
    lines = _Lines(window, make)
    while True:
        start = lines.position
        first = lines.next_line()
        if first is None:
            return
        yield start, lines.join_quoted(first, delimiter) if quoted and b'"' in first else first


def split_table(data: bytes, dialect: Dialect) -> Iterator[bytes]:
    """Yield the raw bytes of the records of a table span, as the cutter saw them."""
    make = _Maker("", Reading("table", dialect), None)
    window = _Window(io.BytesIO(data), BLOCK_BYTES)
    for _, raw in _table_rows(window, make, dialect.delimiter):
        yield raw


class _Lines:
    """Physical lines of a window, with a way to look ahead without losing the place."""

    MAX_QUOTED_LINES = 20_000

    def __init__(self, window: _Window, make: _Maker) -> None:
        self._window, self._make, self._at = window, make, 0

    @property
    def position(self) -> int:
        return self._window.offset + self._at

    def next_line(self) -> bytes | None:
        end = self._line_end(self._at)
        if end is None:
            return None
        line = self._window.data[self._at : end]
        self._at = end
        if self._at > self._window.block_bytes:
            self._window.drop(self._at)
            self._at = 0
        return line

    def _line_end(self, start: int) -> int | None:
        """Return where the line that begins at `start` ends, or None at the end of the file."""
        while True:
            found = self._window.data.find(b"\n", start)
            if found >= 0:
                return found + 1
            if self._window.is_end:
                return len(self._window.data) if start < len(self._window.data) else None
            if len(self._window.data) - start > self._window.block_bytes:
                self._window.grow(self._make.name)
            else:
                self._window.fill(len(self._window.data) + self._window.block_bytes)

    def join_quoted(self, first: bytes, delimiter: str) -> bytes:
        """Return the record that `first` begins, with the further lines that its quotes hold."""
        if not _is_open(first, delimiter):
            return first
        # The window is not dropped while looking ahead, so `_at` stays valid.
        end, pieces = self._at, [first]
        for _ in range(self.MAX_QUOTED_LINES):
            line_end = self._line_end(end)
            if line_end is None:
                break
            line = self._window.data[end:line_end]
            pieces.append(line)
            end = line_end
            if b'"' in line and not _is_open(b"".join(pieces), delimiter):
                self._at = end
                return b"".join(pieces)
        return first


def _is_open(raw: bytes, delimiter: str) -> bool:
    """Tell whether a record ends inside a quoted field, as the csv module sees it."""
    reader = csv.reader([raw.decode("latin-1")], delimiter=delimiter, strict=True)
    try:
        next(reader, None)
    except csv.Error as error:
        return "unexpected end of data" in str(error)
    return False


def _cut_array(window: _Window, make: _Maker, distrusted: Collection[int]) -> Iterator[Span]:
    scanner = Scanner()
    separator = _array_separator(window, scanner)
    if separator is None:
        yield from _cut_values(window, make, None, scanner)
        return
    while True:
        window.fill(window.block_bytes)
        if window.offset in distrusted:
            yield from _cut_values(window, make, window.block_bytes, scanner)
            _skip_between(window)
            if not window.data and window.is_end:
                return
            continue
        end = window.data.rfind(separator)
        if end < 0 and not window.is_end:
            window.grow(make.name)
            continue
        if window.is_end and (end < 0 or len(window.data) <= window.block_bytes):
            end = len(window.data.rstrip().removesuffix(b"]").rstrip())
        else:
            end += 1
        block = window.data[:end]
        if block:
            yield make.span(window.offset, block, block.count(separator) + 1)
        window.drop(end)
        _skip_between(window)
        if not window.data and window.is_end:
            return


def _array_separator(window: _Window, scanner: Scanner) -> bytes | None:
    """Learn what stands between the first two records; leave the window at the first record."""
    window.fill(window.block_bytes)
    opening = len(window.data) - len(window.data.lstrip()) + 1
    window.drop(opening)
    _skip_between(window)
    text = window.data.decode("utf-8", "surrogateescape")
    found = scanner.scan(text, is_end=window.is_end)
    first, second = next(found, None), next(found, None)
    if first is None or second is None or first.error or second.error:
        return None
    if not (isinstance(first.value, dict) and isinstance(second.value, dict)):
        return None
    between = text[first.end - 1 : second.start + 1]
    if between in text[first.start : first.end - 1]:
        # Nested objects are separated likewise: let the first key tell records from them.
        key = re.match(r'\{\s*"(?:[^"\\]|\\.)*"', text[second.start :])
        between = text[first.end - 1 : second.start] + (key.group() if key else "{")
    return between.encode("utf-8", "surrogateescape")


def _skip_between(window: _Window) -> None:
    """Drop what stands before the next record, and the end of the array."""
    while True:
        window.fill(1 << 16)
        rest = window.data.lstrip(b" \t\r\n,")
        if rest or window.is_end:
            window.drop(len(window.data) - len(rest))
            if window.data.strip() == b"]" and window.is_end:
                window.drop(len(window.data))
            return
        window.drop(len(window.data))


def _cut_values(
    window: _Window, make: _Maker, stretch: int | None, scanner: Scanner | None = None
) -> Iterator[Span]:
    """Yield spans found by the scanner: to the end of the file, or until `stretch` bytes are done."""
    scanner = scanner or Scanner()
    done = 0
    while stretch is None or done < stretch:
        window.fill(window.block_bytes)
        if not window.data.strip(b" \t\r\n,[]"):
            window.drop(len(window.data))
            if window.is_end:
                return
            continue
        text = window.data.decode("utf-8", "surrogateescape")
        count, end = 0, 0
        for found in scanner.scan(text, is_end=window.is_end):
            count, end = count + 1, found.end
            if stretch is not None and done + end >= stretch:
                break
        if not count:
            if window.is_end:
                return
            window.grow(make.name)
            continue
        block = text[:end].encode("utf-8", "surrogateescape")
        span = make.span(window.offset, block, count, "values")
        yield replace(span, keys=scanner.keys)
        window.drop(len(block))
        done += len(block)


def _cut_parquet(source: RawSource) -> Iterator[Span]:
    """Yield the rows of a Parquet file as small Arrow streams."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if source.is_packed:
        raise RawDataError(
            f"{source.name}: Parquet inside an archive cannot be read in place."
            " Unpack it, then build again."
        )
    records = 0
    try:
        with pq.ParquetFile(source.path, pre_buffer=False) as parquet:
            for batch in parquet.iter_batches(batch_size=4096, use_threads=False):
                sink = io.BytesIO()
                with pa.ipc.new_stream(sink, batch.schema) as writer:
                    writer.write_batch(batch)
                data = sink.getvalue()
                yield Span(source.name, "arrow", records, batch.num_rows, len(data), data=data)
                records += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        raise RawDataError(f"{source.name}: the Parquet file cannot be read ({error}).") from error
