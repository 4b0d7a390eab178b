"""Stopping on request: the first Ctrl-C ends a run after its step, the second ends it at once.

`train.run` wraps training in it, so that what was learned is in a checkpoint.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transformers import TrainerCallback


@contextmanager
def stop_requests() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C into an event while the block runs; a second one interrupts."""
    asked = threading.Event()
    before = signal.getsignal(signal.SIGINT)
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or before is signal.SIG_IGN:
        # Only the main thread is told of signals, and who has them ignored (nohup) means it.
        yield asked
        return

    def ask(number: int, frame: Any) -> None:
        asked.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, ask)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


class StopWhenAsked(TrainerCallback):
    """Saves a checkpoint and stops after the step in which it was asked to."""

    def __init__(self, asked: threading.Event) -> None:
        self.asked = asked

    def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> Any:
        if self.asked.is_set() and state.global_step < state.max_steps:
            control.should_save = control.should_training_stop = True
        return control
