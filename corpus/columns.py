"""Random access to stored rows: text columns straight from memory-mapped files.

The store's builds and the mixtures' readers use it. `pyarrow.Table.take` copies through a chunk
lookup for each call; here a request costs one vectorised search and one slice for each value.
"""

from __future__ import annotations

import itertools
import mmap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from corpus.errors import StoreError
from corpus.schema import RECORD

Getter = Callable[[int], Any]
"""Gives the Python value of a column in one batch, by its position in the batch."""

Texts = tuple[mmap.mmap, "memoryview[int]", int, int]
"""A text column of a batch: its file, the file as 32-bit numbers, and where in them the offsets
(counted in numbers) and the texts (in bytes) begin."""


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Say of a file of a build that Arrow cannot read which one it is, in one line.

    Raises:
        StoreError: the file is absent or damaged.
    """
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise StoreError(
            f"{path}: expected stored rows, got: {str(error).partition('. Detail')[0]}. Build them"
            f" again: woolgather build {path.parent.parent.name}"
        ) from error


class RowReader:
    """The rows of a build, memory-mapped; shards are opened at the first request."""

    def __init__(self, folder: Path, shards: Sequence[tuple[str, int]]) -> None:
        self._paths = [folder / name for name, _ in shards]
        self._rows = sum(rows for _, rows in shards)
        self._batches: list[tuple[pa.RecordBatch, _File]] = []
        self._starts = np.zeros(1, dtype=np.int64)
        self._texts: dict[str, list[Texts] | None] = {}
        self._getters: dict[str, list[Getter]] = {}

    def __len__(self) -> int:
        return self._rows

    def take(
        self, rows: np.ndarray[Any, Any] | Sequence[int], columns: Sequence[str]
    ) -> dict[str, list[Any]]:
        """Return the named columns of the rows, in the order asked.

        Strings come as str (or None), history as a list of {instruction, output}, origin as a
        dict.

        Raises:
            IndexError: a row number is outside the build.
        """
        wanted = np.asarray(rows, dtype=np.int64)
        if wanted.size and (wanted.min() < 0 or wanted.max() >= len(self)):
            raise IndexError(f"row numbers must lie in [0, {len(self)}), got {wanted.tolist()[:5]}")
        self._open()
        batch_of = np.searchsorted(self._starts, wanted, side="right") - 1
        local = (wanted - self._starts[batch_of]).tolist()
        places = batch_of.tolist()
        return {name: self._column(name, places, local) for name in columns}

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Return all rows as one memory-mapped table."""
        self._open()
        table = pa.Table.from_batches([batch for batch, _ in self._batches], schema=RECORD)
        return table.select(list(columns)) if columns is not None else table

    def gather(self, rows: npt.NDArray[Any]) -> list[pa.RecordBatch]:
        """Return whole records of rows in ascending order, as batches of their own memory.

        Raises:
            IndexError: a row number is outside the build.
        """
        self._open()
        if len(rows) and (rows[0] < 0 or rows[-1] >= len(self)):
            raise IndexError(f"row numbers must lie in [0, {len(self)}), got {rows[-1]}")
        batch_of = np.searchsorted(self._starts, rows, side="right") - 1
        bounds = np.flatnonzero(np.diff(batch_of, prepend=-1, append=-1)).tolist()
        found = []
        for start, stop in itertools.pairwise(bounds):
            place = batch_of[start]
            local = rows[start:stop].astype(np.int64) - self._starts[place]
            found.append(self._batches[place][0].take(pa.array(local)))
        return found

    def _column(self, name: str, places: list[int], local: list[int]) -> list[Any]:
        if name not in self._texts:
            self._texts[name] = self._texts_of(name)
        texts = self._texts[name]
        if texts is None:
            getters = self._getters[name]
            return [getters[place](row) for place, row in zip(places, local, strict=True)]
        values = []
        for place, row in zip(places, local, strict=True):
            # Written out: a call for each value would take half as long again.
            file, numbers, offset, data = texts[place]
            offset += row
            values.append(file[data + numbers[offset] : data + numbers[offset + 1]].decode())
        return values

    def _texts_of(self, name: str) -> list[Texts] | None:
        """Return where a column's texts lie, None where it has nulls or is no text."""
        arrays = [(batch.column(name), file) for batch, file in self._batches]
        if any(not pa.types.is_string(array.type) or array.null_count for array, _ in arrays):
            self._getters[name] = [_getter(array) for array, _ in arrays]
            return None
        return [file.texts(array) for array, file in arrays]

    def _open(self) -> None:
        if self._batches or not self._rows:
            return
        files = [_File(path) for path in self._paths]
        batches = [(batch, file) for file in files for batch in file.batches]
        starts = np.concatenate(([0], np.cumsum([batch.num_rows for batch, _ in batches])))
        if starts[-1] != self._rows:
            # A stream that was cut between two batches reads without an error.
            folder = self._paths[0].parent
            raise StoreError(
                f"{folder}: expected {self._rows} stored rows, got {starts[-1]}."
                f" Build them again: woolgather build {folder.parent.name}"
            )
        # Batches last: threads that find them need nothing else.
        self._starts = starts
        self._batches = batches


class _File:
    """A shard, mapped twice: by Arrow for its structure, by Python for the quickest slices."""

    def __init__(self, path: Path) -> None:
        with readable(path):
            with pa.memory_map(str(path)) as mapped:
                whole = mapped.read_buffer()
            self.batches: list[pa.RecordBatch] = pa.ipc.open_stream(whole).read_all().to_batches()
        self._address = whole.address
        with path.open("rb") as stream:
            self._mapped = mmap.mmap(stream.fileno(), 0, prot=mmap.PROT_READ)
        self._numbers = memoryview(self._mapped)[: len(self._mapped) // 4 * 4].cast("i")

    def texts(self, array: pa.StringArray) -> Texts:
        """Return where the texts of a column lie."""
        _, offsets, data = array.buffers()
        first = (offsets.address - self._address) // 4 + array.offset
        return self._mapped, self._numbers, first, data.address - self._address if data else 0


def _getter(array: pa.Array) -> Getter:
    if array.null_count == len(array):
        return lambda row: None
    if pa.types.is_string(array.type):
        return _text_getter(array)
    if pa.types.is_list(array.type):
        return _list_getter(array)
    return lambda row: array[row].as_py()


def _text_getter(array: pa.Array) -> Getter:
    """Return a getter for texts of which some are null."""
    validity, offsets_buffer, data_buffer = array.buffers()
    offsets = memoryview(offsets_buffer).cast("B").cast("i")
    data = memoryview(data_buffer if data_buffer is not None else b"")
    bits = memoryview(validity) if validity is not None else None
    base = array.offset

    def get(row: int) -> str | None:
        at = row + base
        if bits is not None and not bits[at >> 3] >> (at & 7) & 1:
            return None
        return str(data[offsets[at] : offsets[at + 1]], "utf-8")

    return get


def _list_getter(array: pa.Array) -> Getter:
    offsets = memoryview(array.buffers()[1]).cast("B").cast("i")
    base = array.offset

    def get(row: int) -> list[Any]:
        at = row + base
        if offsets[at] == offsets[at + 1]:
            return []
        values: list[Any] = array[row].as_py()
        return values

    return get
