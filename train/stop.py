"""Stopping on request: Ctrl-C or SIGTERM ends a run after its step, a second one ends it at once.

`train.run` wraps training in it, so that what was learned is in a checkpoint.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from transformers import TrainerCallback

from train.distributed import any_process

SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""Of the terminal, and of a cluster that takes its machine back."""


@dataclass(slots=True)
class Asked:
    """The signal that asked for the end; 0: none has."""

    number: int = 0

    @property
    def exit_code(self) -> int:
        """What the shell expects of a process that a signal ended."""
        return 128 + (self.number or signal.SIGINT)


@contextmanager
def stop_requests() -> Iterator[Asked]:
    """Turn the first signal into a request while the block runs; a second one has its effect."""
    asked = Asked()
    before = {number: signal.getsignal(number) for number in SIGNALS}
    # Only the main thread is told of signals, and who has them ignored (nohup) means it.
    is_main = threading.current_thread() is threading.main_thread()
    heard = [one for one in SIGNALS if is_main and before[one] is not signal.SIG_IGN]

    def restore() -> None:
        for number in heard:
            signal.signal(number, before[number])

    def ask(number: int, frame: Any) -> None:
        asked.number = number
        restore()

    for number in heard:
        signal.signal(number, ask)
    try:
        yield asked
    finally:
        restore()


class StopWhenAsked(TrainerCallback):
    """Saves a checkpoint and stops after the step in which one of the processes was asked to."""

    def __init__(self, asked: Asked) -> None:
        self.asked = asked

    def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> Any:
        # A launcher tells its processes one after another, and all must stop at one step.
        if any_process(bool(self.asked.number)):
            self.asked.number = self.asked.number or signal.SIGTERM
            if state.global_step < state.max_steps:
                control.should_save = control.should_training_stop = True
        return control
