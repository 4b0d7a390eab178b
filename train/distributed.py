"""Several processes as one run: how they meet, and what they tell each other.

`train.worker` is one of them; `train.run` and `train.trainer` ask here. What is said goes over the
CPU, and a process alone hears itself only.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from corpus.errors import WoolgatherError

PATIENCE = timedelta(hours=2)
"""How long a process waits for the slowest: the first one renders and saves while others wait."""

T = TypeVar("T")


def is_joined() -> bool:
    """Tell whether this process is one of a group."""
    return dist.is_available() and dist.is_initialized()


def world_size() -> int:
    """Return the number of processes."""
    return dist.get_world_size() if is_joined() else 1


def is_first() -> bool:
    """Tell whether this process is the one that writes the run's folder and shows progress."""
    return not is_joined() or dist.get_rank() == 0


@contextmanager
def joined() -> Iterator[None]:
    """Meet the processes that the environment names while the block runs.

    This comes before everything slow, with a long patience: a group that is formed by the trainer
    has waited for rendering already, and GPU collectives give up after minutes.
    """
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group("cpu:gloo,cuda:nccl", timeout=PATIENCE)
    else:
        dist.init_process_group("gloo", timeout=PATIENCE)
    yield
    # After an error the others are gone, and a group cannot be left without them.
    dist.destroy_process_group()


def gathered(value: T) -> list[T]:
    """Return every process's value, in their order."""
    if not is_joined():
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


def from_first(make: Callable[[], T]) -> T:
    """Let the first process make something, and return it everywhere.

    Raises:
        WoolgatherError: the first process's, there; the others leave quietly.
    """
    if not is_joined():
        return make()
    said: list[Any] = [None, False]
    failed: WoolgatherError | None = None
    if is_first():
        try:
            said[0] = make()
        except WoolgatherError as error:
            failed, said[1] = error, True
    dist.broadcast_object_list(said, src=0)
    if failed is not None:
        raise failed
    if said[1]:
        raise SystemExit(1)
    made: T = said[0]
    return made


def any_process(flag: bool) -> bool:
    """Tell whether a flag is set in any process, so that all of them act at the same step."""
    told = torch.tensor([flag], dtype=torch.uint8)
    if is_joined():
        dist.all_reduce(told, dist.ReduceOp.MAX)
    return bool(told)
