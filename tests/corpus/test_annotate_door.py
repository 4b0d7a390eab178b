"""The door to annotations: computed once for the same rows, never read half-written."""

from __future__ import annotations

import re

import pyarrow as pa
import pytest

from corpus.annotate import ANNOTATIONS, annotation, annotation_path, door, has_annotation, keys
from corpus.errors import CatalogError, StoreError
from corpus.settings import Home

ROWS = [{"instruction": f"Question {n}?", "output": f"answer {n % 4}"} for n in range(20)]


def test_an_annotation_has_a_row_for_each_row_in_their_order(home: Home, make_build) -> None:
    build = make_build("alpaca", ROWS)
    table = annotation(home, build, "keys")
    expected = [
        keys.row_keys(batch) for batch in build.reader().table(keys.keys().reads).to_batches()
    ]
    assert table.combine_chunks().equals(pa.Table.from_batches(expected).combine_chunks())
    assert len(set(table.column("row_key").to_pylist())) == 20


def test_an_annotation_is_computed_once(home: Home, make_build, monkeypatch) -> None:
    build = make_build("alpaca", ROWS)
    assert not has_annotation(home, build, "keys")
    first = annotation(home, build, "keys")
    assert has_annotation(home, build, "keys")
    monkeypatch.setattr(door, "annotate_shard", None)
    monkeypatch.setattr(door, "_write", None)
    assert annotation(home, build, "keys").equals(first)


def test_a_rebuild_with_the_same_rows_keeps_its_annotation(home: Home, make_build) -> None:
    path = annotation_path(home, make_build("alpaca", ROWS), keys.keys())
    again = annotation_path(home, make_build("alpaca", ROWS, limit=20), keys.keys())
    assert path == again
    assert path.name == "keys-1.arrow"


def test_workers_give_the_same_bytes(home: Home, make_build, monkeypatch) -> None:
    build = make_build("alpaca", ROWS)
    path = annotation_path(home, build, keys.keys())
    annotation(home, build, "keys")
    alone = path.read_bytes()
    path.unlink()
    monkeypatch.setattr(door, "SMALL_ROWS", 0)
    annotation(home, build, "keys", workers=2)
    assert path.read_bytes() == alone


def test_what_a_killed_writer_left_is_removed(home: Home, make_build) -> None:
    build = make_build("alpaca", ROWS)
    path = annotation_path(home, build, keys.keys())
    path.parent.mkdir(parents=True)
    left = path.with_name(f"{door.UNFINISHED}{path.name}-12345678")
    left.write_bytes(b"half")
    annotation(home, build, "keys")
    assert [one.name for one in path.parent.iterdir()] == ["keys-1.arrow"]


def test_an_unknown_annotation_is_refused(home: Home, make_build) -> None:
    build = make_build("alpaca", ROWS)
    with pytest.raises(CatalogError, match=re.escape("annotation 'key' is unknown. Did you mean")):
        annotation(home, build, "key")
    assert list(ANNOTATIONS) == ["keys"]


def test_a_file_that_does_not_fit_the_build_is_refused(home: Home, make_build) -> None:
    build, other = make_build("alpaca", ROWS), make_build("dolly", ROWS[:5])
    annotation(home, other, "keys")
    path = annotation_path(home, build, keys.keys())
    path.parent.mkdir(parents=True)
    path.write_bytes(annotation_path(home, other, keys.keys()).read_bytes())
    with pytest.raises(StoreError, match="expected 20 rows of prompt_key, row_key, got 5"):
        annotation(home, build, "keys")


@pytest.mark.parametrize("content", [b"", b"ARROW1", b"nothing of ours"])
def test_a_damaged_file_is_told_in_one_line(home: Home, make_build, content: bytes) -> None:
    build = make_build("alpaca", ROWS)
    annotation(home, build, "keys")
    annotation_path(home, build, keys.keys()).write_bytes(content)
    with pytest.raises(StoreError, match=r"keys-1\.arrow: expected the annotation keys, got"):
        annotation(home, build, "keys")
