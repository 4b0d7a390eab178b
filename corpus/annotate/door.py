"""The one door to annotations: columns that are computed once for a source's rows and kept.

Mixtures read them. A row's annotation depends on the row alone and files are keyed by the digest
of the rows, so that a rebuild that changes no row voids nothing.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from corpus.atomic import UNFINISHED, sole_writer, sync_folder
from corpus.columns import readable
from corpus.engine import Advance, Engine
from corpus.errors import StoreError
from corpus.registry import Registry
from corpus.settings import Home
from corpus.store import Build

SMALL_ROWS = 100_000
"""Fewer rows than this are annotated in the parent: starting a pool would cost more."""


@dataclass(frozen=True, slots=True)
class Annotation:
    """A kind of annotation: what it reads, what it gives, and how."""

    name: str
    version: int
    """Raise it when the same rows would get other values."""
    schema: pa.Schema
    reads: tuple[str, ...]
    """The record columns that `compute` is given."""
    compute: Callable[[pa.RecordBatch], pa.RecordBatch]
    """Gives as many rows as it gets, in their order."""


ANNOTATIONS: Registry[Callable[[], Annotation]] = Registry("annotation")
"""Annotations by name; each registered function describes one."""


def annotation_path(home: Home, build: Build, kind: Annotation) -> Path:
    """Return where the annotation of a build's rows is kept."""
    folder = home.annotations / build.id / build.rows_digest
    return folder / f"{kind.name}-{kind.version}.arrow"


def has_annotation(home: Home, build: Build, name: str) -> bool:
    """Tell whether the annotation of a build's rows is there already."""
    return annotation_path(home, build, ANNOTATIONS[name]()).is_file()


def annotation(
    home: Home,
    build: Build,
    name: str,
    *,
    workers: int | None = 1,
    engine: Engine | None = None,
    advance: Advance = lambda done, total: None,
    say: Callable[[str], None] = lambda line: None,
) -> pa.Table:
    """Return a build's annotation, memory-mapped, a row for each row; compute it when absent.

    Args:
        workers: processes that compute; None: one for each processor.
        engine: computes instead, so that many builds share one pool.
        advance: called with rows done and rows in all.

    Raises:
        CatalogError: no annotation has that name.
        StoreError: the file on disk does not fit the build.
    """
    kind = ANNOTATIONS[name]()
    path = annotation_path(home, build, kind)
    if not path.is_file():
        lock = f"annotation-{build.id}-{build.rows_digest[:16]}-{kind.name}"
        with sole_writer(home.locks, lock, say=say):
            if not path.is_file():
                with nullcontext(engine) if engine else Engine("processes", workers) as own:
                    _write(path, build, kind, own, advance)
    return _open(path, build, kind)


def annotate_shard(shard: tuple[str, int], folder: Path, name: str) -> list[pa.RecordBatch]:
    """Return the annotation of one shard of a build, a batch for each batch."""
    kind = ANNOTATIONS[name]()
    return [kind.compute(batch) for batch in _batches(folder / shard[0], kind.reads)]


def _batches(path: Path, columns: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
    with readable(path), pa.memory_map(str(path)) as mapped, pa.ipc.open_stream(mapped) as stream:
        for batch in stream:
            yield batch.select(list(columns))


def _write(path: Path, build: Build, kind: Annotation, engine: Engine, advance: Advance) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f"{UNFINISHED}{path.name}-*"):
        left.unlink()
    temporary = path.with_name(f"{UNFINISHED}{path.name}-{uuid.uuid4().hex[:8]}")
    done = 0
    with (
        temporary.open("wb") as stream,
        pa.ipc.new_file(stream, kind.schema) as writer,
    ):
        shards = engine.map_shards(
            "corpus.annotate:annotate_shard",
            build.shards,
            build.path,
            kind.name,
            small=build.rows < SMALL_ROWS,
        )
        for (_, rows), batches in shards:
            for batch in batches:
                writer.write_batch(batch)
            done += rows
            advance(done, build.rows)
        writer.close()
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def _open(path: Path, build: Build, kind: Annotation) -> pa.Table:
    try:
        with pa.memory_map(str(path)) as mapped:
            table = pa.ipc.open_file(mapped).read_all()
    except pa.ArrowException as error:
        raise StoreError(
            f"{path}: expected the annotation {kind.name}, got: {error}. Remove the file; it is"
            " made again when needed."
        ) from error
    if table.num_rows != build.rows or not table.schema.equals(kind.schema):
        raise StoreError(
            f"{path}: expected {build.rows} rows of {', '.join(kind.schema.names)}, got"
            f" {table.num_rows} of {', '.join(table.schema.names)}. Remove the file; it is made"
            " again when needed."
        )
    return table
