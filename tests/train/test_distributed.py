"""Several processes are one run: the same numbers, stops and errors as of one process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from corpus.cli.session import Session
from corpus.errors import RecipeError, TrainError
from corpus.settings import Home
from train import worker
from train.config import Run
from train.run import run_training

BIN = Path(sys.executable).parent
SOURCES = "alpaca | gsm8k | belle_school_math_0_25m"


def call(home: Home, *words: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own, where nothing is imported from the folder."""
    command = [str(BIN / "woolgather"), "--quiet", "--home", str(home.path), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=home.path, check=False)
    assert done.returncode == code, done.stderr
    return done


@pytest.fixture(scope="session")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with a mixture of three sources, and a `train.py` where its user works."""
    from corpus.resources import packed

    home = Home(tmp_path_factory.mktemp("stocked"))
    call(home, "build", SOURCES, "--raw", packed("samples"))
    call(home, "mix", "build", "--name", "m", "--select", SOURCES, "--rows", 70, "--holdout", 13)
    (home.path / "train.py").write_text("raise SystemExit('the wrong train was imported')\n")
    return home


def settings(base: Path, **changes: Any) -> dict[str, Any]:
    """Return a run whose last step has 5 packed rows where all others have 8."""
    values = {
        "base_model": str(base),
        "mixture": "m",
        "sequence_length": 256,
        "threads": 1,
        "batch": {"rows": 8, "micro": 1},
        "optimizer": {"lr": 1e-2},
        "epochs": 1.53,
        "eval": {"steps": 4},
        "save": {"steps": 3},
    }
    return values | changes


TWO = {"distributed": "ddp", "processes": 2}


def write_run(home: Home, values: dict[str, Any]) -> Path:
    file = home.path / f"{values['name']}.yaml"
    file.write_text(json.dumps(values))  # JSON is YAML.
    return file


def metrics(home: Home, name: str) -> list[dict[str, Any]]:
    lines = (home.runs / name / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def weights(home: Home, name: str) -> dict[str, torch.Tensor]:
    [file] = (home.runs / name).glob("*/[am]*odel.safetensors")
    return load_file(file)


def assert_same_run(home: Home, name: str, other: str) -> None:
    """Assert equal losses of every step, by every tag, in training and evaluation, and weights."""
    mine, theirs = metrics(home, name), metrics(home, other)
    keys = [(one["kind"], one["step"], one["tokens"]) for one in mine]
    assert keys == [(one["kind"], one["step"], one["tokens"]) for one in theirs]
    for one, two in zip(mine, theirs, strict=True):
        assert one["loss"] == pytest.approx(two["loss"], abs=1e-5)
        assert set(one["tags"]) == {"source", "lang", "task", "gen", "category"}
        for tag, groups in one["tags"].items():
            assert set(groups) == set(two["tags"][tag])
            for value, group in groups.items():
                assert group["tokens"] == two["tags"][tag][value]["tokens"]
                assert group["loss"] == pytest.approx(two["tags"][tag][value]["loss"], abs=1e-5)
        if one["kind"] == "train":
            assert one["grad_norm"] == pytest.approx(two["grad_norm"], abs=1e-5)
    found, expected = weights(home, name), weights(home, other)
    assert found.keys() == expected.keys()
    for key, tensor in found.items():
        assert float((tensor - expected[key]).abs().max()) < 1e-5, key


@pytest.fixture(scope="session")
def alone(stocked: Home, base: Path) -> str:
    """The run of one process."""
    run_training(Run.model_validate(settings(base, name="alone")), stocked)
    return "alone"


def launch_and(
    home: Home, values: dict[str, Any], act: Callable[[subprocess.Popen[str]], None], steps: int
) -> tuple[int, str, float]:
    """Start a run, act on its launcher after some steps; return code, stderr, seconds left."""
    command = [str(BIN / "woolgather"), "--quiet", "--home", str(home.path), "train", "run"]
    command.append(str(write_run(home, values)))
    file = home.runs / values["name"] / "metrics.jsonl"
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=home.path) as launcher:
        while not file.exists() or file.read_text().count('"train"') < steps:
            assert launcher.poll() is None, launcher.stderr and launcher.stderr.read()
            time.sleep(0.01)
        act(launcher)
        started = time.monotonic()
        _, told = launcher.communicate(timeout=60)
    return launcher.returncode, told, time.monotonic() - started


@pytest.fixture(scope="session")
def resumed(stocked: Home, base: Path) -> str:
    """The run of two processes, of which the launcher was asked to stop on the way."""
    values = settings(base, name="resumed", **TWO)
    code, told, _ = launch_and(stocked, values, lambda one: one.terminate(), 2)
    assert code == 128 + signal.SIGTERM
    step = metrics(stocked, "resumed")[-1]["step"]
    assert told == (
        f"run resumed: stopped at step {step}. Continue from the checkpoint of step {step}:"
        " woolgather train run --resume resumed\n"
    )
    done = call(stocked, "train", "run", "--resume", "resumed", "--json")
    assert json.loads(done.stdout)["run"] == "resumed"
    return "resumed"


def test_two_processes_stopped_and_resumed_are_one(stocked: Home, alone: str, resumed: str) -> None:
    assert_same_run(stocked, resumed, alone)
    last = metrics(stocked, alone)[-2]
    assert (last["step"], last["epoch"]) == (9, 69 / 45), "8 steps of 8 packed rows, and 5 more"
    made = {one.name for one in (stocked.runs / resumed).iterdir()}
    assert {"adapter", "result.json", "run.yaml"} <= made
    assert not [name for name in made if name.startswith(".unfinished")]
    shared = {"rng_state_0.pth", "rng_state_1.pth", "optimizer.pt"}
    kept = sorted((stocked.runs / resumed).glob("checkpoint-*"))
    assert shared <= {one.name for one in kept[-1].iterdir()}


@pytest.mark.slow
def test_resuming_two_processes_is_exact(stocked: Home, base: Path, resumed: str) -> None:
    call(stocked, "train", "run", write_run(stocked, settings(base, name="unbroken", **TWO)))
    for one, two in zip(metrics(stocked, "unbroken"), metrics(stocked, resumed), strict=True):
        assert (one["loss"], one["tags"]) == (two["loss"], two["tags"])
    found, expected = weights(stocked, "unbroken"), weights(stocked, resumed)
    assert all(torch.equal(tensor, expected[key]) for key, tensor in found.items())


@pytest.mark.slow
def test_full_training_by_torchrun_with_checkpointing_is_one_process(
    stocked: Home, base: Path
) -> None:
    """Started as on several machines, without our launcher; padded rows, blocks computed again."""
    values = settings(base, method={"type": "full"}, optimizer={"lr": 1e-3}, packing=False)
    run_training(Run.model_validate({**values, "name": "full-1"}), stocked)
    two = {**values, "name": "full-2", "distributed": "ddp", "activation_checkpointing": 1}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += ["-m", "train.worker", str(write_run(stocked, two)), "--home", str(stocked.path)]
    env = {**os.environ, "PYTHONSAFEPATH": "1"}
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=stocked.path, env=env, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("trained "), "the first process tells the result"
    assert done.stdout.count("\n") == 1
    assert_same_run(stocked, "full-2", "full-1")


@pytest.mark.slow
def test_a_process_that_dies_ends_the_run_in_one_line(stocked: Home, base: Path) -> None:
    def kill_one(launcher: subprocess.Popen[str]) -> None:
        found = subprocess.run(
            ["pgrep", "-P", str(launcher.pid)], capture_output=True, text=True, check=True
        )
        os.kill(int(found.stdout.split()[-1]), signal.SIGKILL)

    values = settings(base, name="killed", **TWO)
    code, told, seconds = launch_and(stocked, values, kill_one, 2)
    assert code == 1
    assert told == (
        "process 1 of 2 was killed by SIGKILL (out of memory?). Continue from the last checkpoint:"
        " woolgather train run --resume killed\n"
    )
    assert seconds < 10


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let the launcher start small programs in place of workers."""

    def start(*programs: str) -> None:
        def begin(words: Sequence[str], env: dict[str, str], log: Path, rank: int) -> Any:
            told = {"FOLDER": str(log.parent), **env}
            return subprocess.Popen(
                [sys.executable, "-c", PROLOGUE + programs[rank]], env=told, stdin=subprocess.PIPE
            )

        monkeypatch.setattr(worker, "_start", begin)
        monkeypatch.setattr(worker, "GRACE_SECONDS", 0.3)

    return start


