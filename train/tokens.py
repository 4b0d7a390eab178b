"""The token cache: every row rendered once for each template, tokenizer and length.

Between rendering and packing. `tokens/<rendering>/` holds sealed segments of rendered rows, found
by row id and shared by all mixtures and runs, and for each mixture an index into them.
Files: segment-*/ rows.bin (ROW, in the order of the keys), tokens.bin; mixture-*/ a file for each
column of PLACES and refused.jsonl, of training rows and of the holdout, index.json.
"""

from __future__ import annotations

import gc
import hashlib
import json
import shutil
import uuid
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from corpus.atomic import new_folder, remove_unfinished, sole_writer
from corpus.errors import TrainError
from corpus.settings import Home
from train.data import BLOCK, COLUMNS, Group, Mixed, Rows, group_rows
from train.encode import Encoded, encode
from train.files import is_whole, seal
from train.render import Template, turns_of

VERSION = 3
"""Part of every key: raise it when rendering or the layout changes."""

BATCH = 1024
"""Rows that the tokenizer is given at a time."""

SEGMENT = 65_536
"""Rows of a new segment: what a kill can cost."""

MOST_SEGMENTS = 32
"""Above it the smaller segments are merged until half as many are left."""

ROW = np.dtype(
    [("key", "S16"), ("start", "<i8"), ("length", "<i4"), ("learned", "<i4"), ("mark", "u1")]
)
"""A rendered row: the bytes of its id, where its tokens lie, and what became of it (MARKS)."""

MARKS = ("whole", "cut", "no reply text", "no learned token within sequence_length")
WHOLE, CUT, NO_REPLY, NO_ROOM = range(4)

PLACES = {"position": "<i8", "start": "<i8", "lengths": "<i4", "group": "<i4", "segment": "<i4"}
"""Columns of an index; a row's position is that in the mixture."""

PARTS = ("train", "holdout")
ROWS, TOKENS = "rows.bin", "tokens.bin"

Piece = tuple[npt.NDArray[Any], npt.NDArray[Any]]
"""Rows, and their tokens as stored."""


@dataclass(frozen=True, slots=True)
class TokenStore:
    """Tokens of rows in the order of the mixture; arrays are memory-mapped."""

    path: Path
    part: str
    position: npt.NDArray[np.int64]
    start: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int32]
    group: npt.NDArray[np.int32]
    segment: npt.NDArray[np.int32]
    tokens: list[npt.NDArray[Any]]
    """Of each segment; a learned token t is stored as ~t, so marks take no room."""
    facts: dict[str, Any]
    groups: list[Group]
    """The tags of each code in `group`."""

    def __len__(self) -> int:
        return len(self.group)

    def row(self, number: int) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
        """Return tokens and learned marks of one row."""
        start = self.start[number]
        stored = self.tokens[self.segment[number]][start : start + self.lengths[number]]
        learned = stored < 0
        return np.where(learned, ~stored, stored), learned

    def refused(self) -> Iterator[dict[str, Any]]:
        """Yield the refused rows: position, id, source, reason."""
        with (self.path / f"{self.part}-refused.jsonl").open(encoding="utf-8") as lines:
            yield from map(json.loads, lines)


@dataclass(frozen=True)
class Rendering:
    """What turns rows into tokens."""

    tokenizer: Any
    template: Template
    max_tokens: int
    train_on_inputs: bool = False

    @cached_property
    def key(self) -> str:
        """The name of this rendering: it changes with all that decides the tokens of a row."""
        settings = [VERSION, self.template.identity, self.max_tokens, self.train_on_inputs]
        settings += [tokenizer_digest(self.tokenizer)]
        return hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:32]

    @cached_property
    def kind(self) -> str:
        """The smallest type that holds t and ~t of every token t."""
        top = max(self.tokenizer.get_vocab().values(), default=0)
        return "<i2" if top < 2**15 else "<i4"


