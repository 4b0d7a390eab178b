"""What an adapter makes of its base's weights, one layer at a time.

Under merging: the adapter hangs on a model whose weights take no memory; a layer gets its real
weights when its turn comes, peft merges it in float32, and the next one follows.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from corpus.errors import TrainError
from train.adapters import CONFIG, PEFT_TYPE
from train.generate import attach
from train.methods import BENDS, VIRTUAL
from train.model import load_shape, quiet_libraries
from train.requantise import quantised_names
from train.tensors import names_in

PREFIX = "base_model.model."
VIRTUAL_TYPES = ("PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING")

Reader = Callable[[str], torch.Tensor]
"""Returns a base weight by its name in the model."""


class Changes:
    """The weights that an adapter changes, and their values once it is merged.

    Raises:
        TrainError: the adapter does not fit the base, or is no change of weights.
    """

    def __init__(self, base: Path, adapter: Path, trust_remote_code: bool = False) -> None:
        kind = _mergeable_kind(adapter)
        self.shape = load_shape(base, trust_remote_code)
        self.tied: dict[str, str] = dict(getattr(self.shape, "all_tied_weights_keys", None) or {})
        self.names = set(self.shape.state_dict())
        self.quantised = quantised_names(self.shape)
        for module in self.shape.modules():
            _empty(module)
        with quiet_libraries():
            # AdaLoRA cuts its layers to the ranks it kept, which takes real ones.
            model = attach(self.shape, adapter, low_cpu_mem_usage=kind != "ADALORA")
        _refuse_strange(model, adapter)
        self.saved: dict[str, torch.Tensor] = {}
        self.layers: dict[str, tuple[str, Any]] = {}
        for name, module in model.named_modules():
            self._add(name.removeprefix(PREFIX), module)
        self._last: tuple[str, dict[str, torch.Tensor]] = ("", {})

    def __len__(self) -> int:
        return len(self.saved) + len(self.layers)

    def __contains__(self, name: str) -> bool:
        return name in self.saved or name in self.layers

    def _add(self, name: str, module: Any) -> None:
        """Note what an adapted layer changes, or a module that was trained whole."""
        from peft.tuners.tuners_utils import BaseTunerLayer
        from peft.utils import ModulesToSaveWrapper

        if isinstance(module, ModulesToSaveWrapper):
            kept = module.modules_to_save["default"].state_dict()
            self.saved |= {f"{name}.{part}": tensor for part, tensor in kept.items()}
        elif isinstance(module, BaseTunerLayer):
            parts = dict(module.get_base_layer().named_parameters(recurse=False))
            self.layers |= {f"{name}.{part}": (name, module) for part in parts}

    def apply(self, name: str, read: Reader) -> torch.Tensor:
        """Return a weight as the adapter makes it, in the type of the base's.

        Raises:
            TrainError: the adapter's weights are of another shape.
        """
        old = read(name)
        if name in self.saved:
            new = self.saved[name]
        elif name in self.layers:
            new = self._merged(*self.layers[name], read)[name]
        else:
            return old
        if new.shape != old.shape:
            raise TrainError(
                f"{name}: expected shape {list(old.shape)} as in the base, got {list(new.shape)}."
                " The adapter belongs to another base or vocabulary."
            )
        return new.to(old.dtype)

    def _merged(self, layer: str, tuner: Any, read: Reader) -> dict[str, torch.Tensor]:
        """Merge one layer's weight and bias together; neighbours in a file ask for it in turn."""
        if self._last[0] != layer:
            base = tuner.get_base_layer()
            for part in dict(base.named_parameters(recurse=False)):
                # A copy: peft adds in place, and what was read may be the mapped file itself.
                value = read(f"{layer}.{part}").to(torch.float32, copy=True)
                setattr(base, part, torch.nn.Parameter(value, requires_grad=False))
            tuner.merged_adapters.clear()
            tuner.merge()
            real = base.named_parameters(recurse=False)
            self._last = (layer, {f"{layer}.{part}": one.data for part, one in real})
            _empty(base)
        return self._last[1]

    def untied_pair(self) -> tuple[str, str] | None:
        """Return (head, embeddings) when the base ties them and the adapter makes them differ.

        A pair that the adapter keeps equal stays tied; its second copy is forgotten.
        """
        for head, source in self.tied.items():
            if head in self.saved and source in self.saved:
                if torch.equal(self.saved[head], self.saved[source]):
                    del self.saved[head]
                    continue
                return head, source
            if head in self or source in self:
                return head, source
        return None


def _empty(module: torch.nn.Module) -> None:
    """Replace weights by zeros of no size: adapters stay off the meta device."""
    for name, weight in list(module.named_parameters(recurse=False)):
        zeros = torch.zeros((), dtype=torch.float32).expand(weight.shape)
        setattr(module, name, torch.nn.Parameter(zeros, requires_grad=False))


def _refuse_strange(model: Any, adapter: Path) -> None:
    """Raise when a tensor of an adapter's file is not in its place, or one is left over."""
    from peft import get_peft_model_state_dict

    held = set(get_peft_model_state_dict(model, save_embedding_layers=False))
    files = adapter.glob("adapter_model*.safetensors")
    stored = {name for file in files for name in names_in(file)}
    strange = sorted(held ^ stored)
    if strange:
        which = "the base has no place for" if strange[0] in stored else "the file lacks"
        raise TrainError(f"{adapter}: {which} {strange[0]}. The adapter belongs to another base.")


def _mergeable_kind(adapter: Path) -> str:
    """Return peft's name of an adapter's kind; raise when it is no change of weights."""
    config = json.loads((adapter / CONFIG).read_text(encoding="utf-8"))
    kind: str = config["peft_type"]
    why = BENDS if kind == PEFT_TYPE else VIRTUAL["merges"] if kind in VIRTUAL_TYPES else ""
    if why:
        raise TrainError(f"{adapter}: it does not merge: {why}. Use it beside its base.")
    if config.get("bias", "none") != "none":
        bias = config["bias"]
        raise TrainError(f"{adapter}: trained with bias: {bias}, expected none to merge it")
    return kind
