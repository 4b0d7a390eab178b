"""Weights as a quantised base held them, and quantised weights as files hold them.

Under merging of adapters that were trained on an nf4 or int8 base (QLoRA, arXiv 2305.14314); by
bitsandbytes, which reads the same files.
"""

from __future__ import annotations

from typing import Any

import torch

BLOCK = 64
"""Weights that share a scale in nf4, as bitsandbytes has it by default."""


def quantised_names(shape: Any) -> dict[str, bool]:
    """Return the weights that loading would quantise -> whether they are stored transposed."""
    from transformers.pytorch_utils import Conv1D
    from transformers.quantizers.base import get_keys_to_not_convert
    from transformers.quantizers.quantizers_utils import should_convert_module

    kept = get_keys_to_not_convert(shape)
    return {
        f"{name}.weight": isinstance(module, Conv1D)
        for name, module in shape.named_modules()
        if (isinstance(module, Conv1D) or type(module) is torch.nn.Linear)
        and should_convert_module(name, kept)
    }


def dequantised(weight: torch.Tensor, kind: str, dtype: torch.dtype) -> torch.Tensor:
    """Return a weight as training on a quantised base saw it: quantised and back, same type."""
    import bitsandbytes.functional as bnb

    if kind == "nf4":
        back = bnb.dequantize_4bit(*_nf4(weight, dtype))
    else:
        back = bnb.int8_vectorwise_dequant(*_int8(weight))
    return torch.as_tensor(back, dtype=weight.dtype)


def _nf4(weight: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, Any]:
    import bitsandbytes.functional as bnb

    options: dict[str, Any] = {"blocksize": BLOCK, "compress_statistics": True, "quant_type": "nf4"}
    data, state = bnb.quantize_4bit(weight.to(dtype).contiguous(), **options)
    return data, state


def _int8(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    import bitsandbytes.functional as bnb

    data, scales, _ = bnb.int8_vectorwise_quant(weight.to(torch.float16))
    return data, scales


def quantised(
    name: str, weight: torch.Tensor, kind: str, dtype: torch.dtype
) -> dict[str, torch.Tensor]:
    """Return the tensors under which a file holds a quantised weight: name -> tensor."""
    if kind == "nf4":
        data, state = _nf4(weight, dtype)
        packed = state.as_dict(packed=True)
        return {name: data} | {f"{name}.{key}": one.contiguous() for key, one in packed.items()}
    data, scales = _int8(weight)
    layer, plain = name.removesuffix("weight"), torch.tensor(0, dtype=torch.uint8)
    return {name: data, f"{layer}SCB": scales, f"{layer}weight_format": plain}
