"""What training needs of a mixture: rows by position, the tags of each row, a holdout.

`corpus.mixture.Mixture` has this shape; anything else of this shape trains as well.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from corpus.errors import RecipeError
from corpus.settings import Home

COLUMNS = ("id", "instruction", "input", "output", "history", "system")
"""The columns that rendering reads."""

TAGS = ("source", "lang", "task", "gen", "category")
"""The tags by which losses are summed."""

CATEGORY_KEYS = (
    *("category", "Categories", "类别", "class", "task", "kind", "task_type", "task_name_in_eng"),
    *("subject", "department", "topic", "type", "direction", "template"),
)
"""Fields of a row's `extra` that name a category, the first that is there counts."""

MOST = 64
"""Categories of a source that are told apart, the most frequent ones; the others are one."""

OTHER, NONE = "(other)", "-"

BLOCK = 10_000
"""Rows whose fields are read at a time."""


class Tagged(Protocol):
    """The tags of one source."""

    @property
    def name(self) -> str: ...
    @property
    def lang(self) -> str: ...
    @property
    def task(self) -> str: ...
    @property
    def gen(self) -> str: ...


class Index(Protocol):
    """The columns of the mixture that say where each row comes from."""

    @property
    def source(self) -> npt.NDArray[np.int16]: ...


class Rows(Protocol):
    """Training or holdout rows in their order."""

    def __len__(self) -> int: ...
    @property
    def index(self) -> Index: ...
    @property
    def sources(self) -> Sequence[Tagged]: ...
    def rows(self, indices: Any, columns: Sequence[str]) -> dict[str, list[Any]]: ...


class Mixed(Rows, Protocol):
    """A mixture: training rows and a holdout, known by a digest."""

    @property
    def name(self) -> str: ...
    @property
    def digest(self) -> str: ...
    @property
    def holdout(self) -> Rows: ...


@dataclass(frozen=True, slots=True)
class Group:
    """The tags of the rows of one source and category; a row's code is its place in a list."""

    source: str
    lang: str
    task: str
    gen: str
    category: str


def tag_values(groups: Sequence[Group]) -> dict[str, list[str]]:
    """Return, for each tag, its value for every group in the order of their codes."""
    return {tag: [str(getattr(one, tag)) for one in groups] for tag in TAGS}


def group_rows(parts: Sequence[Rows]) -> tuple[list[Group], list[npt.NDArray[np.int32]]]:
    """Return the groups of all parts together, and the group of every row of each part.

    The parts (training rows and holdout) have the same sources. Groups stand in the order of
    their sources, the more frequent category of a source first.
    """
    seen: dict[tuple[int, str], int] = {}
    found = [
        np.fromiter((seen.setdefault(one, len(seen)) for one in _labels(rows)), np.int32, len(rows))
        for rows in parts
    ]
    counts = np.bincount(np.concatenate(found), minlength=len(seen)).tolist()
    ranked = sorted(seen, key=lambda one: (one[0], -counts[seen[one]], one[1]))
    code_of, groups = np.zeros(len(seen), np.int32), dict[tuple[int, str], int]()
    kept: dict[int, int] = {}
    for label in ranked:
        source, category = label
        kept[source] = kept.get(source, 0) + 1
        shown = (source, category if kept[source] <= MOST else OTHER)
        code_of[seen[label]] = groups.setdefault(shown, len(groups))
    sources = parts[0].sources
    tagged = [
        Group(one.name, one.lang, one.task, one.gen, category)
        for one, category in ((sources[source], category) for source, category in groups)
    ]
    return tagged, [code_of[numbers] for numbers in found]


def _labels(rows: Rows) -> Iterator[tuple[int, str]]:
    """Yield the source and the category of every row."""
    fallback = [one.name.partition("/")[2] or NONE for one in rows.sources]
    source_of = rows.index.source
    for start in range(0, len(rows), BLOCK):
        places = range(start, min(start + BLOCK, len(rows)))
        extras = rows.rows(places, ("extra",))["extra"]
        codes = source_of[start : places.stop].tolist()
        for source, extra in zip(codes, extras, strict=True):
            yield source, (category_of(extra) if extra else "") or fallback[source]


def category_of(extra: str) -> str:
    """Return the category that a row's `extra` names, "" where it names none."""
    fields = msgspec.json.decode(extra)
    for key in CATEGORY_KEYS:
        value = fields.get(key)
        if value is None or isinstance(value, dict):
            continue
        text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        if key == "template":  # Ends in the number of one wording of many.
            text = text.rpartition("/")[0] or text
        if text := " ".join(text.split())[:60]:
            return text
    return ""


def open_mixture(name: str, home: Home) -> Mixed:
    """Open a built mixture by its name or folder."""
    from corpus.mixture import Mixture

    opened: Mixed = Mixture.open(name, home)
    return opened


@dataclass(frozen=True, slots=True)
class Measured:
    """The rows of one mixture that another one's holdout does not have, and that holdout."""

    mixture: Mixed
    other: Mixed
    kept: npt.NDArray[np.int64]
    """Places in the mixture, ascending."""

    @property
    def name(self) -> str:
        """The mixture's name."""
        return self.mixture.name

    @property
    def digest(self) -> str:
        """Digest of these rows: of both mixtures."""
        return hashlib.sha256(f"{self.mixture.digest}/{self.other.digest}".encode()).hexdigest()

    @property
    def sources(self) -> Sequence[Tagged]:
        """The sources of both; the other's come after."""
        return [*self.mixture.sources, *self.other.sources]

    @property
    def index(self) -> Index:
        """Where each row comes from."""
        return _Codes(self.mixture.index.source[self.kept])

    def __len__(self) -> int:
        return len(self.kept)

    def rows(self, indices: Any, columns: Sequence[str]) -> dict[str, list[Any]]:
        """Return columns of the rows at some places."""
        return self.mixture.rows(self.kept[np.asarray(indices)], columns)

    @property
    def holdout(self) -> Rows:
        """The other mixture's held-out rows."""
        return _Held(self.other.holdout, self.sources, len(self.mixture.sources))


@dataclass(frozen=True, slots=True)
class _Codes:
    source: npt.NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class _Held:
    held: Rows
    sources: Sequence[Tagged]
    before: int
    """Sources that stand before its own."""

    def __len__(self) -> int:
        return len(self.held)

    @property
    def index(self) -> Index:
        return _Codes(self.held.index.source + np.int16(self.before))

    def rows(self, indices: Any, columns: Sequence[str]) -> dict[str, list[Any]]:
        return self.held.rows(indices, columns)


def measured_on(mixture: Mixed, other: Mixed) -> Mixed:
    """Measure a mixture on another one's holdout, whose rows leave the training.

    Raises:
        RecipeError: the other mixture holds nothing out.
    """
    if not len(other.holdout):
        raise RecipeError(f"run: eval.mixture: mixture {other.name} has no holdout to measure")
    held = set(_ids(other.holdout))
    kept = np.fromiter((one not in held for one in _ids(mixture)), np.bool_, len(mixture))
    return Measured(mixture, other, np.flatnonzero(kept))


def _ids(rows: Rows) -> Iterator[str]:
    for start in range(0, len(rows), BLOCK):
        yield from rows.rows(range(start, min(start + BLOCK, len(rows))), ("id",))["id"]
