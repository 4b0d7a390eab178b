"""Measure the fused head and cross-entropy beside plain logits, in one run.

    python benchmarks/loss.py > loss.json
    python benchmarks/loss.py --tokens 8192 --vocabularies 128256 --device cuda --dtype bfloat16

The head is frozen, as under LoRA; three of five tokens are learned. Plain: the head for every
token, and torch's cross-entropy with the others ignored. Masked: the head and torch's cross-entropy
for the learned ones only. One JSON object on stdout: seconds of forward and backward (medians, the
kernels in turn), the peak of bytes that either makes beside weights and hidden states, and how far
losses and gradients are from plain ones.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from train.kernels import Head, chunked

LEARNED = 0.6


class Made(TorchDispatchMode):
    """Counts the bytes of what operations make, as long as it lives; their peak."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        before = {_key(one) for one in tree_leaves((args, kwargs)) if torch.is_tensor(one)}
        for one in tree_leaves(result):
            if torch.is_tensor(one) and _key(one) not in before | self.known:
                storage = one.untyped_storage()
                self.known.add(_key(one))
                self.live += storage.nbytes()
                self.peak = max(self.peak, self.live)
                weakref.finalize(storage, self._free, _key(one), storage.nbytes())
        return result

    def _free(self, key: int, n_bytes: int) -> None:
        self.known.discard(key)
        self.live -= n_bytes


def _key(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def plain(hidden: torch.Tensor, targets: torch.Tensor, head: Head) -> torch.Tensor:
    """Logits of every token."""
    return torch.nn.functional.cross_entropy(head(hidden).float(), targets, reduction="none")


def masked(hidden: torch.Tensor, targets: torch.Tensor, head: Head) -> torch.Tensor:
    """Logits of every learned token."""
    return plain(hidden[targets >= 0], targets[targets >= 0], head)


def own(hidden: torch.Tensor, targets: torch.Tensor, head: Head) -> torch.Tensor:
    """Logits of a chunk of learned tokens."""
    return chunked(hidden[targets >= 0], targets[targets >= 0], head)


KERNELS: dict[str, Callable[..., torch.Tensor]] = {"plain": plain, "masked": masked, "own": own}


def backward(kernel: Any, hidden: torch.Tensor, targets: torch.Tensor, head: Head) -> Any:
    """Return losses of the learned tokens, and the gradient of their mean by the hidden states."""
    losses = kernel(hidden, targets, head)
    (gradient,) = torch.autograd.grad(losses.sum() / (targets >= 0).sum(), hidden)
    losses = losses if len(losses) < len(targets) else losses[targets >= 0]
    return losses.detach(), gradient


def measure(n_tokens: int, vocabulary: int, given: argparse.Namespace) -> dict[str, Any]:
    """Measure all kernels on one size."""
    torch.manual_seed(0)
    kind = {"dtype": getattr(torch, given.dtype), "device": given.device}
    layer = torch.nn.Linear(given.width, vocabulary, bias=False, **kind).requires_grad_(False)
    head, hidden = Head(layer, vocabulary), torch.randn(n_tokens, given.width, **kind)
    targets = torch.randint(vocabulary, (n_tokens,), device=given.device)
    targets[torch.rand(n_tokens, device=given.device) > LEARNED] = -100
    hidden.requires_grad_()
    seconds: dict[str, list[float]] = {name: [] for name in KERNELS}
    peaks, results = {}, {}
    for name, kernel in KERNELS.items():
        with Made() as made:
            results[name] = backward(kernel, hidden, targets, head)
        peaks[name] = made.peak
    for _ in range(given.repeats):
        for name, kernel in KERNELS.items():
            started = time.perf_counter()
            backward(kernel, hidden, targets, head)
            if given.device == "cuda":
                torch.cuda.synchronize()
            seconds[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(one) for name, one in seconds.items()}
    pairs = zip(results["own"], results["plain"], strict=True)
    losses, gradient = (float((ours - theirs).abs().max()) for ours, theirs in pairs)
    return {
        "tokens": n_tokens,
        "vocabulary": vocabulary,
        "seconds": medians,
        "extra_bytes": peaks,
        "plain_over_own_seconds": medians["plain"] / medians["own"],
        "plain_over_own_bytes": peaks["plain"] / peaks["own"],
        "masked_over_own_bytes": peaks["masked"] / peaks["own"],
        "largest_difference": {"loss": losses, "gradient": gradient},
    }


def main() -> None:
    """Measure every vocabulary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=2048, help="default: %(default)s")
    parser.add_argument("--width", type=int, default=768, help="default: %(default)s")
    parser.add_argument("--vocabularies", default="32000,100000", help="default: %(default)s")
    parser.add_argument("--repeats", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--device", default="cpu", help="default: %(default)s")
    parser.add_argument("--dtype", default="float32", help="default: %(default)s")
    given = parser.parse_args()
    sizes = [measure(given.tokens, int(one), given) for one in given.vocabularies.split(",")]
    machine = {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "device": given.device,
        "dtype": given.dtype,
        "width": given.width,
    }
    print(json.dumps({"machine": machine, "sizes": sizes}, indent=1))


if __name__ == "__main__":
    main()
