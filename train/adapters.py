"""Bottleneck adapters of our own: two small layers before, after or beside a linear one.

`train.methods` inserts them for training, `train.generate` reads them back; peft has none, so their
folder names a peft_type that is ours and opens with `load_adapter` only.
Sources: arXiv 1902.00751 (sequential), 2110.04366 (parallel), 2304.01933 (placement in LLaMA).
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


def bottleneck_weights(model: Any) -> dict[str, torch.Tensor]:
    """Return the adapters' weights by name."""
    return {name: one.detach() for name, one in model.named_parameters() if one.requires_grad}


def save_bottlenecks(model: Any, folder: Path) -> None:
    """Write the adapters as a folder."""
    text = json.dumps(model.bottleneck, ensure_ascii=False, indent=2)
    (folder / CONFIG).write_text(text, encoding="utf-8")
    weights = {name: one.contiguous() for name, one in bottleneck_weights(model).items()}
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})


def load_adapter(model: Any, folder: Path) -> Any:
    """Put a saved adapter on its base: one of these, or any of peft's.

    Raises:
        TrainError: the adapter is of these and does not fit the base.
        RuntimeError, ValueError: it is peft's and does not fit.
    """
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    if config["peft_type"] != PEFT_TYPE:
        from peft import PeftModel

        return PeftModel.from_pretrained(model, str(folder))
    insert_bottlenecks(model, config)
    saved, live = load_file(folder / WEIGHTS), bottleneck_weights(model)
    for name in sorted(saved.keys() | live.keys()):
        if name not in saved or name not in live or saved[name].shape != live[name].shape:
            raise TrainError(f"{folder}: {name} of the adapter does not fit {model.name_or_path}")
        live[name].copy_(saved[name])
    return model.requires_grad_(False)
