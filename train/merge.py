"""Merging: an adapter becomes part of its base model's weights, one tensor at a time.

After training; the result is a plain transformers folder with a certificate of what was measured
and of every tensor's digest. Peak memory of the merge is about the largest tensor.
"""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from corpus.atomic import new_folder
from corpus.errors import TrainError
from train.files import seal
from train.generate import adapter_facts, load_speaker
from train.model import (
    PASSPORT,
    TOKENIZER_FILES,
    base_config,
    load_shape,
    model_folder,
    refuse_quantised,
)
from train.render import Turn, encode_prompt
from train.tensors import Slot, digests_of, names_in, write_slots

CERTIFICATE = "merge.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
MAX_KL = 1e-3
"""A merged model further than this from its live adapter (nats a token) is not published."""

PROMPTS = (
    "Name three primary colours and say where each is found in nature.",
    "请用两三句话解释为什么天空是蓝色的。",
    "請列出五種常見的水果，並說明它們的產地。",
    "Write a short Python function that returns the sum of a list.",
)


@dataclass(frozen=True, slots=True)
class Change:
    """What an adapter does to one weight: replace it (one key), or add B @ A * scale (two)."""

    keys: tuple[str, ...]
    scale: float = 1.0
    transposed: bool = False
    """The weight is stored (in, out), as embeddings and GPT-2's layers are."""

    def apply(self, weight: torch.Tensor, adapter: Any) -> torch.Tensor:
        """Return the changed weight in the type of the old one; sums are float32."""
        if len(self.keys) == 1:
            new = adapter.get_tensor(self.keys[0])
        else:
            a, b = (adapter.get_tensor(key).float() for key in self.keys)
            update = b @ a * self.scale
            update = update.T if self.transposed else update
            new = weight.float() + update if update.shape == weight.shape else update
        if new.shape != weight.shape:
            raise TrainError(
                f"{self.keys[-1]}: expected shape {list(weight.shape)} as in the base, got"
                f" {list(new.shape)}. The adapter belongs to another base or vocabulary."
            )
        return torch.as_tensor(new, dtype=weight.dtype)


@dataclass(frozen=True, slots=True)
class Merged:
    """A merged model and what its check measured."""

    path: str
    base_model: str
    adapter: str
    tensors: int
    changed: int
    untied: bool
    """The head got weights of its own, because the adapter made it differ from the embeddings."""
    check: dict[str, float] | None

    def to_json(self) -> dict[str, Any]:
        """Return the facts as plain values."""
        return asdict(self)


def merge(
    adapter: Path,
    out: Path,
    base: str | Path | None = None,
    *,
    prompts: Sequence[str] = PROMPTS,
    check: bool = True,
) -> Merged:
    """Write base + adapter as a model folder; it appears whole, checked and certified.

    `base` may be left out: the adapter names its own. The check loads live and merged model, one
    after the other.

    Raises:
        TrainError: the base is quantised or does not fit, `out` exists, or the merged model
            answers differently from the live adapter.
    """
    facts = adapter_facts(adapter)
    base = base or facts["base_model"]
    folder = model_folder(base)
    refuse_quantised(folder)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise TrainError(f"{out}: exists already. Give another --out")
    if out.exists():
        out.rmdir()
    with new_folder(out) as temporary:
        changes = read_changes(adapter)
        digests, untied = _merge_weights(folder, adapter, changes, temporary)
        _copy_rest(folder, adapter, temporary, untied=untied)
        shared = {"kind": "model", "base_model": str(base), "adapter": str(adapter)}
        shared |= {key: facts[key] for key in ("template", "mixture", "run") if key in facts}
        (temporary / PASSPORT).write_text(json.dumps(shared, ensure_ascii=False, indent=1))
        measured = check_merge(base, adapter, temporary, prompts) if check else None
        done = Merged(
            str(out), str(base), str(adapter), len(digests), len(changes), untied, measured
        )
        certificate = {**shared, **done.to_json(), "sha256": digests}
        (temporary / CERTIFICATE).write_text(json.dumps(certificate, ensure_ascii=False, indent=1))
        seal(temporary)
    return done


