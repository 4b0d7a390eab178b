"""The plan of a mixture: exact rows of each source, what is removed and why, what repeats.

Made from a recipe and the sources; `mix plan` prints it, `corpus.mixture.build` writes it down.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from corpus.catalog import Catalog
from corpus.engine import Advance
from corpus.errors import RecipeError
from corpus.mixture.duplicates import (
    HELD_OUT,
    Candidates,
    SourceKeys,
    contains,
    distinct_candidates,
    read_keys,
    remove_duplicates,
)
from corpus.mixture.order import HOLDOUT_EPOCH, Rows, draw
from corpus.mixture.quota import holdout_quotas, largest_remainder, line_quotas
from corpus.mixture.recipe import Recipe
from corpus.mixture.sources import Source, SourceTags, find_sources
from corpus.settings import Home

MOST_EPOCHS = 2**16 - 1
MOST_SOURCES = 2**15 - 1
MOST_ROWS = 2**31 - 1


@dataclass(frozen=True, slots=True)
class SourcePlan:
    """How much of a source goes into a mixture."""

    source: Source
    candidates: Rows
    """Row numbers that training may draw from."""
    held: Rows
    """Row numbers of the holdout, in the order they were drawn."""
    quota: int
    removed: dict[str, int]
    """Rows that are no candidates, by reason."""
    repeated_prompts: int

    @property
    def tags(self) -> SourceTags:
        """Return the source's tags."""
        return self.source.tags

    @property
    def unique(self) -> int:
        """Return the rows to draw from."""
        return len(self.candidates)

    @property
    def epochs(self) -> float:
        """Return how often a row is drawn on average."""
        return self.quota / self.unique if self.unique else 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    """A mixture before it is written."""

    recipe: Recipe
    sources: tuple[SourcePlan, ...]
    warnings: tuple[str, ...] = field(default=())

    @property
    def rows(self) -> int:
        """Return the training rows."""
        return sum(one.quota for one in self.sources)

    @property
    def holdout(self) -> int:
        """Return the rows held out."""
        return sum(len(one.held) for one in self.sources)

    @property
    def needs_keys(self) -> bool:
        """Tell whether the plan depends on duplicate keys."""
        return needs_keys(self.recipe)


def needs_keys(recipe: Recipe) -> bool:
    """Tell whether a recipe depends on duplicate keys."""
    return recipe.dedup.wanted or recipe.holdout > 0


def plan_mixture(
    recipe: Recipe,
    home: Home,
    catalog: Catalog,
    *,
    workers: int | None = 1,
    advance: Advance = lambda done, total: None,
) -> Plan:
    """Plan the mixture of a recipe over the current builds.

    Raises:
        RecipeError: the recipe does not fit the sources.
        StoreError: a source is not built.
    """
    sources, warnings = find_sources(recipe, home, catalog)
    return plan_sources(recipe, sources, home, warnings, workers=workers, advance=advance)


def plan_sources(
    recipe: Recipe,
    sources: Sequence[Source],
    home: Home,
    warnings: Sequence[str] = (),
    *,
    workers: int | None = 1,
    advance: Advance = lambda done, total: None,
) -> Plan:
    """Plan the mixture of a recipe over given sources; see `plan_mixture`."""
    _check_bounds(recipe, sources)
    held = [np.empty(0, dtype=np.uint32) for _ in sources]
    if needs_keys(recipe):
        keys = read_keys(sources, home, workers, advance)
        left = remove_duplicates(sources, keys, recipe.dedup)
        if recipe.holdout:
            held = _hold_out(recipe, sources, keys, left)
    else:
        left = [Candidates(np.ones(0, dtype=bool)) for _ in sources]
    candidates = [
        np.flatnonzero(one.mask).astype(np.uint32) + np.uint32(source.start)
        if needs_keys(recipe)
        else np.arange(source.start, source.stop, dtype=np.uint32)
        for source, one in zip(sources, left, strict=True)
    ]
    quotas = _quotas(recipe, sources, [len(one) for one in candidates])
    plans = [
        SourcePlan(source, rows, held_rows, quota, one.removed, one.repeated_prompts)
        for source, rows, held_rows, quota, one in zip(
            sources, candidates, held, quotas, left, strict=True
        )
    ]
    return Plan(recipe, tuple(plans), tuple(warnings))


def _check_bounds(recipe: Recipe, sources: Sequence[Source]) -> None:
    if len(sources) > MOST_SOURCES:
        raise RecipeError(
            f"{recipe.where}: expected at most {MOST_SOURCES} sources, got {len(sources)}."
        )


def _quotas(recipe: Recipe, sources: Sequence[Source], unique: Sequence[int]) -> list[int]:
    """Return the rows of each source: each line's rows, divided in proportion to unique rows."""
    numbers = range(len(recipe.lines))
    members = [[p for p, one in enumerate(sources) if one.tags.line == n] for n in numbers]
    of_lines = line_quotas(recipe, [sum(unique[p] for p in places) for places in members])
    quotas = [0] * len(sources)
    for line, places, rows in zip(recipe.lines, members, of_lines, strict=True):
        given = largest_remainder(rows, [Fraction(unique[p]) for p in places])
        if sum(given) != rows:
            raise RecipeError(
                f"{line.where}: expected rows to draw {rows:,} from, got none: {line.select!r} has"
                " no rows left."
            )
        for place, count in zip(places, given, strict=True):
            quotas[place] = count
            if unique[place] and -(-count // unique[place]) > MOST_EPOCHS:
                raise RecipeError(
                    f"{line.where}: expected at most {MOST_EPOCHS} repeats, got"
                    f" {count // unique[place]:,} of {sources[place].name} with"
                    f" {unique[place]:,} rows. Ask for fewer rows."
                )
    if not 0 < sum(quotas) <= MOST_ROWS:
        raise RecipeError(f"{recipe.where}: expected 1 to {MOST_ROWS:,} rows, got {sum(quotas):,}.")
    return quotas


def _hold_out(
    recipe: Recipe,
    sources: Sequence[Source],
    keys: Sequence[SourceKeys],
    left: Sequence[Candidates],
) -> list[Rows]:
    """Draw the holdout and take every row with a held-out prompt out of the candidates.

    Equal rows have equal prompts, so the prompts' keys are enough.
    """
    eligible = distinct_candidates(left, keys, recipe.dedup)
    unique = [int(np.count_nonzero(mask)) for mask in eligible]
    quotas = _quotas(recipe, sources, [int(np.count_nonzero(one.mask)) for one in left])
    counts = holdout_quotas(recipe.holdout, quotas, unique)
    held: list[Rows] = []
    for source, mask, count in zip(sources, eligible, counts, strict=True):
        rows = np.flatnonzero(mask).astype(np.uint32) + np.uint32(source.start)
        held.append(draw(rows, count, recipe.seed, source.name, HOLDOUT_EPOCH))
    prompts = np.unique(
        np.concatenate(
            [
                own.prompt[rows - np.uint32(source.start)]
                for source, own, rows in zip(sources, keys, held, strict=True)
            ]
        )
    )
    for source, own, one, rows in zip(sources, keys, left, held, strict=True):
        # The held-out rows themselves are not among the removed: they are in the holdout.
        one.mask[rows - np.uint32(source.start)] = False
        one.keep(~contains(prompts, own.prompt), HELD_OUT)
    return held
