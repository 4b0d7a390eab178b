"""Packing: whole rows side by side in packed rows of one length, isolated from each other.

Between the token store and the trainer: a plan, an order that any step can compute for itself,
and a collator. Without packing a packed row holds one row, and rows of like length go together.
"""

from __future__ import annotations

import math
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

BUCKET = 8
"""Rows of like length that stay together without packing, as far as a step's size allows."""


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


def epoch_keys(n_packs: int, seed: int, epoch: int) -> npt.NDArray[np.uint64]:
    """Return a number for each pack by which an epoch is shuffled; no two are equal."""
    mixed = splitmix64(np.array([seed], np.uint64)) ^ np.uint64(epoch)
    return splitmix64(np.arange(n_packs, dtype=np.uint64) ^ splitmix64(mixed))


class PackOrder:
    """The packs of every micro batch of a whole run: a function of seed and position only.

    What a step holds depends on neither micro batch nor processes. A step may cross the end of an
    epoch, so every step but the last is of full size. The widest packs come in the first step,
    and the widest of every step first, so that memory that will not do is missed at once and
    processes work on like widths at the same time. All processes have as many micro batches; one
    that is left without packs has an empty one.
    """

    def __init__(
        self,
        widths: npt.NDArray[np.integer[Any]],
        total: int,
        rows_a_step: int,
        micro: int,
        seed: int,
        *,
        bucketed: bool = False,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.widths, self.total, self.rows_a_step = widths.astype(np.int64), total, rows_a_step
        self.micro, self.seed, self.bucketed = micro, seed, bucketed
        self.rank, self.world = rank, world
        self._known = (-1, np.zeros(0, np.int64))

    def _passes(self, n_packs: int) -> int:
        return -(-n_packs // (self.micro * self.world))

    def __len__(self) -> int:
        steps, rest = divmod(self.total, self.rows_a_step)
        return steps * self._passes(self.rows_a_step) + self._passes(rest)

    def __iter__(self) -> Iterator[list[int]]:
        for number in range(-(-self.total // self.rows_a_step)):
            packs = self.step(number)
            stop = self._passes(len(packs)) * self.world * self.micro
            for first in range(self.rank * self.micro, stop, self.world * self.micro):
                yield packs[first : first + self.micro]

    def step(self, number: int) -> list[int]:
        """Return the packs of an optimizer step, the widest first."""
        first = number * self.rows_a_step
        places = np.arange(first, min(first + self.rows_a_step, self.total))
        epochs, places = np.divmod(places, len(self.widths))
        parts = [self.epoch(int(one))[places[epochs == one]] for one in np.unique(epochs)]
        packs = np.concatenate(parts)
        found: list[int] = packs[np.lexsort((packs, -self.widths[packs]))].tolist()
        return found

    def epoch(self, number: int) -> npt.NDArray[np.int64]:
        """Return the packs in the order of an epoch."""
        if self._known[0] != number:
            self._known = (number, self._order(number))
        return self._known[1]

    def _order(self, epoch: int) -> npt.NDArray[np.int64]:
        keys, places = epoch_keys(len(self.widths), self.seed, epoch), np.arange(len(self.widths))
        order, widest = np.argsort(keys), np.lexsort((keys, -self.widths))
        if self.bucketed:
            bucket = keys[places // math.gcd(self.rows_a_step, BUCKET)]
            order = widest[np.lexsort((places, bucket))]
        if epoch == 0:
            leads = np.zeros(len(places), np.bool_)
            leads[widest[: self.rows_a_step]] = True
            order = np.concatenate([order[leads[order]], order[~leads[order]]])
        return order

    def padding(self) -> float:
        """Return the share of an epoch's places that hold padding."""
        sizes = self.widths[self.epoch(0)]
        sizes = np.pad(sizes, (0, -len(sizes) % self.rows_a_step)).reshape(-1, self.rows_a_step)
        batches = -np.sort(-sizes).reshape(-1, self.micro)
        return 1 - float(self.widths.sum() / (batches.max(1) * (batches > 0).sum(1)).sum())


@dataclass(frozen=True, slots=True)
class PackedRows:
    """The packed rows of a store, as the data set of a loader."""

    store: TokenStore
    packs: Packs
    masked: bool = False
    """Give an attention mask: only right where no packed row holds several rows."""

    def __len__(self) -> int:
        return len(self.packs)

    def __getitem__(self, pack: int) -> list[int]:
        return [int(row) for row in self.packs[pack]]

    @property
    def widths(self) -> npt.NDArray[np.int64]:
        """Tokens of every packed row."""
        sums = np.cumsum(self.store.lengths[self.packs.rows], dtype=np.int64)
        return np.diff(sums[self.packs.starts[1:] - 1], prepend=0)

    def collate(self, batch: Sequence[Sequence[int]]) -> dict[str, torch.Tensor]:
        """Return the tensors of a micro batch; each element of `batch` is the rows of one pack.

        Positions restart with every row, which is how transformers keeps packed rows apart; each
        place of padding is a row of its own. An empty batch gives one place of padding.
        """
        batch = batch or [[]]
        width = max(1, *(sum(int(self.store.lengths[row]) for row in rows) for rows in batch))
        ids, positions, groups, mask = (np.zeros((len(batch), width), np.int64) for _ in range(4))
        targets = np.full((len(batch), width), IGNORED, np.int64)
        mask[:, 0] = 1  # A row without a single place to look at would have no softmax.
        for line, rows in enumerate(batch):
            start = 0
            for row in rows:
                tokens, learned = self.store.row(row)
                stop = start + len(tokens)
                ids[line, start:stop] = tokens
                positions[line, start:stop] = np.arange(len(tokens))
                # A place predicts the token after it; the last place of a row predicts none.
                targets[line, start : stop - 1] = np.where(learned[1:], tokens[1:], IGNORED)
                groups[line, start:stop] = self.store.group[row]
                mask[line, start:stop] = 1
                start = stop
        keep = np.flatnonzero((targets != IGNORED).any(axis=0))
        tensors = {
            "input_ids": ids,  # (micro, width) int64
            "position_ids": positions,  # (micro, width) int64
            "keep": keep,  # (kept,) int64: places that any line predicts from
            "targets": targets[:, keep],  # (micro, kept) int64, -100 = ignored
            "groups": groups[:, keep],  # (micro, kept) int64
        }
        if self.masked:
            tensors["attention_mask"] = mask  # (micro, width) int64, 0 = padding
        return {name: torch.from_numpy(one) for name, one in tensors.items()}


def micro_batches(data: PackedRows, micro: int) -> Iterator[dict[str, Any]]:
    """Yield all packed rows once, the widest first: for evaluation."""
    order = np.argsort(-data.widths, kind="stable").tolist()
    for start in range(0, len(order), micro):
        yield data.collate([data[pack] for pack in order[start : start + micro]])
