"""Head and cross-entropy in one: the loss of every token, and never the logits of all of them.

`train.loss` hands over hidden states that predict a learned token. Each kernel returns the loss of
each, in float32, with gradients.
"""

from __future__ import annotations

import copy
import importlib.util
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

from corpus.engine import load
from corpus.errors import TrainError

FUSED = {
    "liger": "liger_kernel.transformers.functional:liger_fused_linear_cross_entropy",
    "cce": "cut_cross_entropy:linear_cross_entropy",
}
"""Kernels of other projects, for CUDA."""

GPU = "cuda"

TRIED = 4096
"""Tokens on which they are compared with ours and timed."""

CHUNK = {"cpu": 1 << 23, "cuda": 1 << 26}
"""Logits held at a time; a GPU wants more rows in a product than a CPU."""

ROWS = 128
"""Rows of logits held at least: fewer make slow products."""


@dataclass(frozen=True, slots=True)
class Head:
    """What makes logits of hidden states: the output layer, and what an architecture adds."""

    layer: Any
    vocabulary: int
    scale: float = 1.0
    """Logits are multiplied by it."""
    cap: float | None = None
    """Logits are squeezed between -cap and cap by tanh."""

    def __call__(self, hidden: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layer(hidden)
        logits = logits if self.scale == 1 else logits * self.scale
        return logits if self.cap is None else torch.tanh(logits / self.cap) * self.cap

    @property
    def trains(self) -> bool:
        """Tell whether the layer, or an adapter on it, is trained."""
        return any(one.requires_grad for one in self.layer.parameters())


Kernel = Callable[[torch.Tensor, torch.Tensor, Head], torch.Tensor]
"""Function(hidden (learned, width), targets (learned,), head) -> losses (learned,) float32."""


def chunked(hidden: torch.Tensor, targets: torch.Tensor, head: Head) -> torch.Tensor:
    """Return the loss of each hidden state, a chunk of logits at a time.

    A frozen head gives each loss's gradient by its hidden state in the same pass. A head that
    trains is computed again in the backward pass, unless one chunk holds everything.
    """
    rows = max(ROWS, CHUNK.get(hidden.device.type, CHUNK["cuda"]) // head.vocabulary)
    if torch.is_grad_enabled() and hidden.requires_grad and not head.trains:
        losses: torch.Tensor = _FrozenHead.apply(hidden, targets, head, rows)  # type: ignore[no-untyped-call]
        return losses
    pieces = list(zip(torch.split(hidden, rows), torch.split(targets, rows), strict=True))
    if len(pieces) == 1 or not torch.is_grad_enabled():
        return torch.cat([_entropy(*piece, head) for piece in pieces])
    return torch.cat([checkpoint(_entropy, *one, head, use_reentrant=False) for one in pieces])


def _entropy(hidden: torch.Tensor, targets: torch.Tensor, head: Head) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(head(hidden).float(), targets, reduction="none")


class _FrozenHead(torch.autograd.Function):
    """Losses, and the gradient of each by its own hidden state, in one pass over the head."""

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, targets: torch.Tensor, head: Head, rows: int
    ) -> torch.Tensor:
        slopes = torch.empty_like(hidden)
        losses = hidden.new_empty(len(hidden), dtype=torch.float32)
        for start in range(0, len(hidden), rows):
            part = slice(start, start + rows)
            losses[part], slopes[part] = _loss_and_slope(hidden[part], targets[part], head)
        ctx.save_for_backward(slopes)
        return losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        (slopes,) = ctx.saved_tensors
        # One token's loss depends on its own hidden state alone, so that its gradient scales.
        return (slopes * gradient[:, None]).to(slopes.dtype), None, None, None


def _loss_and_slope(
    hidden: torch.Tensor, targets: torch.Tensor, head: Head
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return losses and their gradients; every exponential is taken once."""
    with torch.enable_grad():
        leaf = hidden.detach().requires_grad_()
        logits = head(leaf)  # (rows, vocabulary)
    scores = logits.detach().float()
    top, where = scores.max(1, keepdim=True)
    wanted = scores.gather(1, targets[:, None])
    shares = torch.softmax(scores, 1)
    # The share of the top score is exp(top - logsumexp): far from underflow, unlike the target's.
    losses = (top - shares.gather(1, where).log() - wanted).squeeze(1)
    shares.scatter_add_(1, targets[:, None], torch.full_like(wanted, -1))
    (slope,) = torch.autograd.grad(logits, leaf, shares.to(logits.dtype))
    return losses, slope


def fastest(head: Head, name: str, distributed: str) -> tuple[str, Kernel]:
    """Return a kernel by name; for auto, the fastest that is installed and agrees with ours.

    Raises:
        TrainError: the kernel of that name cannot be used here.
    """
    if name == "chunked" or (name == "auto" and not torch.cuda.is_available()):
        return "chunked", chunked
    kernels: dict[str, Kernel] = {"chunked": chunked}
    trials: dict[str, tuple[torch.Tensor, float]] = {}
    for other in FUSED if name == "auto" else (name,):
        why = _unusable(other, head, distributed)
        if not why:
            kernels[other] = _fused(other)
            trials = trials or {"chunked": _trial(chunked, head)}
            trials[other] = _trial(kernels[other], head)
            expected, found = trials["chunked"][0], trials[other][0]
            # In the type of the weights, so a few of its roundings apart.
            gap = float((found - expected).norm() / expected.norm())
            why = "" if gap <= 5e-2 else f"its losses or gradients are off by {gap:.1e}"
        if why:
            trials.pop(other, None)
        if why and other == name:
            raise TrainError(f"loss: {name}: {why}. Set loss: auto.")
    best = name if name in FUSED else min(trials, key=lambda one: trials[one][1], default="chunked")
    return best, kernels[best]


def _unusable(name: str, head: Head, distributed: str) -> str:
    """Say why a kernel of others cannot be used in this run, "" if it can."""
    package = FUSED[name].partition(":")[0].partition(".")[0]
    if importlib.util.find_spec(package) is None:
        return f"it is not installed. Install it: pip install {package.replace('_', '-')}"
    if not torch.cuda.is_available():
        return "it needs a CUDA GPU"
    if type(head.layer) is not torch.nn.Linear:
        return f"it needs a plain linear head, got {type(head.layer).__name__}"
    if distributed not in ("none", "ddp"):
        return f"it needs the whole head on every GPU, which distributed: {distributed} shards"
    return ""


def _fused(name: str) -> Kernel:
    function = load(FUSED[name])

    def kernel(hidden: torch.Tensor, targets: torch.Tensor, head: Head) -> torch.Tensor:
        layer, options = head.layer, {"reduction": "none", "softcap": head.cap}
        bias = None if layer.bias is None else layer.bias * head.scale
        states = hidden * head.scale
        found: torch.Tensor = function(states, layer.weight, targets, bias=bias, **options)
        return found.float()

    return kernel


def _trial(kernel: Kernel, head: Head) -> tuple[torch.Tensor, float]:
    """Return a kernel's losses and gradients on random hidden states, and its best time."""
    head = replace(head, layer=copy.deepcopy(head.layer).to(GPU))
    draw = torch.Generator().manual_seed(0)
    hidden = torch.randn(TRIED, head.layer.in_features, generator=draw).to(head.layer.weight)
    targets = torch.randint(head.vocabulary, (TRIED,), generator=draw).to(GPU)
    factors = torch.rand(TRIED, generator=draw).to(GPU)
    seconds = []
    for _ in range(4):  # The first one compiles.
        leaf = hidden.clone().requires_grad_()
        torch.cuda.synchronize()
        started = time.perf_counter()
        losses = kernel(leaf, targets, head)
        torch.autograd.backward((losses * factors).sum())
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    assert leaf.grad is not None
    losses, slopes = losses.detach(), leaf.grad.float()
    # Weighed alike, whatever their sizes.
    return torch.cat([losses / losses.norm(), slopes.flatten() / slopes.norm()]), min(seconds)
