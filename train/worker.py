"""The processes of a run: starts them on this machine, and is one of them (`-m train.worker`).

`woolgather train run` launches; torchrun does it over several machines (docs/distributed.md).
"""

from __future__ import annotations

import argparse
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from corpus.cli.session import Session, plain
from corpus.errors import TrainError, WoolgatherError
from corpus.settings import Home, default_home
from train.config import Run

GRACE_SECONDS = 5.0
"""How long the others may live after one process has failed: they can only wait for it."""

Process = subprocess.Popen[bytes]


def launch(run: Run, session: Session) -> dict[str, Any]:
    """Train with several processes on this machine; return the result of the first one.

    Raises:
        WoolgatherError: one of them failed; the error is that of the one that failed by itself.
    """
    n_processes = run.processes or _count_gpus()
    run.passes_a_step(n_processes)
    folder = Path(tempfile.mkdtemp(prefix="woolgather-"))
    (folder / "run.yaml").write_text(run.dump(), encoding="utf-8")
    words = [sys.executable, "-m", "train.worker", str(folder / "run.yaml"), "--report"]
    words += [str(folder), "--home", str(session.home.path.resolve())]
    words += ["--quiet"] if session.quiet else []
    processes: list[Process] = []
    try:
        with _forwarded(processes) as asked:
            for rank, env in enumerate(_environments(n_processes, run.threads)):
                processes.append(_start(words, env, folder / f"process-{rank}.log", rank))
            fallen = _wait(processes, asked)
    finally:
        for one in processes:
            one.kill()
            one.communicate()
    said = [_said(folder, rank) for rank in range(n_processes)]
    if fallen:
        raise _failure(fallen, said, bool(asked), folder, run.name)
    shutil.rmtree(folder)
    result: dict[str, Any] = said[0]["result"]
    return result


def _count_gpus() -> int:
    import torch

    if not torch.cuda.is_available():
        raise TrainError("processes: no GPU to count them by. Give their number: processes: 2")
    return torch.cuda.device_count()


def _environments(n_processes: int, threads: int | None) -> Iterator[dict[str, str]]:
    """Yield the environment of each process, by the names that torchrun uses."""
    n_threads = threads or max(1, (os.cpu_count() or 1) // n_processes)
    shared = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "WORLD_SIZE": str(n_processes),
        "LOCAL_WORLD_SIZE": str(n_processes),
        # A `train.py` or `corpus` folder where the user works must not be imported for ours.
        "PYTHONSAFEPATH": "1",
        "TORCH_CPP_LOG_LEVEL": "ERROR",
    }
    for rank in range(n_processes):
        own = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
        yield {"OMP_NUM_THREADS": str(n_threads), **os.environ, **shared, **own}


def free_port() -> int:
    """Return a port of this machine that nobody listens to."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _start(words: list[str], env: dict[str, str], log: Path, rank: int) -> Process:
    """Start a process in a session of its own: the terminal's Ctrl-C reaches it through us only."""
    with log.open("wb") as file:
        return subprocess.Popen(
            words,
            env=env,
            stdin=subprocess.PIPE,  # Ends when we do, however we do.
            stdout=subprocess.DEVNULL,
            stderr=None if rank == 0 else file,
            start_new_session=True,
        )


@contextmanager
def _forwarded(processes: list[Process]) -> Iterator[list[int]]:
    """Pass Ctrl-C and SIGTERM on to the processes while the block runs; the third one kills."""
    asked: list[int] = []

    def forward(number: int, frame: Any) -> None:
        asked.append(number)
        for one in processes:
            one.send_signal(signal.SIGKILL if len(asked) > 2 else number)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    is_main = threading.current_thread() is threading.main_thread()
    heard = [one for one, handler in before.items() if is_main and handler is not signal.SIG_IGN]
    for number in heard:
        signal.signal(number, forward)
    try:
        yield asked
    finally:
        for number in heard:
            signal.signal(number, before[number])