def tokenizer_digest(tokenizer: Any) -> str:
    """Hash everything of a tokenizer that decides the tokens of a text."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    rules = backend.to_str() if backend else json.dumps(tokenizer.get_vocab(), sort_keys=True)
    marks = json.dumps([tokenizer.bos_token, tokenizer.eos_token, type(tokenizer).__name__])
    return hashlib.sha256((rules + marks).encode()).hexdigest()


def open_tokens(
    home: Home, mixture: Mixed, rendering: Rendering
) -> tuple[TokenStore, TokenStore | None]:
    """Open the tokens of a mixture's training rows and of its holdout, rendering what is missing.

    Both have the same groups. A holdout without rows is None.

    Raises:
        TrainError: no row can be learned from; the message has the reasons.
    """
    key = rendering.key
    index = home.tokens / key / f"mixture-{mixture.digest}"
    found = _open_index(index)
    if found is None:
        with sole_writer(home.locks, f"token-{key}"):
            found = _open_index(index)
            if found is None:
                remove_unfinished(index.parent)
                _make_index(index, (mixture, mixture.holdout), rendering)
                found = _open_index(index)
    assert found is not None
    return found[0], found[1] if len(found[1]) else None


def _open_index(index: Path) -> list[TokenStore] | None:
    """Map the rows of a mixture; None where something is absent or damaged."""
    try:
        facts = json.loads((index / "index.json").read_text()) if is_whole(index) else None
        segments = [index.parent / name for name in facts["segments"]] if facts else []
        if facts is None or not all(is_whole(one, deep=True) for one in (index, *segments)):
            return None
        tokens = [_map(one / TOKENS, facts["kind"]) for one in segments]
        groups = [Group(**one) for one in facts["groups"]]
        return [
            TokenStore(
                index,
                part,
                **{name: _map(index / f"{part}-{name}.bin", PLACES[name]) for name in PLACES},
                tokens=tokens,
                facts=facts[part],
                groups=groups,
            )
            for part in PARTS
        ]
    except FileNotFoundError:  # Another process has merged the segments meanwhile.
        return None


def _map(file: Path, kind: Any) -> npt.NDArray[Any]:
    if file.stat().st_size == 0:
        return np.zeros(0, kind)  # An empty file cannot be mapped.
    return np.memmap(file, dtype=kind, mode="r")


def _make_index(index: Path, parts: Sequence[Rows], rendering: Rendering) -> None:
    """Render the rows that no segment has, and write down where each row lies."""
    folder = index.parent
    keys = np.concatenate([_keys(rows) for rows in parts])
    wanted, first, same = np.unique(keys, return_index=True, return_inverse=True)
    missing = np.sort(first[_find(_segments(folder), wanted)[0] < 0])
    collects = gc.isenabled()
    gc.disable()  # Rendering makes no cycles, and looking for them takes a sixth of its time.
    try:
        for start in range(0, len(missing), SEGMENT):
            _write_segment(folder, _render(parts, missing[start : start + SEGMENT], rendering))
    finally:
        if collects:
            gc.enable()
    _merge(folder, rendering.kind)
    segments = _segments(folder)
    number, at = _find(segments, wanted)
    found = np.zeros(len(wanted), ROW)
    for code, (_, table) in enumerate(segments):
        found[number == code] = table[at[number == code]]
    rows, segment, groups = found[same], number[same], group_rows(parts)
    facts: dict[str, Any] = {"kind": rendering.kind, "groups": [asdict(one) for one in groups[0]]}
    facts["segments"] = [path.name for path, _ in segments]
    if index.exists():
        shutil.rmtree(index)
    with new_folder(index) as temporary:
        start = 0
        for name, part, codes in zip(PARTS, parts, groups[1], strict=True):
            here = slice(start, start := start + len(part))
            facts[name] = _counts(name, rows[here], rendering)
            _write_part(temporary / name, part, (rows[here], segment[here], codes))
        (temporary / "index.json").write_text(json.dumps(facts))
        seal(temporary, manifest=True)


def _counts(name: str, rows: npt.NDArray[Any], rendering: Rendering) -> dict[str, Any]:
    """Count the rows and tokens of a part.

    Raises:
        TrainError: nothing is left of it.
    """
    marks, counts = np.unique(rows["mark"], return_counts=True)
    counted = {MARKS[mark]: int(n) for mark, n in zip(marks, counts, strict=True)}
    kept = {mark: counted.pop(mark, 0) for mark in MARKS[: CUT + 1]}
    if not sum(kept.values()) and (counted or name == PARTS[0]):
        told = ", ".join(f"{reason} ({n})" for reason, n in counted.items())
        raise TrainError(
            f"every one of the {len(rows)} {name} rows is refused: {told or 'there is none'}."
            f" Raise sequence_length (now {rendering.max_tokens}) or choose other rows."
        )
    return {
        "rows": sum(kept.values()),
        "tokens": int(rows["length"].sum()),
        "learned_tokens": int(rows["learned"].sum()),
        "cut_rows": kept[MARKS[CUT]],
        "refused": counted,
        "max_tokens": rendering.max_tokens,
        "template": rendering.template.name,
    }


def _write_part(stem: Path, part: Rows, columns: tuple[npt.NDArray[Any], ...]) -> None:
    rows, segment, groups = columns
    source_of = part.index.source
    kept = np.flatnonzero(rows["mark"] <= CUT)
    places = {"position": kept, "group": groups[kept], "segment": segment[kept]}
    places |= {"start": rows["start"][kept], "lengths": rows["length"][kept]}
    for name, kind in PLACES.items():
        stem.with_name(f"{stem.name}-{name}.bin").write_bytes(places[name].astype(kind).tobytes())
    with stem.with_name(f"{stem.name}-refused.jsonl").open("w", encoding="utf-8") as file:
        for at in np.flatnonzero(rows["mark"] > CUT).tolist():
            told = {"position": at, "id": rows["key"][at : at + 1].tobytes().hex()}
            told |= {"reason": MARKS[rows["mark"][at]]}
            told |= {"source": part.sources[int(source_of[at])].name}
            file.write(json.dumps(told) + "\n")


def _keys(rows: Rows) -> npt.NDArray[np.bytes_]:
    """Return the bytes of the rows' ids: equal ids are equal rows."""
    blocks = (range(start, min(start + BLOCK, len(rows))) for start in range(0, len(rows), BLOCK))
    return _bytes(chain.from_iterable(rows.rows(block, ("id",))["id"] for block in blocks))


