"""Adapters as folders, peft's and our own bottlenecks: what is saved, and what resuming needs.

The trainer saves with it and `train.generate` loads. peft has no bottlenecks (two small layers
before, after or beside a linear one: arXiv 1902.00751, 2110.04366, 2304.01933), so their folder
names a peft_type of ours and opens with `load_adapter` only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers.pytorch_utils import Conv1D

from corpus.errors import TrainError

PEFT_TYPE = "WOOLGATHER_BOTTLENECK"
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
STATE = "trained.safetensors"
"""File of a checkpoint with all that training moves in an adapter, as the live model has it."""

ACTIVATIONS = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "gelu": torch.nn.functional.gelu,
    "silu": torch.nn.functional.silu,
}


class Bottleneck(torch.nn.Module):
    """A frozen linear layer and the adapter at it, which changes nothing before it is trained."""

    def __init__(self, base: Any, config: dict[str, Any]) -> None:
        super().__init__()
        wide = (base.nx, base.nf) if isinstance(base, Conv1D) else ()
        n_in, n_out = wide or (base.in_features, base.out_features)
        self.place = config["place"]
        if self.place == "sequential":
            # Into the feed-forward part the adapter stands before, out of it (narrowing) after.
            self.place = "after" if n_out < n_in else "before"
        first = n_out if self.place == "after" else n_in
        last = n_in if self.place == "before" else n_out
        options: dict[str, Any] = {"bias": False, "device": base.weight.device}
        self.base, self.active = base, True
        self.down = torch.nn.Linear(first, config["bottleneck"], dtype=torch.float32, **options)
        self.up = torch.nn.Linear(config["bottleneck"], last, dtype=torch.float32, **options)
        torch.nn.init.zeros_(self.up.weight)
        self.dropout = torch.nn.Dropout(config["dropout"])
        self.bend = ACTIVATIONS[config["activation"]]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the layer's output with the adapter's share: (..., n_in) to (..., n_out)."""
        if not self.active:
            return torch.as_tensor(self.base(x))
        if self.place == "before":
            return torch.as_tensor(self.base(x + self._share(x)))
        y: torch.Tensor = self.base(x)
        return y + self._share(y if self.place == "after" else x).to(y.dtype)

    def _share(self, x: torch.Tensor) -> torch.Tensor:
        inner = self.bend(self.down(self.dropout(x.to(self.down.weight.dtype))))
        return torch.as_tensor(self.up(inner)).to(x.dtype)


def insert_bottlenecks(model: Any, config: dict[str, Any]) -> Any:
    """Freeze a model and put adapters at its layers named in `targets`.

    `config`: place (sequential, after or beside), targets, bottleneck, activation, dropout.

    Raises:
        TrainError: the base has no linear layer of these names.
    """
    model.requires_grad_(False)
    ends = tuple(f".{one}" for one in config["targets"])
    found = [
        (name, module)
        for name, module in model.named_modules()
        if f".{name}".endswith(ends) and isinstance(module, torch.nn.Linear | Conv1D)
    ]
    if not found:
        named = ", ".join(config["targets"])
        raise TrainError(f"method.targets: the base has no linear layer named {named}")
    for name, module in found:
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, Bottleneck(module, config))
    model.bottleneck = {"peft_type": PEFT_TYPE, "base_model_name_or_path": model.name_or_path}
    model.bottleneck |= config
    # What peft's models offer, and what the trainer asks for before it trains a quantised base.
    model.disable_adapter = partial(_disabled, model)
    model._hf_peft_config_loaded = True
    return model


@contextmanager
def _disabled(model: Any) -> Iterator[None]:
    """Have the base answer alone while the block runs."""
    layers = [one for one in model.modules() if isinstance(one, Bottleneck)]
    for one in layers:
        one.active = False
    try:
        yield
    finally:
        for one in layers:
            one.active = True


def _trained(model: Any) -> dict[str, torch.Tensor]:
    return {name: one.detach() for name, one in model.named_parameters() if one.requires_grad}


def adapter_weights(model: Any) -> dict[str, torch.Tensor]:
    """Return an adapter's weights by the names of its file.

    AdaLoRA's pruned ranks are left out once they stay at zero. PiSSA took its first weights out of
    the base, so what a plain base needs is the difference to them: an update of twice the rank.
    """
    if hasattr(model, "bottleneck"):
        return _trained(model)
    from peft import get_peft_model_state_dict

    config = model.peft_config["default"]
    if getattr(config, "rank_pattern", None) and not _stays_pruned(model, config.rank_pattern):
        config.rank_pattern = None
    found: dict[str, torch.Tensor] = get_peft_model_state_dict(model, save_embedding_layers=False)
    for name, first in getattr(model, "pissa_start", {}).items():
        key, is_a = name.replace(".default", ""), "_A." in name
        found[key] = torch.cat([found[key], first if is_a else -first], 0 if is_a else 1)
    return found


