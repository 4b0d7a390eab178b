"""Find the sources of a recipe: its expressions matched against the catalog and the store.

The step before `corpus.mixture.plan`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from corpus.catalog import Catalog, Selection
from corpus.catalog.check import ID
from corpus.errors import CatalogError, RecipeError, StoreError
from corpus.mixture.left_out import without_lines
from corpus.mixture.recipe import Line, Recipe, shown
from corpus.mixture.sources import Source, SourceTags
from corpus.settings import Home
from corpus.store import Build, Store

Say = Callable[[str], None]


@dataclass(slots=True)
class Found:
    """What a recipe comes to over a catalog and a store."""

    recipe: Recipe
    """The recipe with the lines that have sources, of the size that they come to."""
    sources: list[Source] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    """What was asked for and left out: the store does not have it."""

    def do_without(self, line: Line) -> None:
        """Note that nothing is there of what an optional line asks for."""
        self.missing.append(line.title)
        self.warnings.append(_empty(line))


MOST_TOLD = 5
"""So many of the datasets that a tag matches and that are not built are told by name."""


def find_sources(
    recipe: Recipe,
    home: Home,
    catalog: Catalog,
    *,
    allow_missing: bool = False,
    say: Say = lambda line: None,
) -> Found:
    """Return the sources of every line, in the order of lines and catalog.

    What a tag or glob matches but was never built is left out with a warning. What is named, by
    itself or in a group, is an error then, unless its line is optional or missing datasets are
    allowed. A line without any sources takes its part of the size with it.

    Raises:
        RecipeError: an expression is wrong or a source stands in two lines; all such errors.
        StoreError: a named source, or all of a line, is not built; all of them.
    """
    found = Found(recipe)
    search = _Search(Store(home), catalog, found, allow_missing)
    errors: list[str] = []
    dropped: set[int] = set()
    owners: dict[str, Line] = {}
    for number, line in enumerate(recipe.lines):
        try:
            selections = _selected(line, home, catalog, say)
        except CatalogError as error:
            if not line.optional:
                errors.append(f"{line.where}: select: {error}")
                continue
            selections = []
        if not selections:
            found.do_without(line)
        errors += _owned_twice(line, selections, owners)
        sources = search.stored(line, number - len(dropped), selections)
        found.sources += sources
        if not sources:
            dropped.add(number)
    errors += _strange_preferences(recipe, owners) if not errors else []
    if errors:
        raise RecipeError("\n".join(errors))
    search.check()
    found.recipe = without_lines(recipe, dropped)
    found.warnings += _limited(found.sources)
    return found


def _limited(sources: Sequence[Source]) -> list[str]:
    """Return a warning for each build that is not the whole dataset."""
    return [
        f"{source.tags.id} was built with --limit {source.build.limit}: it is not the whole dataset"
        for source in {one.tags.id: one for one in sources}.values()
        if source.build.limit is not None
    ]


def _selected(line: Line, home: Home, catalog: Catalog, say: Say) -> list[Selection]:
    if line.file is None:
        return catalog.select(line.select, for_training=True)
    from corpus.mixture.own_file import file_selections

    return file_selections(line, home, say=say)


def _empty(line: Line) -> str:
    """Say that no dataset of the catalog is what an optional line asks for."""
    if line.file is not None:
        return f"{line.where}: optional, no such file, left out: {line.file}"
    if not ID.fullmatch(line.select):
        return f"{line.where}: optional, matches nothing, left out: {line.select}"
    asked = f" with {shown(line.amount)} {line.kind}" if line.kind in ("rows", "tokens") else ""
    return (
        f"optional, not in the catalog, left out: {line.select}{asked}. Fill it:"
        f" woolgather add {line.select} --from FILE, then woolgather build {line.select}"
    )


def _owned_twice(line: Line, selections: Sequence[Selection], owners: dict[str, Line]) -> list[str]:
    """Note which line each source belongs to; return an error for each that had one before."""
    errors = []
    for one in selections:
        other = owners.setdefault(one.name, line)
        if other is not line:
            errors.append(
                f"{line.where}: expected each id in one line, got {one.name} also in"
                f" {other.where}. Add `& !{one.entry.id}` to one of them."
            )
    return errors


def _strange_preferences(recipe: Recipe, owners: dict[str, Line]) -> list[str]:
    known = {name for one in owners for name in (one, one.partition("/")[0])}
    strange = [name for name in recipe.dedup.prefer if name not in known]
    if not strange:
        return []
    return [
        f"{recipe.where}: dedup.prefer: expected sources of this recipe, got"
        f" {', '.join(strange)}. Known: {', '.join(sorted(known))}."
    ]


class _Search:
    """Looks up in the store what the lines of a recipe have selected."""

    def __init__(self, store: Store, catalog: Catalog, found: Found, allow_missing: bool) -> None:
        self.store, self.catalog, self.found = store, catalog, found
        self.allow_missing = allow_missing
        self.absent: dict[str, Line] = {}
        """Ids that must be built first, each with the line that asks for it."""

    def stored(self, line: Line, number: int, selections: Sequence[Selection]) -> list[Source]:
        """Return the selected parts that are built; note those that are not."""
        builds = {
            id: self.store.current(id)
            for id in dict.fromkeys(one.entry.id for one in selections)
            if self.store.has(id)
        }
        selections = together(selections, builds)
        missing = [one for one in selections if stored_range(one, builds.get(one.entry.id)) is None]
        if missing:
            self._note(line, missing, all_of_it=len(missing) == len(selections))
        return [
            Source(tags_for(one, builds[one.entry.id], number), builds[one.entry.id], *rows)
            for one in selections
            if (rows := stored_range(one, builds.get(one.entry.id))) is not None
        ]

    def _note(self, line: Line, missing: Sequence[Selection], *, all_of_it: bool) -> None:
        named = self.catalog.named(line.select)
        asked = [one for one in missing if {one.name, one.entry.id} & named]
        if line.optional or (self.allow_missing and (asked or all_of_it)):
            self.found.missing += [one.name for one in missing]
            why = "optional, not built" if line.optional else "not built, as allowed"
            self.found.warnings += [_left_out(why, missing)] if missing else []
        elif all_of_it or any(not self.store.has(one.entry.id) for one in asked):
            ids = [one.entry.id for one in (missing if all_of_it else asked)]
            self.absent |= {id: line for id in ids if id not in self.absent}
        elif told := [one for one in missing if one.entry.available]:
            self.found.warnings.append(_left_out("not built", told))

    def check(self) -> None:
        """Raise what must be built before the mixture can be.

        Raises:
            StoreError: named datasets are not built, or nothing is left.
        """
        if self.absent:
            where = next(iter(self.absent.values())).where
            raise StoreError(
                f"{where}: expected built datasets, got none of: {', '.join(self.absent)}."
                f" Build them: woolgather build '{' | '.join(self.absent)}'. Or do without:"
                " --allow-missing"
            )
        if not self.found.sources:
            missing = ", ".join(self.found.missing)
            raise StoreError(
                f"{self.found.recipe.where}: expected a built dataset or more, got none of:"
                f" {missing}. Build one: woolgather build ID"
            )


def _left_out(why: str, missing: Sequence[Selection]) -> str:
    names = [one.name for one in missing]
    further = len(names) - MOST_TOLD
    told = names if further < 2 else [*names[:MOST_TOLD], f"{further} more"]
    return f"{why}, left out: {', '.join(told)}"


def together(selections: Sequence[Selection], builds: dict[str, Build]) -> list[Selection]:
    """Take a build that tells no subsets apart as one, where every part of it is selected.

    A collection's copy may put together what upstream keeps apart. One of its parts alone cannot
    be had of it, nor anything beside a part that is for evaluation only.
    """
    counts = Counter(one.entry.id for one in selections)
    taken: list[Selection] = []
    for one in selections:
        build = builds.get(one.entry.id)
        is_whole = counts[one.entry.id] == len(one.entry.subsets)
        if one.subset is None or build is None or build.subsets or not is_whole:
            taken.append(one)
        elif one.subset is one.entry.subsets[0]:
            taken.append(Selection(one.entry))
    return taken


def stored_range(one: Selection, build: Build | None) -> tuple[int, int] | None:
    """Return the rows of a selected part, None where the store has none."""
    if build is None:
        return None
    if one.subset is None:
        return 0, build.rows
    start, stop = build.subsets.get(one.subset.id, (0, 0))
    return (start, stop) if stop > start else None


def tags_for(one: Selection, build: Build, line: int = 0) -> SourceTags:
    """Return what a mixture knows of a selected part that is built."""
    tags = one.tags()
    return SourceTags(
        name=one.name,
        id=one.entry.id,
        subset=one.subset.id if one.subset else None,
        lang=tags["lang"],
        task=tags["task"],
        gen=tags["gen"],
        license=tags["license"],
        rows_digest=build.rows_digest,
        languages=tuple(one.languages),
        terms=tuple(one.terms),
        title=one.entry.name,
        home=one.entry.home,
        license_url=one.entry.license_url,
        citation=one.entry.citation,
        license_says=one.entry.license_says,
        line=line,
        variant=build.manifest.variant,
    )
