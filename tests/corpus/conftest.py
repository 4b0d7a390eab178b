"""Fixtures of the ground floor: small builds written straight into a store."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pytest
import xxhash

from corpus.catalog import Catalog
from corpus.schema import RECORD, row_id
from corpus.settings import Home
from corpus.store import (
    REJECT_SCHEMA,
    REJECTS,
    Build,
    FileInfo,
    Manifest,
    ShardInfo,
    Store,
    open_build,
    write_manifest,
)

MakeBuild = Callable[..., Build]


def record(source: str, number: int, fields: dict[str, Any]) -> dict[str, Any]:
    """Return a whole row of the store from the fields that a test cares about."""
    row: dict[str, Any] = {"input": "", "output": "", "history": [], "system": None, "extra": None}
    row |= fields
    turns = [(turn["instruction"], turn["output"]) for turn in row["history"]]
    row["id"] = row_id(row["instruction"], row["input"], row["output"], turns, row["system"])
    row["source"] = source
    row["origin"] = {"file": "rows.jsonl", "record": number, "part": 0}
    return row


@pytest.fixture
def make_build(home: Home) -> MakeBuild:
    """Return a function that stores rows as a finished build of an id and makes it current."""

    def make(
        id: str,
        rows: Sequence[dict[str, Any]],
        *,
        subsets: dict[str, tuple[int, int]] | None = None,
        limit: int | None = None,
        shard_rows: int = 7,
    ) -> Build:
        subsets = subsets or {}
        places = range(len(rows))
        names = [
            next((f"{id}/{name}" for name, (a, b) in subsets.items() if a <= place < b), id)
            for place in places
        ]
        records = [record(names[place], place, rows[place]) for place in places]
        digest = hashlib.sha256(b"".join(bytes.fromhex(row["id"]) for row in records)).hexdigest()
        fingerprint = hashlib.sha256(f"{digest}{limit}".encode()).hexdigest()
        folder = home.store / id / fingerprint
        folder.mkdir(parents=True, exist_ok=True)
        shards = []
        for start in range(0, len(records), shard_rows):
            part = pa.Table.from_pylist(records[start : start + shard_rows], schema=RECORD)
            name = f"data-{len(shards):05d}.arrow"
            with pa.ipc.new_stream(str(folder / name), RECORD) as writer:
                writer.write_table(part, max_chunksize=3)
            content = (folder / name).read_bytes()
            digest_of_file = xxhash.xxh3_64_hexdigest(content)
            shards.append(ShardInfo(name, part.num_rows, len(content), digest_of_file))
        pa.ipc.new_file(str(folder / REJECTS), REJECT_SCHEMA).close()
        manifest = Manifest(
            id=id,
            fingerprint=fingerprint,
            rows_digest=digest,
            rows=len(records),
            records=len(records),
            rejected=0,
            dropped_parts=0,
            limit=limit,
            variant="raw",
            subsets=subsets,
            shards=tuple(shards),
            files=(FileInfo("rows.jsonl", 0, ""),),
            inputs={},
            ignored=(),
            fallback=False,
        )
        write_manifest(folder, manifest)
        build = open_build(folder)
        Store(home).make_current(build)
        return build

    return make


@pytest.fixture
def catalog(home: Home) -> Catalog:
    """Return the catalog that ships with the code."""
    return Catalog.load(home)
