"""The token store: every row of a mixture rendered once, kept as memory-mapped arrays.

Between rendering and packing; keyed by what decides its bytes, so runs share it.
Files: ids.bin (int32), learned.bin (uint8), offsets.bin (int64, rows + 1), group.bin (int32),
position.bin (int64, the row's place in the mixture), refused.jsonl, and store.json last.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from corpus.atomic import new_folder, sole_writer
from corpus.errors import TrainError
from corpus.settings import Home
from train.data import COLUMNS, Group, Mixed, Rows, group_rows
from train.encode import Encoded, encode
from train.files import seal
from train.render import Template, turns_of

VERSION = 3
"""Part of every key: raise it when rendering or the layout changes."""

BLOCK = 512
"""Rows rendered at a time; bounds memory."""

TYPES = {
    "ids": np.int32,
    "learned": np.uint8,
    "offsets": np.int64,
    "group": np.int32,
    "position": np.int64,
}

NO_REPLY = "no reply text"
NO_ROOM = "no learned token within sequence_length"


@dataclass(frozen=True, slots=True)
class TokenStore:
    """Tokens of rows in the order of the mixture; arrays are memory-mapped."""

    path: Path
    ids: npt.NDArray[np.int32]
    learned: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]
    group: npt.NDArray[np.int32]
    position: npt.NDArray[np.int64]
    facts: dict[str, Any]
    groups: list[Group]
    """The tags of each code in `group`."""

    def __len__(self) -> int:
        return len(self.group)

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of every row."""
        return np.diff(self.offsets)

    @property
    def learned_tokens(self) -> int:
        """Tokens that the loss counts, over all rows."""
        return int(self.facts["learned_tokens"])

    def row(self, number: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint8]]:
        """Return tokens and learned marks of one row."""
        start, stop = self.offsets[number], self.offsets[number + 1]
        return self.ids[start:stop], self.learned[start:stop]

    def refused(self) -> Iterator[dict[str, Any]]:
        """Yield the refused rows: position, id, source, reason."""
        with (self.path / "refused.jsonl").open(encoding="utf-8") as lines:
            yield from map(json.loads, lines)


