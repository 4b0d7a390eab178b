"""Which rows of the sources are duplicates, by the `keys` annotation.

A step of `corpus.mixture.plan`: masks over each source's rows, and counts with their reasons.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from corpus.annotate import annotation
from corpus.engine import Advance, Engine
from corpus.mixture.recipe import Dedup
from corpus.mixture.sources import Source
from corpus.settings import Home

Keys = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]

DUPLICATE_ROW = "duplicate row"
DUPLICATE_PROMPT = "duplicate prompt"
DUPLICATE_ACROSS = "in another source"
HELD_OUT = "held-out prompt"
"""Reasons for which a row is not in a mixture."""

PROBE_BITS = 20


@dataclass(frozen=True, slots=True)
class SourceKeys:
    """The duplicate keys of a source's rows."""

    prompt: Keys
    row: Keys


@dataclass(slots=True)
class Candidates:
    """What is left of a source's rows, and how many have left for which reason."""

    mask: Mask
    removed: dict[str, int] = field(default_factory=dict)
    repeated_prompts: int = 0
    """Kept rows whose prompt a kept row before them has too."""

    def keep(self, mask: Mask, reason: str) -> None:
        """Keep only the rows of a mask; count the others under a reason."""
        kept = self.mask & mask
        gone = int(np.count_nonzero(self.mask)) - int(np.count_nonzero(kept))
        self.mask = kept
        if gone:
            self.removed[reason] = self.removed.get(reason, 0) + gone


def read_keys(
    sources: Sequence[Source], home: Home, workers: int | None, advance: Advance
) -> list[SourceKeys]:
    """Return the keys of each source; compute those that no build of the rows had before."""
    total = sum(one.rows for one in sources)
    found, done = [], 0
    with Engine("processes", workers) as engine:
        for source in sources:
            further = _after(advance, done, total)
            table = annotation(home, source.build, "keys", engine=engine, advance=further)
            own = table.slice(source.start, source.rows)
            found.append(SourceKeys(*(_numbers(own, name) for name in ("prompt_key", "row_key"))))
            done += source.rows
            advance(done, total)
    return found


def _after(advance: Advance, before: int, total: int) -> Advance:
    """Return an `advance` that counts from what was done before."""

    def further(done: float, _: float) -> None:
        advance(min(before + done, total), total)

    return further


def _numbers(table: pa.Table, name: str) -> Keys:
    numbers: Keys = table.column(name).to_numpy()
    return numbers


def first_distinct(keys: Keys) -> Mask:
    """Tell for each key whether it stands there for the first time."""
    import polars

    # A hash table decides, but its hash values do not show: the answer is exact.
    mask: Mask = polars.Series(keys).is_first_distinct().to_numpy()
    return mask


def contains(known: Keys, keys: Keys) -> Mask:
    """Tell for each key whether it is one of the known ones, which are few."""
    probes = np.zeros(1 << PROBE_BITS, dtype=bool)
    low_bits = np.uint64((1 << PROBE_BITS) - 1)
    probes[known & low_bits] = True
    mask: Mask = probes[keys & low_bits]
    places = np.flatnonzero(mask)
    mask[places] = np.isin(keys[places], known)
    return mask


def preferred_order(sources: Sequence[Source], dedup: Dedup) -> list[int]:
    """Return the places of the sources, the one that keeps its rows first."""
    ranks = {name: rank for rank, name in enumerate(dedup.prefer)}

    def rank(place: int) -> tuple[int, int]:
        tags = sources[place].tags
        return min(ranks.get(one, len(ranks)) for one in (tags.name, tags.id)), place

    return sorted(range(len(sources)), key=rank)


def remove_duplicates(
    sources: Sequence[Source], keys: Sequence[SourceKeys], dedup: Dedup
) -> list[Candidates]:
    """Return what is left of each source when duplicates are removed as the recipe says."""
    left = [Candidates(np.ones(source.rows, dtype=bool)) for source in sources]
    by_prompt = dedup.exact == "prompt"
    for one, own in zip(left, keys, strict=True):
        if dedup.exact:
            one.keep(first_distinct(own.row), DUPLICATE_ROW)
        if by_prompt:
            one.keep(first_distinct(own.prompt), DUPLICATE_PROMPT)
    order = preferred_order(sources, dedup)
    compared = [own.prompt if by_prompt else own.row for own in keys]
    if dedup.across:
        _remove_across(left, compared, order, within=bool(dedup.exact))
    if dedup.wanted and not by_prompt:
        _count_prompts(left, keys, order, across=dedup.across)
    return left


def _remove_across(
    left: Sequence[Candidates], keys: Sequence[Keys], order: Sequence[int], *, within: bool
) -> None:
    """Remove rows that a preferred source has; a source's own duplicates stay or go together."""
    owns = {place: left[place].mask if within else first_distinct(keys[place]) for place in order}
    firsts = first_distinct(np.concatenate([keys[place][owns[place]] for place in order]))
    start = 0
    for place in order:
        own = owns[place]
        stop = start + int(np.count_nonzero(own))
        kept = np.zeros(len(own), dtype=bool)
        kept[np.flatnonzero(own)[firsts[start:stop]]] = True
        if not within:
            kept = np.isin(keys[place], keys[place][kept])
        left[place].keep(kept, DUPLICATE_ACROSS)
        start = stop


def _count_prompts(
    left: Sequence[Candidates], keys: Sequence[SourceKeys], order: Sequence[int], *, across: bool
) -> None:
    """Count kept rows whose prompt stands before, in the source or in any."""
    groups = [list(order)] if across else [[place] for place in order]
    for places in groups:
        firsts = first_distinct(
            np.concatenate([keys[place].prompt[left[place].mask] for place in places])
        )
        start = 0
        for place in places:
            stop = start + int(np.count_nonzero(left[place].mask))
            left[place].repeated_prompts = int(np.count_nonzero(~firsts[start:stop]))
            start = stop


def distinct_candidates(
    left: Sequence[Candidates], keys: Sequence[SourceKeys], dedup: Dedup
) -> list[Mask]:
    """Return the candidates whose whole row stands for the first time among all sources."""
    if dedup.exact and dedup.across:
        return [one.mask for one in left]
    firsts = first_distinct(
        np.concatenate([own.row[one.mask] for one, own in zip(left, keys, strict=True)])
    )
    masks, start = [], 0
    for one in left:
        places = np.flatnonzero(one.mask)
        mask = np.zeros(len(one.mask), dtype=bool)
        mask[places[firsts[start : start + len(places)]]] = True
        masks.append(mask)
        start += len(places)
    return masks
