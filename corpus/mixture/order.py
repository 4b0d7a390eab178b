"""The order of a mixture: which rows, and which source's turn it is, by whole numbers only.

The keys are splitmix64 (Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators")
over seed, source, epoch and row, so that the order is the same on every machine and in every
version of every library. `corpus.mixture.build` writes what this arranges.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash

Keys = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.uint32]

GAMMA = 0x9E3779B97F4A7C15
FIRST, SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
MASK = 2**64 - 1

HOLDOUT_EPOCH = MASK
"""Stands for the epoch when the holdout is drawn, so that the draw is independent of training."""


def splitmix64(state: int) -> int:
    """Return the output of splitmix64 for a state."""
    z = (state + GAMMA) & MASK
    z = ((z ^ (z >> 30)) * FIRST) & MASK
    z = ((z ^ (z >> 27)) * SECOND) & MASK
    return z ^ (z >> 31)


def row_order_keys(rows: Rows, seed: int, source: str, epoch: int) -> Keys:
    """Return the key of each row number: different numbers have different keys."""
    of_source = xxhash.xxh3_64_intdigest(source.encode())
    state = splitmix64(splitmix64(splitmix64(seed) ^ of_source) ^ epoch)
    z = rows.astype(np.uint64)
    z *= np.uint64(GAMMA)
    z += np.uint64((state + GAMMA) & MASK)
    z ^= z >> np.uint64(30)
    z *= np.uint64(FIRST)
    z ^= z >> np.uint64(27)
    z *= np.uint64(SECOND)
    z ^= z >> np.uint64(31)
    return z


def draw(rows: Rows, count: int, seed: int, source: str, epoch: int) -> Rows:
    """Return `count` of the rows in the order of their keys, without repeats.

    Only the upper bits of a key count, as many as the row numbers leave free in 64; rows that are
    equal in them keep their order. So one sort of plain integers does it.
    """
    if count == 0:
        return rows[:0]
    bits = np.uint64(max(1, (len(rows) - 1).bit_length()))
    packed = row_order_keys(rows, seed, source, epoch)
    packed >>= bits
    packed <<= bits
    packed |= np.arange(len(rows), dtype=np.uint64)
    if count < len(rows):
        packed = np.partition(packed, count - 1)[:count]
    packed.sort()
    packed &= (np.uint64(1) << bits) - np.uint64(1)
    return rows[packed]


def draw_epochs(
    rows: Rows, quota: int, seed: int, source: str
) -> tuple[Rows, npt.NDArray[np.uint16]]:
    """Return `quota` rows and their epochs: every row once before any row twice."""
    drawn, epochs = [rows[:0]], [np.empty(0, dtype=np.uint16)]
    epoch = 0
    while quota > 0:
        count = min(quota, len(rows))
        drawn.append(draw(rows, count, seed, source, epoch))
        epochs.append(np.full(count, epoch, dtype=np.uint16))
        quota -= count
        epoch += 1
    return np.concatenate(drawn), np.concatenate(epochs)


def turns(quotas: Sequence[int]) -> npt.NDArray[np.int16]:
    """Return which source emits at each place, so that every prefix has the target proportions.

    The j-th of q rows of a source stands ideally at (2j + 1) N / 2q; ties go to the first source.
    With k sources, after n rows a source has emitted n q / N rows, give or take
    1/2 + k q / 2N.
    """
    total = sum(quotas)
    source_bits = max(1, (len(quotas) - 1).bit_length())
    # What whole places and sources leave of 64 bits holds the fraction of a place.
    fraction_bits = 64 - max(1, total.bit_length()) - source_bits
    packed = np.empty(total, dtype=np.uint64)
    start = 0
    for source, quota in enumerate(quotas):
        if quota:
            places = _ideal_places(quota, total, fraction_bits)
            places <<= np.uint64(source_bits)
            places |= np.uint64(source)
            packed[start : start + quota] = places
            start += quota
    packed.sort()
    packed &= np.uint64((1 << source_bits) - 1)
    return packed.astype(np.int16)


def _ideal_places(quota: int, total: int, fraction_bits: int) -> Keys:
    """Return the places in units of 2**-fraction_bits, rounded down.

    The products stay below 2**64 for any total below 2**31.
    """
    numerators = np.arange(1, 2 * quota, 2, dtype=np.uint64)
    numerators *= np.uint64(total)
    places, remainders = np.divmod(numerators, np.uint64(2 * quota))
    places <<= np.uint64(fraction_bits)
    remainders <<= np.uint64(fraction_bits)
    remainders //= np.uint64(2 * quota)
    places |= remainders
    return places


def arrange(
    drawn: Sequence[tuple[Rows, npt.NDArray[np.uint16]]],
) -> tuple[npt.NDArray[np.int16], Rows, npt.NDArray[np.uint16]]:
    """Return source, row and epoch of each place, from each source's rows and epochs in order."""
    sources = turns([len(rows) for rows, _ in drawn])
    # A stable sort of 16-bit integers is a radix sort: linear, and places stay in order.
    places = np.argsort(sources, kind="stable")
    return (
        sources,
        _scattered(places, [rows for rows, _ in drawn], np.uint32),
        _scattered(places, [epochs for _, epochs in drawn], np.uint16),
    )


def _scattered(places: npt.NDArray[np.intp], parts: Sequence[Any], dtype: Any) -> Any:
    out = np.empty(len(places), dtype=dtype)
    if parts:
        out[places] = np.concatenate(parts)
    return out
