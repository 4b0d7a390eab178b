"""One run by every way to share it: losses beside those of one process, tokens/s, memory.

    python benchmarks/gpu/distributed.py --base MODEL --mixture NAME --processes 2 ddp fsdp zero2

The base and the mixture are in the home ($WOOLGATHER_HOME). Ways that this machine cannot follow
are told with their reason.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

WOOLGATHER = Path(sys.executable).with_name("woolgather")


def main() -> None:
    """Run every way and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", required=True)
    parser.add_argument("--mixture", required=True)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--set", action="append", default=[], help="any setting of the run")
    parser.add_argument("ways", nargs="*", default=["ddp", "fsdp", "zero2", "zero3"])
    options = parser.parse_args()
    expected = measure(options, "none")
    print(f"{'':8} {'largest difference':>20} {'tokens/s':>12} {'memory MiB':>12}")
    for way in ["none", *options.ways]:
        found = expected if way == "none" else measure(options, way)
        if isinstance(found, str) or isinstance(expected, str):
            print(f"{way:8} {found}")
            continue
        pairs = zip(found, expected, strict=True)
        apart = max(abs(one["loss"] - other["loss"]) for one, other in pairs)
        train = [one for one in found if one["kind"] == "train"]
        speeds = sorted(one["tokens_per_second"] for one in train)
        memory = max(one["memory_bytes"] for one in train) / 2**20
        print(f"{way:8} {apart:20.2e} {speeds[len(speeds) // 2]:12,.0f} {memory:12,.0f}")


def measure(options: argparse.Namespace, way: str) -> list[dict[str, Any]] | str:
    """Run one way; return its lines of metrics, or why it cannot be."""
    settings = [*options.set, f"distributed={way}"]
    settings += [] if way == "none" else [f"processes={options.processes}"]
    words = ["--quiet", "--json", "train", "run", "--base", options.base]
    words += ["--mixture", options.mixture, "--name", f"benchmark-{way}-{os.getpid()}"]
    words += [word for one in settings for word in ("--set", one)]
    done = subprocess.run([str(WOOLGATHER), *words], capture_output=True, text=True, check=False)
    if done.returncode:
        return done.stderr.strip()
    folder = Path(json.loads(done.stdout)["path"])
    text = (folder / "metrics.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


if __name__ == "__main__":
    main()
