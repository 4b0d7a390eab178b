"""The long rounds of `make nightly`: training killed again and again, memory at many rows."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from corpus.settings import Home

ROOT = Path(__file__).resolve().parent.parent
WOOLGATHER = str(Path(sys.executable).with_name("woolgather"))
SETTINGS = (
    *("--set", "sequence_length=128", "--set", "batch.rows=4", "--set", "save.steps=3"),
    *("--set", "threads=1", "--set", "method.dropout=0.1", "--steps", "600", "--lr", "0.003"),
    *("--set", "eval.steps=50", "--set", "eval.best=total"),
)
METHODS = {
    "lora": (),
    "adalora": ("--set", "method.r=2", "--set", "method.init_r=4", "--set", "method.delta_t=7"),
}
"""AdaLoRA remembers how much each weight mattered, and has to after a kill."""


def run(*words: str) -> None:
    """Run the command line to its end."""
    done = subprocess.run([WOOLGATHER, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def outcome(home: Home, name: str) -> tuple[str, list[tuple[int, float]]]:
    """Return the digest of a run's adapter and its losses by step."""
    folder = home.runs / name
    adapter = (folder / "adapter" / "adapter_model.safetensors").read_bytes()
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    losses = [(line["step"], line["loss"]) for line in lines if line["kind"] == "train"]
    return hashlib.sha256(adapter).hexdigest(), losses


def wait_for_lines(process: subprocess.Popen[bytes], home: Home, count: int) -> None:
    """Wait until a run has logged so many further steps, and a moment more."""
    metrics = home.runs / "killed" / "metrics.jsonl"

    def lines() -> int:
        return metrics.read_bytes().count(b"\n") if metrics.exists() else 0

    before = lines()
    # A resumed run first cuts back what it logged after its checkpoint.
    while process.poll() is None and abs(lines() - before) < count:
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.train
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("method", METHODS)
def test_twenty_kills_of_a_training_run_change_no_byte(
    home: Home, samples: Path, method: str
) -> None:
    from corpus.mixture import Mixture
    from train.tiny import make_tiny, rendered_texts

    run("build", "alpaca | gsm8k | woolgather_hant", "--raw", str(samples), "--quiet")
    select = ("--select", "alpaca | gsm8k | woolgather_hant", "--holdout", "8")
    run("mix", "build", "--name", "crash", *select)
    base = make_tiny(home.path / "base", rendered_texts(Mixture.open("crash", home)))
    words = ("train", "run", "--base", str(base), "--mixture", "crash", *SETTINGS)
    words += ("--method", method, *METHODS[method])
    run(*words, "--name", "whole")

    chance = random.Random(0)
    for number in range(20):
        started = (home.runs / "killed" / "run.yaml").exists()
        again = ("train", "run", "--resume", "killed") if started else (*words, "--name", "killed")
        process = subprocess.Popen(
            [WOOLGATHER, *again], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        if number % 4 == 3:
            time.sleep(chance.uniform(0.5, 6))
        else:
            wait_for_lines(process, home, chance.randint(1, 30))
        assert process.poll() is None, "killed before its end, in every round"
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    run("train", "run", "--resume", "killed")
    assert outcome(home, "killed") == outcome(home, "whole")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_memory_stays_the_same_for_three_times_the_rows(tmp_path: Path) -> None:
    peaks = []
    for rows in (1_000_000, 3_000_000):
        command = [sys.executable, "benchmarks/build.py", "--rows", str(rows), "--repeats", "1"]
        only = ["--only", "ours, JSONL", "--folder", str(tmp_path)]
        done = subprocess.run([*command, *only], cwd=ROOT, capture_output=True, check=True)
        found = json.loads(done.stdout)["peak_mib"]["ours, JSONL"]
        peaks.append(max(found.values()))
    assert max(peaks) < 300
    assert peaks[1] < 1.1 * peaks[0]
