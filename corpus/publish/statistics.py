"""Statistics of published rows, each source apart and all together: what a card has to tell.

Languages, lengths and flags come from the annotations of the stored rows, at the places that are
published; repeats count as often as they stand there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from corpus.annotate import annotation
from corpus.annotate.quality import flag_counts
from corpus.annotate.summary import Summary, summarise
from corpus.engine import Advance, Engine
from corpus.mixture.sources import SourceTags
from corpus.publish.content import Content
from corpus.publish.parquet import SplitFiles
from corpus.settings import Home
from corpus.store import Build

ANNOTATIONS = ("language", "lengths", "quality")

BINS = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768)
"""Where the bins of output lengths begin, in characters; the last one has no end."""

Tables = dict[str, pa.Table]
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Part:
    """What was measured of one source's published rows, or of all."""

    rows: dict[str, int]
    """By split."""
    distinct: int
    """Different rows, by their ids."""
    summary: Summary
    """Languages, scripts, lengths and turns, over all splits."""
    flags: dict[str, int]
    """Rows by quality flag."""

    @property
    def total(self) -> int:
        """Return the rows of all splits."""
        return sum(self.rows.values())


@dataclass(frozen=True, slots=True)
class Statistics:
    """What was measured of all published rows."""

    sources: dict[str, Part]
    """By source, in the order of the publication."""
    whole: Part
    bins: dict[str, list[int]]
    """Rows by language tag of their source, in each of `BINS` of output lengths."""


def measure(
    content: Content,
    files: Mapping[tuple[str, str], SplitFiles],
    home: Home,
    *,
    workers: int | None = 1,
    advance: Advance = lambda done, total: None,
    say: Say = lambda line: None,
) -> Statistics:
    """Return the statistics of what was written; annotations that are absent are computed.

    Args:
        files: what was written of each config and split.
    """
    annotated = _annotate(content, home, workers, advance, say)
    found, tables, keys = {}, [], []
    bins: dict[str, Counter[int]] = {}
    for tags, build in zip(content.sources, content.builds, strict=True):
        rows, own_keys, counts = _places(content, tags, files)
        taken = {name: table.take(pa.array(rows)) for name, table in annotated[build.path].items()}
        found[tags.name] = _part(tags, taken, counts, own_keys)
        bins.setdefault(tags.lang, Counter()).update(_binned(taken["lengths"]))
        tables.append(taken)
        keys.append(own_keys)
    return Statistics(
        found,
        _whole(found, tables, np.concatenate(keys)),
        {lang: [one[place] for place in range(len(BINS))] for lang, one in bins.items()},
    )


def _annotate(
    content: Content, home: Home, workers: int | None, advance: Advance, say: Say
) -> dict[Any, Tables]:
    """Return the annotations of every build that is read from."""
    builds: dict[Any, Build] = {build.path: build for build in content.builds}
    total, done = sum(one.rows for one in builds.values()) * len(ANNOTATIONS), 0
    found: dict[Any, Tables] = {path: {} for path in builds}
    with Engine("processes", workers) as engine:
        for path, build in builds.items():
            for name in ANNOTATIONS:
                found[path][name] = annotation(home, build, name, engine=engine, say=say)
                done += build.rows
                advance(done, total)
    return found


def _places(
    content: Content, tags: SourceTags, files: Mapping[tuple[str, str], SplitFiles]
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint64], dict[str, int]]:
    """Return a source's row numbers and keys in all splits, and how many each split has."""
    rows, keys, counts = [], [], {}
    for config, split, part in content.splits:
        for code, one in enumerate(part.sources):
            if one.name == tags.name:
                mask = part.index.source == code
                rows.append(part.index.row[mask])
                keys.append(files[config, split].keys[mask])
                counts[split] = len(rows[-1])
    # No statistic depends on the order, and in that of the store they are quicker to read.
    return np.sort(np.concatenate(rows)), np.concatenate(keys), counts


def _part(
    tags: SourceTags, tables: Tables, counts: dict[str, int], keys: npt.NDArray[np.uint64]
) -> Part:
    return Part(
        rows=counts,
        distinct=distinct(keys),
        summary=summarise(tables, np.ones(len(keys), dtype=bool)),
        flags=flag_counts(tables["quality"], tags.languages),
    )


def distinct(keys: npt.NDArray[np.uint64]) -> int:
    """Return how many different keys there are; sorting them is quicker than `numpy.unique`."""
    ordered = np.sort(keys)
    return int(np.count_nonzero(np.diff(ordered)) + 1) if len(keys) else 0


def _whole(found: dict[str, Part], tables: list[Tables], keys: npt.NDArray[np.uint64]) -> Part:
    """Return the statistics of all sources together."""
    rows: Counter[str] = Counter()
    flags: Counter[str] = Counter()
    for one in found.values():
        rows.update(one.rows)
        flags.update(one.flags)
    together = {
        name: pa.concat_tables([one[name] for one in tables]) for name in ("language", "lengths")
    }
    summary = summarise(together, np.ones(len(keys), dtype=bool))
    return Part(dict(rows), distinct(keys), summary, dict(flags.most_common()))


def _binned(lengths: pa.Table) -> Counter[int]:
    """Count rows by bin of their outputs' lengths."""
    chars = lengths.column("output_chars").to_numpy()
    places = np.searchsorted(np.array(BINS), chars, side="right") - 1
    return Counter(dict(enumerate(np.bincount(places, minlength=len(BINS)).tolist())))
