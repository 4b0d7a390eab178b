"""The row index: a build's row ids in ascending order, so that an id is found by bisection.

Made when an id is first asked for; `corpus.trace` and `corpus.mixture.why` look rows up in it.
"""

from __future__ import annotations

from binascii import unhexlify
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from corpus.annotate.sealed import open_sealed, sealed_writer
from corpus.atomic import sole_writer
from corpus.settings import Home
from corpus.store import Build

VERSION = 1
ID_CHARS = 32
KEY_CHARS = 16
"""A row is looked up by the first 64 bits of its id, and then compared in full."""

SIDES: tuple[Literal["left"], Literal["right"]] = ("left", "right")

SCHEMA = pa.schema(
    [
        pa.field("key", pa.uint64(), nullable=False),
        pa.field("row", pa.uint32(), nullable=False),
    ]
)


def rows_with_id(home: Home, build: Build, row_id: str) -> list[int]:
    """Return the numbers of the rows with an id (32 hex digits), in ascending order."""
    if not build.rows:
        return []
    table = _index(home, build)
    keys = table.column("key").chunk(0).to_numpy()
    wanted = np.uint64(int(row_id[:KEY_CHARS], 16))
    first, last = (int(np.searchsorted(keys, wanted, side=side)) for side in SIDES)
    rows = table.column("row").chunk(0).to_numpy()[first:last]
    if not len(rows):
        return []
    ids = build.reader().take(rows, ["id"])["id"]
    return sorted(row for row, id in zip(rows.tolist(), ids, strict=True) if id == row_id)


def index_path(home: Home, build: Build) -> Path:
    """Return where the index of a build's rows is kept."""
    return home.annotations / build.id / build.rows_digest / f"ids-{VERSION}.arrow"


def _index(home: Home, build: Build) -> pa.Table:
    path = index_path(home, build)
    table = open_sealed(path, SCHEMA, build.rows)
    if table is None:
        with sole_writer(home.locks, f"annotation-{build.id}-{build.rows_digest[:16]}-ids"):
            table = open_sealed(path, SCHEMA, build.rows)
            if table is None:
                _write(path, build)
                table = open_sealed(path, SCHEMA, build.rows)
    assert table is not None, f"{path} was written just now"
    return table


def _write(path: Path, build: Build) -> None:
    keys = np.concatenate([id_keys(chunk) for chunk in build.reader().table(["id"])["id"].chunks])
    order = np.argsort(keys, kind="stable")
    columns = [pa.array(keys[order]), pa.array(order.astype(np.uint32))]
    with sealed_writer(path, SCHEMA) as writer:
        writer.write_batch(pa.record_batch(columns, schema=SCHEMA))


def id_keys(ids: pa.StringArray) -> npt.NDArray[np.uint64]:
    """Return the first 64 bits of each id."""
    _, offsets, data = ids.buffers()
    start = int(np.frombuffer(offsets, dtype=np.int32)[ids.offset])
    digits = memoryview(data)[start : start + len(ids) * ID_CHARS]
    halves = np.frombuffer(unhexlify(digits), dtype=">u8")
    keys: npt.NDArray[np.uint64] = halves[::2].astype(np.uint64)
    return keys
