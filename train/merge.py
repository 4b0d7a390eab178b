"""Merging: an adapter becomes part of its base model's weights, one tensor at a time.

After training; the result is a plain transformers folder with a certificate of what was measured
and of every tensor's digest. Peak memory of the merge is about the adapter and the largest tensor.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from corpus.atomic import new_folder
from corpus.errors import TrainError
from train.certificate import CERTIFICATE, check_merge
from train.changes import Changes, Reader
from train.files import seal
from train.generate import adapter_facts
from train.model import PASSPORT, TOKENIZER_FILES, base_config, model_folder, refuse_quantised
from train.quantise import quantisation_config
from train.requantise import dequantised, quantised
from train.tensors import Slot, digests_of, names_in, weight_files, write_index, write_slots

SAID = ("path", "base_model", "adapter", "onto", "tensors", "changed", "untied", "check")
"""Keys of what `merge` returns."""

Onto = Literal["original", "dequantised", "quantised"]


@dataclass(frozen=True, slots=True)
class Held:
    """How the base was held while the adapter was trained, and onto what it is merged."""

    quantize: str
    dtype: str
    onto: Onto

    def checking(self) -> dict[str, Any]:
        """Return how to compare: an unquantised base in its file's type, which the merge keeps."""
        exact = self.onto == ("original" if self.quantize == "none" else "dequantised")
        # int8 rounds inputs too.
        exact = exact and self.quantize != "int8"
        dtype = "auto" if self.quantize == "none" else self.dtype
        return {"exact": exact, "quantize": self.quantize, "dtype": dtype}


def merge(
    adapter: Path,
    out: Path,
    base: str | Path | None = None,
    *,
    onto: Onto | None = None,
    check: bool = True,
    trust_remote_code: bool = False,
) -> dict[str, Any]:
    """Write base + adapter as a model folder; it appears whole, checked and certified.

    Return what its certificate says, but the digests: `onto` is the base's weights as they are, as
    the quantised base saw them, or quantised again; `untied`: the head got weights of its own,
    because the adapter made it differ from the embeddings.

    `base` may be left out: the adapter names its own. `onto` left out: dequantised for an adapter
    trained on a quantised base, since that is what it learned to correct; else original. The check
    loads live and merged model, one after the other.

    Raises:
        TrainError: the base is quantised or does not fit, the adapter is no change of weights,
            `out` exists, or the merged model answers differently from the live adapter.
    """
    facts = adapter_facts(adapter)
    base = base or facts["base_model"]
    held = _held(facts, onto)
    folder = model_folder(base)
    refuse_quantised(folder)
    if out.is_dir() and not any(out.iterdir()):
        out.rmdir()
    if out.exists():
        raise TrainError(f"{out}: exists already. Give another --out")
    shared: dict[str, Any] = {"kind": "model", "base_model": str(base), "adapter": str(adapter)}
    shared |= {key: facts[key] for key in ("template", "prompt", "mixture", "run") if key in facts}
    with new_folder(out) as temporary:
        changes = Changes(folder, adapter, trust_remote_code)
        n_changed = len(changes)
        digests, untied = _merge_weights(folder, changes, held, temporary)
        _copy_rest(folder, adapter, temporary, held, untied=untied)
        _write_json(temporary / PASSPORT, shared)
        done = shared | {"path": str(out), "onto": held.onto, "tensors": len(digests)}
        done |= {"changed": n_changed, "untied": untied, "check": None}
        if check:
            how = held.checking() | {"trust_remote_code": trust_remote_code}
            done["check"] = check_merge(base, adapter, temporary, **how)
        _write_json(temporary / CERTIFICATE, {**done, "sha256": digests})
        seal(temporary)
    return {key: done[key] for key in SAID}


def _write_json(file: Path, value: dict[str, Any]) -> None:
    file.write_text(json.dumps(value, ensure_ascii=False, indent=1), encoding="utf-8")


