"""Sealing a finished folder: its bytes on the disk, and a list by which to tell that it is whole.

Checkpoints, adapters, merged models and token stores are sealed, then renamed into place.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

MANIFEST = "manifest.json"


def seal(folder: Path, *, manifest: bool = False) -> None:
    """Push all files of a folder to the disk; `manifest` also lists their sizes and digests."""
    files = sorted(one for one in folder.rglob("*") if one.is_file())
    if manifest:
        listed = {
            one.relative_to(folder).as_posix(): [one.stat().st_size, sha256(one)] for one in files
        }
        files.append(folder / MANIFEST)
        files[-1].write_text(json.dumps(listed, indent=1))
    for one in files:
        with one.open("rb+") as file:
            os.fsync(file.fileno())


def sha256(path: Path) -> str:
    """Return the digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
