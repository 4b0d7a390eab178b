"""How fast a run is, and how large: flops of a token, the device's peak, memory.

The trainer writes these numbers into every line of metrics.
"""

from __future__ import annotations

import functools
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from train.methods import weight_counts

PEAKS = {"B200": 2250, "GH200": 989, "H200": 989, "H100 PCIe": 756, "H100": 989, "A100": 312}
PEAKS |= {"L40S": 362, "L40": 181, "L4": 121, "A40": 150, "A10": 125, "V100": 125, "T4": 65}
PEAKS |= {"RTX 4090": 165, "RTX 3090": 71}
"""Part of a GPU's name -> its dense teraflops a second in 16 bits, as its maker states them; the
first that fits counts."""

SIDE = 768
"""Rows of the matrices by which a CPU's peak is measured."""


def flops_a_token(model: Any) -> tuple[float, float] | None:
    """Return the training flops of a token, and those of a learned one at the head.

    A weight costs two in the forward pass and two for the gradient of its inputs; only one that
    trains costs two more (so 6 a weight when all train, 4 for a frozen one). Attention between
    tokens and what is computed a second time do not count. None for a mixture of experts, of whose
    weights a token meets a part.
    """
    config = model.config.to_dict()
    if any(config.get(key) for key in ("num_local_experts", "num_experts", "n_routed_experts")):
        return None
    head, inputs = model.get_output_embeddings(), model.get_input_embeddings()
    body = at_head = 0.0
    for weight, count in weight_counts(model):
        flops = count * (6.0 if weight.requires_grad else 4.0)
        if head is not None and weight is getattr(head, "weight", None):
            at_head += flops
        elif weight is not getattr(inputs, "weight", None):
            body += flops
    return body, at_head


def peak_flops(device: torch.device) -> float | None:
    """Return a device's peak: of a known GPU the stated one, of a CPU a measured product."""
    if device.type == "cuda":
        return stated_peak(torch.cuda.get_device_name(device))
    return _cpu_peak(torch.get_num_threads()) if device.type == "cpu" else None


def stated_peak(name: str) -> float | None:
    """Return the flops a second that a GPU's maker states; None for one that is not known."""
    return next((1e12 * peak for part, peak in PEAKS.items() if part in name), None)


@functools.cache
def _cpu_peak(n_threads: int) -> float:
    """Measure the flops of a float32 product with this many threads: the best of five."""
    ones = torch.ones(SIDE, SIDE)
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        torch.mm(ones, ones)
        seconds.append(time.perf_counter() - started)
    return 2 * SIDE**3 / min(seconds)


def peak_memory(device: torch.device) -> int:
    """Return the most bytes in use so far: of the GPU, else of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


@contextmanager
def timed(seconds: dict[str, float], what: str) -> Iterator[None]:
    """Add the seconds that the block takes to those of a name."""
    started = time.monotonic()
    yield
    seconds[what] = seconds.get(what, 0.0) + time.monotonic() - started


def device_name(device: torch.device) -> str:
    """Return what computes: a GPU's name, or the kind of device."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
