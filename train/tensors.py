"""Safetensors files written and hashed one tensor at a time.

Under merging: a file of any size is written with one tensor in memory.
Format: u64 length of a JSON header, the header, then the tensors' bytes.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from corpus.errors import TrainError

if TYPE_CHECKING:
    import torch

BYTES = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2}
"""Bytes of an element; every other type has one."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A tensor to be written: its place in the header, and how to get it when its turn comes."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    get: Callable[[], torch.Tensor]


def names_in(file: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Return name -> (type, shape) of the tensors in a file; only its head is read."""
    with safe_open(file, "numpy") as opened:
        slices = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118
        return {name: (one.get_dtype(), tuple(one.get_shape())) for name, one in slices.items()}


def write_slots(file: Path, slots: Sequence[Slot]) -> dict[str, str]:
    """Write tensors in turn; return name -> sha256 of each."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for slot in slots:
        start, end = end, end + math.prod(slot.shape) * BYTES.get(slot.dtype, 1)
        place = {"dtype": slot.dtype, "shape": list(slot.shape), "data_offsets": [start, end]}
        header[slot.name] = place
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    digests = {}
    with file.open("wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        for slot in slots:
            tensor = slot.get()
            assert tuple(tensor.shape) == slot.shape
            data = _bytes(tensor)
            out.write(data)
            digests[slot.name] = hashlib.sha256(data).hexdigest()
    return digests


def digests_of(file: Path) -> dict[str, str]:
    """Return name -> sha256 of the tensors in a file."""
    with safe_open(file, "pt") as opened:
        return {
            name: hashlib.sha256(_bytes(opened.get_tensor(name))).hexdigest()
            for name in opened.keys()  # noqa: SIM118
        }


def _bytes(tensor: torch.Tensor) -> memoryview:
    """View a tensor's bytes without a copy."""
    import torch

    array: Any = tensor.contiguous().reshape(-1).view(torch.uint8).numpy()
    return memoryview(array)


def write_index(folder: Path, shards: Mapping[str, str]) -> None:
    """Write name -> file of the tensors of a model that has several files."""
    if len(set(shards.values())) > 1:
        index = json.dumps({"metadata": {}, "weight_map": shards}, indent=1)
        (folder / "model.safetensors.index.json").write_text(index)


def weight_files(folder: Path, pattern: str = "model*.safetensors") -> list[Path]:
    """Return the shards of a model.

    Raises:
        TrainError: it has none, one is missing, or one is not whole.
    """
    files = sorted(folder.glob(pattern))
    if not files:
        got = next((one.name for one in sorted(folder.glob("*.bin"))), "nothing of the kind")
        raise TrainError(
            f"{folder}: expected {pattern}, got {got}. Convert .bin files: woolgather convert-base"
            " --base FOLDER --out NEW"
        )
    for index in folder.glob(f"{pattern}.index.json"):
        named = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        for name in sorted(set(named) - {one.name for one in files}):
            raise TrainError(f"{folder}: {name} is missing, which {index.name} names")
    for file in files if pattern.endswith(".safetensors") else ():
        try:
            names_in(file)
        except SafetensorError as error:
            raise TrainError(f"{file}: not a whole safetensors file. Fetch it again") from error
    return files