@dataclass(frozen=True, slots=True)
class Rendering:
    """What turns rows into tokens."""

    tokenizer: Any
    template: Template
    max_tokens: int
    train_on_inputs: bool = False

    def key(self, rows_digest: str) -> str:
        """Return the key of the store that this rendering makes of these rows."""
        settings = [VERSION, rows_digest, self.template.identity, self.max_tokens]
        settings += [self.train_on_inputs, tokenizer_digest(self.tokenizer)]
        return hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:32]


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

    Both have the same groups. A mixture without a holdout has None.

    Raises:
        TrainError: every row is refused; the message has the reasons.
    """
    parts = {"train": mixture, "holdout": mixture.holdout}
    groups, codes = group_rows(list(parts.values()))
    stores = [
        _token_store(home, rows, code, (f"{mixture.digest}/{name}", rendering), groups)
        if len(rows) or name == "train"
        else None
        for code, (name, rows) in zip(codes, parts.items(), strict=True)
    ]
    assert stores[0] is not None
    return stores[0], stores[1]


def _token_store(
    home: Home,
    rows: Rows,
    codes: npt.NDArray[np.int32],
    named: tuple[str, Rendering],
    groups: list[Group],
) -> TokenStore:
    key = named[1].key(named[0])
    path = home.tokens / key
    if not path.is_dir():
        with sole_writer(home.locks, f"token-{key}"):
            if not path.is_dir():
                _write(path, rows, codes, named[1], groups)
    return _open_store(path)


def _open_store(path: Path) -> TokenStore:
    """Map the arrays of a store."""
    facts = json.loads((path / "store.json").read_text())
    arrays = {name: _map(path / f"{name}.bin", kind) for name, kind in TYPES.items()}
    groups = [Group(**one) for one in facts["groups"]]
    return TokenStore(path, facts=facts, groups=groups, **arrays)


def _map(file: Path, kind: Any) -> npt.NDArray[Any]:
    if file.stat().st_size == 0:
        return np.zeros(0, kind)  # An empty file cannot be mapped.
    return np.memmap(file, dtype=kind, mode="r")


def _write(
    path: Path,
    rows: Rows,
    codes: npt.NDArray[np.int32],
    rendering: Rendering,
    groups: list[Group],
) -> None:
    with new_folder(path) as temporary:
        facts = _render_all(temporary, rows, codes, rendering)
        facts["groups"] = [asdict(one) for one in groups]
        if len(rows) and not facts["rows"]:
            reasons = ", ".join(f"{reason} ({n})" for reason, n in facts["refused"].items())
            raise TrainError(
                f"every one of the {len(rows)} rows is refused: {reasons}."
                f" Raise sequence_length (now {rendering.max_tokens}) or choose other rows."
            )
        (temporary / "store.json").write_text(json.dumps(facts, indent=1))
        seal(temporary)


def _render_all(
    folder: Path, rows: Rows, codes: npt.NDArray[np.int32], rendering: Rendering
) -> dict[str, Any]:
    """Render rows block by block into the array files; return the counts."""
    with ExitStack() as stack:
        files: dict[str, IO[Any]] = {
            name: stack.enter_context((folder / f"{name}.bin").open("wb")) for name in TYPES
        }
        refused = stack.enter_context((folder / "refused.jsonl").open("w", encoding="utf-8"))
        return _render_to((files, refused), rows, codes, rendering)


def _render_to(
    into: tuple[dict[str, IO[Any]], IO[str]],
    rows: Rows,
    groups: npt.NDArray[np.int32],
    rendering: Rendering,
) -> dict[str, Any]:
    files, refused = into
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    files["offsets"].write(np.zeros(1, np.int64).tobytes())
    for start in range(0, len(rows), BLOCK):
        positions = range(start, min(start + BLOCK, len(rows)))
        block = rows.rows(positions, COLUMNS)
        codes = groups[start : positions.stop]
        encoded = _encode_block(block, rendering)
        kept = []
        for number, (row, position) in enumerate(zip(encoded, positions, strict=True)):
            reason = row if isinstance(row, str) else None
            if reason is not None:
                reasons[reason] += 1
                where = {"position": position, "id": block["id"][number], "reason": reason}
                source = rows.sources[int(rows.index.source[position])].name
                refused.write(json.dumps({**where, "source": source}) + "\n")
                continue
            kept.append((row, position, codes[number]))
        _append(files, kept, counts)
    return {
        **{one: counts[one] for one in ("rows", "tokens", "learned_tokens", "cut_rows")},
        "refused": dict(reasons),
        "max_tokens": rendering.max_tokens,
        "template": rendering.template.name,
    }


def _append(files: dict[str, Any], kept: list[Any], counts: Counter[str]) -> None:
    ends = []
    for row, _, _ in kept:
        files["ids"].write(np.array(row.ids, np.int32).tobytes())
        files["learned"].write(np.array(row.learned, np.uint8).tobytes())
        counts["rows"] += 1
        counts["tokens"] += len(row.ids)
        counts["learned_tokens"] += sum(row.learned)
        counts["cut_rows"] += row.cut
        ends.append(counts["tokens"])
    files["offsets"].write(np.array(ends, np.int64).tobytes())
    files["group"].write(np.array([code for _, _, code in kept], np.int32).tobytes())
    files["position"].write(np.array([place for _, place, _ in kept], np.int64).tobytes())


@dataclass(frozen=True, slots=True)
class Fitted:
    """A row that fits and has something to learn."""

    ids: list[int]
    learned: list[bool]
    cut: bool


def _encode_block(block: dict[str, list[Any]], rendering: Rendering) -> list[Fitted | str]:
    """Return for each row of a block its tokens, or the reason why it is refused."""
    names = list(block)
    rows = [dict(zip(names, values, strict=True)) for values in zip(*block.values(), strict=True)]
    turns = [turns_of(row) for row in rows]
    parts = [
        rendering.template.parts(one, row["system"]) for one, row in zip(turns, rows, strict=True)
    ]
    encoded = encode(rendering.tokenizer, parts)
    silent = [not any((turn.output or "").strip() for turn in one) for one in turns]
    return [
        NO_REPLY if mute else _fit(row, rendering)
        for row, mute in zip(encoded, silent, strict=True)
    ]


def _fit(row: Encoded, rendering: Rendering) -> Fitted | str:
    """Cut a row to its maximum; the first token has nothing before it to be predicted from."""
    ids = row.ids[: rendering.max_tokens]
    learned = [True] * len(ids) if rendering.train_on_inputs else row.learned[: len(ids)]
    learned = [False, *learned[1:]]
    if not any(learned):
        return NO_ROOM
    return Fitted(ids, learned, len(row.ids) > len(ids))
