"""Clean: what killed processes left behind, and builds and tokens that nothing names any more."""

from __future__ import annotations

import glob
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from corpus.atomic import UNFINISHED, is_locked
from corpus.errors import StoreError
from corpus.settings import Home
from corpus.store import CURRENT, Store


@dataclass(frozen=True, slots=True)
class Garbage:
    """One thing that can go."""

    path: Path
    why: str
    bytes: int


def find_garbage(home: Home) -> list[Garbage]:
    """Return the unfinished folders without an owner, and builds and tokens of no mixture."""
    return [*_unfinished(home), *_unnamed_builds(home), *_unused_tokens(home)]


def remove(garbage: Sequence[Garbage]) -> None:
    """Remove what was found, but for what somebody has begun to write again since."""
    for one in garbage:
        if one.path.is_dir():
            # Its next owner may remove it at the same time.
            with suppress(FileNotFoundError):
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
    """Tell whether somebody holds a lock of the thing that this is a part of.

    Locks are named by the kind of thing, in the singular, and its name: `store-alpaca`,
    `mixture-small`, `annotation-alpaca-...`, `run-first`, `token-...`.
    """
    kind, *rest = path.relative_to(home.path).parts
    if not rest:
        return False
    # A token store lies right in its kind's folder: under its own name, as yet unfinished.
    name = rest[0].removeprefix(UNFINISHED)
    name = name.rpartition("-")[0] if name != rest[0] else name
    locks = home.locks.glob(f"{kind.removesuffix('s')}-{glob.escape(name)}*.lock")
    return any(is_locked(home.locks, lock.stem) for lock in locks)


def _unnamed_builds(home: Home) -> Iterator[Garbage]:
    named = _rows_named_by_mixtures(home)
    store = Store(home)
    folders = sorted(home.store.iterdir()) if home.store.is_dir() else []
    for folder in folders:
        if is_locked(home.locks, f"store-{folder.name}"):
            continue
        pointer = folder / CURRENT
        current = pointer.read_text(encoding="utf-8").strip() if pointer.is_file() else None
        builds = sorted(store.versions(folder.name), key=lambda one: one.fingerprint != current)
        if not builds or builds[0].fingerprint != current:
            continue  # With a pointer into nothing, none can be told to be an older one.
        kept: set[str] = set()
        for build in builds:
            is_named = (folder.name, build.rows_digest) in named
            # The current build comes first; one build of the same rows is enough.
            if build.fingerprint == current or (is_named and build.rows_digest not in kept):
                kept.add(build.rows_digest)
                continue
            yield Garbage(build.path, "an older build that no mixture names", _bytes(build.path))


def _unused_tokens(home: Home) -> Iterator[Garbage]:
    digests = {path.parent.name for path in home.mixtures.glob("*/*/mixture.lock")}
    for folder in sorted(home.tokens.iterdir()) if home.tokens.is_dir() else []:
        if folder.name.startswith(UNFINISHED) or is_locked(home.locks, f"token-{folder.name}"):
            continue
        indexes = sorted(folder.glob("mixture-*"))
        gone = [one for one in indexes if one.name.removeprefix("mixture-") not in digests]
        if gone == indexes:
            yield Garbage(folder, "tokens of rows that no mixture has", _bytes(folder))
            continue
        for one in gone:
            yield Garbage(one, "where the tokens of a mixture lay that is gone", _bytes(one))


def _rows_named_by_mixtures(home: Home) -> set[tuple[str, str]]:
    named: set[tuple[str, str]] = set()
    for lock in home.mixtures.glob("*/*/mixture.lock"):
        try:
            sources = json.loads(lock.read_text(encoding="utf-8"))["sources"]
            named |= {(str(one["id"]), str(one["rows_digest"])) for one in sources}
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"{lock}: expected the lock of a mixture, got something else ({error!r})."
                " Remove its folder, or make the mixture anew: woolgather mix build"
            ) from error
    return named


def _bytes(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(one.stat().st_size for one in path.rglob("*") if one.is_file())
