"""Open a mixture: rows by position, in batches, straight from the memory-mapped store.

Training, exports and `datasets` read mixtures through this.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import suppress
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from corpus.columns import RowReader
from corpus.errors import StoreError
from corpus.mixture.lock import HOLDOUT, INDEX, LOCK, Index, digest_of, read_index, read_lock
from corpus.mixture.sources import SourceTags, tags_of
from corpus.schema import RECORD
from corpus.settings import Home, default_home
from corpus.store import Build, Store

if TYPE_CHECKING:
    import datasets
    import polars

CURRENT = "current"
BLOCK_ROWS = 10_000
"""Rows that are read at a time where all are wanted."""


class MixtureRows:
    """Rows in an order: the training rows of a mixture, or its holdout."""

    def __init__(
        self, index: Index, sources: Sequence[SourceTags], builds: Sequence[Build]
    ) -> None:
        self.index = index
        self.sources = list(sources)
        """The tags of each source; the position is the code in `index.source`."""
        self._builds = list({build.path: build for build in builds}.values())
        places = {build.path: place for place, build in enumerate(self._builds)}
        self._build_of = np.array([places[build.path] for build in builds], dtype=np.int16)
        self._readers: list[RowReader | None] = [None] * len(self._builds)

    def __len__(self) -> int:
        return len(self.index)

    @property
    def builds(self) -> list[Build]:
        """Return the build that each source's rows are read from."""
        return [self._builds[place] for place in self._build_of.tolist()]

    def rows(
        self, indices: npt.NDArray[Any] | Sequence[int], columns: Sequence[str]
    ) -> dict[str, list[Any]]:
        """Return the named columns of the rows at the given positions, in the order asked.

        Raises:
            IndexError: a position is outside the mixture.
            StoreError: a column is unknown.
        """
        unknown = [name for name in columns if name not in RECORD.names]
        if unknown:
            raise StoreError(
                f"expected columns of {', '.join(RECORD.names)}, got {', '.join(unknown)}."
            )
        parts, back = self._by_build(indices)
        gathered: dict[str, list[Any]] = {name: [] for name in columns}
        for reader, numbers in parts:
            for name, values in reader.take(numbers, columns).items():
                gathered[name] += values
        return {name: _picked(values, back.tolist()) for name, values in gathered.items()}

    def table(self, indices: npt.NDArray[Any] | Sequence[int]) -> pa.Table:
        """Return whole records of the rows at the given positions, in the order asked.

        Raises:
            IndexError: a position is outside the mixture.
        """
        parts, back = self._by_build(indices)
        batches = [batch for reader, numbers in parts for batch in reader.gather(numbers)]
        together = pa.Table.from_batches(batches, schema=RECORD).combine_chunks()
        return together.take(pa.array(back))

    def blocks(
        self, columns: Sequence[str], block_rows: int = BLOCK_ROWS
    ) -> Iterator[dict[str, list[Any]]]:
        """Yield all rows in order, some at a time."""
        for start in range(0, len(self), block_rows):
            yield self.rows(np.arange(start, min(start + block_rows, len(self))), columns)

    def dataset(self) -> datasets.Dataset:
        """Return the rows as a memory-mapped `datasets.Dataset` in the mixture's order."""
        import datasets
        from datasets.table import InMemoryTable

        cache = Path(datasets.config.HF_DATASETS_CACHE) / "woolgather"
        stored = [datasets.load_from_disk(str(_linked(build, cache))) for build in self._builds]
        joined = datasets.concatenate_datasets(stored)
        starts = np.cumsum([0] + [build.rows for build in self._builds])[:-1]
        numbers = starts[self._build_of[self.index.source]] + self.index.row
        # `select` would walk over the numbers one by one. The fingerprint names content, so that
        # what is computed of the dataset is found again in the cache of `datasets`.
        digest = xxhash.xxh3_64(numbers.astype("<i8").data)
        for build in self._builds:
            digest.update(build.rows_digest.encode())
        return datasets.Dataset(
            joined.data,
            info=joined.info,
            indices_table=InMemoryTable.from_pydict({"indices": pa.array(numbers, pa.uint64())}),
            fingerprint=digest.hexdigest(),
        )

    def polars(self, columns: Sequence[str]) -> polars.LazyFrame:
        """Return the named columns as a lazy frame that reads the rows in blocks when collected."""
        import polars
        from polars.io.plugins import register_io_source

        empty: Any = polars.from_arrow(RECORD.empty_table().select(list(columns)))

        def blocks(
            with_columns: list[str] | None,
            predicate: polars.Expr | None,
            n_rows: int | None,
            batch_size: int | None,
        ) -> Iterator[polars.DataFrame]:
            wanted = with_columns if with_columns is not None else list(columns)
            left = len(self) if n_rows is None else min(n_rows, len(self))
            for start in range(0, left, batch_size or BLOCK_ROWS):
                stop = min(start + (batch_size or BLOCK_ROWS), left)
                block = self.rows(np.arange(start, stop), wanted)
                frame = polars.DataFrame(block, schema={n: empty.schema[n] for n in wanted})
                yield frame if predicate is None else frame.filter(predicate)

        return register_io_source(io_source=blocks, schema=empty.schema)

    def _by_build(
        self, indices: npt.NDArray[Any] | Sequence[int]
    ) -> tuple[list[tuple[RowReader, npt.NDArray[np.uint32]]], npt.NDArray[np.int64]]:
        """Return the rows at positions as row numbers of each build, and how to order them then."""
        wanted = np.asarray(indices, dtype=np.int64)
        if wanted.size and (wanted.min() < 0 or wanted.max() >= len(self)):
            raise IndexError(f"positions must lie in [0, {len(self)}), got {wanted.tolist()[:5]}")
        of_build = self._build_of[self.index.source[wanted]]
        # Row numbers in ascending order touch the mapped pages in the order of the file.
        order = np.lexsort((self.index.row[wanted], of_build))
        numbers, of_build = self.index.row[wanted][order], of_build[order]
        bounds = np.flatnonzero(np.diff(of_build, prepend=-1, append=-1)).tolist()
        parts = [
            (self._reader(int(of_build[start])), numbers[start:stop])
            for start, stop in itertools.pairwise(bounds)
        ]
        back = np.empty(len(order), dtype=np.int64)
        back[order] = np.arange(len(order))
        return parts, back

    def _reader(self, place: int) -> RowReader:
        reader = self._readers[place]
        if reader is None:
            reader = self._readers[place] = self._builds[place].reader()
        return reader


