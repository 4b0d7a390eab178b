"""Tracing a row to its raw record, and clearing away what nothing names."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from corpus.atomic import sole_writer
from corpus.clean import find_garbage, remove
from corpus.errors import StoreError
from corpus.schema import row_id
from corpus.settings import Home
from corpus.store import Build, Store
from corpus.trace import trace_row

MakeBuild = Callable[..., Build]
ROWS = [{"instruction": f"Ask {n % 15}", "output": "Say"} for n in range(20)]


def test_every_row_of_an_id_is_found(home: Home, make_build: MakeBuild) -> None:
    make_build("wool", ROWS, subsets={"a": (0, 10), "b": (10, 20)})
    make_build("fleece", ROWS[3:4])
    found = trace_row(home, row_id("Ask 3", "", "Say"))
    assert [(one["id"], one["source"], one["row"]) for one in found] == [
        ("fleece", "fleece", 0),
        ("wool", "wool/a", 3),
        ("wool", "wool/b", 18),
    ]
    assert found[2]["origin"] == {"file": "rows.jsonl", "record": 18, "part": 0}
    assert found[2]["instruction"] == "Ask 3"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("wool", r"'wool' is no row id: expected 32 lower-case hex digits"),
        ("A" * 32, "is no row id"),
        ("0" * 32, r"no row of the store has the id 0{32}\. Built: nothing\."),
    ],
)
def test_an_id_of_no_row_is_one_line(home: Home, text: str, message: str) -> None:
    with pytest.raises(StoreError, match=message):
        trace_row(home, text)


def unfinished(folder: Path) -> Path:
    """Leave a folder as a killed process would."""
    left = folder / ".unfinished-abc-12"
    left.mkdir(parents=True)
    (left / "data").write_bytes(b"12345")
    (left / ".unfinished-inner").write_bytes(b"6")
    return left


@pytest.mark.parametrize(
    ("place", "lock"),
    [
        ("store/wool", "store-wool"),
        ("mixtures/small", "mixture-small"),
        ("annotations/wool/00ff", "annotation-wool-00ff-keys"),
        ("runs/first", "run-first"),
        ("runs/[first]", "run-[first]"),
        ("tokens", "token-abcdef"),
    ],
)
def test_leftovers_without_an_owner_go(home: Home, place: str, lock: str) -> None:
    left = unfinished(home.path / place)
    with sole_writer(home.locks, lock):
        assert find_garbage(home) == []
    (one,) = find_garbage(home)
    assert (one.path, one.bytes, one.why) == (left, 6, "left by a process that was killed")
    remove([one])
    assert not left.exists()


def test_older_builds_go_unless_a_mixture_names_their_rows(
    home: Home, make_build: MakeBuild
) -> None:
    named, older, current = (make_build("wool", ROWS[:n]) for n in (5, 6, 7))
    lock = home.mixtures / "small" / "00ff" / "mixture.lock"
    lock.parent.mkdir(parents=True)
    sources = [{"id": "wool", "rows_digest": named.rows_digest}]
    lock.write_text(json.dumps({"sources": sources}))
    garbage = find_garbage(home)
    assert [one.path for one in garbage] == [older.path]
    assert garbage[0].bytes > 0
    remove(garbage)
    assert {one.path for one in Store(home).versions("wool")} == {named.path, current.path}
    assert find_garbage(home) == []


def test_of_two_builds_of_the_same_named_rows_one_stays(home: Home, make_build: MakeBuild) -> None:
    other, current = make_build("wool", ROWS, limit=20), make_build("wool", ROWS)
    assert other.rows_digest == current.rows_digest
    assert [one.path for one in find_garbage(home)] == [other.path]


@pytest.mark.parametrize("pointer", ["gone\n", None])
def test_without_a_current_build_none_is_an_older_one(
    home: Home, make_build: MakeBuild, pointer: str | None
) -> None:
    current = make_build("wool", ROWS).path.with_name("current")
    current.write_text(pointer) if pointer else current.unlink()
    assert find_garbage(home) == []


def test_what_its_next_owner_has_removed_is_no_error(home: Home) -> None:
    left = unfinished(home.path / "store" / "wool")
    garbage = find_garbage(home)
    shutil.rmtree(left)
    remove(garbage)


def test_a_lock_that_cannot_be_read_stops_the_cleaning(home: Home, make_build: MakeBuild) -> None:
    make_build("wool", ROWS)
    lock = home.mixtures / "small" / "00ff" / "mixture.lock"
    lock.parent.mkdir(parents=True)
    lock.write_text("{")
    with pytest.raises(StoreError, match=r"mixture\.lock: expected the lock of a mixture"):
        find_garbage(home)


def test_an_empty_home_has_no_garbage(home: Home) -> None:
    assert find_garbage(home) == []
