"""Parquet shards of published rows: records, the tags of their sources, in the rows' order.

Sizes are those at which the Hub's viewer and `datasets` read best: shards of at most 250 MB and row
groups far below 100 MB before compression, with a page index. Pages of stored sources are cut by
content, so that the Hub stores what two versions share only once; two mixtures share no page.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from corpus.mixture import MixtureRows
from corpus.row_index import id_keys
from corpus.schema import RECORD

TAGS = ("lang", "task", "gen", "license")
_EXTRA = RECORD.names.index("extra")
SCHEMA = pa.schema(
    [
        pa.field(field.name, field.type)
        for field in (
            *list(RECORD)[:_EXTRA],
            *(pa.field(name, pa.string()) for name in TAGS),
            RECORD.field("extra"),
        )
    ]
)
"""A published row. All may be null, as in the schemas that `datasets` makes: nothing is cast."""

SHARD_BYTES = 250 * 10**6
GROUP_BYTES = 32 << 20
GROUP_ROWS = 20_000
WINDOW_BYTES = 64 << 20
"""Rows that are read from the store at a time, of which row groups are cut: what is in memory, for
each of the shards that are written at once."""

SMALL_BYTES = 50 * 10**6
"""Rows of fewer bytes are one shard."""

AT_ONCE = 2
"""Shards that are written at the same time; there are as many, or a multiple."""

FEW_VALUES = ["source", "origin.file", "origin.part", "system", *TAGS]
"""Columns that are written with a dictionary; texts seldom repeat."""

CHUNKING = {"min_chunk_size": 256 * 1024, "max_chunk_size": 1024 * 1024, "norm_level": 0}
"""Pages cut by content, at the sizes that `datasets` takes."""

Keys = npt.NDArray[np.uint64]
Tick = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class SplitFiles:
    """The shards of a split, as they were written."""

    pattern: str
    """Path in the publication, with a star for the numbers of the shards."""
    rows: int
    shards: int
    bytes: int
    """Of the files."""
    uncompressed: int
    """Of the row groups before compression."""
    keys: Keys
    """64 bits of each row's id, in the rows' order."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many rows go into what."""

    shards: int
    window: int
    group: int


def sizes_of(rows: MixtureRows) -> Sizes:
    """Return the sizes that fit rows: by the mean row of each source as it lies in the store."""
    means = np.array(
        [
            sum(shard.bytes for shard in build.manifest.shards) / max(build.rows, 1)
            for build in rows.builds
        ]
    )
    counts = np.bincount(rows.index.source, minlength=len(means))
    # A part of longer rows must fit too, wherever in the order it lies.
    longest = max(float(means[counts > 0].max(initial=1.0)), 1.0)
    group = int(min(max(GROUP_BYTES // longest, 1), GROUP_ROWS))
    window = max(int(WINDOW_BYTES // longest) // group, 1) * group
    total = float(counts @ means)
    rounds = -int(-total // (SHARD_BYTES * AT_ONCE))
    return Sizes(1 if total <= SMALL_BYTES else rounds * AT_ONCE, window, group)


def write_split(
    folder: Path,
    config: str,
    split: str,
    rows: MixtureRows,
    *,
    by_content: bool = False,
    tick: Tick = lambda done: None,
) -> SplitFiles:
    """Write the shards of a split below `data/<config>/`.

    Args:
        by_content: whether pages are cut where the content says, not every so many bytes.
    """
    sizes = sizes_of(rows)
    place = folder / "data" / config
    place.mkdir(parents=True, exist_ok=True)
    bounds = [len(rows) * number // sizes.shards for number in range(sizes.shards + 1)]
    names = [f"{split}-{n:05d}-of-{sizes.shards:05d}.parquet" for n in range(sizes.shards)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        waiting = [
            pool.submit(_write_shard, place / name, rows, bound, sizes, by_content)
            for name, bound in zip(names, itertools.pairwise(bounds), strict=True)
        ]
        keys = []
        for done, one in zip(bounds[1:], waiting, strict=True):
            keys.append(one.result())
            tick(done)
    return SplitFiles(
        pattern=f"data/{config}/{split}-*.parquet",
        rows=len(rows),
        shards=sizes.shards,
        bytes=sum((place / name).stat().st_size for name in names),
        uncompressed=sum(uncompressed_bytes(place / name) for name in names),
        keys=np.concatenate(keys),
    )


def _write_shard(
    path: Path, rows: MixtureRows, bound: tuple[int, int], sizes: Sizes, by_content: bool
) -> Keys:
    """Write the rows from start to stop; return the keys of their ids."""
    import pyarrow.parquet as pq

    keys = []
    with pq.ParquetWriter(
        path,
        SCHEMA,
        compression="zstd",
        use_dictionary=FEW_VALUES,
        write_page_index=True,
        use_content_defined_chunking=CHUNKING if by_content else False,
    ) as writer:
        for table in _windows(rows, *bound, sizes.window):
            writer.write_table(table, row_group_size=sizes.group)
            keys += [id_keys(chunk) for chunk in table.column("id").chunks]
    return np.concatenate(keys)


def uncompressed_bytes(path: Path) -> int:
    """Return the size of a Parquet file's row groups before compression."""
    import pyarrow.parquet as pq

    found = pq.read_metadata(path)
    return sum(found.row_group(place).total_byte_size for place in range(found.num_row_groups))


def _windows(rows: MixtureRows, start: int, stop: int, window: int) -> Iterator[pa.Table]:
    """Yield the rows from start to stop, some at a time."""
    columns = {name: pa.array([getattr(one, name) for one in rows.sources]) for name in TAGS}
    for first in range(start, stop, window):
        last = min(first + window, stop)
        table = rows.table(np.arange(first, last))
        codes = pa.array(rows.index.source[first:last])
        tags = {name: column.take(codes) for name, column in columns.items()}
        found = [tags[name] if name in tags else table.column(name) for name in SCHEMA.names]
        yield pa.Table.from_arrays(found, schema=SCHEMA)