def _linked(build: Build, cache: Path) -> Path:
    """Return a folder in the cache of `datasets` with links to a build's files.

    What `Dataset.map` caches, it writes beside the files it reads, and a build never changes.
    """
    folder = cache / xxhash.xxh3_64_hexdigest(str(build.path.resolve()).encode())
    folder.mkdir(parents=True, exist_ok=True)
    for path in build.path.resolve().iterdir():
        with suppress(FileExistsError):
            (folder / path.name).symlink_to(path)
    return folder


def _picked(values: list[Any], places: list[int]) -> list[Any]:
    if len(places) < 2:
        return values
    return list(itemgetter(*places)(values))


class Mixture(MixtureRows):
    """A built mixture: its training rows, its holdout, and the lock that says what they are."""

    def __init__(self, path: Path, lock: dict[str, Any], home: Home) -> None:
        self.path = path
        self.lock = lock
        store = Store(home)
        sources = [tags_of(one) for one in lock["sources"]]
        found = {
            (one.id, one.rows_digest): store.with_rows(one.id, one.rows_digest) for one in sources
        }
        builds = [found[one.id, one.rows_digest] for one in sources]
        super().__init__(read_index(path / INDEX), sources, builds)
        self.holdout = MixtureRows(read_index(path / HOLDOUT), sources, builds)
        for rows, expected, name in (
            (self, lock["rows"], INDEX),
            (self.holdout, lock["holdout"], HOLDOUT),
        ):
            if len(rows) != expected:
                raise StoreError(
                    f"{path / name}: expected {expected} rows as the lock says, got {len(rows)}."
                    " Make the mixture again: woolgather mix build"
                )

    @property
    def name(self) -> str:
        """Return the recipe's name."""
        return str(self.lock["recipe"]["name"])

    @property
    def digest(self) -> str:
        """Return the digest of lock and indexes."""
        return str(self.lock["digest"])

    @classmethod
    def open(cls, name: str | Path, home: Home | None = None) -> Mixture:
        """Open a mixture by its name, `name/digest`, or folder.

        Raises:
            StoreError: there is none, it is damaged, or the store has not the rows any more.
        """
        home = home or default_home()
        path = find_mixture(name, home)
        return cls(path, read_lock(path / LOCK), home)

    def verify(self) -> None:
        """Check that lock, indexes and stored rows are those that were built.

        Raises:
            StoreError: something is not; all that is wrong, one a line.
        """
        found = digest_of(self.lock, (self.index, self.holdout.index))
        wrong = []
        if found != self.digest:
            wrong.append(
                f"{self.path}: expected digest {self.digest[:12]}, got {found[:12]}: lock or index"
                " was changed. Make the mixture again: woolgather mix build"
            )
        for build in self._builds:
            again = f"Build it again: woolgather build {build.id}"
            wrong += [f"{line}. {again}" for line in build.damage()]
        if wrong:
            raise StoreError("\n".join(wrong))


def find_mixture(name: str | Path, home: Home) -> Path:
    """Return the folder of a mixture.

    Raises:
        StoreError: no mixture has that name or digest, or the folder holds none.
    """
    folder = Path(name)
    if (folder / LOCK).is_file():
        return folder
    if isinstance(name, str) and not folder.is_absolute():
        pointer = home.mixtures / name / CURRENT
        if pointer.is_file():
            return home.mixtures / name / pointer.read_text(encoding="utf-8").strip()
        own, slash, digest = name.partition("/")
        versions = sorted((home.mixtures / own).glob(f"{digest}*/{LOCK}")) if slash else []
        if digest and len(versions) == 1:
            return versions[0].parent
    known = sorted(path.parent.name for path in home.mixtures.glob(f"*/{CURRENT}"))
    raise StoreError(
        f"no mixture {str(name)!r}. Known: {', '.join(known) or 'none'}."
        " Make one: woolgather mix build"
    )
