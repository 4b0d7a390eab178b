"""The store: finished builds of rows, each in a folder of its own that never changes.

`build` writes them, annotations and mixtures read them. `store/<id>/<fingerprint>/` holds
`data-NNNNN.arrow` (Arrow IPC streams), `rejects.arrow`, `manifest.json`, and the two files that
let plain `datasets.load_from_disk` open the folder memory-mapped.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import xxhash

from corpus.atomic import UNFINISHED, write_text
from corpus.columns import RowReader, readable
from corpus.errors import StoreError
from corpus.settings import Home

MANIFEST = "manifest.json"
REJECTS = "rejects.arrow"
CURRENT = "current"
DATASET_INFO, DATASET_STATE = "dataset_info.json", "state.json"
"""What `datasets.load_from_disk` reads."""

REJECT_SCHEMA = pa.schema(
    [
        pa.field("file", pa.string()),
        pa.field("record", pa.int64()),
        pa.field("part", pa.int32()),
        pa.field("is_part", pa.bool_()),
        pa.field("reason", pa.string()),
        pa.field("detail", pa.string()),
        pa.field("raw", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True)
class ShardInfo:
    """One file of rows."""

    file: str
    rows: int
    bytes: int
    xxh3: str
    """xxh3-64 of the file, hex."""


@dataclass(frozen=True, slots=True)
class FileInfo:
    """One raw file on disk that a build has read."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything about a build but its rows; written last, so its existence means completeness."""

    id: str
    fingerprint: str
    rows_digest: str
    """sha256 over the rows' ids (16 bytes each) in order."""
    rows: int
    records: int
    rejected: int
    dropped_parts: int
    limit: int | None
    variant: str
    subsets: dict[str, tuple[int, int]]
    """Row range [start, stop) of each subset."""
    shards: tuple[ShardInfo, ...]
    files: tuple[FileInfo, ...]
    inputs: dict[str, dict[str, int]]
    """Per file or archive member that was read: records, rows."""
    ignored: tuple[str, ...]
    fallback: bool
    reasons: dict[str, int] = field(default_factory=dict)
    """Rejected records by reason."""
    schema_version: int = 1

    def to_json(self) -> str:
        """Return the manifest's text: the same bytes for the same build."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=1, sort_keys=True) + "\n"


@dataclass(frozen=True, slots=True)
class Build:
    """A finished build: its manifest and where it lies."""

    path: Path
    manifest: Manifest

    @property
    def id(self) -> str:
        """Return the catalog id."""
        return self.manifest.id

    @property
    def fingerprint(self) -> str:
        """Return the digest of what the build was made from."""
        return self.manifest.fingerprint

    @property
    def rows_digest(self) -> str:
        """Return the digest of the rows' ids in order."""
        return self.manifest.rows_digest

    @property
    def rows(self) -> int:
        """Return the number of rows."""
        return self.manifest.rows

    @property
    def records(self) -> int:
        """Return the number of raw records."""
        return self.manifest.records

    @property
    def rejected(self) -> int:
        """Return the number of records that gave no row."""
        return self.manifest.rejected

    @property
    def limit(self) -> int | None:
        """Return the --limit of the build, None for a whole one."""
        return self.manifest.limit

    @property
    def subsets(self) -> dict[str, tuple[int, int]]:
        """Return the row range [start, stop) of each subset."""
        return self.manifest.subsets

    @property
    def shards(self) -> tuple[tuple[str, int], ...]:
        """Return (file name, rows) of each shard in order."""
        return tuple((one.file, one.rows) for one in self.manifest.shards)

    def reader(self) -> RowReader:
        """Return a reader of the rows; shards are opened when first touched."""
        return RowReader(self.path, self.shards)

    def rejects(self) -> pa.Table:
        """Return the rejected records and dropped parts, memory-mapped."""
        path = self.path / REJECTS
        with readable(path), pa.memory_map(str(path)) as mapped:
            return pa.ipc.open_file(mapped).read_all()

    def damage(self) -> list[str]:
        """Return one line for each file that is not what was written; empty when all is well."""
        lines = []
        for shard in self.manifest.shards:
            path = self.path / shard.file
            found = _sum_of(path) if path.is_file() else "nothing"
            if found != shard.xxh3:
                lines.append(f"{path}: expected xxh3 {shard.xxh3}, got {found}")
        names = (REJECTS, DATASET_INFO, DATASET_STATE)
        absent = [name for name in names if not (self.path / name).is_file()]
        return lines + [f"{self.path / name}: expected a file, got none" for name in absent]