def _bytes(ids: Iterable[str]) -> npt.NDArray[np.bytes_]:
    return np.frombuffer(bytes.fromhex("".join(ids)), "S16")


def _segments(folder: Path) -> list[tuple[Path, npt.NDArray[Any]]]:
    """Return the segments and their rows; a damaged one goes, and its rows are made again."""
    found = []
    for path in sorted(folder.glob("segment-*")):
        if is_whole(path, deep=True):
            found.append((path, _map(path / ROWS, ROW)))
        else:
            shutil.rmtree(path)
    return found


def _find(
    segments: Sequence[tuple[Path, npt.NDArray[Any]]], wanted: npt.NDArray[np.bytes_]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Return for each of the sorted keys its segment, -1 where none has it, and its place there."""
    number, at = np.full(len(wanted), -1, np.int32), np.zeros(len(wanted), np.int64)
    for code, (_, table) in enumerate(segments):
        keys, todo = np.ascontiguousarray(table["key"]), np.flatnonzero(number < 0)
        places = np.searchsorted(keys, wanted[todo]).clip(max=len(keys) - 1)
        hit = keys[places] == wanted[todo]
        number[todo[hit]], at[todo[hit]] = code, places[hit]
    return number, at


def _merge(folder: Path, kind: str) -> None:
    """Make one segment of the smaller ones when there are many."""
    segments = sorted(_segments(folder), key=lambda one: len(one[1]))
    small = segments[: -(MOST_SEGMENTS // 2)] if len(segments) > MOST_SEGMENTS else []
    if small:
        _write_segment(
            folder, ((np.array(table), _map(path / TOKENS, kind)) for path, table in small)
        )
    for path, _ in small:
        shutil.rmtree(path)


def _write_segment(folder: Path, pieces: Iterable[Piece]) -> None:
    """Join rows and their tokens to a segment."""
    tables, base = [], 0
    with new_folder(folder / f"segment-{uuid.uuid4().hex[:16]}") as temporary:
        with (temporary / TOKENS).open("wb") as file:
            for table, tokens in pieces:
                table["start"] += base
                base += len(tokens)
                tables.append(table)
                file.write(tokens.data)
        rows = np.concatenate(tables)
        (temporary / ROWS).write_bytes(rows[np.argsort(rows["key"], kind="stable")].tobytes())
        seal(temporary, manifest=True)


def _render(
    parts: Sequence[Rows], places: npt.NDArray[np.int64], rendering: Rendering
) -> Iterator[Piece]:
    """Render the rows at the given places of all parts together.

    The tokenizer works on one block, in a thread of its own, while the next one is read.
    """
    before = None
    with ThreadPoolExecutor(1) as tokenizer:
        for block in _blocks(parts, places):
            names = list(block)
            rows = [
                dict(zip(names, values, strict=True))
                for values in zip(*block.values(), strict=True)
            ]
            turns = [turns_of(row) for row in rows]
            silent = [not any((turn.output or "").strip() for turn in one) for one in turns]
            asked = zip(turns, rows, strict=True)
            texts = [rendering.template.parts(one, row["system"]) for one, row in asked]
            coming = tokenizer.submit(encode, rendering.tokenizer, texts)
            if before is not None:
                yield _fit(before[0].result(), *before[1:], rendering)
            before = coming, silent, block["id"]
        if before is not None:
            yield _fit(before[0].result(), *before[1:], rendering)


def _blocks(parts: Sequence[Rows], places: npt.NDArray[np.int64]) -> Iterator[dict[str, list[Any]]]:
    """Yield the rows at the given places of all parts together."""
    base = 0
    for rows in parts:
        here = places[(places >= base) & (places < base + len(rows))] - base
        for start in range(0, len(here), BATCH):
            yield rows.rows(here[start : start + BATCH], COLUMNS)
        base += len(rows)


def _fit(
    encoded: Sequence[Encoded],
    silent: Sequence[bool],
    row_ids: Sequence[str],
    rendering: Rendering,
) -> Piece:
    """Cut rows to their maximum; mark what is refused."""
    cut = [len(row.ids) > rendering.max_tokens for row in encoded]
    for row in encoded:
        del row.ids[rendering.max_tokens :], row.learned[rendering.max_tokens :]
    lengths = np.fromiter((len(row.ids) for row in encoded), np.int32, len(encoded))
    ids = chain.from_iterable(row.ids for row in encoded)
    tokens = np.fromiter(ids, rendering.kind, int(lengths.sum()))
    learned = np.frombuffer(b"".join(bytes(row.learned) for row in encoded), np.bool_)
    learned = learned | rendering.train_on_inputs
    starts = np.cumsum(lengths) - lengths
    learned[starts[lengths > 0]] = False  # Nothing stands before it to predict it from.
    sums = np.concatenate([[0], np.cumsum(learned)])
    np.invert(tokens, out=tokens, where=learned)
    rows = np.zeros(len(encoded), ROW)
    rows["key"] = _bytes(row_ids)
    rows["learned"] = sums[starts + lengths] - sums[starts]
    rows["mark"] = np.where(cut, CUT, WHOLE)
    rows["mark"][rows["learned"] == 0] = NO_ROOM
    rows["mark"][np.array(silent, np.bool_)] = NO_REPLY
    kept = rows["mark"] <= CUT
    rows["learned"][~kept] = 0
    rows["length"] = np.where(kept, lengths, 0)
    rows["start"] = np.cumsum(rows["length"]) - rows["length"]
    return rows, tokens[np.repeat(kept, lengths)]
