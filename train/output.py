"""What a run leaves behind: the adapter or model folder, read back and compared before it counts.

The folder opens with plain peft or transformers and carries tokenizer, template and mixture digest.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open

from corpus.atomic import new_folder
from corpus.errors import TrainError
from train.adapters import adapter_weights, save_adapter
from train.config import Run
from train.files import seal
from train.methods import is_adapter
from train.model import PASSPORT, model_folder
from train.render import CHAT, FOLDER, Turn, text_template

if TYPE_CHECKING:
    from train.run import Prepared


def save_output(
    model: Any, prepared: Prepared, config: Run, run_folder: Path, *, trained: bool
) -> Path:
    """Write the adapter or model with all that belongs to it; it appears whole or not at all.

    Raises:
        TrainError: the weights do not read back as they are in memory, or an adapter is empty.
    """
    kind = "adapter" if is_adapter(model) else "model"
    final = run_folder / kind
    facts = {
        "kind": kind,
        "base_model": config.base_model,
        "template": config.template,
        "quantize": config.quantize,
        "dtype": config.dtype,
        "vocabulary": len(prepared.tokenizer),
        "mixture": {"name": prepared.mixture.name, "digest": prepared.mixture.digest},
        "run": run_folder.name,
    }
    shutil.rmtree(final, ignore_errors=True)  # Of a run that died before it was finished.
    with new_folder(final) as temporary:
        save_weights(model, temporary)
        verify_weights(model, temporary, trained=trained)
        copy_tokenizer(prepared.tokenizer, config.tokenizer or config.base_model, temporary)
        if config.template != CHAT:
            parts = text_template(config.template).parts([Turn("{instruction}")], None)
            facts["prompt"] = "".join(one.text for one in parts)
            shutil.copyfile(FOLDER / f"{config.template}.yaml", temporary / "template.yaml")
        (temporary / PASSPORT).write_text(json.dumps(facts, ensure_ascii=False, indent=1))
        shutil.copyfile(run_folder / "run.yaml", temporary / "run.yaml")
        seal(temporary, manifest=True)
    return final


def save_weights(model: Any, folder: Path) -> None:
    """Save what was trained: the adapter, or all weights."""
    if is_adapter(model):
        save_adapter(model, folder)
        return
    caches, model.config.use_cache = model.config.use_cache, True
    model.save_pretrained(str(folder))
    model.config.use_cache = caches


def copy_tokenizer(tokenizer: Any, name: str, folder: Path) -> None:
    """Save a tokenizer, and its original sentencepiece file byte for byte where it has one."""
    tokenizer.save_pretrained(str(folder))
    original = model_folder(name) / "tokenizer.model"
    if original.is_file():
        shutil.copyfile(original, folder / "tokenizer.model")


def live_weights(model: Any) -> dict[str, torch.Tensor]:
    """Return the trained weights under the names that their file gives them."""
    return adapter_weights(model) if is_adapter(model) else dict(model.state_dict())


def verify_weights(model: Any, folder: Path, *, trained: bool) -> None:
    """Read saved weights back and compare them with the model in memory.

    Raises:
        TrainError: a tensor is missing, strange or different, or training left LoRA at zero.
    """
    live = live_weights(model)
    files = sorted(folder.glob("*.safetensors"))
    seen: set[str] = set()
    for file in files:
        with safe_open(file, "pt") as saved:
            for name in saved.keys():  # noqa: SIM118 - not a mapping
                if name not in live or not _equal(saved.get_tensor(name), live[name]):
                    raise TrainError(f"{file.name}: {name} does not read back as it was trained")
                seen.add(name)
    # Tied weights are stored once, under one of their names.
    stored = {live[name].data_ptr() for name in seen}
    missing = [name for name in live if name not in seen and live[name].data_ptr() not in stored]
    if missing:
        raise TrainError(f"{len(missing)} weights were not saved, first {missing[0]}")
    updates = [tensor for name, tensor in live.items() if ".lora_B." in name]
    if trained and updates and not any(bool(one.any()) for one in updates):
        raise TrainError("the adapter is empty: all of its LoRA B weights are zero after training")


def _equal(saved: torch.Tensor, live: torch.Tensor) -> bool:
    return saved.dtype == live.dtype and torch.equal(saved, live.detach().cpu())
