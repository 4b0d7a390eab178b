"""Whether weights are whole and not empty: their bytes against what was written of them.

No torch here: a safetensors file is the u64 length of a JSON header, the header, the bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from corpus.errors import PublishError
from corpus.fingerprint import file_sha256
from corpus.publish.trained import ADAPTER_CONFIG, CERTIFICATE, read_json

WEIGHTS = "*.safetensors"
MANIFEST = "manifest.json"
"""In what training wrote: file to size and sha256."""

EMPTY_AT_FIRST = (".lora_B.", ".up.weight")
"""Weights that are zero until something was learned."""

CHUNK_BYTES = 1 << 20


def check_weights(folder: Path) -> None:
    """Compare weights with what was written of them, and refuse those that learned nothing.

    Raises:
        PublishError: a file is missing, cut short or changed, or an adapter is empty.
    """
    files = sorted(folder.glob(WEIGHTS))
    if not files:
        raise PublishError(f"{folder}: expected {WEIGHTS}, got none")
    for index in folder.glob("*.safetensors.index.json"):
        named = read_json(index).get("weight_map", {}).values()
        for name in sorted(set(named) - {one.name for one in files}):
            raise PublishError(f"{folder}: {name} is missing, which {index.name} names")
    _check_manifest(folder)
    tensors = {name: place for file in files for name, place in _tensors(file).items()}
    _check_certificate(folder, tensors)
    if (folder / ADAPTER_CONFIG).is_file():
        zero = [one for name, one in tensors.items() if any(n in name for n in EMPTY_AT_FIRST)]
        if not tensors or (zero and not any(_has_values(one) for one in zero)):
            raise PublishError(
                f"{folder}: the adapter is empty: what training changes first is zero in all of it."
                " Train it: woolgather train run"
            )


def _check_manifest(folder: Path) -> None:
    if not (folder / MANIFEST).is_file():
        return
    for name, (size, digest) in read_json(folder / MANIFEST).items():
        file = folder / name
        if not file.is_file():
            raise PublishError(f"{folder}: {name} is missing, which {MANIFEST} names")
        if file.stat().st_size != size or file_sha256(file) != digest:
            raise PublishError(
                f"{file}: not as it was written ({MANIFEST} has its sha256). Restore it, or run"
                " the training again"
            )


@dataclass(frozen=True, slots=True)
class _Tensor:
    """Where a tensor's bytes are."""

    file: Path
    start: int
    stop: int

    def chunks(self) -> Iterator[bytes]:
        with self.file.open("rb") as file:
            file.seek(self.start)
            left = self.stop - self.start
            while left:
                chunk = file.read(min(left, CHUNK_BYTES))
                yield chunk
                left -= len(chunk)


def _tensors(file: Path) -> dict[str, _Tensor]:
    """Return the tensors of a safetensors file: u64 length, JSON header, bytes.

    Raises:
        PublishError: it is not whole.
    """
    size = file.stat().st_size
    try:
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            header = json.loads(opened.read(length)) if 0 < length <= size else {}
        header.pop("__metadata__", None)
        first = 8 + length
        places = {name: one["data_offsets"] for name, one in header.items()}
        ends = [stop for _, stop in places.values()]
    except (ValueError, KeyError, TypeError, AttributeError):
        places, ends, first = {}, [], 0
    if not ends or first + max(ends) != size:
        raise PublishError(f"{file}: not a whole safetensors file. Restore it, or write it again")
    return {
        name: _Tensor(file, first + start, first + stop) for name, (start, stop) in places.items()
    }


def _check_certificate(folder: Path, tensors: dict[str, _Tensor]) -> None:
    if not (folder / CERTIFICATE).is_file():
        return
    expected = read_json(folder / CERTIFICATE)["sha256"]
    found = {name: _digest(one) for name, one in tensors.items()}
    bad = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
    if bad:
        raise PublishError(
            f"{folder}: {len(bad)} tensors differ from {CERTIFICATE}, first {bad[0]}. Merge again:"
            " woolgather merge"
        )


def _digest(tensor: _Tensor) -> str:
    digest = hashlib.sha256()
    for chunk in tensor.chunks():
        digest.update(chunk)
    return digest.hexdigest()


def _has_values(tensor: _Tensor) -> bool:
    return any(chunk.strip(b"\0") for chunk in tensor.chunks())
