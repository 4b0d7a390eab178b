"""Clean: what killed processes left behind, and builds that nothing names any more."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from corpus.atomic import UNFINISHED, is_locked
from corpus.settings import Home
from corpus.store import CURRENT, Store


@dataclass(frozen=True, slots=True)
class Garbage:
    """One thing that can go."""

    path: Path
    why: str
    bytes: int


def find_garbage(home: Home) -> list[Garbage]:
    """Return the unfinished folders without an owner and the builds that nothing names."""
    return [*_unfinished(home), *_unnamed_builds(home)]


def remove(garbage: Sequence[Garbage]) -> None:
    """Remove what was found."""
    for one in garbage:
        if one.path.is_dir():
            shutil.rmtree(one.path)
        else:
            one.path.unlink(missing_ok=True)


def _unfinished(home: Home) -> Iterator[Garbage]:
    if not home.path.is_dir():
        return
    for path in sorted(home.path.rglob(f"{UNFINISHED}*")):
        if any(parent.name.startswith(UNFINISHED) for parent in path.parents):
            continue
        if not _has_owner(home, path):
            yield Garbage(path, "left by a process that was killed", _bytes(path))


def _has_owner(home: Home, path: Path) -> bool:
    """Tell whether somebody holds the lock of the thing that this is a part of."""
    kind, *rest = path.relative_to(home.path).parts
    return len(rest) > 0 and is_locked(home.locks, f"{kind}-{rest[0]}")


def _unnamed_builds(home: Home) -> Iterator[Garbage]:
    named = _rows_named_by_mixtures(home)
    store = Store(home)
    folders = sorted(home.store.iterdir()) if home.store.is_dir() else []
    for folder in folders:
        pointer = folder / CURRENT
        current = pointer.read_text(encoding="utf-8").strip() if pointer.is_file() else None
        if is_locked(home.locks, f"store-{folder.name}"):
            continue
        kept = {(folder.name, store.current(folder.name).rows_digest)} if current else set()
        for build in store.versions(folder.name):
            key = (folder.name, build.rows_digest)
            if build.fingerprint == current:
                continue
            if key in named and key not in kept:
                kept.add(key)
                continue
            why = "an older build that no mixture names"
            yield Garbage(build.path, why, _bytes(build.path))


def _rows_named_by_mixtures(home: Home) -> set[tuple[str, str]]:
    named = set()
    for lock in home.mixtures.glob("*/*/mixture.lock"):
        for source in json.loads(lock.read_text(encoding="utf-8")).get("sources", []):
            named.add((str(source.get("id")), str(source.get("rows_digest"))))
    return named


def _bytes(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(one.stat().st_size for one in path.rglob("*") if one.is_file())
