"""Quantising a frozen base: nf4 with double quantisation (QLoRA, arXiv 2305.14314) and int8.

`train.model.load_base` loads with what this returns, on the CPU as on a GPU.
"""

from __future__ import annotations

from importlib.util import find_spec
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
