"""What is to be published: a mixture, or stored sources, as configs of splits of rows.

The first step; everything that is written afterwards is computed from these rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from corpus.catalog import Catalog, Selection
from corpus.errors import CatalogError, StoreError
from corpus.license import Verdict, verdict_of
from corpus.mixture import Mixture, MixtureRows
from corpus.mixture.find import stored_range, tags_for, together
from corpus.mixture.lock import Index
from corpus.mixture.open import find_mixture
from corpus.mixture.sources import SourceTags
from corpus.resources import packed
from corpus.settings import Home
from corpus.store import Build, Store

TRAIN, TEST = "train", "test"
"""Splits: rows to learn from; the holdout of a mixture, or rows that are for evaluation only."""

ALL = "default"
"""The config of several sources together; `datasets` takes a config of that name by itself."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Config:
    """Rows that are loaded by one name."""

    name: str
    splits: dict[str, MixtureRows]
    """Rows by split; none is empty."""


@dataclass(frozen=True, slots=True)
class Content:
    """All that a publication is made of."""

    name: str
    """Of the mixture; else the tag expression."""
    configs: tuple[Config, ...]
    sources: tuple[SourceTags, ...]
    builds: tuple[Build, ...]
    """The build that each source's rows are read from."""
    verdict: Verdict
    own: tuple[str, ...]
    """Ids whose entries are not in the catalog that ships with woolgather, or not as there."""
    mixture: Mixture | None = None

    @property
    def default(self) -> str:
        """Return the name of the config that is loaded where none is named."""
        return self.configs[0].name if len(self.configs) == 1 else ALL

    @property
    def splits(self) -> list[tuple[str, str, MixtureRows]]:
        """Return config, split and rows of each split."""
        return [(one.name, name, rows) for one in self.configs for name, rows in one.splits.items()]

    def rows_of(self, split: str) -> int:
        """Return the rows in a split of all configs."""
        return sum(len(rows) for _, name, rows in self.splits if name == split)


def find_content(what: str, home: Home, catalog: Catalog, *, say: Say) -> Content:
    """Return the mixture of a name, or the stored sources that an expression matches.

    Raises:
        CatalogError: it is neither.
        StoreError: what it names is not built.
    """
    try:
        path = find_mixture(what, home)
    except StoreError as error:
        try:
            selections = catalog.select(what)
        except CatalogError as wrong:
            known = str(error).partition(" Make one")[0]
            raise CatalogError(f"{known} Nor is it a tag expression: {wrong}") from wrong
        return _of_sources(what, selections, home, catalog, say)
    if what in catalog:
        say(f"{what} is a dataset and a mixture: it is the mixture that is published")
    return _of_mixture(Mixture.open(path, home), catalog)


def _of_mixture(mixture: Mixture, catalog: Catalog) -> Content:
    mixture.verify()
    splits: dict[str, MixtureRows] = {TRAIN: mixture, TEST: mixture.holdout}
    whole = Config(mixture.name, {name: rows for name, rows in splits.items() if len(rows)})
    # A source that gives no row binds nobody and is named nowhere.
    used = {
        code for rows in whole.splits.values() for code in np.unique(rows.index.source).tolist()
    }
    sources = tuple(one for code, one in enumerate(mixture.sources) if code in used)
    return Content(
        name=mixture.name,
        configs=(whole,),
        sources=sources,
        builds=tuple(one for code, one in enumerate(mixture.builds) if code in used),
        verdict=verdict_of(one.licensed() for one in sources),
        own=_own(sources, catalog),
        mixture=mixture,
    )