def _wait(processes: list[Process], asked: list[int]) -> dict[int, int]:
    """Wait for all to end; return number -> exit code of those that failed, the first one first.

    When one fails unasked, the others are left after a short grace.
    """
    fallen: dict[int, int] = {}
    deadline = float("inf")
    while time.monotonic() < deadline:
        codes = [one.poll() for one in processes]
        fallen |= {n: code for n, code in enumerate(codes) if code and n not in fallen}
        if None not in codes:
            break
        if fallen and not asked:
            deadline = min(deadline, time.monotonic() + GRACE_SECONDS)
        time.sleep(0.02)
    return fallen


def _said(folder: Path, rank: int) -> dict[str, Any]:
    """Return what a process left to say: nothing when it was killed."""
    file = folder / f"report-{rank}"
    said: dict[str, Any] = pickle.loads(file.read_bytes()) if file.is_file() else {}
    return said


def _failure(
    fallen: dict[int, int],
    said: list[dict[str, Any]],
    is_asked: bool,
    folder: Path,
    name: str | None,
) -> WoolgatherError:
    """Return the error of the process that failed by itself; others fail because it is gone."""
    errors: list[WoolgatherError] = [one["error"] for one in said if "error" in one]
    killed = [rank for rank, code in fallen.items() if code < 0 and not is_asked]
    crashed = [rank for rank in fallen if "crash" in said[rank]]
    if crashed and not errors and not killed:
        shown = f"{said[crashed[0]]['crash']}. All of it: {folder}/process-{crashed[0]}.log"
        return TrainError(f"process {crashed[0]} of {len(said)} failed: {shown}")
    shutil.rmtree(folder)
    if killed:
        by = signal.Signals(-fallen[killed[0]]).name
        why = " (out of memory?)" if by == "SIGKILL" else ""
        return TrainError(
            f"process {killed[0]} of {len(said)} was killed by {by}{why}. Continue from the last"
            f" checkpoint: woolgather train run --resume {name or 'NAME'}"
        )
    return errors[0] if errors else TrainError("stopped at once; whole checkpoints are kept")


def main() -> None:
    """Be one process of a run; leave the result or the error in the folder of the launcher."""
    parser = argparse.ArgumentParser(prog="train.worker", description="One process of a run")
    parser.add_argument("run", type=Path, help="a run file")
    parser.add_argument("--home", type=Path, help="default: as of woolgather")
    parser.add_argument("--resume", action="store_true", help="continue the run")
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr")
    parser.add_argument("--report", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if "RANK" not in os.environ:
        parser.error("start it by torchrun, or use: woolgather train run")
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Before training there is nothing to save.
    if options.report:
        threading.Thread(target=_follow_launcher, daemon=True).start()
    rank = int(os.environ["RANK"])
    home = Home(options.home.expanduser()) if options.home else default_home()
    session = Session(home, quiet=options.quiet or rank > 0)
    said = _attempt(options.run, session, {"resume": True} if options.resume else {})
    if options.report:
        report = options.report / f"report-{rank}"
        report.with_suffix(".part").write_bytes(pickle.dumps(said))
        report.with_suffix(".part").rename(report)
        if "trace" in said:
            with (options.report / f"process-{rank}.log").open("a") as log:
                log.write(said["trace"])
    elif "result" not in said:
        print(said.get("trace") or said.get("error", ""), file=sys.stderr)
    elif rank == 0:
        from train.cli import show_result

        show_result(session, said["result"])
    sys.stdout.flush()
    if "result" not in said:
        os._exit(1)  # The others are gone or going: nothing can be taken apart in order.


def _attempt(file: Path, session: Session, given: dict[str, Any]) -> dict[str, Any]:
    """Train, and return the result, or what came in its way."""
    from train.cli import need_train, train_here
    from train.compose import load_run
    from train.distributed import joined

    try:
        need_train()
        run = load_run(file, given=given)
        if run.distributed == "none":
            return {"result": train_here(session, run)}
        with joined():
            return {"result": train_here(session, run)}
    except WoolgatherError as error:
        return {"error": error}
    except OSError as error:
        return {"error": TrainError(plain(error))}
    except SystemExit:
        return {}  # The first process says why.
    except Exception as error:
        first = str(error).partition("\n")[0]
        return {"crash": f"{type(error).__name__}: {first}", "trace": traceback.format_exc()}


def _follow_launcher() -> None:
    """Ask for the end when the launcher has died, which closes our standard input."""
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
