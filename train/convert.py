"""Converting base checkpoints: Baichuan-7B and InternLM-7B to Llama, .bin files to safetensors.

Before training; tensor by tensor, without running the checkpoint's own code.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from sentencepiece import SentencePieceProcessor

from corpus.atomic import new_folder
from corpus.errors import TrainError
from train.model import TOKENIZER_FILES, base_config, load_shape, load_tokenizer
from train.tensors import Slot, names_in, weight_files, write_index, write_slots


def convert_base(base: Path, out: Path) -> dict[str, Any]:
    """Write a checkpoint as a folder that transformers loads alone; return path, kind and tensors.

    Raises:
        TrainError: `out` exists, or `base` is no such checkpoint, or not whole.
    """
    if out.exists():
        raise TrainError(f"{out}: exists already. Give another --out")
    config = base_config(base)
    kind = config.get("model_type")
    foreign = kind in ("baichuan", "internlm")
    is_bin = not any(base.glob("model*.safetensors"))
    files = weight_files(base, "pytorch_model*.bin") if is_bin else weight_files(base)
    if not foreign and not is_bin:
        raise TrainError(
            f"{base}: expected Baichuan-7B, InternLM-7B or .bin files, got {kind} in safetensors,"
            " which needs no conversion"
        )
    target = llama_config(base, config) if foreign else config
    with new_folder(out) as temporary:
        (temporary / "config.json").write_text(json.dumps(target, indent=2))
        _copy_rest(base, temporary, foreign)
        names: dict[str, str] = {}
        for number, file in enumerate(files, 1):
            new = f"model-{number:05}-of-{len(files):05}.safetensors"
            new = new if len(files) > 1 else "model.safetensors"
            names |= dict.fromkeys(write_slots(temporary / new, list(_slots(file, foreign))), new)
        write_index(temporary, names)
        if foreign:
            _refuse_incomplete(base, temporary)
    return {"path": str(out), "kind": kind, "tensors": len(names)}


def llama_config(base: Path, config: dict[str, Any]) -> dict[str, Any]:
    """Return the Llama settings of a Baichuan-7B or InternLM-7B.

    Raises:
        TrainError: it is a relative that Llama cannot express.
    """
    kind, rotary = config["model_type"], config.get("rotary", {})
    why = ""
    if kind == "baichuan" and "max_position_embeddings" not in config:
        why = "Baichuan-13B, whose alibi attention Llama does not have"
    elif "z_loss_weight" in config:
        why = "Baichuan2, whose head is normalised"
    elif rotary.get("type", "origin") != "origin":
        why = f"rotary type {rotary['type']!r}"
    if why:
        raise TrainError(f"{base}: expected Baichuan-7B or InternLM-7B, got {why}")
    foreign = ("auto_map", "bias", "rotary", "_from_model_config", "transformers_version")
    return {key: value for key, value in config.items() if key not in foreign} | {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "attention_bias": kind == "internlm" and config.get("bias", True),
        "rope_theta": rotary.get("base", 10000),
    }


def _slots(file: Path, foreign: bool) -> Iterator[Slot]:
    """Yield the tensors of a file under their new names; bytes are read when they are got."""
    loaded: dict[str, torch.Tensor] = {}
    if file.suffix == ".bin":
        try:
            loaded = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        # What unpickling and unzipping raise is no one class.
        except Exception as error:
            reason = str(error).splitlines()[0]
            raise TrainError(f"{file}: not a whole file of weights: {reason}") from error
    found = {name: (_type_name(one), tuple(one.shape)) for name, one in loaded.items()}
    for name, (dtype, shape) in (found or names_in(file)).items():
        get = partial(loaded.get, name) if loaded else partial(_stored, file, name)
        if foreign and "W_pack" in name:
            for part, letter in enumerate("qkv"):
                third = (shape[0] // 3, *shape[1:])
                rows = partial(lambda get, part: get().chunk(3)[part], get, part)
                yield Slot(name.replace("W_pack", f"{letter}_proj"), dtype, third, rows)
        elif not foreign or not name.endswith("rotary_emb.inv_freq"):  # Llama computes it.
            yield Slot(name, dtype, shape, get)  # type: ignore[arg-type]


def _type_name(tensor: torch.Tensor) -> str:
    """Return what safetensors calls a tensor's type: torch.bfloat16 is BF16, torch.int64 is I64."""
    name = str(tensor.dtype).removeprefix("torch.").replace("float", "f").replace("int", "i")
    return name.replace("ui", "u").upper()


def _stored(file: Path, name: str) -> torch.Tensor:
    with safe_open(file, "pt") as opened:
        return opened.get_tensor(name)  # type: ignore[no-any-return]


def _refuse_incomplete(base: Path, out: Path) -> None:
    """Raise when the written tensors are not those of the Llama that the settings describe."""
    wanted = {name: tuple(one.shape) for name, one in load_shape(out).state_dict().items()}
    written = {name: one[1] for file in weight_files(out) for name, one in names_in(file).items()}
    for name in sorted({*wanted, *written}):
        expected, got = wanted.get(name, "none"), written.get(name, "none")
        if expected != got:
            raise TrainError(
                f"{base}: {name}: expected {expected}, got {got}: not the checkpoint that its"
                " config.json describes"
            )


def _copy_rest(base: Path, out: Path, foreign: bool) -> None:
    """Copy what stands beside the weights; a foreign tokenizer, of sentencepiece, becomes Llama's.

    Raises:
        TrainError: it does not encode as its sentencepiece file does.
    """
    code = () if foreign else [one.name for one in base.glob("*.py")]
    for name in (*TOKENIZER_FILES, "generation_config.json", *code):
        if (base / name).is_file():
            shutil.copyfile(base / name, out / name)
    if not foreign or not (out / "tokenizer.model").is_file():
        return
    pieces = SentencePieceProcessor(model_file=str(out / "tokenizer.model"))
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