PROLOGUE = """
import os, pickle, sys, time
from pathlib import Path
from corpus.errors import RecipeError
rank = os.environ["RANK"]
def say(**what):
    Path(os.environ["FOLDER"], "report-" + rank).write_bytes(pickle.dumps(what))
"""
FAIL = "say(error=RecipeError('the base is not there')); sys.exit(1)"
CRASH = "say(crash='RuntimeError: peer gone', trace='all'); sys.exit(1)"
WAIT = "time.sleep(60)"


@pytest.fixture
def two(home: Home) -> Callable[[], dict[str, Any]]:
    """Launch a run of two processes that never reads its base."""
    run = Run.model_validate(settings(Path("base"), name="n", **TWO))
    return lambda: worker.launch(run, Session(home))


def test_the_first_process_has_the_result_and_torchruns_names(children: Any, two: Any) -> None:
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    tell = f"say(result={{name: os.environ[name] for name in {names}}}"
    children(
        tell + " | {'safe': sys.flags.safe_path, 'threads': os.environ['OMP_NUM_THREADS']})", ""
    )
    found = two()
    assert found.pop("MASTER_PORT").isdigit()
    assert found == {
        "RANK": "0",
        "LOCAL_RANK": "0",
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "safe": True,
        "threads": os.environ.get("OMP_NUM_THREADS", "1"),
    }


