"""The loss of every learned token, and its sums by tag.

Between the model's forward pass and the trainer: only places that predict a learned token reach
the head, and every token's loss is booked under its group.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch

from corpus.errors import TrainError
from train.config import Run
from train.data import TAGS, Group, tag_values
from train.kernels import Head, chunked, fastest
from train.pack import IGNORED

Batch = dict[str, torch.Tensor]


def token_losses(model: Any, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the cross-entropy and the group code of every learned token: (learned,) each.

    The model must have gone through `install_loss`. No cache, and an attention mask only where
    the batch has one: with either, transformers mixes packed rows without a word.
    """
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask") if name in batch}
    losses = model(
        **inputs,
        use_cache=False,
        places=batch.get("position_ids"),
        # Counted from the end, they stay right where a method puts virtual tokens before a row.
        keep=batch["keep"] - batch["input_ids"].shape[1],
        targets=batch["targets"],
    )
    return losses, batch["groups"][batch["targets"] != IGNORED]


def install_loss(model: Any, run: Run) -> str:
    """Make a causal model return token losses when it is given targets; return the kernel's name.

    Its own forward is replaced, below peft, DDP and torch.compile, and does what it did for calls
    without targets. On a small batch our losses must be those of the model's own logits. Where
    they are not, because an architecture does more between hidden states and logits than is known
    here, all logits are computed, and the returned name says why.

    Raises:
        TrainError: the kernel that the run names cannot be had, or does not agree.
    """
    lm = _base_of(model)
    _replace_forward(lm)
    lm.token_kernel = None
    if run.loss == "plain":
        return "plain"
    why = _disagreement(lm)
    if why and run.loss == "auto":
        return f"plain: {why}"
    if why:
        raise TrainError(f"loss: {run.loss}: {why}. Set loss: plain.")
    name, lm.token_kernel = fastest(_head(lm), run.loss, run.distributed)
    return name


def _base_of(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "get_base_model") else model


@contextmanager
def _probed(lm: Any) -> Iterator[None]:
    """Have a model drop nothing while the block runs, and use no flash-attention on the CPU, where
    a model waits that is going to be sharded.
    """
    was_training, attention = lm.training, lm.config._attn_implementation
    is_early = lm.device.type == "cpu" and "flash" in (attention or "")
    if is_early:
        lm.set_attn_implementation("sdpa")
    lm.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        lm.train(was_training)
        if is_early:
            lm.set_attn_implementation(attention)


def _replace_forward(lm: Any) -> None:
    """Have a causal model's forward return token losses where it is given targets."""
    before = lm.forward

    def forward(self: Any, *args: Any, targets: Any = None, **inputs: Any) -> Any:
        # Bound anew, so that a copy of the model calls itself.
        plain = MethodType(before.__func__, self) if inspect.ismethod(before) else before
        if targets is None:
            return plain(*args, **inputs)
        keep, places = inputs.pop("keep"), inputs.pop("places")
        inputs = {name: value for name, value in inputs.items() if value is not None}
        # With virtual tokens, which come as one of these two, a row stands alone and is counted
        # by the model itself.
        if places is not None and not {"inputs_embeds", "past_key_values"} & set(inputs):
            inputs["position_ids"] = places
        if self.token_kernel is None:
            return _from_logits(plain, inputs, keep, targets)
        hidden = self.base_model(**inputs)[0]
        if self.config.model_type == "chatglm":
            hidden = hidden.transpose(0, 1)  # Its body puts places before rows.
        return _score(self, hidden, keep, targets)

    # What looks at the arguments, such as generate, must see those of the model itself.
    forward.__signature__ = inspect.signature(type(lm).forward)  # type: ignore[attr-defined]
    lm.forward = MethodType(forward, lm)


def _from_logits(plain: Any, inputs: Any, keep: torch.Tensor, targets: torch.Tensor) -> Any:
    """Return token losses from a model's own logits."""
    if "logits_to_keep" in inspect.signature(plain).parameters:
        logits = plain(**inputs, logits_to_keep=keep).logits  # (micro, kept, vocabulary)
    else:
        logits = plain(**inputs).logits[:, keep]
    learned = targets != IGNORED
    # Selecting copies the logits; one packed row a forward needs none.
    chosen = logits.flatten(0, 1) if bool(learned.all()) else logits[learned]
    return torch.nn.functional.cross_entropy(chosen.float(), targets[learned], reduction="none")


@torch.compiler.disable  # type: ignore[untyped-decorator]
def _score(lm: Any, hidden: torch.Tensor, keep: torch.Tensor, targets: torch.Tensor) -> Any:
    """Return token losses from hidden states (micro, width, size)."""
    learned = targets != IGNORED
    starts = torch.arange(1, len(hidden) + 1, device=keep.device) * hidden.shape[1]
    places = (starts[:, None] + keep)[learned]
    return lm.token_kernel(hidden.flatten(0, 1)[places], targets[learned], _head(lm))


def _head(lm: Any) -> Head:
    """Return the output layer of a model, and what its architecture is known to do after it."""
    config = lm.config.get_text_config()
    scale = getattr(config, "logit_scale", None) or 1 / (getattr(config, "logits_scaling", 0) or 1)
    cap = getattr(config, "final_logit_softcapping", None)
    return Head(lm.get_output_embeddings(), config.vocab_size, scale, cap)


def _disagreement(lm: Any) -> str:
    """Say how our losses of a small batch differ from those of the model's logits, "" if not."""
    if lm.get_output_embeddings() is None or lm.base_model is lm:
        return "this model does not tell its head from its body"
    config = lm.config.get_text_config()
    # ChatGLM wants these marks once in every row; they stand at the end of its vocabulary.
    marks = [getattr(config, name, None) for name in ("gmask_token_id", "bos_token_id")]
    draw = torch.Generator().manual_seed(0)
    ids = torch.randint(config.vocab_size // 2, (2, 12), generator=draw)
    for place, mark in enumerate(marks):
        ids[:, place] = mark if isinstance(mark, int) else ids[:, place]
    ids = ids.to(next(lm.parameters()).device)
    batch = {"input_ids": ids, "keep": torch.arange(-12, 0, device=ids.device)}
    given = {**batch, "places": None, "targets": ids.roll(-1, 1), "use_cache": False}
    try:
        with _probed(lm):
            plain = lm(**given)
            lm.token_kernel = chunked
            gap = float((lm(**given) - plain).abs().max())
    except (AttributeError, TypeError, ValueError, RuntimeError, LookupError) as error:
        return f"chunked losses fail in this model: {str(error).partition(chr(10))[0]}"
    finally:
        lm.token_kernel = None
    limit = 1e-4 if lm.dtype == torch.float32 else 5e-2
    return "" if gap <= limit else f"chunked losses of this model are off by {gap:.1e}"


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
    with _probed(_base_of(model)):
        alone = logits(second, places[1])
        packed = logits(torch.cat([first, second]), torch.cat(places))
    moved = float((packed - alone).abs().max() / alone.abs().max().clamp_min(1e-6))
    limit = 1e-4 if next(model.parameters()).dtype == torch.float32 else 3e-2
    if not moved <= limit:
        raise TrainError(
            f"packing: rows that share a packed row see each other in this model (logits move by"
            f" {moved:.1e}, expected at most {limit:.0e}). Set packing: false."
        )
    return moved
