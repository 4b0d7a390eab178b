"""Random access to stored rows: text columns straight from memory-mapped Arrow buffers.

The store's builds and the mixtures' readers use it. `pyarrow.Table.take` copies through a chunk
lookup for each call; here a request costs one vectorised search and a slice for each value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from corpus.schema import RECORD

Getter = Callable[[int], Any]
"""Gives the Python value of a column in one batch, by its position in the batch."""


class RowReader:
    """The rows of a build, memory-mapped; shards are opened when first touched."""

    def __init__(self, folder: Path, shards: Sequence[tuple[str, int]]) -> None:
        self._paths = [folder / name for name, _ in shards]
        counts = np.array([rows for _, rows in shards], dtype=np.int64)
        self._starts = np.concatenate(([0], np.cumsum(counts)))
        self._batches: list[list[pa.RecordBatch] | None] = [None] * len(self._paths)
        self._shard_getters: dict[str, list[Getter | None]] = {}

    def __len__(self) -> int:
        return int(self._starts[-1])

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
        shard_of = np.searchsorted(self._starts, wanted, side="right") - 1
        local = (wanted - self._starts[shard_of]).tolist()
        places = shard_of.tolist()
        return {name: self._column(name, places, local) for name in columns}

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Return all rows as one memory-mapped table."""
        batches = [batch for shard in range(len(self._paths)) for batch in self._open(shard)]
        table = pa.Table.from_batches(batches, schema=RECORD)
        return table.select(list(columns)) if columns is not None else table

    def _column(self, name: str, places: list[int], local: list[int]) -> list[Any]:
        getters = self._shard_getters.setdefault(name, [None] * len(self._paths))
        values = []
        for shard, row in zip(places, local, strict=True):
            get = getters[shard]
            if get is None:
                get = getters[shard] = self._shard_getter(shard, name)
            values.append(get(row))
        return values

    def _shard_getter(self, shard: int, name: str) -> Getter:
        batches = self._open(shard)
        getters = [_getter(batch.column(name)) for batch in batches]
        if len(getters) == 1:
            return getters[0]
        starts = np.cumsum([0] + [batch.num_rows for batch in batches]).tolist()

        def get(row: int) -> Any:
            # A shard holds a handful of batches: walking back is quicker than a search.
            which = len(getters) - 1
            while starts[which] > row:
                which -= 1
            return getters[which](row - starts[which])

        return get

    def _open(self, shard: int) -> list[pa.RecordBatch]:
        batches = self._batches[shard]
        if batches is None:
            with pa.memory_map(str(self._paths[shard])) as mapped:
                batches = pa.ipc.open_stream(mapped).read_all().to_batches()
            self._batches[shard] = batches
        return batches


def _getter(array: pa.Array) -> Getter:
    if pa.types.is_string(array.type):
        return _text_getter(array)
    if pa.types.is_list(array.type):
        return _list_getter(array)
    return lambda row: array[row].as_py()


def _text_getter(array: pa.Array) -> Getter:
    if array.null_count == len(array):
        return lambda row: None
    validity, offsets_buffer, data_buffer = array.buffers()
    offsets = memoryview(offsets_buffer).cast("B").cast("i")
    data = memoryview(data_buffer if data_buffer is not None else b"")
    base = array.offset

    def get(row: int) -> str:
        row += base
        return str(data[offsets[row] : offsets[row + 1]], "utf-8")

    if not array.null_count:
        return get
    bits = memoryview(validity)

    def get_nullable(row: int) -> str | None:
        at = row + base
        return get(row) if bits[at >> 3] >> (at & 7) & 1 else None

    return get_nullable


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
