"""Measure `publish dataset --to` of generated rows beside one `pyarrow.parquet.write_table`.

    python benchmarks/publish.py --rows 1000000 --repeats 3

The rows lie in six sources, three English and three Chinese; their words follow Zipf's law, so
that they compress about as real texts do. A mixture puts them in its own order. Their languages,
lengths and flags are annotated once before, which is timed apart. The baseline writes exactly the
rows that are published, read into memory beforehand. The result is one JSON object on stdout:
medians in seconds, and the peak memory of the process that publishes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from corpus.schema import MAX_BATCH_ROWS, RECORD
from corpus.settings import Home
from corpus.store import (
    REJECT_SCHEMA,
    REJECTS,
    FileInfo,
    Manifest,
    ShardInfo,
    Store,
    open_build,
    write_manifest,
)

SOURCES = {f"generated_{tag}_{number}": tag for number in range(3) for tag in ("en", "zh")}
WORKERS = 2
SHARD_ROWS = 2 * MAX_BATCH_ROWS
VOCABULARY = 30_000
HAN_FROM, HAN_COUNT = 0x4E00, 3_000
MEAN_WORDS = {"instruction": 14, "input": 6, "output": 45}
REPO = "somebody/generated"

ENTRY = """\
  {id}:
    name: Generated rows {id}
    lang: {lang}
    languages: [{language}]
    task: MT
    gen: SI
    license: Apache-2.0
    formatter: {{name: columns, instruction: instruction, output: output}}
    files: [{{path: rows.jsonl}}]
"""


def vocabulary(tag: str, chance: np.random.Generator) -> pa.Array:
    """Return words in order of frequency: function words first, then invented ones."""
    if tag == "zh":
        first = chance.permutation(HAN_COUNT) + HAN_FROM
        second = chance.integers(HAN_FROM, HAN_FROM + HAN_COUNT, (VOCABULARY, 2))
        words = [chr(code) for code in first.tolist()]
        words += [chr(a) + chr(b) for a, b in second.tolist()]
        return pa.array(words[:VOCABULARY])
    letters = np.array(list("etaoinshrdlcumwfgypbvk"))
    lengths = chance.integers(3, 11, VOCABULARY)
    words = ["".join(chance.choice(letters, size)) for size in lengths.tolist()]
    common = "the of and to in is that it for was on are with as be at this have from or".split()
    return pa.array([*common, *words][:VOCABULARY])


def texts(rows: int, mean: int, words: pa.Array, chance: np.random.Generator) -> pa.Array:
    """Return texts whose lengths are skewed and whose words follow Zipf's law."""
    counts = np.minimum(chance.lognormal(np.log(mean), 0.7, rows).astype(np.int32) + 1, 600)
    ends = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    picks = (np.exp(chance.random(int(ends[-1])) * np.log(len(words))) - 1).astype(np.int32)
    spread = pa.ListArray.from_arrays(pa.array(ends), words.take(pa.array(picks)))
    return pc.binary_join(spread, " " if len(words[0].as_py()) > 1 else "")


def generate(home: Home, rows: int) -> None:
    """Write the sources and a catalog layer that names them."""
    home.path.mkdir(parents=True, exist_ok=True)
    entries = [
        ENTRY.format(
            id=id, lang="CN" if tag == "zh" else "EN", language="zh-Hans" if tag == "zh" else "en"
        )
        for id, tag in SOURCES.items()
    ]
    home.catalog.write_text("datasets:\n" + "".join(entries), encoding="utf-8")
    for number, (id, tag) in enumerate(SOURCES.items()):
        chance = np.random.default_rng(number)
        write_source(home, id, rows // len(SOURCES) + 1, vocabulary(tag, chance), chance)


def write_source(
    home: Home, id: str, rows: int, words: pa.Array, chance: np.random.Generator
) -> None:
    """Write the build of a source."""
    folder = home.store / id / ("0" * 64)
    folder.mkdir(parents=True)
    digest, shards = hashlib.sha256(), []
    for start in range(0, rows, SHARD_ROWS):
        table, ids = shard_table(id, start, min(SHARD_ROWS, rows - start), words, chance)
        digest.update(ids)
        path = folder / f"data-{len(shards):05d}.arrow"
        with pa.ipc.new_stream(str(path), RECORD) as writer:
            writer.write_table(table, max_chunksize=MAX_BATCH_ROWS)
        xxh3 = xxhash.xxh3_64_hexdigest(path.read_bytes())
        shards.append(ShardInfo(path.name, len(table), path.stat().st_size, xxh3))
    pa.ipc.new_file(str(folder / REJECTS), REJECT_SCHEMA).close()
    manifest = Manifest(
        id=id,
        fingerprint=folder.name,
        rows_digest=digest.hexdigest(),
        rows=rows,
        records=rows,
        rejected=0,
        dropped_parts=0,
        limit=None,
        variant="raw",
        subsets={},
        shards=tuple(shards),
        files=(FileInfo("rows.jsonl", 0, "0" * 64),),
        inputs={},
        ignored=(),
        fallback=False,
    )
    write_manifest(folder, manifest)
    Store(home).make_current(open_build(folder))


def shard_table(
    id: str, start: int, rows: int, words: pa.Array, chance: np.random.Generator
) -> tuple[pa.Table, bytes]:
    """Return a shard and the bytes of its ids."""
    ids = hashlib.shake_128(f"{id} {start}".encode()).digest(16 * rows)
    hex_ids = pa.StringArray.from_buffers(
        rows,
        pa.py_buffer(np.arange(0, 32 * (rows + 1), 32, dtype=np.int32)),
        pa.py_buffer(ids.hex().encode()),
    )
    made = {name: texts(rows, mean, words, chance) for name, mean in MEAN_WORDS.items()}
    empty = pa.array(chance.random(rows) < 0.6)
    made["input"] = pc.if_else(empty, "", made["input"])
    origin = pa.StructArray.from_arrays(
        [
            pa.repeat("rows.jsonl", rows),
            pa.array(np.arange(start, start + rows)),
            pa.repeat(pa.scalar(0, pa.int32()), rows),
        ],
        fields=list(RECORD.field("origin").type),
    )
    history = pa.ListArray.from_arrays(
        pa.repeat(pa.scalar(0, pa.int32()), rows + 1),
        pa.array([], RECORD.field("history").type.value_type),
    )
    nothing = pa.nulls(rows, pa.string())
    columns = [hex_ids, *made.values(), history, nothing, pa.repeat(id, rows), origin, nothing]
    return pa.Table.from_arrays(columns, schema=RECORD), ids
