"""The record: the one row type of the store, and the id that its content gives it.

Formatters make records, the store keeps them, mixtures point at them, training reads them.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import pyarrow as pa
import xxhash

SCHEMA_VERSION = 1
"""Part of every build's fingerprint: raise it when the columns or the id change."""

TURN = pa.struct([pa.field("instruction", pa.string()), pa.field("output", pa.string())])

ORIGIN = pa.struct(
    [pa.field("file", pa.string()), pa.field("record", pa.int64()), pa.field("part", pa.int32())]
)

RECORD = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("instruction", pa.string(), nullable=False),
        pa.field("input", pa.string(), nullable=False),
        pa.field("output", pa.string(), nullable=False),
        pa.field("history", pa.list_(TURN), nullable=False),
        pa.field("system", pa.string()),
        pa.field("source", pa.string(), nullable=False),
        pa.field("origin", ORIGIN, nullable=False),
        pa.field("extra", pa.string()),
    ]
)
"""One row of the store; strings are plain (no dictionary, view or large type)."""

MAX_BATCH_ROWS = 10_000
MAX_BATCH_BYTES = 16 << 20

NULL_SYSTEM = b"\xff\xff\xff\xff"
"""Stands where the length of a null system prompt would stand in the hashed bytes."""


def row_id(
    instruction: str,
    input: str,
    output: str,
    history: Sequence[tuple[str, str]] = (),
    system: str | None = None,
) -> str:
    """Return the id of a row's content: xxh3-128 as 32 hex digits.

    Hashed are, in order: system, number of earlier turns, each turn's instruction and output,
    instruction, input, output; a text as its UTF-8 length (u32, little endian) and its bytes,
    the number as u32. Source and position do not count: equal content has one id.
    """
    return xxhash.xxh3_128_hexdigest(id_bytes(instruction, input, output, history, system))


def id_bytes(
    instruction: str,
    input: str,
    output: str,
    history: Sequence[tuple[str, str]] = (),
    system: str | None = None,
) -> bytes:
    """Return the bytes that `row_id` hashes."""
    pieces = [NULL_SYSTEM if system is None else _sized(system), struct.pack("<I", len(history))]
    pieces += [_sized(text) for turn in history for text in turn]
    pieces += [_sized(instruction), _sized(input), _sized(output)]
    return b"".join(pieces)


def _sized(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack("<I", len(encoded)) + encoded
