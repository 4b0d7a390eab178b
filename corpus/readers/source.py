"""Byte streams of raw files: plain files, gz files and members of zip archives, within bounds.

Nothing is ever unpacked to disk: members are read as streams, so they cannot leave their place,
and a stream that grows beyond any honest compression ratio is refused.
"""

from __future__ import annotations

import codecs
import gzip
import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO

from corpus.errors import RawDataError

MAX_RATIO = 200
"""Unpacked bytes per packed byte; text packs 3 to 30 times, a bomb a thousand times."""
RATIO_FREE_BYTES = 64 << 20
"""Streams shorter than this are not checked for their ratio."""
LFS_MARK = b"version https://git-lfs.github.com/spec/"


@dataclass(frozen=True, slots=True)
class RawSource:
    """One readable raw file or archive member."""

    name: str
    """POSIX path below the raw folder; `archive!/member` for members."""
    path: Path
    """The file on disk that holds it."""
    member: str | None = None
    size: int = 0
    """Bytes on disk (packed, for members)."""

    @property
    def is_stray(self) -> bool:
        """Tell whether it is a member that is hidden or would lie outside of its archive."""
        _, mark, inside = self.name.partition("!/")
        parts = PurePosixPath(inside).parts
        return bool(mark) and any(part[0] in "./" or part == "__MACOSX" for part in parts)

    @property
    def is_packed(self) -> bool:
        """Tell whether its bytes can only be had as a stream."""
        return self.member is not None or is_gzip(self.path)

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Open the unpacked bytes as a forward stream.

        Raises:
            RawDataError: the file is a git-lfs pointer, is damaged, or unpacks without end.
        """
        try:
            if self.member is not None:
                with _archive(self.path, self.path.stat().st_mtime_ns).open(self.member) as stream:
                    yield self._bounded(_ungzip(stream))
            else:
                with self.path.open("rb") as stream:
                    refuse_pointer(self.name, stream)
                    yield self._bounded(_ungzip(stream)) if is_gzip(self.path) else stream
        except (zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise RawDataError(
                f"{self.name}: the archive is damaged ({error}). Download it again."
            ) from error
        except (RuntimeError, NotImplementedError) as error:
            # zipfile says it so for encrypted members and for methods that it cannot unpack.
            if not isinstance(error, RawDataError) and self.member is not None:
                raise RawDataError(
                    f"{self.name}: the archive cannot be read ({error}). Unpack it yourself."
                ) from error
            raise

    def _bounded(self, stream: BinaryIO) -> BinaryIO:
        return io.BufferedReader(_Bounded(stream, self.name, self.size), 1 << 20)


@lru_cache(maxsize=4)
def _archive(path: Path, changed_ns: int) -> zipfile.ZipFile:
    """Keep an archive open: its directory is read once, not once for each member."""
    return zipfile.ZipFile(path)


class _Bounded(io.RawIOBase):
    """A stream that refuses to grow beyond MAX_RATIO times its packed size."""

    def __init__(self, stream: BinaryIO, name: str, packed_bytes: int) -> None:
        self._stream, self._name, self._packed = stream, name, packed_bytes
        self._count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        chunk = self._stream.read(len(view))
        view[: len(chunk)] = chunk
        self._count += len(chunk)
        if self._count > RATIO_FREE_BYTES and self._count > MAX_RATIO * self._packed:
            raise RawDataError(
                f"{self._name}: unpacks to more than {MAX_RATIO} times its {self._packed} bytes,"
                " expected an honest archive. Unpack it yourself if you trust it."
            )
        return len(chunk)


def sources_in(path: Path, name: str) -> Iterator[RawSource]:
    """Yield a file as one source, or the members of a zip archive in the order of their names.

    Raises:
        RawDataError: the archive is damaged.
    """
    size = path.stat().st_size
    if not zipfile.is_zipfile(path) or path.suffix.lower() == ".xlsx":
        yield RawSource(name, path, None, size)
        return
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, OSError) as error:
        raise RawDataError(
            f"{name}: the archive is damaged ({error}). Download it again."
        ) from error
    # Of members of one name the last counts, as when unpacking.
    members = {info.filename: info for info in infos if not info.is_dir()}
    for info in sorted(members.values(), key=lambda info: info.filename):
        yield RawSource(f"{name}!/{info.filename}", path, info.filename, info.compress_size)


def refuse_pointer(name: str, stream: BinaryIO) -> None:
    """Refuse a git-lfs pointer: a small text that stands where the real file should be.

    Raises:
        RawDataError: it is one.
    """
    head = stream.read(len(LFS_MARK))
    stream.seek(0)
    if head == LFS_MARK:
        raise RawDataError(
            f"{name}: expected data, got a git-lfs pointer. Fetch the file with `git lfs pull`."
        )


def is_gzip(path: Path) -> bool:
    """Tell by its first bytes whether a file is gzip data."""
    with path.open("rb") as stream:
        return stream.read(2) == b"\x1f\x8b"


def _ungzip(stream: IO[bytes]) -> BinaryIO:
    """Unpack a gzip stream inside whatever holds it; other streams pass."""
    head = stream.read(2)
    stream.seek(0)
    return gzip.GzipFile(fileobj=stream) if head == b"\x1f\x8b" else stream  # type: ignore[return-value]


def is_ascii_based(encoding: str) -> bool:
    """Tell whether line ends, quotes and delimiters are single ASCII bytes in an encoding."""
    name = codecs.lookup(encoding).name
    if name.startswith(("iso2022", "hz", "utf-7")):
        return False  # Their ASCII bytes are parts of other characters, after a shift.
    ascii_bytes = bytes(range(128))
    try:
        return ascii_bytes.decode(name) == ascii_bytes.decode("ascii")
    except UnicodeError:
        return False


def is_utf8(encoding: str) -> bool:
    """Tell whether an encoding is UTF-8, with or without a byte order mark."""
    return codecs.lookup(encoding).name in ("utf-8", "utf-8-sig")


class Transcoded(io.RawIOBase):
    """A stream of another encoding as UTF-8 bytes; bytes that are no text stay as they are."""

    def __init__(self, stream: BinaryIO, encoding: str, name: str) -> None:
        self._stream, self._name, self._encoding = stream, name, encoding
        self._decoder = codecs.getincrementaldecoder(encoding)("surrogateescape")
        self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        while not self._ready:
            chunk = self._stream.read(1 << 20)
            try:
                text = self._decoder.decode(chunk, final=not chunk)
                self._ready = text.encode("utf-8", "surrogateescape")
            except UnicodeError as error:
                raise RawDataError(
                    f"{self._name}: expected {self._encoding}, got other bytes ({error})."
                    " Declare the right `encoding` in the catalog entry."
                ) from error
            if not chunk:
                break
        count = min(len(view), len(self._ready))
        view[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count
