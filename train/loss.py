"""The loss of every learned token, and its sums by tag.

Between the model's forward pass and the trainer: only places that predict a learned token reach
the head, and every token's loss is booked under its group.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from corpus.errors import TrainError
from train.data import TAGS, Group, tag_values
from train.pack import IGNORED

CHUNK = 1024
"""Tokens whose logits are held in float32 at a time."""


def token_losses(model: Any, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the cross-entropy and the group code of every learned token: (learned,) each.

    No attention mask and no cache: with either, transformers mixes packed rows without a word.
    """
    logits = model(
        input_ids=batch["input_ids"],
        position_ids=batch["position_ids"],
        use_cache=False,
        logits_to_keep=batch["keep"],
    ).logits  # (micro, kept, vocabulary)
    learned = batch["targets"] != IGNORED
    # Selecting copies the logits; one packed row a forward needs none.
    chosen = logits.flatten(0, 1) if bool(learned.all()) else logits[learned]
    return cross_entropy(chosen, batch["targets"][learned]), batch["groups"][learned]


def cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the loss of each row of logits, in float32.

    Long inputs go chunk by chunk and are computed again in the backward pass, so that the float32
    copy of the logits never exists as a whole.
    """
    if len(targets) <= CHUNK:
        return _entropy(logits, targets)
    pieces = zip(torch.split(logits, CHUNK), torch.split(targets, CHUNK), strict=True)
    options: dict[str, Any] = {"use_reentrant": False, "preserve_rng_state": False}
    return torch.cat([checkpoint(_entropy, *piece, **options) for piece in pieces])


def _entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(logits.float(), targets, reduction="none")


class TagSums:
    """Sums and counts of token losses by group, from which every tag follows."""

    def __init__(self, groups: Sequence[Group], device: torch.device | str = "cpu") -> None:
        self.values = tag_values(groups)
        # Apple's GPUs have no float64.
        kind = torch.float32 if torch.device(device).type == "mps" else torch.float64
        self.sums = torch.zeros(2, len(groups), dtype=kind, device=device)

    def add(self, losses: torch.Tensor, codes: torch.Tensor) -> None:
        """Book token losses under their groups."""
        losses = losses.detach().to(self.sums.dtype)
        self.sums[0].index_add_(0, codes, losses)
        self.sums[1].index_add_(0, codes, torch.ones_like(losses))

    def take(self) -> Totals:
        """Return the sums over all processes since the last call, and start again from zero."""
        sums = self.sums.clone()
        self.sums.zero_()
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(sums)
        return Totals(self.values, sums[0].tolist(), [int(n) for n in sums[1].tolist()])

    def state(self) -> list[list[float]]:
        """Return this process's sums, for a checkpoint."""
        state: list[list[float]] = self.sums.tolist()
        return state

    def restore(self, state: list[list[float]]) -> None:
        """Continue from the sums of a checkpoint."""
        self.sums.copy_(torch.tensor(state, dtype=self.sums.dtype))


class Totals:
    """Losses summed by group: the total, and any tag's view of it."""

    def __init__(
        self, values: dict[str, list[str]], sums: Sequence[float], counts: Sequence[int]
    ) -> None:
        self.values, self.sums, self.counts = values, list(sums), list(counts)

    @property
    def tokens(self) -> int:
        """Learned tokens counted."""
        return sum(self.counts)

    @property
    def loss(self) -> float:
        """Mean loss of a learned token."""
        return sum(self.sums) / self.tokens if self.tokens else float("nan")

    def __add__(self, other: Totals) -> Totals:
        sums = [a + b for a, b in zip(self.sums, other.sums, strict=True)]
        counts = [a + b for a, b in zip(self.counts, other.counts, strict=True)]
        return Totals(self.values, sums, counts)

    def by_tag(self) -> dict[str, dict[str, dict[str, float]]]:
        """Return tag -> value -> {loss, sum, tokens}; values without tokens are left out."""
        return {tag: self._group(tag) for tag in TAGS}

    def _group(self, tag: str) -> dict[str, dict[str, float]]:
        groups: dict[str, dict[str, float]] = {}
        for value, total, count in zip(self.values[tag], self.sums, self.counts, strict=True):
            if count:
                group = groups.setdefault(value, {"loss": 0.0, "sum": 0.0, "tokens": 0})
                group["sum"] += total
                group["tokens"] += count
        for group in groups.values():
            group["loss"] = group["sum"] / group["tokens"]
        return groups


def probe_isolation(model: Any, first: torch.Tensor, second: torch.Tensor) -> float:
    """Return how far packing two rows moves the second one's logits, relative to their size.

    Raises:
        TrainError: the rows see each other: this model does not keep packed rows apart.
    """

    def logits(ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        batch = {"input_ids": ids[None], "position_ids": positions[None]}
        found: torch.Tensor = model(**batch, use_cache=False).logits[0, -len(second) :].float()
        return found

    places = [torch.arange(len(one), device=one.device) for one in (first, second)]
    was_training = model.training
    model.eval()
    with torch.no_grad():
        alone = logits(second, places[1])
        packed = logits(torch.cat([first, second]), torch.cat(places))
    model.train(was_training)
    moved = float((packed - alone).abs().max() / alone.abs().max().clamp_min(1e-6))
    limit = 1e-4 if next(model.parameters()).dtype == torch.float32 else 3e-2
    if not moved <= limit:
        raise TrainError(
            f"packing: rows that share a packed row see each other in this model (logits move by"
            f" {moved:.1e}, expected at most {limit:.0e}). Set packing: false."
        )
    return moved
