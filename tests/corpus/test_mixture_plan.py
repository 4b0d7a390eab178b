"""Plans: what each source gives, what is removed and why, what is held out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from corpus.annotate import annotation
from corpus.errors import RecipeError, StoreError
from corpus.mixture import Plan, check_recipe, plan_mixture

Row = dict[str, Any]


def rows_of(name: str, count: int) -> list[Row]:
    return [{"instruction": f"{name} asks {n}", "output": f"answer {n}"} for n in range(count)]


@pytest.fixture
def plan(home, catalog):
    def make(*lines: Row, **keys: Any) -> Plan:
        return plan_mixture(
            check_recipe({"name": "a", "sources": list(lines), **keys}), home, catalog
        )

    return make


def by_name(plan: Plan) -> dict[str, Any]:
    return {one.source.name: one for one in plan.sources}


def test_a_line_of_several_ids_divides_its_rows_by_unique_rows(make_build, plan) -> None:
    make_build("alpaca", rows_of("alpaca", 30))
    make_build("dolly", rows_of("dolly", 10))
    found = by_name(plan({"select": "alpaca | dolly", "rows": 20}))
    assert {name: one.quota for name, one in found.items()} == {"alpaca": 15, "dolly": 5}


def test_a_subset_gives_only_its_rows(make_build, plan) -> None:
    make_build("gsm8k", rows_of("gsm8k", 20), subsets={"train": (0, 15), "test": (15, 20)})
    (source,) = plan({"select": "gsm8k", "epochs": 1}).sources
    assert source.source.name == "gsm8k/train"
    assert source.candidates.tolist() == list(range(15))


def test_evaluation_rows_are_never_selected(make_build, plan) -> None:
    make_build("gsm8k", rows_of("gsm8k", 20), subsets={"train": (0, 15), "test": (15, 20)})
    with pytest.raises(RecipeError, match=r"recipe: select: 'gsm8k/test': .* evaluation only"):
        plan({"select": "gsm8k/test", "epochs": 1})


def test_an_id_in_two_lines_is_an_error(make_build, plan) -> None:
    make_build("alpaca", rows_of("alpaca", 5))
    make_build("dolly", rows_of("dolly", 5))
    with pytest.raises(RecipeError, match=r"each id in one line, got alpaca also in .*!alpaca"):
        plan({"select": "alpaca | dolly", "share": 0.5}, {"select": "alpaca", "share": 0.5})


def test_an_unknown_id_is_told_with_its_line(plan) -> None:
    with pytest.raises(RecipeError, match=r"recipe: select: 'alpaka' .*Did you mean 'alpaca'"):
        plan({"select": "alpaka", "epochs": 1})


def test_a_named_source_that_is_not_built_is_an_error(make_build, plan) -> None:
    make_build("alpaca", rows_of("alpaca", 5))
    with pytest.raises(StoreError, match=r"none of: dolly\. Build them: woolgather build 'dolly'"):
        plan({"select": "alpaca | dolly", "epochs": 1})


def test_what_only_a_tag_matches_may_be_left_unbuilt(make_build, plan) -> None:
    make_build("alpaca", rows_of("alpaca", 5))
    found = plan({"select": "lang:EN", "epochs": 1})
    assert list(by_name(found)) == ["alpaca"]
    assert any(line.startswith("not built, left out: ") for line in found.warnings)
    with pytest.raises(StoreError, match="expected built datasets, got none of"):
        plan({"select": "lang:CN & !lang:EN", "epochs": 1})


def test_a_limited_build_is_warned_of(make_build, plan) -> None:
    make_build("alpaca", rows_of("alpaca", 5), limit=5)
    found = plan({"select": "alpaca", "epochs": 1})
    assert found.warnings == ("alpaca was built with --limit 5: it is not the whole dataset",)


DUPLICATES = [
    {"instruction": "Name a fruit.", "output": "Apple"},
    {"instruction": "name a  fruit", "output": "apple."},
    {"instruction": "Name a fruit!", "output": "Pear"},
    {"instruction": "Write it in C", "output": "x"},
    {"instruction": "Write it in C++", "output": "x"},
]


def test_without_dedup_every_row_is_drawn(make_build, plan) -> None:
    make_build("alpaca", DUPLICATES)
    (source,) = plan({"select": "alpaca", "epochs": 1}).sources
    assert (source.unique, source.removed, source.quota) == (5, {}, 5)


def test_exact_dedup_keeps_the_first_of_equal_rows(make_build, plan) -> None:
    make_build("alpaca", DUPLICATES)
    (source,) = plan({"select": "alpaca", "epochs": 1}, dedup={"exact": True}).sources
    assert source.candidates.tolist() == [0, 2, 3, 4]
    assert source.removed == {"duplicate row": 1}
    assert source.repeated_prompts == 1


def test_exact_dedup_by_prompt_keeps_the_first_of_equal_prompts(make_build, plan) -> None:
    make_build("alpaca", DUPLICATES)
    (source,) = plan({"select": "alpaca", "epochs": 1}, dedup={"exact": "prompt"}).sources
    assert source.candidates.tolist() == [0, 3, 4]
    assert source.removed == {"duplicate row": 1, "duplicate prompt": 1}
    assert source.repeated_prompts == 0


@pytest.mark.parametrize(
    ("dedup", "alpaca", "dolly"),
    [
        ({"exact": True}, [0, 2, 3, 4], [0, 2, 3]),
        ({"exact": True, "across": True}, [0, 2, 3, 4], [3]),
        ({"exact": True, "across": True, "prefer": ["dolly"]}, [2, 4], [0, 2, 3]),
        ({"across": True}, [0, 1, 2, 3, 4], [3]),
        ({"across": True, "prefer": ["dolly"]}, [2, 4], [0, 1, 2, 3]),
        ({"exact": "prompt", "across": True}, [0, 3, 4], [3]),
    ],
)
def test_dedup_across_keeps_the_preferred_source(
    make_build, plan, dedup: Row, alpaca: list[int], dolly: list[int]
) -> None:
    make_build("alpaca", DUPLICATES)
    make_build(
        "dolly",
        [
            {"instruction": "NAME A FRUIT", "output": "APPLE"},
            {"instruction": "Name a fruit", "output": "Apple"},
            {"instruction": "write it in c", "output": "x"},
            {"instruction": "Write it in C#", "output": "x"},
        ],
    )
    found = by_name(plan({"select": "alpaca | dolly", "epochs": 1}, dedup=dedup))
    assert found["alpaca"].candidates.tolist() == alpaca
    assert found["dolly"].candidates.tolist() == dolly
    lost = {name: one.source.rows - one.unique for name, one in found.items()}
    assert {name: sum(one.removed.values()) for name, one in found.items()} == lost


def test_an_unknown_preferred_source_is_refused(make_build, plan) -> None:
    make_build("alpaca", DUPLICATES)
    with pytest.raises(RecipeError, match=r"dedup.prefer: expected sources of this recipe, got x"):
        plan({"select": "alpaca", "epochs": 1}, dedup={"across": True, "prefer": ["x"]})


def test_held_out_prompts_leave_training_everywhere(home, make_build, plan) -> None:
    # Every prompt of alpaca stands in dolly too, with another answer, and twice in alpaca.
    rows = [{"instruction": f"Question {n}?", "output": "one"} for n in range(100)]
    make_build("alpaca", rows + [{**row, "output": "two"} for row in rows])
    make_build("dolly", [{**row, "output": "three"} for row in rows] + rows_of("dolly", 100))
    found = plan(
        {"select": "alpaca", "rows": 60}, {"select": "dolly", "rows": 40}, holdout={"rows": 20}
    )
    sources = by_name(found)
    assert [len(sources[name].held) for name in ("alpaca", "dolly")] == [12, 8]
    prompts = {}
    for name, one in sources.items():
        table = annotation(home, one.source.build, "keys")
        keys = table.column("prompt_key").to_numpy()
        prompts[name] = (set(keys[one.held].tolist()), set(keys[one.candidates].tolist()))
    held = prompts["alpaca"][0] | prompts["dolly"][0]
    assert not held & (prompts["alpaca"][1] | prompts["dolly"][1])
    assert sources["alpaca"].removed["held-out prompt"] >= 12
    for one in sources.values():
        gone = sum(one.removed.values()) + len(one.held)
        assert one.unique == one.source.rows - gone


def test_the_holdout_is_drawn_from_distinct_rows(make_build, plan) -> None:
    make_build("alpaca", rows_of("same", 50) * 4)
    make_build("dolly", rows_of("same", 50) + rows_of("dolly", 50))
    found = plan({"select": "alpaca | dolly", "epochs": 1}, holdout={"rows": 10})
    drawn = []
    for one in found.sources:
        taken = one.source.build.reader().take(one.held, ["instruction"])["instruction"]
        drawn += taken
    assert len(drawn) == len(set(drawn)) == 10


def test_a_holdout_that_is_too_large_is_refused(make_build, plan) -> None:
    make_build("alpaca", rows_of("alpaca", 50))
    with pytest.raises(RecipeError, match=r"expected at most 5 rows .* got 6"):
        plan({"select": "alpaca", "epochs": 1}, holdout={"rows": 6})


def test_without_a_size_the_holdout_is_taken_into_account(make_build, plan) -> None:
    make_build("alpaca", rows_of("alpaca", 100))
    (source,) = plan({"select": "alpaca", "share": 1}, holdout={"rows": 10}).sources
    assert (source.quota, source.unique, len(source.held)) == (90, 90, 10)
    assert np.intersect1d(source.candidates, source.held).tolist() == []


def test_too_many_repeats_are_refused(make_build, plan) -> None:
    make_build("alpaca", rows_of("alpaca", 1))
    with pytest.raises(RecipeError, match="expected at most 65535 repeats, got 70,000 of alpaca"):
        plan({"select": "alpaca", "rows": 70_000})


def test_a_line_without_rows_is_refused(make_build, plan) -> None:
    make_build("alpaca", rows_of("same", 5))
    make_build("dolly", rows_of("same", 5))
    with pytest.raises(RecipeError, match="expected rows to draw 5 from, got none: 'dolly'"):
        plan(
            {"select": "alpaca", "rows": 5},
            {"select": "dolly", "rows": 5},
            dedup={"across": True},
        )