@pytest.mark.parametrize("programs", [(FAIL, WAIT), (WAIT, FAIL), (CRASH, FAIL), (FAIL, FAIL)])
def test_the_error_is_that_of_the_process_which_failed_by_itself(
    children: Any, two: Any, programs: tuple[str, str]
) -> None:
    children(*programs)
    started = time.monotonic()
    with pytest.raises(RecipeError, match=r"^the base is not there$"):
        two()
    assert time.monotonic() - started < 10, "those that wait are ended"


def test_a_crash_names_the_file_that_has_all_of_it(children: Any, two: Any) -> None:
    children(CRASH, WAIT)
    with pytest.raises(TrainError, match=r"^process 0 of 2 failed: RuntimeError: peer gone\. All "):
        two()


def test_a_killed_process_comes_before_those_that_miss_it(children: Any, two: Any) -> None:
    children(CRASH, "os.kill(os.getpid(), 11)")
    with pytest.raises(TrainError, match=r"^process 1 of 2 was killed by SIGSEGV\. Continue from"):
        two()


def test_a_stop_reaches_every_process_once(children: Any, two: Any, tmp_path: Path) -> None:
    note = "import signal\n" + (
        "def stop(number, frame):\n"
        "    say(error=RecipeError(f'stopped by {number}')); sys.exit(1)\n"
        "signal.signal(15, stop); Path(os.environ['FOLDER'], 'ready-' + rank).touch()\n"
    )
    kill = "while len(list(Path(os.environ['FOLDER']).glob('ready-*'))) < 2: time.sleep(0.01)\n"
    children(note + WAIT, note + kill + "os.kill(os.getppid(), 15)\n" + WAIT)
    with pytest.raises(RecipeError, match="stopped by 15"):
        two()


def test_a_size_that_two_processes_cannot_share_starts_none(home: Home) -> None:
    run = Run.model_validate(settings(Path("base"), batch={"rows": 2, "micro": 1}) | TWO)
    odd = run.model_copy(update={"processes": 3})
    with pytest.raises(ValueError, match="2 packed rows a step are no multiple of micro 1 x 3"):
        worker.launch(odd, Session(home))


def test_processes_are_counted_by_gpus_only(home: Home) -> None:
    run = Run.model_validate(settings(Path("base"), distributed="ddp"))
    with pytest.raises(TrainError, match="no GPU to count them by"):
        worker.launch(run, Session(home))


def test_a_worker_alone_says_how_to_start_it(monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setattr(sys, "argv", ["train.worker", "run.yaml"])
    with pytest.raises(SystemExit):
        worker.main()
    assert "start it by torchrun, or use: woolgather train run" in capsys.readouterr().err


@pytest.mark.parametrize("method", ["lora", "full"])
def test_ddp_trains_every_weight_without_looking_for_unused_ones(
    a_run: Any, table: Any, home: Home, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """Also with blocks that are computed again, where looking would fail."""
    from torch.nn.parallel import DistributedDataParallel

    from train.distributed import joined

    wrapped: list[DistributedDataParallel] = []
    plain = DistributedDataParallel.__init__

    def record(self: Any, *args: Any, **options: Any) -> None:
        plain(self, *args, **options)
        wrapped.append(self)

    monkeypatch.setattr(DistributedDataParallel, "__init__", record)
    changes = {"method": {"type": method}, "steps": 2, "activation_checkpointing": 1}
    alone = run_training(a_run(**changes, name="alone"), home, mixture=table)
    names = {"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": 1, "LOCAL_WORLD_SIZE": 1}
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": worker.free_port(), "OMP_NUM_THREADS": 1}
    for name, value in {**names, **where}.items():
        monkeypatch.setenv(name, str(value))
    with joined():
        shared = run_training(a_run(**changes, distributed="ddp"), home, mixture=table)
    [model] = wrapped
    assert model.find_unused_parameters is False
    assert model.broadcast_buffers is False
    assert shared.losses == pytest.approx(alone.losses, abs=1e-6)
