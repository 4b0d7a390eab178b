"""Ctrl-C and SIGTERM end a run after its step, with a checkpoint and their own exit codes."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from corpus.errors import TrainError
from corpus.settings import Home
from train.checkpoint import checkpoints
from train.run import run_training
from train.stop import stop_requests


@contextmanager
def handler(number: int, function: Any) -> Iterator[None]:
    before = signal.signal(number, function)
    try:
        yield
    finally:
        signal.signal(number, before)


def test_sigterm_saves_a_checkpoint_and_has_its_exit_code(
    home: Home, table: Any, a_run: Callable[..., Any]
) -> None:
    def press(completed: float, total: float | None = None, note: str = "") -> None:
        if completed == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(TrainError, match=r"stopped at step [23]\. Continue from the") as told:
        run_training(a_run(), home, press, mixture=table)
    assert told.value.exit_code == 143
    assert len(checkpoints(home.runs / "r")) == 1


def test_a_second_signal_has_its_effect() -> None:
    heard: list[int] = []
    with handler(signal.SIGTERM, lambda number, frame: heard.append(number)):
        with stop_requests() as asked:
            os.kill(os.getpid(), signal.SIGTERM)
            assert (asked.number, heard) == (signal.SIGTERM, [])
            os.kill(os.getpid(), signal.SIGTERM)
        assert heard == [signal.SIGTERM]


def test_an_ignored_signal_stays_ignored() -> None:
    with handler(signal.SIGINT, signal.SIG_IGN), stop_requests() as asked:
        os.kill(os.getpid(), signal.SIGINT)
        assert asked.number == 0
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
