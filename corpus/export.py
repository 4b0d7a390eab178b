"""Export a mixture to the files that other trainers read.

Takes an opened mixture; each file appears under its name when it is complete.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import msgspec
import pyarrow as pa

from corpus.atomic import UNFINISHED, sync_folder
from corpus.engine import Advance
from corpus.errors import RecipeError
from corpus.mixture import Mixture, MixtureRows
from corpus.registry import suggest
from corpus.schema import RECORD

TEXTS = ("instruction", "input", "output", "history", "system")
LATER = ("llamafactory", "axolotl", "trl", "swift")
"""Formats of a later version."""

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Exported:
    """A file that was written."""

    path: Path
    rows: int


@dataclass(frozen=True, slots=True)
class Format:
    """How rows become a file."""

    suffix: str
    write: Callable[[IO[bytes], MixtureRows, Callable[[int], None]], None]


def export(
    mixture: Mixture,
    format: str,
    out: Path,
    *,
    advance: Advance = lambda done, total: None,
) -> list[Exported]:
    """Write the training rows, and the holdout to a file of its own, in the mixture's order.

    Raises:
        RecipeError: the format is unknown.
    """
    if format in LATER:
        raise RecipeError(
            f"format {format} is not supported by this version. Supported: {', '.join(FORMATS)}."
        )
    if format not in FORMATS:
        raise RecipeError(f"format {format!r} is unknown.{suggest(format, FORMATS)}")
    chosen = FORMATS[format]
    parts = [("train", mixture)] + ([("holdout", mixture.holdout)] if len(mixture.holdout) else [])
    out.mkdir(parents=True, exist_ok=True)
    total, done = sum(len(rows) for _, rows in parts), 0
    waiting: list[tuple[Path, Path]] = []
    try:
        for name, rows in parts:
            path = out / f"{name}{chosen.suffix}"
            temporary = out / f"{UNFINISHED}{path.name}-{uuid.uuid4().hex[:8]}"
            waiting.append((temporary, path))
            with temporary.open("wb") as stream:
                chosen.write(stream, rows, _after(advance, done, total))
                stream.flush()
                os.fsync(stream.fileno())
            done += len(rows)
    except BaseException:
        for temporary, _ in waiting:
            temporary.unlink(missing_ok=True)
        raise
    for temporary, path in waiting:
        temporary.replace(path)
    if len(parts) == 1:
        # An earlier export's holdout would pass for this one's.
        (out / f"holdout{chosen.suffix}").unlink(missing_ok=True)
    sync_folder(out)
    return [Exported(out / f"{name}{chosen.suffix}", len(rows)) for name, rows in parts]


def _after(advance: Advance, before: int, total: int) -> Callable[[int], None]:
    def further(done: int) -> None:
        advance(before + done, total)

    return further


def rows_of(
    rows: MixtureRows, columns: Sequence[str], advance: Callable[[int], None]
) -> Iterator[Row]:
    """Yield the rows one by one, read in blocks."""
    done = 0
    for block in rows.blocks(columns):
        for values in zip(*block.values(), strict=True):
            yield dict(zip(block, values, strict=True))
            done += 1
        advance(done)


def alpaca_row(row: Row, *, system: bool, history: bool) -> Row:
    """Return instruction, input and output; earlier turns as pairs under `history`."""
    shaped = {name: row[name] for name in ("instruction", "input", "output")}
    if system:
        shaped["system"] = row["system"] or ""
    if history:
        shaped["history"] = [[turn["instruction"], turn["output"]] for turn in row["history"]]
    return shaped


def turns_of(row: Row) -> Iterator[tuple[str, str]]:
    """Yield (role, text) of a dialogue: system, user, assistant and so on.

    The input follows its instruction after a line break.
    """
    if row["system"]:
        yield "system", row["system"]
    for turn in row["history"]:
        yield "user", turn["instruction"]
        yield "assistant", turn["output"]
    parts = [part for part in (row["instruction"], row["input"]) if part]
    yield "user", "\n".join(parts)
    yield "assistant", row["output"]


SHAREGPT_ROLES = {"system": "system", "user": "human", "assistant": "gpt"}


def sharegpt_row(row: Row) -> Row:
    """Return a dialogue as `conversations` of {from, value}."""
    turns = [{"from": SHAREGPT_ROLES[role], "value": text} for role, text in turns_of(row)]
    return {"conversations": turns}


def messages_row(row: Row) -> Row:
    """Return a dialogue as `messages` of {role, content}."""
    return {"messages": [{"role": role, "content": text} for role, text in turns_of(row)]}


def _write_alpaca(stream: IO[bytes], rows: MixtureRows, advance: Callable[[int], None]) -> None:
    # Every row has the same keys: loaders that infer columns from the first rows would lose some.
    system, history = (_has_any(rows, name) for name in ("system", "history"))
    shaped = (
        alpaca_row(row, system=system, history=history) for row in rows_of(rows, TEXTS, advance)
    )
    _write_array(stream, shaped)


def _has_any(rows: MixtureRows, column: str) -> bool:
    return any(any(block[column]) for block in rows.blocks((column,)))


def _write_sharegpt(stream: IO[bytes], rows: MixtureRows, advance: Callable[[int], None]) -> None:
    _write_array(stream, (sharegpt_row(row) for row in rows_of(rows, TEXTS, advance)))


def _write_messages(stream: IO[bytes], rows: MixtureRows, advance: Callable[[int], None]) -> None:
    encode = msgspec.json.Encoder().encode
    for row in rows_of(rows, TEXTS, advance):
        stream.write(encode(messages_row(row)) + b"\n")


def _write_array(stream: IO[bytes], rows: Iterable[Row]) -> None:
    encode = msgspec.json.Encoder().encode
    before = b"[\n"
    for row in rows:
        stream.write(before + encode(row))
        before = b",\n"
    stream.write(b"[]\n" if before == b"[\n" else b"\n]\n")


def _write_parquet(stream: IO[bytes], rows: MixtureRows, advance: Callable[[int], None]) -> None:
    import pyarrow.parquet as pq

    done = 0
    with pq.ParquetWriter(stream, RECORD, compression="zstd") as writer:
        for block in rows.blocks(RECORD.names):
            columns = [pa.array(block[field.name], field.type) for field in RECORD]
            writer.write_batch(pa.record_batch(columns, schema=RECORD))
            done += len(columns[0])
            advance(done)


FORMATS: dict[str, Format] = {
    "alpaca": Format(".alpaca.json", _write_alpaca),
    "sharegpt": Format(".sharegpt.json", _write_sharegpt),
    "messages": Format(".messages.jsonl", _write_messages),
    "parquet": Format(".parquet", _write_parquet),
}
"""Formats by name; the file is named train or holdout and the suffix."""