def _stays_pruned(model: Any, kept: dict[str, list[bool]]) -> bool:
    values = {name.replace(".default", ""): one for name, one in model.model.named_parameters()}
    return not any(
        bool(values[name.replace(".default", "")][~torch.tensor(mask)].any())
        for name, mask in kept.items()
    )


def save_adapter(model: Any, folder: Path) -> None:
    """Write an adapter as a folder: peft's opens with plain PeftModel.from_pretrained."""
    weights = adapter_weights(model)
    if hasattr(model, "bottleneck"):
        config = model.bottleneck
    else:
        # The base's embeddings are not part of an adapter that did not train them whole.
        model.save_pretrained(str(folder), save_embedding_layers=False)
        (folder / "README.md").unlink(missing_ok=True)  # peft's empty form of a model card
        if not hasattr(model, "pissa_start"):
            return
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        scale = config["lora_alpha"] / config["r"] ** (0.5 if config["use_rslora"] else 1)
        rank = 2 * config["r"]
        config |= {"r": rank, "lora_alpha": scale * rank, "use_rslora": False}
        config["init_lora_weights"] = True
    text = json.dumps(config, ensure_ascii=False, indent=2)
    (folder / CONFIG).write_text(text, encoding="utf-8")
    plain = {name: one.contiguous() for name, one in weights.items()}
    save_file(plain, folder / WEIGHTS, metadata={"format": "pt"})


def save_state(model: Any, folder: Path) -> None:
    """Write all that training moves in an adapter: more than its folder has, for some methods."""
    state = {f"weight.{name}": one for name, one in _trained(model).items()}
    allocator = rank_allocator(model)
    for memory in MEMORIES if allocator else ():
        state |= {f"{memory}.{name}": one for name, one in getattr(allocator, memory).items()}
    kept = allocator.peft_config.rank_pattern if allocator else None
    state |= {f"kept.{name}": torch.tensor(mask) for name, mask in (kept or {}).items()}
    save_file({name: one.contiguous() for name, one in state.items()}, folder / STATE)


def load_state(model: Any, folder: Path) -> None:
    """Continue from what `save_state` wrote, in a model built by the same settings.

    Raises:
        TrainError: the weights are others than the model's.
    """
    live, state = _trained(model), load_file(folder / STATE)
    allocator = rank_allocator(model)
    if {name for name in state if name.startswith("weight.")} != {f"weight.{one}" for one in live}:
        raise TrainError(f"{folder}: its weights are not those of the run's method")
    for key, value in state.items():
        kind, _, name = key.partition(".")
        if kind == "weight":
            live[name].copy_(value)
        elif kind == "kept":
            pattern = allocator.peft_config.rank_pattern or {}
            allocator.peft_config.rank_pattern = {**pattern, name: value.tolist()}
        else:
            getattr(allocator, kind)[name] = value.to(next(iter(live.values())).device)
            allocator.ipt.setdefault(name, None)  # Absent, it would have the memories cleared.


MEMORIES = ("exp_avg_ipt", "exp_avg_unc")
"""What AdaLoRA's allocator of ranks remembers of how much each weight mattered."""


def rank_allocator(model: Any) -> Any:
    """Return what shares out AdaLoRA's ranks; None for other methods."""
    return getattr(getattr(model, "base_model", None), "rankallocator", None)


def keep_type(model: Any) -> Any:
    """Have layers give the type that they take: some of peft's at quantised ones give float32."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    def same(module: Any, inputs: Any, output: Any) -> Any:
        return output.to(inputs[0].dtype) if inputs[0].is_floating_point() else output

    adapted: list[Any] = [one for one in model.modules() if isinstance(one, BaseTunerLayer)]
    for module in adapted if getattr(model, "is_quantized", False) else ():
        module.register_forward_hook(same)
    return model


def load_adapter(model: Any, folder: Path, **options: Any) -> Any:
    """Put a saved adapter on its base; the options are for peft.

    Raises:
        RuntimeError, ValueError: it does not fit the base.
    """
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    if config["peft_type"] != PEFT_TYPE:
        from peft import PeftModel

        return keep_type(PeftModel.from_pretrained(model, str(folder), **options))
    insert_bottlenecks(model, config)
    saved, live = load_file(folder / WEIGHTS), _trained(model)
    for name in sorted(saved.keys() | live.keys()):
        if name not in saved or name not in live or saved[name].shape != live[name].shape:
            raise ValueError(f"{name} is missing or of another shape")
        live[name].copy_(saved[name])
    return model.requires_grad_(False)
