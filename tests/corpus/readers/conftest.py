"""Fixtures of the readers: a whole file read as a build reads it, with every promise checked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corpus.readers.cut import cut
from corpus.readers.decode import CountMismatch, decode_records
from corpus.readers.source import RawSource, sources_in
from corpus.readers.span import Span
from corpus.readers.units import Distrust

Read = Callable[..., list[Any]]


def cut_and_decode(source: RawSource, options: dict[str, Any], block_bytes: int) -> list[Any]:
    """Return the records of a source; array spans that were counted wrongly are cut again."""
    distrusted = Distrust()
    while True:
        records: list[Any] = []
        spans: list[Span] = []
        try:
            for span in cut(source, options, distrusted=distrusted, block_bytes=block_bytes):
                assert span.first == len(records), "record numbers go on from span to span"
                if spans and span.path is not None:
                    assert span.offset >= spans[-1].offset + spans[-1].length, "spans overlap"
                spans.append(span)
                records += decode_records(span)
        except CountMismatch as mismatch:
            wrong = mismatch.span.offset
        else:
            return records
        assert wrong not in distrusted, "the same stretch is doubted twice"
        distrusted.offsets.add(wrong)


@pytest.fixture(scope="session")
def read(tmp_path_factory: pytest.TempPathFactory) -> Read:
    """Return a function from the bytes of a file to its records."""
    folder: Path = tmp_path_factory.mktemp("raw")

    def read(
        data: bytes, name: str = "raw.json", block_bytes: int = 8 << 20, **options: Any
    ) -> list[Any]:
        path = folder / name
        path.write_bytes(data)
        records: list[Any] = []
        for source in sources_in(path, name):
            records += cut_and_decode(source, options, block_bytes)
        return records

    return read
