"""Packing: whole rows side by side in packed rows of one length, isolated from each other.

Between the token store and the trainer: a plan, an order that any step can compute for itself,
and a collator.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from train.tokens import TokenStore

IGNORED = -100
"""Target of a place that no loss counts."""


@dataclass(frozen=True, slots=True)
class Packs:
    """Which rows share a packed row: pack i holds rows[starts[i]:starts[i + 1]], ascending."""

    rows: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, pack: int) -> npt.NDArray[np.int64]:
        return self.rows[self.starts[pack] : self.starts[pack + 1]]


def plan_packs(
    lengths: npt.NDArray[np.integer[Any]], capacity: int, *, packing: bool = True
) -> Packs:
    """Assign every row to a packed row by best fit, longest rows first.

    Rows of equal length move in groups, so the work grows with the number of distinct lengths.
    Without packing every row is alone.
    """
    n_rows = len(lengths)
    assert not n_rows or 0 < lengths.min() <= lengths.max() <= capacity
    if not packing:
        return Packs(np.arange(n_rows), np.arange(n_rows + 1))
    order = np.argsort(-lengths, kind="stable")
    pack_of = np.empty(n_rows, np.int64)
    left: dict[int, list[npt.NDArray[np.int64]]] = defaultdict(list)
    n_packs = start = 0
    sizes, counts = np.unique(-lengths, return_counts=True)
    for size, count in zip((-sizes).tolist(), counts.tolist(), strict=True):
        chosen, n_packs = _place(size, count, left, capacity, n_packs)
        pack_of[order[start : start + count]] = chosen
        start += count
    rows = np.lexsort((np.arange(n_rows), pack_of))
    starts = np.searchsorted(pack_of[rows], np.arange(n_packs + 1))
    return Packs(rows, starts.astype(np.int64))


def _place(
    size: int,
    count: int,
    left: dict[int, list[npt.NDArray[np.int64]]],
    capacity: int,
    n_packs: int,
) -> tuple[npt.NDArray[np.int64], int]:
    """Place `count` rows of one size; return their packs and the new number of packs.

    `left` holds open packs by the room left in them. The tightest room that fits is filled as
    often as it fits, because after one row it is tighter still.
    """
    chosen: list[npt.NDArray[np.int64]] = []
    for room in sorted(one for one in left if one >= size):
        if not count:
            break
        packs = np.concatenate(left.pop(room))
        used, count = _fill(packs, room // size, size, room, count, left)
        chosen.append(used)
    if count:
        fits = capacity // size
        opened = -(-count // fits)
        packs = np.arange(n_packs, n_packs + opened)
        n_packs += opened
        used, count = _fill(packs, fits, size, capacity, count, left)
        chosen.append(used)
    assert count == 0
    return np.concatenate(chosen), n_packs


def _fill(
    packs: npt.NDArray[np.int64],
    fits: int,
    size: int,
    room: int,
    count: int,
    left: dict[int, list[npt.NDArray[np.int64]]],
) -> tuple[npt.NDArray[np.int64], int]:
    """Put up to `fits` rows into each pack until `count` is used up."""
    full = min(len(packs), count // fits)
    rest = count - full * fits if full < len(packs) else 0
    used = np.repeat(packs[:full], fits)
    if full:
        left[room - fits * size].append(packs[:full])
    if rest:
        used = np.concatenate([used, np.repeat(packs[full], rest)])
        left[room - rest * size].append(packs[full : full + 1])
    untouched = packs[full + bool(rest) :]
    if len(untouched):
        left[room].append(untouched)
    return used, count - len(used)


def splitmix64(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Scramble integers one to one: the same numbers on every machine and version."""
    with np.errstate(over="ignore"):
        values = values + np.uint64(0x9E3779B97F4A7C15)
        values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return values ^ (values >> np.uint64(31))


def epoch_order(n_packs: int, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """Return the order of packs in an epoch."""
    mixed = splitmix64(np.array([seed], np.uint64)) ^ np.uint64(epoch)
    keys = splitmix64(np.arange(n_packs, dtype=np.uint64) ^ splitmix64(mixed))
    return np.argsort(keys, kind="stable")


class PackOrder:
    """The packs of every micro batch of a whole run: a function of seed and position only.

    A step may cross the end of an epoch, so every step but the last is of full size. With several
    processes each takes every n-th micro batch.
    """

    def __init__(
        self, n_packs: int, total: int, micro: int, seed: int, *, rank: int = 0, world: int = 1
    ) -> None:
        self.n_packs, self.total, self.micro, self.seed = n_packs, total, micro, seed
        self.rank, self.world = rank, world

    def __len__(self) -> int:
        batches = -(-self.total // self.micro)
        return batches // self.world

    def __iter__(self) -> Iterator[list[int]]:
        epoch, order = -1, np.zeros(0, np.int64)
        for number in range(len(self)):
            first = (number * self.world + self.rank) * self.micro
            batch = []
            for place in range(first, min(first + self.micro, self.total)):
                if place // self.n_packs != epoch:
                    epoch = place // self.n_packs
                    order = epoch_order(self.n_packs, self.seed, epoch)
                batch.append(int(order[place % self.n_packs]))
            yield batch


@dataclass(frozen=True, slots=True)
class PackedRows:
    """The packed rows of a store, as the data set of a loader."""

    store: TokenStore
    packs: Packs

    def __len__(self) -> int:
        return len(self.packs)

    def __getitem__(self, pack: int) -> list[int]:
        return [int(row) for row in self.packs[pack]]

    def collate(self, batch: Sequence[Sequence[int]]) -> dict[str, torch.Tensor]:
        """Return the tensors of a micro batch; each element of `batch` is the rows of one pack.

        Positions restart with every row, which is how transformers keeps packed rows apart; each
        place of padding is a row of its own.
        """
        width = max(sum(int(self.store.lengths[row]) for row in rows) for rows in batch)
        ids = np.zeros((len(batch), width), np.int64)
        positions = np.zeros((len(batch), width), np.int64)
        targets = np.full((len(batch), width), IGNORED, np.int64)
        groups = np.zeros((len(batch), width), np.int64)
        for line, rows in enumerate(batch):
            start = 0
            for row in rows:
                tokens, learned = self.store.row(row)
                stop = start + len(tokens)
                ids[line, start:stop] = tokens
                positions[line, start:stop] = np.arange(len(tokens))
                # A place predicts the token after it; the last place of a row predicts none.
                nexts = np.where(learned[1:], tokens[1:], IGNORED)
                targets[line, start : stop - 1] = nexts
                groups[line, start:stop] = self.store.group[row]
                start = stop
        keep = np.flatnonzero((targets != IGNORED).any(axis=0))
        return {
            "input_ids": torch.from_numpy(ids),  # (micro, width) int64
            "position_ids": torch.from_numpy(positions),  # (micro, width) int64
            "keep": torch.from_numpy(keep),  # (kept,) int64: places that any line predicts from
            "targets": torch.from_numpy(targets[:, keep]),  # (micro, kept) int64, -100 = ignored
            "groups": torch.from_numpy(groups[:, keep]),  # (micro, kept) int64
        }


def micro_batches(data: PackedRows, micro: int) -> Iterator[dict[str, Any]]:
    """Yield all packed rows once, in the order of the plan: for evaluation."""
    for start in range(0, len(data), micro):
        yield data.collate([data[one] for one in range(start, min(start + micro, len(data)))])
