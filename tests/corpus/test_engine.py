"""The engine places work: same results anywhere, nothing left running, errors carried through."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from corpus.engine import IN_FLIGHT_PER_WORKER, Engine, load
from corpus.errors import StoreError

KINDS = ["serial", "processes"]


@pytest.fixture(scope="module")
def pool() -> Iterator[Engine]:
    """Return an engine of two processes that several tests share."""
    with Engine("processes", 2) as engine:
        yield engine


def engine_of(kind: str, pool: Engine) -> Engine:
    return pool if kind == "processes" else Engine("serial")


@pytest.mark.parametrize("kind", KINDS)
def test_results_come_in_the_order_of_the_items(kind: str, pool: Engine) -> None:
    items = [0.2, 0.0, 0.1, 0.0, 0.05]
    found = list(engine_of(kind, pool).map_shards("time:sleep", items))
    assert [item for item, _ in found] == items
    product = engine_of(kind, pool).map_shards("operator:mul", range(20), 3)
    assert list(product) == [(n, 3 * n) for n in range(20)]


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_of_a_worker_carries_through(kind: str, pool: Engine) -> None:
    engine = engine_of(kind, pool)
    with pytest.raises(ValueError, match=r"invalid literal for int.*'wool'"):
        list(engine.map_shards("builtins:int", ["1", "wool", "3"]))
    assert list(engine.map_shards("builtins:int", ["7"])) == [("7", 7)]


def test_only_a_few_units_are_drawn_ahead(pool: Engine) -> None:
    drawn = 0

    def items() -> Iterator[int]:
        nonlocal drawn
        while drawn < 40:
            drawn += 1
            yield drawn

    for used, _ in enumerate(pool.map_shards("operator:neg", items()), start=1):
        assert drawn <= used + pool.workers * IN_FLIGHT_PER_WORKER


def test_closing_waits_for_what_runs_and_starts_no_more(pool: Engine) -> None:
    list(pool.map_shards("operator:neg", [1]))  # The pool is up.
    results = pool.map_shards("time:sleep", [0.0] + [0.2] * 50)
    next(results)
    started = time.monotonic()
    results.close()
    assert time.monotonic() - started < 5, "a few sleeps of 0.2 s, not fifty"
    assert list(pool.map_shards("operator:neg", [2])) == [(2, -2)]


def test_little_work_starts_no_pool() -> None:
    engine = Engine("processes", 2)
    ((_, code),) = engine.map_shards("builtins:compile", ["1 + 1"], "wool", "eval", small=True)
    assert eval(code) == 2, "code objects cannot be pickled: it was made here"
    assert engine._pool is None


def test_a_worker_that_dies_is_one_line_and_the_engine_works_again() -> None:
    with Engine("processes", 2) as engine:
        with pytest.raises(StoreError, match=r"a worker process died.*--workers.*serial"):
            list(engine.map_shards("os:_exit", [3, 3, 3]))
        assert list(engine.map_shards("operator:neg", [1, 2])) == [(1, -1), (2, -2)]


def test_functions_are_found_by_name() -> None:
    assert load("operator:neg")(3) == -3


SCRIPT = """
import multiprocessing, sys
from corpus.engine import Engine
print("main runs", flush=True)
with Engine("processes", 2) as engine:
    for item, result in engine.map_shards({function!r}, {items!r}):
        print("children", *(one.pid for one in multiprocessing.active_children()), flush=True)
"""


def script_of(folder: Path, function: str, items: list[float]) -> list[str]:
    path = folder / "script.py"
    path.write_text(SCRIPT.format(function=function, items=items))
    # A train.py in the working folder is common and must not shadow ours.
    (folder / "corpus.py").write_text("raise SystemExit('shadowed')")
    return [sys.executable, "-P", str(path)]


def test_a_script_without_a_main_guard_does_not_run_again_in_workers(tmp_path: Path) -> None:
    done = subprocess.run(
        script_of(tmp_path, "operator:neg", [1, 2, 3]),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
        check=True,
    )
    assert done.stdout.count("main runs") == 1
    assert done.stdout.count("children") == 3


def is_running(pid: int) -> bool:
    """Tell whether a process is there and no zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z")


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    command = script_of(tmp_path, "time:sleep", [0.0, 600.0, 600.0])
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as parent:
        assert parent.stdout is not None
        lines = iter(parent.stdout.readline, "")
        children = next(line.split()[1:] for line in lines if line.startswith("children"))
        parent.send_signal(signal.SIGKILL)
    workers = [int(pid) for pid in children]
    assert len(workers) == 2
    deadline = time.monotonic() + 20
    while any(map(is_running, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(is_running, workers))
