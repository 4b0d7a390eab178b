"""Measure `publish dataset --to` of generated rows beside one `pyarrow.parquet.write_table`.

    python benchmarks/publish.py --rows 1000000 --repeats 3

The rows lie in six sources, three English and three Chinese; they are put together of the
phrases of the samples. A mixture puts them in an order of its own. Their languages, lengths and
flags are annotated once before, which is timed apart. The baseline writes exactly the rows that are
published, read into memory beforehand. The result is one JSON object on stdout: medians in seconds,
and the peak memory of the process that publishes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import re
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

from corpus.resources import packed
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
MEAN_PHRASES = {"instruction": 2, "input": 2, "output": 7}
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


def phrases(tag: str) -> pa.Array:
    """Return the phrases of the samples in one language, in the order of the files."""
    pattern = r"[\u4e00-\u9fff]{4,}[，。？！]" if tag == "zh" else r"[A-Za-z][A-Za-z' ]{14,}[,.?!]"
    found: dict[str, None] = {}
    for path in sorted(packed("samples").rglob("*.*")):
        if path.suffix in (".json", ".jsonl", ".tsv"):
            found |= dict.fromkeys(re.findall(pattern, path.read_text(encoding="utf-8")))
    return pa.array(list(found))


def texts(rows: int, mean: int, words: pa.Array, chance: np.random.Generator) -> pa.Array:
    """Return texts of some phrases each; their lengths are skewed, as those of real texts are."""
    counts = np.minimum(chance.lognormal(np.log(mean), 0.7, rows).astype(np.int32) + 1, 100)
    ends = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    picks = chance.integers(0, len(words), int(ends[-1]))
    spread = pa.ListArray.from_arrays(pa.array(ends), words.take(pa.array(picks)))
    return pc.binary_join(spread, " " if words[0].as_py().isascii() else "")


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
        write_source(home, id, rows // len(SOURCES) + 1, phrases(tag), chance)


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
    made = {name: texts(rows, mean, words, chance) for name, mean in MEAN_PHRASES.items()}
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


def annotate(folder: Path) -> dict[str, float]:
    """Annotate the sources as the first publication of their rows would; time it."""
    from corpus.annotate import annotation
    from corpus.engine import Engine
    from corpus.publish.statistics import ANNOTATIONS

    home = Home(folder / "home")
    started = time.perf_counter()
    with Engine("processes", WORKERS) as engine:
        for id in SOURCES:
            for name in ANNOTATIONS:
                annotation(home, Store(home).current(id), name, engine=engine)
    return {"seconds": time.perf_counter() - started}


def mix(folder: Path) -> dict[str, float]:
    """Build the mixture that is published: every row once, in an order of its own."""
    from corpus.catalog import Catalog
    from corpus.mixture import build_mixture, check_recipe

    home = Home(folder / "home")
    lines = [{"select": "generated_*", "epochs": 1}]
    recipe = check_recipe({"name": "generated", "sources": lines, "holdout": {"rows": 1000}})
    started = time.perf_counter()
    build_mixture(recipe, home, Catalog.load(home), workers=WORKERS)
    return {"seconds": time.perf_counter() - started}


def publish(folder: Path) -> dict[str, float]:
    """Publish the mixture into a folder; imports are not counted."""
    import altair  # noqa: F401
    import vl_convert  # noqa: F401

    from corpus.catalog import Catalog
    from corpus.publish import build_dataset_folder

    home, out = Home(folder / "home"), folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    catalog = Catalog.load(home)
    started = time.perf_counter()
    made = build_dataset_folder("generated", out, home, catalog, repo=REPO, workers=WORKERS)
    return {"seconds": time.perf_counter() - started, "bytes": made.bytes}


def write_table(folder: Path) -> dict[str, float]:
    """Write the published rows, which are in memory, as one Parquet file."""
    import pyarrow.parquet as pq

    table = pq.read_table(folder / "out" / "data" / "generated").combine_chunks()
    path = folder / "baseline.parquet"
    started = time.perf_counter()
    pq.write_table(table, path, compression="zstd")
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "rows": len(table), "bytes": path.stat().st_size}


CASES: dict[str, Callable[[Path], dict[str, float]]] = {
    "mix": mix,
    "annotate": annotate,
    "publish": publish,
    "write_table": write_table,
}


def in_a_process(case: str, folder: Path) -> dict[str, float]:
    """Run a case in a process of its own; return what it measured, and its peak memory."""
    command = [sys.executable, __file__, "--case", case, "--folder", str(folder)]
    environment = {**os.environ, "PYTHONPATH": ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{case}: {done.stderr}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def run(rows: int, repeats: int) -> dict[str, Any]:
    """Run all cases; return the medians."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        generate(Home(folder / "home"), rows)
        once = {case: in_a_process(case, folder)["seconds"] for case in ("mix", "annotate")}
        pairs = [
            (in_a_process("publish", folder), in_a_process("write_table", folder))
            for _ in range(repeats)
        ]
    ours = statistics.median(one["seconds"] for one, _ in pairs)
    baseline = statistics.median(one["seconds"] for _, one in pairs)
    return {
        "rows": int(pairs[0][1]["rows"]),
        "annotate_once_seconds": round(once["annotate"], 2),
        "publish_seconds": round(ours, 2),
        "publish_mib": round(max(one["peak_mib"] for one, _ in pairs)),
        "published_bytes": int(pairs[0][0]["bytes"]),
        "write_table_seconds": round(baseline, 2),
        "write_table_bytes": int(pairs[0][1]["bytes"]),
        "times_write_table": round(baseline / ours, 2),
        "repeats": repeats,
        "cores": WORKERS,
        "python": platform.python_version(),
        "pyarrow": pa.__version__,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--case", choices=CASES)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if options.case is None:
        print(json.dumps(run(options.rows, options.repeats), indent=1))
        return
    found = CASES[options.case](options.folder)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({**found, "peak_mib": peak / (1 << (20 if sys.platform == "darwin" else 10))}))


if __name__ == "__main__":
    main()
