"""A build that is killed, interrupted or out of room leaves no half, and ends in the same bytes."""

from __future__ import annotations

import hashlib
import json
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from corpus.settings import Home
from corpus.store import Store

WOOLGATHER = str(Path(sys.executable).parent / "woolgather")
ROWS = 150_000
"""Enough text, about 25 MB, for the pool and for several units."""


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a JSONL file in the shape of alpaca."""
    path = tmp_path_factory.mktemp("raw") / "alpaca_data.jsonl"
    choose = random.Random(7)
    with path.open("w") as stream:
        for number in range(ROWS):
            words = " ".join(choose.choices(["wool", "sheep", "羊毛", "spin"], k=12))
            record = {"instruction": f"Ask {number}", "input": "", "output": words}
            stream.write(json.dumps(record) + "\n")
    return path


def command(home: Home, raw: Path) -> list[str]:
    options = ["--home", str(home.path), "build", "alpaca", "--workers", "2"]
    return [WOOLGATHER, *options, "--from", str(raw)]


def start(home: Home, raw: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(home, raw),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def sums_of(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file in a folder."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def expected(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the sums of a build that nothing disturbed."""
    home = Home(tmp_path_factory.mktemp("whole"))
    subprocess.run(command(home, raw), capture_output=True, check=True)
    return sums_of(Store(home).current("alpaca").path)


@pytest.mark.parametrize(
    "rounds", [pytest.param(4, id="fast"), pytest.param(20, id="long", marks=pytest.mark.slow)]
)
def test_builds_killed_at_any_instant_end_in_the_same_bytes(
    home: Home, raw: Path, expected: dict[str, str], rounds: int
) -> None:
    choose = random.Random(rounds)
    n_killed = 0
    for _ in range(rounds):
        process = start(home, raw)
        time.sleep(choose.uniform(0.1, 2.0))
        n_killed += process.poll() is None
        process.kill()
        process.communicate()
        if Store(home).ids():
            assert Store(home).current("alpaca").damage() == []
            (home.store / "alpaca" / "current").unlink()
        assert {one.rows for one in Store(home).versions("alpaca")} <= {ROWS}
    assert n_killed
    subprocess.run(command(home, raw), capture_output=True, check=True)
    assert sums_of(Store(home).current("alpaca").path) == expected
    assert len(list((home.store / "alpaca").iterdir())) == 2, "the build and `current`"


def test_an_interrupted_build_leaves_nothing(home: Home, raw: Path) -> None:
    process = start(home, raw)
    folder = home.store / "alpaca"
    deadline = time.monotonic() + 30
    while not list(folder.glob(".unfinished-*/data-*.arrow")) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode not in (0, -signal.SIGINT)
    assert "Traceback" not in err
    assert list(folder.iterdir()) == []


def test_a_full_disk_is_one_line_and_nothing_becomes_current(home: Home, raw: Path) -> None:
    def limit_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))

    done = subprocess.run(
        command(home, raw), capture_output=True, text=True, preexec_fn=limit_files, timeout=60
    )
    assert done.returncode == 1
    assert "failed alpaca: " in done.stderr
    assert "expected room for the rows, got 'File too large'. Make room there" in done.stderr
    assert done.stderr.count("\n") == 1
    assert list((home.store / "alpaca").iterdir()) == []
