"""Writing so that a kill at any instant leaves the old thing or the new one, never a half."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from corpus.errors import BusyError

UNFINISHED = ".unfinished-"
"""Prefix of the temporary names; `clean` removes what carries it and has no owner."""


def write_text(path: Path, text: str) -> None:
    """Replace a small text file atomically and durably."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{UNFINISHED}{path.name}-{uuid.uuid4().hex[:8]}")
    try:
        with temporary.open("w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `path` when the block ends well, and goes when not.

    A folder that is at `path` already (the same content, made by somebody else meanwhile) stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{UNFINISHED}{path.name[:16]}-{uuid.uuid4().hex[:8]}")
    temporary.mkdir()
    try:
        yield temporary
        if path.exists():
            shutil.rmtree(temporary)
        else:
            sync_folder(temporary)
            temporary.rename(path)
            sync_folder(path.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def remove_unfinished(folder: Path) -> None:
    """Remove what killed writers left in a folder; its lock must be held."""
    for path in folder.glob(f"{UNFINISHED}*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@contextmanager
def sole_writer(
    locks: Path, name: str, *, wait: bool = True, say: Callable[[str], None] | None = None
) -> Iterator[None]:
    """Hold the lock of a name while the block runs; wait for another holder, naming it once.

    Args:
        say: called with one line when there is something to wait for.

    Raises:
        BusyError: it is held and `wait` is False.
    """
    locks.mkdir(parents=True, exist_ok=True)
    safe = name.replace("/", "+")
    lock, holder = FileLock(locks / f"{safe}.lock"), locks / f"{safe}.holder"
    try:
        lock.acquire(timeout=0)
    except Timeout:
        who = _text_of(holder) or "another process"
        if not wait:
            raise BusyError(f"{name} is being written by {who}. Try again later.") from None
        if say is not None:
            say(f"waiting for {who}, which writes {name}")
        lock.acquire()
    try:
        holder.write_text(f"process {os.getpid()}", encoding="utf-8")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _text_of(path: Path) -> str:
    """Return a file's text, "" when it went away meanwhile."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def is_locked(locks: Path, name: str) -> bool:
    """Tell whether somebody writes the thing of that name now."""
    path = locks / f"{name.replace('/', '+')}.lock"
    if not path.exists():
        return False
    try:
        with FileLock(path).acquire(timeout=0):
            return False
    except Timeout:
        return True


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
