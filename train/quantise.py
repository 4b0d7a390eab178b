"""Quantising a frozen base: nf4 with double quantisation (QLoRA, arXiv 2305.14314) and int8.

`train.model.load_base` loads with what this returns, on the CPU as on a GPU.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from types import MethodType
from typing import Any

from corpus.errors import TrainError


def quantisation_config(kind: str, dtype: str = "float32") -> Any:
    """Return how transformers quantises a base at loading; None: not at all.

    Linear layers but the head are quantised; `dtype` is what they compute in and what all else is
    loaded as. Norms stay in it: every architecture computes them in float32 anyway.

    Raises:
        TrainError: bitsandbytes is missing.
    """
    if kind == "none":
        return None
    if find_spec("bitsandbytes") is None:
        raise TrainError(
            f"quantize: {kind} needs bitsandbytes. Install it: pip install 'woolgather[train]'"
        )
    import torch
    import transformers

    make: Any = transformers.BitsAndBytesConfig

    if kind == "int8":
        return make(load_in_8bit=True)
    return make(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, dtype),
    )


def refuse_unreached(model: Any, kind: str) -> None:
    """Raise when most weights of a model's blocks stayed as they were.

    transformers quantises plain linear layers: no subclass of them, as Falcon has, and no fused
    experts, as Mixtral has.
    """
    ends = (model.get_input_embeddings(), model.get_output_embeddings())
    reached = whole = 0
    for module in model.modules():
        if type(module).__module__.startswith("bitsandbytes."):
            reached += module.in_features * module.out_features
        elif module not in ends:
            whole += sum(one.numel() for one in module.parameters(recurse=False) if one.ndim > 1)
    if reached < whole:
        raise TrainError(
            f"quantize: {kind} reaches only {reached / (reached + whole):.0%} of the weights of a"
            f" {model.config.model_type}, whose other layers bitsandbytes does not know."
            " Set quantize: none"
        )


def placed() -> dict[str, Any]:
    """Return where a quantised base is loaded: it cannot move to this process's GPU later."""
    import torch

    if not torch.cuda.is_available():
        return {}
    return {"device_map": {"": int(os.environ.get("LOCAL_RANK", "0"))}}


def steady(model: Any) -> Any:
    """Have quantised weights stay as they were quantised.

    On CPUs with AVX512-BF16, bitsandbytes would repack nf4 at the first forward pass in eval mode
    with scales rounded to bfloat16: a run that evaluates would train on another base after it.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
        if hasattr(module, "init_8bit_state"):
            module.init_8bit_state = MethodType(_take_scales, module)
    return model


def _take_scales(module: Any) -> None:
    """Take an int8 weight, whose scales are gone where DoRA on the CPU moved it after a forward."""
    module.state.CB, module.weight.CB = module.weight.CB, None
    if module.weight.SCB is not None:
        module.state.SCB, module.weight.SCB = module.weight.SCB, None
