"""Spans to raw records: as columns where a formatter can take a whole block, else one by one.

Workers run this. Both ways number records alike; what cannot be decoded becomes `Broken`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import msgspec
import pyarrow as pa

from corpus.readers.cut import count_lines, parse_table_row
from corpus.readers.scan import Broken, Scanner, decode_value
from corpus.readers.span import Span


class CountMismatch(Exception):
    """An array span does not hold the number of records that the cutter counted."""


@dataclass(frozen=True, slots=True)
class TextColumns:
    """The decoder of one formatter's columns: texts that may be null, and extras of any type."""

    texts: tuple[str, ...]
    extras: tuple[str, ...]

    def struct(self) -> type[msgspec.Struct]:
        """Return the msgspec type that decodes just these keys."""
        names = (*self.texts, *self.extras)
        fields: list[tuple[str, Any, Any]] = [
            (f"f{number}", str | None if name in self.texts else Any, None)
            for number, name in enumerate(names)
        ]
        rename = {f"f{number}": name for number, name in enumerate(names)}
        return msgspec.defstruct("RawColumns", fields, rename=rename, gc=False)


def decode_columns(span: Span, wanted: TextColumns) -> dict[str, list[Any]] | None:
    """Decode a span column-wise, or return None where it must be decoded record by record.

    Raises:
        CountMismatch: an array span must be cut again.
    """
    if span.shape in ("lines", "array"):
        return _json_columns(span, wanted)
    if span.shape == "arrow":
        return _arrow_columns(span, wanted)
    return None


def _json_columns(span: Span, wanted: TextColumns) -> dict[str, list[Any]] | None:
    data = span.read()
    struct = wanted.struct()
    try:
        if span.shape == "array":
            structs = msgspec.json.Decoder(list[struct]).decode(b"[%b]" % data)  # type: ignore[valid-type]
        else:
            structs = msgspec.json.Decoder(struct).decode_lines(data)
    except (msgspec.DecodeError, RecursionError):
        return None
    if len(structs) != span.count:
        if span.shape == "array":
            raise CountMismatch
        return None
    structs = structs[: span.take]
    names = (*wanted.texts, *wanted.extras)
    return {name: list(map(attrgetter(f"f{number}"), structs)) for number, name in enumerate(names)}


def _arrow_columns(span: Span, wanted: TextColumns) -> dict[str, list[Any]] | None:
    table = pa.ipc.open_stream(span.read()).read_all().slice(0, span.take)
    columns: dict[str, list[Any]] = {}
    for name in (*wanted.texts, *wanted.extras):
        if name not in table.column_names:
            columns[name] = [None] * table.num_rows
            continue
        column = table.column(name)
        is_text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
        if name in wanted.texts and not is_text:
            return None
        columns[name] = column.to_pylist()
    return columns


def decode_records(span: Span) -> Sequence[Any]:
    """Decode a span record by record: a raw record (any JSON value) or `Broken` for each.

    Raises:
        CountMismatch: an array span must be cut again.
    """
    return _DECODERS[span.shape](span)[: span.take]


def _decode_lines(span: Span) -> list[Any]:
    data = span.read()
    try:
        records = msgspec.json.Decoder().decode_lines(data)
        if len(records) == span.count:
            return records
    except (msgspec.DecodeError, RecursionError):
        pass
    return [decode_value(line) for line in data.split(b"\n") if line.strip()]


def _decode_array(span: Span) -> list[Any]:
    try:
        records: list[Any] = msgspec.json.decode(b"[%b]" % span.read())
    except (msgspec.DecodeError, RecursionError) as error:
        raise CountMismatch from error
    if len(records) != span.count:
        raise CountMismatch
    return records


def _decode_values(span: Span) -> list[Any]:
    text = span.read().decode("utf-8", "surrogateescape")
    return [
        _checked(found.value, text[found.start : found.end])
        if found.error is None
        else Broken("broken_json", found.error, _printable(text[found.start : found.end]))
        for found in Scanner(span.keys).scan(text, is_end=True)
    ]


def _checked(value: Any, raw: str) -> Any:
    """Return a value, or `Broken` where one of its texts is no text."""
    try:
        msgspec.json.encode(value)
    except UnicodeError as error:
        return Broken("broken_encoding", str(error), _printable(raw))
    return value


def _printable(raw: str) -> str:
    return raw.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _decode_table(span: Span) -> list[Any]:
    data, dialect = span.read(), span.dialect
    try:
        rows = _table_rows(data.decode(dialect.encoding), span)
    except UnicodeDecodeError:
        rows = None
    if rows is None or len(rows) != span.count:
        rows = list(_table_rows_one_by_one(data, span))
    return [row if isinstance(row, Broken) else _named(row, span) for row in rows]


def _table_rows(text: str, span: Span) -> list[list[str] | Broken]:
    if not span.dialect.quoted:
        lines = text.split("\n")
        return [line.rstrip("\r").split(span.dialect.delimiter) for line in lines if line.strip()]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=span.dialect.delimiter)
    return [row for row in reader if any(field.strip() for field in row) or len(row) > 1]


def _table_rows_one_by_one(data: bytes, span: Span) -> Iterator[list[str] | Broken]:
    """Split the records as the cutter did and decode each by itself."""
    from corpus.readers.cut import split_table

    for raw in split_table(data, span.dialect):
        if not raw.strip():
            continue
        try:
            text = raw.decode(span.dialect.encoding)
        except UnicodeDecodeError as error:
            shown = raw.decode(span.dialect.encoding, "backslashreplace")
            yield Broken("broken_encoding", str(error), shown)
            continue
        yield parse_table_row(text, span.dialect.delimiter, span.dialect.quoted)


def _named(row: list[str], span: Span) -> Any:
    columns = span.dialect.columns
    if len(row) != len(columns):
        detail = f"expected {len(columns)} columns ({', '.join(columns)}), got {len(row)}"
        return Broken("wrong_columns", detail, span.dialect.delimiter.join(row))
    return dict(zip(columns, row, strict=True))


def _decode_arrow(span: Span) -> list[Any]:
    records: list[Any] = pa.ipc.open_stream(span.read()).read_all().to_pylist()
    return records


_DECODERS = {
    "lines": _decode_lines,
    "array": _decode_array,
    "values": _decode_values,
    "table": _decode_table,
    "arrow": _decode_arrow,
}


def raw_texts(span: Span) -> list[str]:
    """Return the raw text of each record of a decodable JSON span: what rejects keep."""
    data = span.read()
    if span.shape == "array":
        return [
            bytes(raw).decode()
            for raw in msgspec.json.decode(b"[%b]" % data, type=list[msgspec.Raw])
        ]
    return [line.decode(errors="backslashreplace") for line in data.split(b"\n") if line.strip()]


__all__ = [
    "Broken",
    "CountMismatch",
    "TextColumns",
    "count_lines",
    "decode_columns",
    "decode_records",
    "raw_texts",
]