def _held(facts: dict[str, Any], onto: Onto | None) -> Held:
    quantize = facts.get("quantize", "none")
    if quantize == "none" and onto in ("dequantised", "quantised"):
        raise TrainError(
            f"--onto {onto}: the adapter was not trained on a quantised base, expected original"
        )
    default: Onto = "original" if quantize == "none" else "dequantised"
    return Held(quantize, facts.get("dtype", "float32"), onto or default)


def _merge_weights(
    folder: Path, changes: Changes, held: Held, out: Path
) -> tuple[dict[str, str], bool]:
    """Write the base's shards with the adapter's changes; return digests, and whether untied."""
    pair = changes.untied_pair()
    digests: dict[str, str] = {}
    index: dict[str, str] = {}
    seen: set[str] = set()
    with ExitStack() as stack:
        read = _reader(folder, changes, held, stack)
        for file in weight_files(folder):
            slots = []
            for name, (dtype, size) in names_in(file).items():
                owner = _in_model(name, changes)
                targets = {name: owner} | ({pair[0]: pair[0]} if pair and owner == pair[1] else {})
                for target, of in targets.items():
                    slots.append(Slot(target, dtype, size, partial(changes.apply, of, read)))
                seen |= set(targets.values())
            written = _write_shard(out / file.name, slots, changes, held)
            digests |= written
            index |= dict.fromkeys(written, file.name)
    left = sorted({*changes.saved, *changes.layers} - seen)
    if left:
        raise TrainError(f"{left[0]}: the adapter changes it, and it is no weight of {folder}")
    write_index(out, index)
    return digests, pair is not None


def _in_model(name: str, changes: Changes) -> str:
    """Return the name in the model of a weight in a file; some files leave out its first part."""
    full = f"{changes.shape.base_model_prefix}.{name}"
    return full if full in changes.names and name not in changes.names else name


def _reader(folder: Path, changes: Changes, held: Held, stack: ExitStack) -> Reader:
    """Return how to read a base weight by its name in the model, as training saw it if asked."""
    places: dict[str, tuple[Any, str]] = {}
    for file in weight_files(folder):
        opened = stack.enter_context(safe_open(file, "pt"))
        places |= {_in_model(name, changes): (opened, name) for name in opened.keys()}  # noqa: SIM118
    as_held = {} if held.onto == "original" else changes.quantised
    dtype = getattr(torch, held.dtype)

    def read(name: str) -> torch.Tensor:
        opened, stored = places.get(name) or places[changes.tied[name]]
        weight: torch.Tensor = opened.get_tensor(stored)
        if name not in as_held:
            return weight
        if as_held[name]:
            return dequantised(weight.T, held.quantize, dtype).T
        return dequantised(weight, held.quantize, dtype)

    return read


def _write_shard(file: Path, slots: Sequence[Slot], changes: Changes, held: Held) -> dict[str, str]:
    """Write one file of weights; return name -> digest."""
    if held.onto != "quantised":
        return write_slots(file, slots)
    names = changes.quantised
    tensors: dict[str, torch.Tensor] = {}
    for slot in slots:
        weight, owner = slot.get(), _in_model(slot.name, changes)
        if owner in names:
            weight = weight.T if names[owner] else weight
            tensors |= quantised(slot.name, weight, held.quantize, getattr(torch, held.dtype))
        else:
            tensors[slot.name] = weight.contiguous()
    save_file(tensors, file, metadata={"format": "pt"})
    return digests_of(file)


def _copy_rest(folder: Path, adapter: Path, out: Path, held: Held, *, untied: bool) -> None:
    """Copy config and tokenizer; the adapter's tokenizer comes before the base's."""
    config = base_config(folder)
    if untied:
        config["tie_word_embeddings"] = False
    if held.onto == "quantised":
        made = quantisation_config(held.quantize, held.dtype)
        config["quantization_config"] = made.to_dict()
    _write_json(out / "config.json", config)
    own = (adapter / "tokenizer_config.json").is_file()
    names = [(adapter if own else folder, name) for name in TOKENIZER_FILES]
    names.append((adapter, "template.yaml"))
    code = [(folder, one.name) for one in folder.glob("*.py")]
    for where, name in [*names, *code, (folder, "generation_config.json")]:
        if (where / name).is_file():
            shutil.copyfile(where / name, out / name)
