"""Inputs of forward passes: every loaded model is made to take the batches that training makes.

`train.model` calls it on each model; most take input_ids, position_ids and logits_to_keep as they
are and stay untouched.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from types import MethodType
from typing import Any

import torch

from corpus.errors import TrainError


def brings_code(model: Any) -> bool:
    """Tell whether a model's class came with its folder: nothing is known of its insides."""
    return type(model).__module__.startswith("transformers_modules.")


def accept_batches(model: Any) -> None:
    """Have a model's forward take a batch's input_ids, position_ids and logits_to_keep."""
    kind = model.config.model_type
    if brings_code(model):
        for one in (model, model.base_model):
            _replace_forward(one, _standard)
    elif kind in ("bloom", "mpt", "opt") or (kind == "falcon" and not model.config.alibi):
        for one in (model, model.base_model):
            _replace_forward(one, _isolating)
    if kind == "bloom" and not brings_code(model):
        inner = type(model.transformer).build_alibi_tensor
        model.transformer.build_alibi_tensor = MethodType(_rowwise(inner), model.transformer)


def _replace_forward(module: Any, make: Callable[[Any], Any]) -> None:
    # A bound method survives copy.deepcopy, and wraps keeps the signature that generate reads.
    inner = type(module).forward
    module.forward = MethodType(wraps(inner)(make(inner)), module)


def _isolating(inner: Any) -> Any:
    """Make a mask of the positions, from which these architectures make none themselves."""

    def forward(self: Any, *args: Any, attention_mask: Any = None, **rest: Any) -> Any:
        positions = rest.get("position_ids")
        dense = self.config._attn_implementation in ("eager", "sdpa")
        if dense and positions is not None and attention_mask is None:
            row = (positions == 0).cumsum(-1)  # (batch, width): number of each place's row
            hidden = ~(row[:, None, None, :] == row[:, None, :, None]).tril()
            # (batch, 1, width, width): 0 where a place sees another
            attention_mask = torch.zeros_like(hidden, dtype=self.dtype)
            attention_mask.masked_fill_(hidden, torch.finfo(self.dtype).min)
        return inner(self, *args, attention_mask=attention_mask, **rest)

    return forward


def _rowwise(inner: Any) -> Any:
    """Have Bloom count positions within each packed row, as if it were alone."""

    def build(self: Any, attention_mask: torch.Tensor, num_heads: int, dtype: torch.dtype) -> Any:
        if attention_mask.ndim == 2:
            return inner(self, attention_mask, num_heads, dtype)
        batch, _, _, width = attention_mask.shape
        whole = inner(self, attention_mask.new_ones(batch, width), num_heads, dtype)
        places = (attention_mask[:, 0] == 0).sum(-1) - 1  # (batch, width)
        return whole.gather(2, places.repeat_interleave(num_heads, 0)[:, None])

    return build


def _standard(inner: Any) -> Any:
    """Leave out what a stranger's forward does not take, and make what ChatGLM-6B alone takes."""
    takes = inspect.signature(inner).parameters

    def forward(
        self: Any, input_ids: Any = None, *args: Any, logits_to_keep: Any = None, **rest: Any
    ) -> Any:
        mask = rest.get("attention_mask")
        whole = rest.get("past_key_values") is None and (mask is None or mask.ndim == 2)
        if whole and getattr(self.config, "position_encoding_2d", False):
            rest |= prefix_inputs(self.config, input_ids, mask)
        rest = {key: rest[key] for key in rest if key in takes}
        output = inner(self, input_ids, *args, **rest)
        if isinstance(logits_to_keep, torch.Tensor):
            output.logits = output.logits[:, logits_to_keep]
        return output

    return forward


def prefix_inputs(
    config: Any, ids: torch.Tensor, seen: torch.Tensor | None = None
) -> dict[str, torch.Tensor]:
    """Return ChatGLM-6B's 2-D positions and mask of rows whose prompt ends before <sop>.

    The prompt sees itself both ways. Its places count up in the first line of position_ids
    (batch, 2, width) and are 0 in the second; the answer's stand still at [gMASK] in the first and
    count from 1 in the second. In attention_mask (batch, 1, width, width) True is hidden. `seen`
    (batch, width) is 0 at padding, which may stand on the left.

    Raises:
        TrainError: a row has no <sop>, or several because rows were packed.
    """
    starts = ids == config.bos_token_id
    if bool((starts.sum(1) != 1).any()):
        raise TrainError(
            "chatglm: expected one <sop> in every row, between prompt and answer, got"
            f" {sorted(set(starts.sum(1).tolist()))}. Set packing: false and template: chatglm"
        )
    seen = torch.ones_like(ids, dtype=torch.bool) if seen is None else seen.bool()
    first, start = (one.int().argmax(1, keepdim=True) for one in (seen, starts))
    gmask, mask = ids == config.gmask_token_id, ids == config.mask_token_id
    marks = torch.where(gmask.any(1, keepdim=True), gmask, mask)
    places = torch.arange(ids.shape[1], device=ids.device)
    prompt = places < start
    stands = torch.where(prompt, places, marks.int().argmax(1, keepdim=True)) - first
    counts = places - start + 1
    hidden = (places > places[:, None]) & ~prompt[:, None, :] | ~(seen[:, None] & seen[..., None])
    return {
        "position_ids": torch.stack([stands, counts], 1).clamp_min(0),
        "attention_mask": hidden[:, None],
    }
