"""Measure `build` on generated alpaca-shaped rows, beside the baselines, in one run.

    python benchmarks/build.py --rows 1000000 --repeats 3

Every case runs in a process of its own and does the same job as far as its tool can: read, strip,
NFC, id, write Arrow. polars reads and writes only; it checks nothing. The result is one JSON
object on stdout: medians in seconds, ratios against ours, peak memory of every process.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from corpus.resources import packed

WORKERS = 2


def sample_rows() -> list[dict[str, str]]:
    """Return the rows of the two alpaca-shaped samples, English and Chinese."""
    samples = packed("samples")
    files = (
        samples / "alpaca" / "alpaca_data.json",
        samples / "alpaca_gpt4_zh" / "data" / "alpaca_gpt4_data_zh.json",
    )
    return [row for file in files for row in json.loads(file.read_text(encoding="utf-8"))]


def generate(folder: Path, rows: int) -> None:
    """Write the same rows as JSONL, as an array, and as dialogues; about 400 bytes a row."""
    seeds, chance = sample_rows(), random.Random(0)
    with (
        (folder / "alpaca_data.jsonl").open("w", encoding="utf-8") as lines,
        (folder / "alpaca_data.json").open("w", encoding="utf-8") as array,
        (folder / "sharegpt_zh.jsonl").open("w", encoding="utf-8") as dialogues,
    ):
        array.write("[\n")
        for number in range(rows):
            row = _row(seeds, chance, number)
            text = json.dumps(row, ensure_ascii=False)
            lines.write(text + "\n")
            array.write((",\n" if number else "") + text)
            dialogues.write(json.dumps(_dialogue(row), ensure_ascii=False) + "\n")
        array.write("\n]\n")


def _row(seeds: list[dict[str, str]], chance: random.Random, number: int) -> dict[str, str]:
    first, *others = chance.choices(seeds, k=5)
    said = "\n".join(one["output"] for one in (first, *others))
    return {
        "instruction": first["instruction"],
        "input": first["input"],
        "output": f"{said}\n{number}",
    }


def _dialogue(row: dict[str, str]) -> dict[str, object]:
    asked = f"{row['instruction']}\n{row['input']}"
    turns = [("human", asked), ("gpt", row["output"])]
    return {"id": "x", "conversations": [{"from": who, "value": said} for who, said in turns]}


def build_ours(id: str, file: Path, out: Path) -> int:
    """Build one entry from one file with two workers; return its rows."""
    from corpus.build import BuildRequest, build_entry, inputs_of
    from corpus.catalog import Catalog
    from corpus.engine import Engine
    from corpus.settings import Home

    home = Home(out)
    entry = Catalog.load(home)[id]
    request = BuildRequest((), given=(file,))
    with Engine("processes", WORKERS) as engine:
        built = build_entry(entry, inputs_of(entry, request), home, engine, request)
    return built.build.rows


def _clean(row: dict[str, str]) -> dict[str, str]:
    import unicodedata

    import xxhash

    texts = [unicodedata.normalize("NFC", row[name]).strip() for name in TEXTS]
    return {
        **dict(zip(TEXTS, texts, strict=True)),
        "id": xxhash.xxh3_128_hexdigest("\0".join(texts).encode()),
    }


TEXTS = ("instruction", "input", "output")


def datasets_rows(file: Path, out: Path) -> int:
    """Map row by row with `datasets`."""
    made = _load_datasets(file, out).map(_clean, load_from_cache_file=False)
    return len(made)


def datasets_batched(file: Path, out: Path) -> int:
    """Map batches with `datasets`."""

    def clean_batch(batch: dict[str, list[str]]) -> dict[str, list[str]]:
        rows = [
            _clean(dict(zip(TEXTS, texts, strict=True)))
            for texts in zip(*(batch[name] for name in TEXTS), strict=True)
        ]
        return {name: [row[name] for row in rows] for name in (*TEXTS, "id")}

    made = _load_datasets(file, out).map(clean_batch, batched=True, load_from_cache_file=False)
    return len(made)


def _load_datasets(file: Path, out: Path):  # type: ignore[no-untyped-def]
    import datasets

    datasets.disable_progress_bars()
    return datasets.load_dataset("json", data_files=str(file), split="train", cache_dir=str(out))


def polars_sink(file: Path, out: Path) -> int:
    """Read NDJSON and write Arrow IPC with polars: the speed of light, without any check."""
    import polars as pl

    out.mkdir(parents=True)
    pl.scan_ndjson(file).sink_ipc(out / "rows.arrow")
    return int(pl.scan_ipc(out / "rows.arrow").select(pl.len()).collect().item())


CASES: dict[str, tuple[str, Callable[[Path, Path], int]]] = {
    "ours, JSONL": ("alpaca_data.jsonl", lambda f, o: build_ours("alpaca", f, o)),
    "ours, JSON array": ("alpaca_data.json", lambda f, o: build_ours("alpaca", f, o)),
    "ours, dialogues row by row": (
        "sharegpt_zh.jsonl",
        lambda f, o: build_ours("sharegpt_zh", f, o),
    ),
    "polars scan_ndjson to sink_ipc": ("alpaca_data.jsonl", polars_sink),
    "datasets map, batched": ("alpaca_data.jsonl", datasets_batched),
    "datasets map, by row": ("alpaca_data.jsonl", datasets_rows),
}


def run_case(name: str, folder: Path) -> dict[str, float]:
    """Run one case in this process and return what it took."""
    file, function = CASES[name]
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    started = time.perf_counter()
    rows = function(folder / file, out)
    seconds = time.perf_counter() - started
    peaks = [
        resource.getrusage(who).ru_maxrss / 1024
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    ]
    shutil.rmtree(out, ignore_errors=True)
    return {"rows": rows, "seconds": seconds, "parent_mib": peaks[0], "largest_child_mib": peaks[1]}


def repeated(
    names: list[str], folder: Path, repeats: int
) -> Iterator[tuple[str, dict[str, float]]]:
    """Run the cases in turn, each in a fresh process, so that drift of the machine hits all."""
    for _ in range(repeats):
        for name in names:
            command = [sys.executable, __file__, "--case", name, "--folder", str(folder)]
            done = subprocess.run(
                command,
                stdout=subprocess.PIPE,
                check=True,
                text=True,
                env={**os.environ, "HF_HUB_OFFLINE": "1"},
            )
            yield name, json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Generate the rows, run the cases, print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows to generate")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each case")
    parser.add_argument("--only", action="append", choices=list(CASES), help="only these cases")
    parser.add_argument("--case", choices=list(CASES), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help="where to write; default: a temporary folder")
    options = parser.parse_args()
    if options.case:
        print(json.dumps(run_case(options.case, options.folder)))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        generate(folder, options.rows)
        measured: dict[str, list[dict[str, float]]] = {}
        for case, result in repeated(options.only or list(CASES), folder, options.repeats):
            measured.setdefault(case, []).append(result)
            print(f"{case}: {result['seconds']:.2f} s", file=sys.stderr)
        size = (folder / "alpaca_data.jsonl").stat().st_size
    medians = {
        case: statistics.median(one["seconds"] for one in runs) for case, runs in measured.items()
    }
    ours = medians.get("ours, JSONL")
    print(
        json.dumps(
            {
                "rows": options.rows,
                "jsonl_mib": round(size / 2**20, 1),
                "repeats": options.repeats,
                "workers": WORKERS,
                "machine": f"{platform.machine()}, {os.cpu_count()} cores",
                "python": platform.python_version(),
                "median_seconds": {case: round(value, 3) for case, value in medians.items()},
                "times_ours": {case: round(value / ours, 2) for case, value in medians.items()}
                if ours
                else None,
                "peak_mib": {
                    case: {
                        key: round(max(run[key] for run in runs))
                        for key in ("parent_mib", "largest_child_mib")
                    }
                    for case, runs in measured.items()
                },
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