def _sum_of(path: Path) -> str:
    """Return the xxh3-64 of a file, hex; mapped, as a copy of it would take longer than the sum."""
    if not path.stat().st_size:
        return xxhash.xxh3_64_hexdigest(b"")
    with pa.memory_map(str(path)) as mapped:
        return xxhash.xxh3_64_hexdigest(memoryview(mapped.read_buffer()))


class Store:
    """The builds in a home."""

    def __init__(self, home: Home) -> None:
        self.home = home

    def folder(self, id: str) -> Path:
        """Return the folder of an id's builds."""
        return self.home.store / id

    def ids(self) -> list[str]:
        """Return the ids that have a current build."""
        if not self.home.store.is_dir():
            return []
        return sorted(path.parent.name for path in self.home.store.glob(f"*/{CURRENT}"))

    def has(self, id: str) -> bool:
        """Tell whether an id has a current build."""
        return (self.folder(id) / CURRENT).is_file()

    def current(self, id: str) -> Build:
        """Return the newest successful build of an id.

        Raises:
            StoreError: it was never built, or its folder is damaged.
        """
        pointer = self.folder(id) / CURRENT
        if not pointer.is_file():
            raise StoreError(f"{id} is not in the store. Build it: woolgather build {id}")
        name = pointer.read_text(encoding="utf-8").strip()
        return open_build(self.folder(id) / name)

    def make_current(self, build: Build) -> None:
        """Point `current` at a build."""
        write_text(self.folder(build.id) / CURRENT, build.fingerprint + "\n")

    def versions(self, id: str) -> Iterator[Build]:
        """Yield every finished build of an id; one that is damaged is none."""
        for path in sorted(self.folder(id).glob(f"*/{MANIFEST}")):
            if not path.parent.name.startswith(UNFINISHED):
                with suppress(StoreError):
                    yield open_build(path.parent)

    def with_rows(self, id: str, rows_digest: str) -> Build:
        """Return a build of an id that has exactly these rows.

        Raises:
            StoreError: no stored version has them.
        """
        with suppress(StoreError):  # None is current, or it is damaged: an older one may do.
            if (current := self.current(id)).rows_digest == rows_digest:
                return current
        for build in self.versions(id):
            if build.rows_digest == rows_digest:
                return build
        raise StoreError(
            f"no stored version of {id} has the rows {rows_digest[:12]}. Build it from the same raw"
            f" files again (woolgather build {id}), or make the mixture anew: woolgather mix build"
        )


def open_build(path: Path) -> Build:
    """Open a finished build.

    Raises:
        StoreError: its manifest is absent or damaged.
    """
    try:
        content: dict[str, Any] = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        content["shards"] = tuple(ShardInfo(**one) for one in content["shards"])
        content["files"] = tuple(FileInfo(**one) for one in content["files"])
        content["ignored"] = tuple(content["ignored"])
        content["subsets"] = {name: (a, b) for name, (a, b) in content["subsets"].items()}
        return Build(path, Manifest(**content))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise StoreError(
            f"{path / MANIFEST}: not a readable manifest ({error})."
            f" Build it again: woolgather build {path.parent.name}"
        ) from error


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write what completes a build: the files for `datasets`, then the manifest."""
    write_text(folder / DATASET_INFO, json.dumps({"features": FEATURES}, indent=1) + "\n")
    state: dict[str, Any] = {
        "_data_files": [{"filename": shard.file} for shard in manifest.shards],
        "_fingerprint": manifest.fingerprint[:16],
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": None,
    }
    write_text(folder / DATASET_STATE, json.dumps(state, indent=1) + "\n")
    write_text(folder / MANIFEST, manifest.to_json())


_TEXT = {"dtype": "string", "_type": "Value"}

FEATURES: dict[str, Any] = {
    "id": _TEXT,
    "instruction": _TEXT,
    "input": _TEXT,
    "output": _TEXT,
    "history": {"feature": {"instruction": _TEXT, "output": _TEXT}, "_type": "List"},
    "system": _TEXT,
    "source": _TEXT,
    "origin": {
        "file": _TEXT,
        "record": {"dtype": "int64", "_type": "Value"},
        "part": {"dtype": "int32", "_type": "Value"},
    },
    "extra": _TEXT,
}
"""The record schema as `datasets` writes it; a test compares it with the library's own."""
