"""The store: current builds, versions by rows, one-line errors for what is absent or damaged."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from corpus.annotate import annotation
from corpus.errors import StoreError
from corpus.settings import Home
from corpus.store import Build, Store, open_build

MakeBuild = Callable[..., Build]
ROWS = [{"instruction": f"Ask {n}", "output": f"Say {n}"} for n in range(20)]


def test_the_newest_build_is_current(home: Home, make_build: MakeBuild) -> None:
    store = Store(home)
    assert (store.ids(), store.has("wool")) == ([], False)
    first, second = make_build("wool", ROWS), make_build("wool", ROWS[:5])
    make_build("fleece", ROWS)
    assert store.ids() == ["fleece", "wool"]
    assert store.current("wool") == second
    store.make_current(first)
    assert store.current("wool") == first
    assert sorted(one.rows for one in store.versions("wool")) == [5, 20]


def test_an_absent_build_says_how_to_make_it(home: Home) -> None:
    with pytest.raises(StoreError, match=r"^wool is not in the store\. .*woolgather build wool$"):
        Store(home).current("wool")


def test_a_build_is_found_by_its_rows(home: Home, make_build: MakeBuild) -> None:
    first, second = make_build("wool", ROWS), make_build("wool", ROWS[:5])
    store = Store(home)
    assert store.with_rows("wool", first.rows_digest) == first
    assert store.with_rows("wool", second.rows_digest) == second
    with pytest.raises(StoreError, match=r"has the rows 0{12}.*build wool.*mix build"):
        store.with_rows("wool", "0" * 64)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"shards": []}', json.dumps({"id": "wool", "shards": [{}]})]
)
def test_a_damaged_manifest_is_one_line(home: Home, make_build: MakeBuild, content: str) -> None:
    build = make_build("wool", ROWS)
    (build.path / "manifest.json").write_text(content)
    with pytest.raises(StoreError, match=r"manifest\.json: not a readable.*build wool") as refused:
        open_build(build.path)
    assert "\n" not in str(refused.value)
    assert list(Store(home).versions("wool")) == []


def test_a_pointer_into_nothing_is_one_line(home: Home, make_build: MakeBuild) -> None:
    make_build("wool", ROWS)
    (Store(home).folder("wool") / "current").write_text("gone\n")
    with pytest.raises(StoreError, match=r"gone/manifest\.json: not a readable manifest"):
        Store(home).current("wool")


def test_rows_are_found_beside_a_pointer_into_nothing(home: Home, make_build: MakeBuild) -> None:
    build = make_build("wool", ROWS)
    (Store(home).folder("wool") / "current").write_text("gone\n")
    assert Store(home).with_rows("wool", build.rows_digest) == build


def test_a_manifest_survives_its_own_text(make_build: MakeBuild) -> None:
    build = make_build("wool", ROWS, subsets={"a": (0, 12), "b": (12, 20)}, limit=20)
    assert build.manifest.to_json() == (build.path / "manifest.json").read_text()
    assert build.subsets == {"a": (0, 12), "b": (12, 20)}
    facts: dict[str, Any] = json.loads((build.path / "manifest.json").read_text())
    assert facts["limit"] == 20


@pytest.mark.parametrize("size", [None, 0, 300, -200])
@pytest.mark.parametrize("name", ["data-00001.arrow", "rejects.arrow"])
def test_a_damaged_file_is_one_line(
    home: Home, make_build: MakeBuild, name: str, size: int | None
) -> None:
    build = make_build("wool", ROWS)
    whole = (build.path / name).read_bytes()
    (build.path / name).unlink()
    if size is not None:
        (build.path / name).write_bytes(whole[:size])
    readers: list[Callable[[], Any]] = [build.rejects]
    if name != "rejects.arrow":
        readers = [build.reader().table, lambda: annotation(home, build, "keys")]
    for read in readers:
        with pytest.raises(
            StoreError, match=f"{name}: expected stored rows, got.*build wool$"
        ) as e:
            read()
        assert "\n" not in str(e.value)


def test_a_shard_that_was_cut_between_batches_is_one_line(make_build: MakeBuild) -> None:
    build = make_build("wool", ROWS)
    path = build.path / "data-00001.arrow"
    with pa.ipc.open_stream(path.read_bytes()) as stream:
        batch = stream.read_next_batch()
    with pa.ipc.new_stream(str(path), batch.schema) as writer:
        writer.write_batch(batch)
    with pytest.raises(StoreError, match=r"expected 20 stored rows, got 16\. .*build wool$"):
        build.reader().take([19], ["output"])