def read_changes(folder: Path) -> dict[str, Change]:
    """Return weight name -> change of a LoRA adapter, modules saved whole included.

    Raises:
        TrainError: the adapter is of a kind that does not merge by addition.
    """
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    kind, bias = str(config.get("peft_type")), config.get("bias", "none")
    if kind != "LORA" or config.get("use_dora") or bias != "none":
        told = "DoRA" if config.get("use_dora") else f"{kind}, bias {bias}"
        raise TrainError(f"{folder}: merging supports plain LoRA without bias, got {told}")
    shapes = {key: shape for key, (_, shape) in names_in(folder / ADAPTER_WEIGHTS).items()}
    changes = {}
    for key, shape in shapes.items():
        path = key.removeprefix("base_model.model.")
        lora = re.fullmatch(r"(.+)\.lora_(embedding_)?(A|B)(\.weight)?", path)
        if lora is None:
            changes[path] = Change((key,))
        elif lora[3] == "A":
            other = re.sub(r"lora_(embedding_)?A", r"lora_\1B", key)
            transposed = bool(lora[2] or config.get("fan_in_fan_out"))
            scale = _scale(config, lora[1], shape[0])
            changes[f"{lora[1]}.weight"] = Change((key, other), scale, transposed)
    strange = [name for name in changes if "lora_" in name]
    if strange or not changes:
        raise TrainError(f"{folder}: not plain LoRA: {strange[0] if strange else 'it is empty'}")
    return changes


