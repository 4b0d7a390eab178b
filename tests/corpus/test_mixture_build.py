"""Building: the same recipe and rows give the same mixture, written once and whole."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from corpus.errors import StoreError
from corpus.mixture import (
    Mixture,
    build_mixture,
    check_recipe,
    rebuild_mixture,
)
from corpus.settings import Home

RECIPE = {
    "name": "small",
    "seed": 3,
    "size": {"rows": 60},
    "sources": [
        {"select": "alpaca", "share": "rest"},
        {"select": "dolly", "epochs": 2.5},
        {"select": "gsm8k", "share": 0.25},
    ],
    "dedup": {"exact": True, "across": True, "prefer": ["dolly"]},
    "holdout": {"rows": 4},
}


def rows_of(name: str, count: int) -> list[dict[str, Any]]:
    return [
        {
            "instruction": f"{name} {n}",
            "output": f"answer {n}",
            "system": "Be brief" if n % 3 else None,
        }
        for n in range(count)
    ]


@pytest.fixture
def stored(make_build) -> None:
    make_build("alpaca", rows_of("shared", 5) + rows_of("alpaca", 40))
    make_build("dolly", rows_of("shared", 5) + rows_of("dolly", 6))
    make_build("gsm8k", rows_of("gsm8k", 30), subsets={"train": (0, 20), "test": (20, 30)})


@pytest.fixture
def mixture(stored, home, catalog) -> Mixture:
    return build_mixture(check_recipe(RECIPE), home, catalog)


def test_a_mixture_has_exactly_the_rows_of_its_plan(mixture: Mixture) -> None:
    assert (len(mixture), len(mixture.holdout)) == (60, 4)
    assert Counter(mixture.index.source.tolist()) == {
        place: one["rows"] for place, one in enumerate(mixture.lock["sources"])
    }
    assert [one.name for one in mixture.sources] == ["alpaca", "dolly", "gsm8k/train"]
    assert mixture.lock["sources"][2]["rows"] == 15
    assert mixture.lock["sources"][1]["rows"] == int(
        2.5 * mixture.lock["sources"][1]["unique"] + 0.5
    )


def test_whole_epochs_come_before_any_repeat(mixture: Mixture) -> None:
    place, unique = 1, mixture.lock["sources"][1]["unique"]
    rows = mixture.index.row[mixture.index.source == place].tolist()
    epochs = mixture.index.epoch[mixture.index.source == place].tolist()
    assert sorted(rows[:unique]) == sorted(rows[unique : 2 * unique])
    assert len(set(rows[:unique])) == unique
    assert epochs == sorted(epochs)


def test_the_same_recipe_and_rows_give_the_same_bytes(
    mixture: Mixture, catalog, tmp_path: Path
) -> None:
    other = Home(tmp_path / "other")
    shutil.copytree(mixture.path.parents[2] / "store", other.store)
    again = build_mixture(check_recipe(RECIPE), other, catalog)
    assert again.digest == mixture.digest
    assert again.path != mixture.path
    for name in ("mixture.lock", "index.arrow", "holdout.arrow"):
        assert (again.path / name).read_bytes() == (mixture.path / name).read_bytes()


def test_the_order_of_today_is_the_order_of_tomorrow(mixture: Mixture) -> None:
    columns = (mixture.index.source, mixture.index.row, mixture.index.epoch)
    places = list(zip(*(column[:8].tolist() for column in columns), strict=True))
    assert places == [
        (1, 6, 0),
        (0, 16, 0),
        (2, 3, 0),
        (1, 4, 0),
        (0, 35, 0),
        (1, 2, 0),
        (2, 17, 0),
        (0, 7, 0),
    ]


@pytest.mark.parametrize(
    "change", [{"seed": 4}, {"name": "other"}, {"holdout": {"rows": 3}}, {"size": {"rows": 61}}]
)
def test_another_recipe_is_another_mixture(mixture: Mixture, home, catalog, change) -> None:
    other = build_mixture(check_recipe({**RECIPE, **change}), home, catalog)
    assert other.digest != mixture.digest


def test_building_again_finds_what_is_there(mixture: Mixture, home, catalog) -> None:
    before = {path: path.stat().st_mtime_ns for path in mixture.path.iterdir()}
    again = build_mixture(check_recipe(RECIPE), home, catalog)
    assert again.path == mixture.path
    assert {path: path.stat().st_mtime_ns for path in mixture.path.iterdir()} == before
    assert sorted(path.name for path in mixture.path.parent.iterdir()) == sorted(
        [mixture.digest, "current"]
    )


def test_current_is_the_last_one_built(mixture: Mixture, home, catalog) -> None:
    other = build_mixture(check_recipe({**RECIPE, "seed": 4}), home, catalog)
    assert Mixture.open("small", home).digest == other.digest
    assert Mixture.open(f"small/{mixture.digest[:10]}", home).digest == mixture.digest
    assert Mixture.open(mixture.path, home).digest == mixture.digest


@pytest.mark.parametrize("name", ["mixture.lock", "index.arrow", "holdout.arrow"])
@pytest.mark.parametrize("harm", ["gone", "cut", "changed"])
def test_a_damaged_mixture_is_written_again(
    mixture: Mixture, home, catalog, name: str, harm: str
) -> None:
    path = mixture.path / name
    whole, said = path.read_bytes(), []
    place = whole.rindex(b"3" if name == "mixture.lock" else bytes(4)) - 1
    path.unlink()
    if harm != "gone":
        path.write_bytes(whole[:place] + (b"" if harm == "cut" else b"9" + whole[place + 1 :]))
    again = build_mixture(check_recipe(RECIPE), home, catalog, say=said.append)
    again.verify()
    assert path.read_bytes() == whole
    assert said == [f"small: writing again what is damaged: {mixture.path}"]


def test_what_a_killed_build_left_is_removed(mixture: Mixture, home, catalog) -> None:
    left = mixture.path.with_name(".unfinished-x")
    left.mkdir()
    build_mixture(check_recipe(RECIPE), home, catalog)
    assert not left.exists()


def test_the_lock_says_what_the_mixture_is(mixture: Mixture) -> None:
    lock = json.loads((mixture.path / "mixture.lock").read_text(encoding="utf-8"))
    assert lock["recipe"] == check_recipe(RECIPE).as_json()
    assert lock["annotations"] == {"keys": 1}
    dolly = lock["sources"][1]
    assert (dolly["lang"], dolly["gen"], dolly["license"]) == ("EN", "HG", "CC-BY-SA-3.0")
    assert lock["sources"][0]["removed"]["in another source"] == 5
    assert lock["digest"] == mixture.digest == mixture.path.name


def test_a_lock_gives_the_mixture_again(mixture: Mixture, home) -> None:
    lock = home.path / "kept.lock"
    shutil.copy(mixture.path / "mixture.lock", lock)
    shutil.rmtree(home.mixtures)
    assert rebuild_mixture(lock, home).digest == mixture.digest


def test_a_lock_is_bound_to_its_rows(mixture: Mixture, home, make_build) -> None:
    make_build("dolly", rows_of("changed", 9))
    assert rebuild_mixture(mixture.path / "mixture.lock", home).digest == mixture.digest
    old = mixture.lock["sources"][1]["rows_digest"]
    for path in (home.store / "dolly").glob("*/manifest.json"):
        if json.loads(path.read_text(encoding="utf-8"))["rows_digest"] == old:
            shutil.rmtree(path.parent)
    message = f"no stored version of dolly has the rows {old[:12]}.*woolgather mix build"
    for opening in (
        lambda: Mixture.open("small", home),
        lambda: rebuild_mixture(mixture.path / "mixture.lock", home),
    ):
        with pytest.raises(StoreError, match=message):
            opening()


def test_a_subset_that_is_gone_from_the_same_rows_is_one_line(
    mixture: Mixture, home, make_build
) -> None:
    make_build("gsm8k", rows_of("gsm8k", 30))
    with pytest.raises(StoreError, match=r"^gsm8k/train: expected a subset .* got none: .*gsm8k$"):
        rebuild_mixture(mixture.path / "mixture.lock", home)


def test_a_changed_lock_is_refused(mixture: Mixture, home) -> None:
    lock = json.loads((mixture.path / "mixture.lock").read_text(encoding="utf-8"))
    lock["recipe"]["seed"] = 9
    path = home.path / "changed.lock"
    path.write_text(json.dumps(lock), encoding="utf-8")
    with pytest.raises(StoreError, match=re.escape(f"expected the mixture {mixture.digest[:12]}")):
        rebuild_mixture(path, home)