def _of_sources(
    what: str, selections: Sequence[Selection], home: Home, catalog: Catalog, say: Say
) -> Content:
    """Return the stored parts of a selection, a config for each dataset."""
    store = Store(home)
    wanted = _without_evaluation(what, selections, catalog)
    builds = {
        id: store.current(id)
        for id in dict.fromkeys(one.entry.id for one in wanted)
        if store.has(id)
    }
    wanted = together(wanted, builds)
    stored = [one for one in wanted if stored_range(one, builds.get(one.entry.id)) is not None]
    _note_missing(what, wanted, stored, catalog, say)
    _check_whole(builds.values())
    tags = tuple(tags_for(one, builds[one.entry.id]) for one in stored)
    ids = dict.fromkeys(one.entry.id for one in stored)
    if ALL in ids and len(ids) > 1:
        raise CatalogError(f"{ALL}: expected another id beside other datasets: it names them all.")
    return Content(
        name=what,
        configs=tuple(_config([one for one in stored if one.entry.id == id], builds) for id in ids),
        sources=tags,
        builds=tuple(builds[one.id] for one in tags),
        verdict=verdict_of(one.licensed() for one in tags),
        own=_own(tags, catalog),
    )


def _check_whole(builds: Iterable[Build]) -> None:
    """Refuse builds whose files are not what was written.

    Raises:
        StoreError: all that is wrong, one a line.
    """
    wrong = [
        f"{line}. Build it again: woolgather build {build.id}"
        for build in builds
        for line in build.damage()
    ]
    if wrong:
        raise StoreError("\n".join(wrong))


def _without_evaluation(
    what: str, selections: Sequence[Selection], catalog: Catalog
) -> list[Selection]:
    """Leave out what is for evaluation only, unless it is named and not only matched.

    Raises:
        CatalogError: nothing is left.
    """
    named = catalog.named(what)
    kept = []
    for one in selections:
        parts = [Selection(one.entry, subset) for subset in one.entry.subsets] or [one]
        is_all_evaluation = all(part.evaluation_only for part in parts)
        is_named = one.name in named or (is_all_evaluation and one.entry.id in named)
        if is_named or not one.evaluation_only:
            kept.append(one)
    if not kept:
        names = ", ".join(one.name for one in selections)
        raise CatalogError(
            f"{what!r}: expected datasets to publish, got evaluation sets that are only matched:"
            f" {names}. Publish them by name."
        )
    return kept


def _note_missing(
    what: str,
    wanted: Sequence[Selection],
    stored: Sequence[Selection],
    catalog: Catalog,
    say: Say,
) -> None:
    """Say what is left out as it is not built; what is named must be.

    Raises:
        StoreError: a named dataset, or all of the expression, is not built.
    """
    missing = [one for one in wanted if one not in stored]
    named = catalog.named(what)
    asked = [one for one in missing if not stored or {one.name, one.entry.id} & named]
    if asked:
        ids = dict.fromkeys(one.entry.id for one in asked)
        raise StoreError(
            f"{what!r}: expected built datasets, got none of: {', '.join(ids)}."
            f" Build them: woolgather build '{' | '.join(ids)}'"
        )
    if missing:
        say(f"not built, left out: {', '.join(one.name for one in missing)}")


def _config(parts: Sequence[Selection], builds: dict[str, Build]) -> Config:
    """Return the stored rows of one dataset: its parts in order, those for evaluation apart."""
    build = builds[parts[0].entry.id]
    splits: dict[str, MixtureRows] = {}
    for name in (TRAIN, TEST):
        mine = [one for one in parts if one.evaluation_only == (name == TEST)]
        ranges = [stored_range(one, build) or (0, 0) for one in mine]
        if not mine:
            continue
        rows = np.concatenate([np.arange(*one, dtype=np.uint32) for one in ranges])
        codes = np.repeat(
            np.arange(len(mine), dtype=np.int16), [stop - start for start, stop in ranges]
        )
        index = Index(codes, rows, np.zeros(len(rows), dtype=np.uint16))
        tags = [tags_for(one, build) for one in mine]
        splits[name] = MixtureRows(index, tags, [build] * len(mine))
    return Config(parts[0].entry.id, splits)


def _own(sources: Sequence[SourceTags], catalog: Catalog) -> tuple[str, ...]:
    ids = dict.fromkeys(one.id.partition("+")[0] for one in sources)
    shipped = packed("catalog.yaml").parent
    return tuple(id for id in ids if id not in catalog or catalog[id].folder != shipped)
