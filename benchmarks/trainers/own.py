"""Train a mixture by woolgather's own run, and tell how much of a step is not the model's.

python benchmarks/trainers/own.py SPEC.json
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer
from steps import Clock, peak_memory, read_spec

import train.trainer
from corpus.settings import Home
from train.config import Run
from train.run import run_training


class Inside:
    """Adds up the time of the main thread in forward, backward and optimizer."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.before = time.thread_time()

    def around(self, owner: Any, name: str) -> None:
        """Count the time of a function under its owner's name."""
        inner: Callable[..., Any] = getattr(owner, name)

        def counted(*args: Any, **options: Any) -> Any:
            started = time.thread_time()
            try:
                return inner(*args, **options)
            finally:
                self.seconds += time.thread_time() - started

        setattr(owner, name, counted)

    def share(self) -> float:
        """Return the share of the time since the last call that was spent elsewhere."""
        now = time.thread_time()
        share = 1 - self.seconds / (now - self.before)
        self.seconds, self.before = 0.0, now
        return share


def main() -> None:
    """Train as the file says."""
    spec = read_spec()
    clock = Clock(waits=spec["waits"])
    inside = Inside()
    inside.around(train.trainer, "token_losses")
    inside.around(Accelerator, "backward")
    inside.around(Accelerator, "clip_grad_norm_")
    inside.around(AcceleratedOptimizer, "step")
    inside.around(torch.nn.Module, "zero_grad")

    def on_progress(completed: float, total: float | None = None, note: str = "") -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        clock.step(outside=inside.share(), memory_bytes=peak_memory())

    result = run_training(
        Run.model_validate(spec["run"]),
        Home(Path(spec["home"])),
        on_progress,
        on_line=lambda line: (
            clock.tell(
                {"tokens": line["seen_tokens"], "learned": line["tokens"], "mfu": line["mfu"]}
            )
            if line["kind"] == "train"
            else None
        ),
    )
    clock.tell(
        {
            "done": True,
            "memory_bytes": peak_memory(),
            "kernel": result.loss_kernel,
            "seconds": result.seconds,
        }
    )


if __name__ == "__main__":
    main()
