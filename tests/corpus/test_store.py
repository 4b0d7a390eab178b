"""The store: current builds, versions by rows, one-line errors for what is absent or damaged."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

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
