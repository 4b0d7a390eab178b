"""Converting base checkpoints: Baichuan-7B and InternLM-7B to Llama, .bin files to safetensors.

Before training; tensor by tensor, without running the checkpoint's own code.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from sentencepiece import SentencePieceProcessor

from corpus.atomic import new_folder
from corpus.errors import TrainError
from train.model import TOKENIZER_FILES, base_config, load_shape, load_tokenizer
from train.tensors import Slot, names_in, weight_files, write_slots

TYPES = {
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


@dataclass(frozen=True, slots=True)
class Converted:
    """What a conversion wrote."""

    path: str
    kind: str
    """The architecture it was."""
    tensors: int


def convert_base(base: Path, out: Path) -> Converted:
    """Write a checkpoint as a folder that transformers loads without foreign code.

    Raises:
        TrainError: `out` exists, or `base` is no such checkpoint, or not whole.
    """
    if out.exists():
        raise TrainError(f"{out}: exists already. Give another --out")
    config = base_config(base)
    kind = str(config.get("model_type"))
    foreign = kind in ("baichuan", "internlm")
    target = llama_config(base, config) if foreign else config
    is_bin = not any(base.glob("model*.safetensors"))
    files = weight_files(base, "pytorch_model*.bin") if is_bin else weight_files(base)
    if not foreign and not is_bin:
        raise TrainError(
            f"{base}: expected Baichuan-7B, InternLM-7B or .bin files, got {kind} in safetensors,"
            " which needs no conversion"
        )
    with new_folder(out) as temporary:
        (temporary / "config.json").write_text(json.dumps(target, indent=2))
        _copy_tokenizer(base, temporary, foreign=foreign)
        names: dict[str, str] = {}
        for number, file in enumerate(files, 1):
            tail = f"-{number:05}-of-{len(files):05}" if len(files) > 1 else ""
            slots = list(_slots(file, foreign))
            write_slots(temporary / f"model{tail}.safetensors", slots)
            names |= {slot.name: f"model{tail}.safetensors" for slot in slots}
        if len(files) > 1:
            table = {"metadata": {}, "weight_map": names}
            (temporary / "model.safetensors.index.json").write_text(json.dumps(table, indent=1))
        if foreign:
            _refuse_incomplete(base, temporary)
    return Converted(str(out), kind, len(names))


def llama_config(base: Path, config: dict[str, Any]) -> dict[str, Any]:
    """Return the Llama settings of a Baichuan-7B or InternLM-7B.

    Raises:
        TrainError: it is a relative that Llama cannot express.
    """
    why = ""
    if config["model_type"] == "baichuan" and "max_position_embeddings" not in config:
        why = "Baichuan-13B, whose alibi attention Llama does not have"
    elif "z_loss_weight" in config:
        why = "Baichuan2, whose head is normalised"
    elif config.get("rotary", {}).get("type", "origin") != "origin":
        why = f"rotary type {config['rotary']['type']!r}"
    if why:
        raise TrainError(f"{base}: expected Baichuan-7B or InternLM-7B, got {why}")
    foreign = ("auto_map", "bias", "rotary", "_from_model_config", "transformers_version")
    return {key: value for key, value in config.items() if key not in foreign} | {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "attention_bias": config["model_type"] == "internlm" and config.get("bias", True),
        "rope_theta": config.get("rotary", {}).get("base", 10000),
    }


def _slots(file: Path, foreign: bool) -> Iterator[Slot]:
    """Yield the tensors of one file under their new names."""
    for name, dtype, shape, get in _tensors(file):
        if foreign and name.endswith("rotary_emb.inv_freq"):
            continue  # Llama computes it.
        if foreign and "W_pack" in name:
            rows = shape[0] // 3
            for part, letter in enumerate("qkv"):
                third = partial(_rows, get, part * rows, (part + 1) * rows)
                yield Slot(
                    name.replace("W_pack", f"{letter}_proj"), dtype, (rows, *shape[1:]), third
                )
        else:
            yield Slot(name, dtype, shape, get)


def _rows(get: Any, start: int, stop: int) -> torch.Tensor:
    rows: torch.Tensor = get()[start:stop]
    return rows


def _tensors(file: Path) -> Iterator[tuple[str, str, tuple[int, ...], Any]]:
    """Yield name, type, shape and getter of each tensor; its bytes are read when it is got."""
    if file.suffix == ".bin":
        try:
            loaded = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        # What unpickling and unzipping raise is no one class.
        except Exception as error:
            reason = str(error).splitlines()[0]
            raise TrainError(f"{file}: not a whole file of weights: {reason}") from error
        for name, tensor in loaded.items():
            yield name, TYPES[tensor.dtype], tuple(tensor.shape), partial(loaded.get, name)
        return
    for name, (dtype, shape) in names_in(file).items():
        yield name, dtype, shape, partial(_stored, file, name)


def _stored(file: Path, name: str) -> torch.Tensor:
    with safe_open(file, "pt") as opened:
        tensor: torch.Tensor = opened.get_tensor(name)
    return tensor


def _refuse_incomplete(base: Path, out: Path) -> None:
    """Raise when the written tensors are not those of the Llama that the settings describe."""
    wanted = {name: tuple(one.shape) for name, one in load_shape(out).state_dict().items()}
    written = {
        name: shape for file in weight_files(out) for name, (_, shape) in names_in(file).items()
    }
    for name in sorted({*wanted, *written}):
        if wanted.get(name) != written.get(name):
            raise TrainError(
                f"{base}: {name}: expected {wanted.get(name, 'none')}, got"
                f" {written.get(name, 'none')}: not the checkpoint that its config.json describes"
            )


def _copy_tokenizer(base: Path, out: Path, *, foreign: bool) -> None:
    """Copy the tokenizer's files; a foreign one, sentencepiece beneath, becomes Llama's."""
    code = () if foreign else [one.name for one in base.glob("*.py")]
    for name in (*TOKENIZER_FILES, "generation_config.json", *code):
        if (base / name).is_file():
            shutil.copyfile(base / name, out / name)
    model = out / "tokenizer.model"
    if not foreign or not model.is_file():
        return
    pieces = SentencePieceProcessor(model_file=str(model))
    file = out / "tokenizer_config.json"
    kept = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    kept.pop("auto_map", None)
    # transformers puts a space before a text unless told, whatever the file says.
    spaced = pieces.encode_as_pieces("a")[0].startswith("▁")
    kept |= {"tokenizer_class": "LlamaTokenizer", "add_prefix_space": spaced}
    file.write_text(json.dumps(kept, ensure_ascii=False, indent=2))
    tokenizer = load_tokenizer(out)
    for text in ("Name three colours.\nRed, 12.", "请写一首诗。", "請寫一首詩。"):
        if tokenizer(text, add_special_tokens=False).input_ids != pieces.encode(text):
            raise TrainError(f"{base}: as Llama's, its tokenizer encodes {text!r} otherwise")
