"""The scripts for machines with a GPU run on a processor, too."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

GPU = Path(__file__).parents[2] / "benchmarks" / "gpu"


def run(*words: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    command = ["sh", str(GPU / "run.sh"), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env)


def test_the_scripts_say_how_they_are_called() -> None:
    assert run("--help").stdout.count("benchmarks/gpu/run.sh OUT") == 2
    assert run().returncode == 2
    for script in GPU.glob("*.py"):
        command = [sys.executable, str(script), "--help"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.stdout.startswith("usage:"), done.stderr


@pytest.mark.slow
def test_the_measurements_run_on_a_processor(tmp_path: Path) -> None:
    settings = "lora,qlora,paged_adamw,loss-cce"
    done = run(str(tmp_path), "--tiny", "--only", settings, "--trainers", "woolgather")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads((tmp_path / "training.json").read_text())["shapes"]["tiny"]
    for name in ("lora", "qlora"):
        numbers = found[name]["woolgather"]
        assert numbers["kernel"] == "chunked"
        assert numbers["steps"] == 2
        assert 0 < numbers["learned_tokens_per_second"] < numbers["tokens_per_second"]
    assert "needs a CUDA GPU" in found["paged_adamw"]["woolgather"]["refused"]
    assert "pip install cut-cross-entropy" in found["loss-cce"]["woolgather"]["refused"]
    (size,) = json.loads((tmp_path / "loss.json").read_text())["sizes"]
    assert size["largest_difference"]["loss"] < 1e-5
    assert size["largest_difference"]["gradient"] < 1e-7
