"""Folders that are whole or absent: write under a temporary name, sync, list, rename.

Checkpoints, adapters, merged models and token stores are published through here.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import IO, Any

MANIFEST = "manifest.json"


def sync_file(file: IO[Any]) -> None:
    """Push a file's bytes to the disk."""
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Push a folder's names to the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256(path: Path) -> str:
    """Return the digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def publish(temporary: Path, final: Path, *, manifest: bool = False) -> None:
    """Make a finished folder appear under its name at once, all its bytes on the disk.

    With `manifest`, sizes and digests of all files are listed in it, so that `is_whole` can tell.
    """
    files = sorted(one for one in temporary.rglob("*") if one.is_file())
    if manifest:
        listed = {
            one.relative_to(temporary).as_posix(): [one.stat().st_size, sha256(one)]
            for one in files
        }
        target = temporary / MANIFEST
        target.write_text(json.dumps(listed, indent=1))
        files.append(target)
    for one in files:
        with one.open("rb+") as file:
            os.fsync(file.fileno())
    sync_folder(temporary)
    if final.exists():
        shutil.rmtree(final)
    os.rename(temporary, final)
    sync_folder(final.parent)


def is_whole(folder: Path, *, deep: bool = False) -> bool:
    """Tell whether a folder has all the files of its manifest; `deep` compares digests too."""
    try:
        listed = json.loads((folder / MANIFEST).read_text())
        return all(
            (folder / name).stat().st_size == size and (not deep or sha256(folder / name) == digest)
            for name, (size, digest) in listed.items()
        )
    except (OSError, ValueError):
        return False


def write_atomic(path: Path, text: str) -> None:
    """Replace a small file at once."""
    temporary = path.with_name(f".{path.name}.partial-{os.getpid()}")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        sync_file(file)
    os.replace(temporary, path)
