"""Publications: folders that appear whole or not at all, listed file by file, named by content.

Whatever is published is such a folder first; uploading is another matter.
"""

from __future__ import annotations

import hashlib
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from corpus.atomic import UNFINISHED, sole_writer, sync_folder
from corpus.errors import PublishError
from corpus.fingerprint import file_sha256
from corpus.license import Verdict
from corpus.settings import Home

CARD = "README.md"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Publication:
    """A finished folder: what lies in it, and the digest that names its content."""

    path: Path
    files: tuple[tuple[str, int], ...]
    """Path in the folder, with slashes, and size in bytes of each file; in order of the paths."""
    digest: str
    """sha256 over the files' sha256 and paths: equal for equal content, wherever it lies."""
    configs: tuple[str, ...] = ()
    """Names by which `datasets.load_dataset` loads its parts, the default first."""
    verdict: Verdict | None = None
    """What the licences of all its sources come to."""

    @property
    def bytes(self) -> int:
        """Return the size of all files."""
        return sum(size for _, size in self.files)


def put_folder(
    out: Path,
    home: Home,
    write: Callable[[Path], None],
    *,
    replace: bool = False,
    say: Say = lambda line: None,
) -> Publication:
    """Write a folder beside `out`, then put it there in one step; return what is there.

    A folder that holds the same already stays as it is.

    Args:
        write: fills the empty folder that it is given.
        replace: whether another publication at `out` gives way.

    Raises:
        PublishError: something else is at `out`.
    """
    out = out.absolute()
    if not replace:
        _refuse_strangers(out)
    lock = "publish-" + hashlib.sha256(str(out.resolve()).encode()).hexdigest()[:16]
    with sole_writer(home.locks, lock, say=say), _beside(out) as temporary:
        write(temporary)
        made = list_files(temporary)
        digest = digest_of_files(temporary, made)
        if not _holds(out, digest):
            _put(temporary, out, replace=replace)
    return Publication(out, made, digest)


def list_files(folder: Path) -> tuple[tuple[str, int], ...]:
    """Return path and size of each file, in order of the paths; hidden folders are left out."""
    found = [
        (path.relative_to(folder).as_posix(), path.stat().st_size)
        for path in folder.rglob("*")
        if path.is_file() and not path.relative_to(folder).parts[0].startswith(".")
    ]
    return tuple(sorted(found))


def digest_of_files(folder: Path, files: tuple[tuple[str, int], ...] | None = None) -> str:
    """Return the sha256 over the lines that `sha256sum` prints of a folder's files, as hex."""
    digest = hashlib.sha256()
    for name, _ in list_files(folder) if files is None else files:
        digest.update(f"{file_sha256(folder / name)}  {name}\n".encode())
    return digest.hexdigest()


def _refuse_strangers(out: Path) -> None:
    """Refuse a place that cannot become this publication, before any work is done."""
    if out.exists() and not out.is_dir():
        raise PublishError(f"{out}: expected a folder, got a file. Choose another: --to DIR")
    if out.is_dir() and any(out.iterdir()) and not (out / CARD).is_file():
        raise PublishError(
            f"{out}: expected an empty folder or none, got one with other files."
            " Choose another: --to DIR"
        )


@contextmanager
def _beside(out: Path) -> Iterator[Path]:
    """Yield an empty folder on the same disk; what a killed run left there goes first."""
    out.parent.mkdir(parents=True, exist_ok=True)
    prefix = f"{UNFINISHED}publish-{out.name}-"
    for left in out.parent.glob(f"{prefix}*"):
        shutil.rmtree(left)
    temporary = out.parent / f"{prefix}{uuid.uuid4().hex[:8]}"
    temporary.mkdir()
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _holds(out: Path, digest: str) -> bool:
    return out.is_dir() and any(out.iterdir()) and digest_of_files(out) == digest


def _put(temporary: Path, out: Path, *, replace: bool) -> None:
    if out.is_dir() and any(out.iterdir()):
        if not replace:
            raise PublishError(
                f"{out}: expected an empty folder or the same publication, got another one."
                " Choose another (--to DIR), or remove it first."
            )
        shutil.rmtree(out)
    for folder in (temporary, *(path for path in temporary.rglob("*") if path.is_dir())):
        sync_folder(folder)
    # An empty folder that is there gives way in the same step.
    temporary.rename(out)
    sync_folder(out.parent)