def _scale(config: dict[str, Any], module: str, rank: int) -> float:
    """Return alpha / r of a module, or alpha / sqrt(r) for rank-stabilised LoRA."""
    patterns = (config.get("alpha_pattern") or {}).items()
    fits = (alpha for key, alpha in patterns if re.fullmatch(rf"(.*\.)?({key})", module))
    alpha = float(next(fits, config["lora_alpha"]))
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors shards of a model.

    Raises:
        TrainError: it has none.
    """
    files = sorted(folder.glob("model*.safetensors"))
    if not files:
        raise TrainError(
            f"{folder}: expected model*.safetensors. Convert it: load it with transformers and"
            " save_pretrained"
        )
    return files


def _merge_weights(
    folder: Path, adapter: Path, changes: dict[str, Change], out: Path
) -> tuple[dict[str, str], bool]:
    """Write the base's shards with the adapter's changes; return digests, and whether untied."""
    shape = load_shape(folder)
    pair = _untied_pair(folder, adapter, shape, changes)
    known, left = set(shape.state_dict()), set(changes)
    digests: dict[str, str] = {}
    index: dict[str, str] = {}
    for file in weight_files(folder):
        with (
            safe_open(adapter / ADAPTER_WEIGHTS, "pt") as updates,
            safe_open(file, "pt") as weights,
        ):
            slots = []
            for name, (dtype, size) in names_in(file).items():
                # Some files leave out the first part of a weight's name in the model.
                full = f"{shape.base_model_prefix}.{name}"
                owner = full if full in known and name not in known else name
                targets = {name: owner}
                if pair and owner == pair[1]:
                    targets[pair[0]] = pair[0]
                for target, owner in targets.items():
                    get = partial(_changed, weights, name, changes.get(owner), updates)
                    slots.append(Slot(target, dtype, size, get))
                left -= set(targets.values())
            digests |= write_slots(out / file.name, slots)
            index |= {slot.name: file.name for slot in slots}
    if left:
        raise TrainError(f"{adapter}: {sorted(left)[0]} is not a weight of {folder}: another base?")
    if len(set(index.values())) > 1:
        table = {"metadata": {}, "weight_map": index}
        (out / "model.safetensors.index.json").write_text(json.dumps(table, indent=1))
    return digests, pair is not None


def _changed(weights: Any, name: str, change: Change | None, updates: Any) -> torch.Tensor:
    weight: torch.Tensor = weights.get_tensor(name)
    return change.apply(weight, updates) if change else weight


def _untied_pair(
    folder: Path, adapter: Path, shape: Any, changes: dict[str, Change]
) -> tuple[str, str] | None:
    """Return (head, embeddings) when the base ties them and the adapter makes them differ.

    A pair that the adapter keeps equal stays tied; its second copy is dropped from `changes`.
    """
    pairs: dict[str, str] = getattr(shape, "all_tied_weights_keys", None) or {}
    for head, source in pairs.items():
        ours = [changes.get(head), changes.get(source)]
        if not any(ours):
            continue
        if all(one and len(one.keys) == 1 for one in ours):
            with safe_open(adapter / ADAPTER_WEIGHTS, "pt") as updates:
                both = [updates.get_tensor(one.keys[0]) for one in ours if one]
            if torch.equal(*both):
                del changes[head]
                continue
        return head, source
    return None


def _copy_rest(folder: Path, adapter: Path, out: Path, *, untied: bool) -> None:
    """Copy config and tokenizer; the adapter's tokenizer comes before the base's."""
    config = base_config(folder)
    if untied:
        config["tie_word_embeddings"] = False
    (out / "config.json").write_text(json.dumps(config, ensure_ascii=False, indent=2))
    own = (adapter / "tokenizer_config.json").is_file()
    names = [(adapter if own else folder, name) for name in TOKENIZER_FILES]
    for where, name in [*names, (folder, "generation_config.json")]:
        if (where / name).is_file():
            shutil.copyfile(where / name, out / name)


def check_merge(
    base: str | Path, adapter: Path, merged: Path, prompts: Sequence[str]
) -> dict[str, float]:
    """Compare the merged model with base + live adapter at every token of the prompts.

    Raises:
        TrainError: they differ by more than rounding.
    """
    live = _logits(base, adapter, prompts)
    ours = _logits(merged, None, prompts)
    a, b = (torch.log_softmax(one, -1) for one in (live, ours))
    check = {
        "max_logit_error": float((live - ours).abs().max()),
        "kl": float((a.exp() * (a - b)).sum(-1).mean().clamp_min(0)),
        "top1": float((live.argmax(-1) == ours.argmax(-1)).float().mean()),
        "prompts": len(prompts),
        "tokens": len(live),
    }
    if not check["kl"] <= MAX_KL:
        raise TrainError(
            f"the merged model is not what was trained: KL {check['kl']:.1e} nats a token from the"
            f" live adapter, expected at most {MAX_KL:.0e}; nothing was written"
        )
    return check


def _logits(base: str | Path, adapter: Path | None, prompts: Sequence[str]) -> torch.Tensor:
    """Return the float32 logits of all prompt tokens: (tokens, vocabulary)."""
    speaker = load_speaker(base, adapter, dtype="auto")
    rows = []
    for prompt in prompts:
        ids = encode_prompt(speaker.tokenizer, speaker.template, [Turn(prompt)])
        with torch.no_grad():
            rows.append(speaker.model(torch.tensor([ids]), use_cache=False).logits[0].float())
    return torch.cat(rows)


def verify_merged(folder: Path) -> dict[str, Any]:
    """Compare every tensor of a merged model with its certificate.

    Raises:
        TrainError: there is no certificate, or a tensor is missing, strange or changed.
    """
    file = folder / CERTIFICATE
    if not file.is_file():
        raise TrainError(f"{folder}: expected a {CERTIFICATE}, which woolgather merge writes")
    certificate = json.loads(file.read_text(encoding="utf-8"))
    found: dict[str, str] = {}
    for one in weight_files(folder):
        found |= digests_of(one)
    expected = certificate["sha256"]
    bad = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
    if bad:
        raise TrainError(f"{folder}: {len(bad)} tensors differ from {CERTIFICATE}, first {bad[0]}")
    return {"path": str(folder), "tensors": len(found), "check": certificate["check"]}
