"""The window: the part of a raw file's byte stream that is in memory while it is cut."""

from __future__ import annotations

from typing import BinaryIO

from corpus.errors import RawDataError
from corpus.readers.sniff import UTF8_BOM

MAX_RECORD_BYTES = 1 << 30
"""A single record longer than this is refused: it would not fit a worker's memory."""


class Window:
    """The bytes of a stream from `offset` on that are in memory."""

    def __init__(self, stream: BinaryIO, name: str, block_bytes: int) -> None:
        self._stream, self.name, self.block_bytes = stream, name, block_bytes
        self.offset, self.data, self.is_end = 0, b"", False

    def skip_bom(self) -> None:
        """Drop a UTF-8 byte order mark."""
        self.fill(len(UTF8_BOM))
        if self.data.startswith(UTF8_BOM):
            self.drop(len(UTF8_BOM))

    def fill(self, wanted: int) -> None:
        """Have at least `wanted` bytes, or all that are left."""
        pieces, have = [self.data], len(self.data)
        while have < wanted and not self.is_end:
            piece = self._stream.read(wanted - have)
            self.is_end = not piece
            pieces.append(piece)
            have += len(piece)
        if len(pieces) > 1:
            self.data = b"".join(pieces)

    def grow(self) -> None:
        """Have twice as much: a record is longer than what is in memory.

        Raises:
            RawDataError: it is longer than any record can be.
        """
        self.fill(longer(max(len(self.data), self.block_bytes), self.name, self.offset))

    def drop(self, count: int) -> None:
        """Let the first bytes go."""
        self.data = self.data[count:]
        self.offset += count


def longer(size: int, name: str, offset: int) -> int:
    """Return twice a size, for a record that did not fit.

    Raises:
        RawDataError: the record is longer than any can be.
    """
    if size > MAX_RECORD_BYTES:
        raise RawDataError(
            f"{name}: expected records of at most {MAX_RECORD_BYTES} bytes, got a longer"
            f" one at byte {offset}. Split it, or declare the file's `container`."
        )
    return 2 * size
