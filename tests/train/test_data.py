"""Rows are told apart by source and category, in few groups and always the same ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from train.data import MOST, OTHER, TAGS, category_of, group_rows, tag_values


def records(extras: list[Any]) -> list[dict[str, Any]]:
    told = [one if one is None else json.dumps(one, ensure_ascii=False) for one in extras]
    return [
        {"instruction": f"Say {n}.", "output": "Yes.", "extra": extra}
        for n, extra in enumerate(told)
    ]


@pytest.mark.parametrize(
    ("extra", "category"),
    [
        ({"category": "closed_qa"}, "closed_qa"),
        ({"Categories": ["Logic"], "Input_language": ["English"]}, "Logic"),
        ({"Categories": ["Logic", "Maths"]}, "Logic, Maths"),
        ({"类别": "心理"}, "心理"),
        ({"class": "open qa"}, "open qa"),
        ({"task": "to title"}, "to title"),
        ({"direction": "en-zh", "template": "translation/en-zh/3"}, "en-zh"),
        ({"answer": "4", "template": "cot_gsm8k/7"}, "cot_gsm8k"),
        ({"template": "cot_en/with_options/3"}, "cot_en/with_options"),
        ({"category": None, "subject": "law"}, "law"),
        ({"category": " ", "kind": "poem\n of  two"}, "poem of two"),
        ({"category": "x" * 100}, "x" * 60),
        ({"rejected": "No.", "score": 4}, ""),
    ],
)
def test_the_first_field_that_names_a_category_counts(extra: dict[str, Any], category: str) -> None:
    assert category_of(json.dumps(extra)) == category


def test_rows_without_a_category_go_by_the_subset(table_of: Callable[..., Any]) -> None:
    table = table_of(records([None, {"score": 1}, {"category": "qa"}, None]), [0, 2, 2, 1])
    groups, (codes,) = group_rows([table])
    shown = [(groups[code].source, groups[code].category) for code in codes]
    assert shown == [
        ("alpaca", "-"),
        ("gsm8k/train", "train"),
        ("gsm8k/train", "qa"),
        ("belle_cn", "-"),
    ]
    assert tag_values(groups)["lang"] == ["EN", "CN", "EN", "EN"]
    assert set(tag_values(groups)) == set(TAGS)


def test_rare_categories_of_a_source_are_one_group_and_codes_go_by_frequency(
    table_of: Callable[..., Any],
) -> None:
    names = [f"c{n:03}" for n in range(MOST + 6) for _ in range(2 if n == 69 else 1)]
    table = table_of(records([{"task": name} for name in names]))
    groups, (codes,) = group_rows([table])
    found = [group.category for group in groups]
    assert found == ["c069", *(f"c{n:03}" for n in range(MOST - 1)), OTHER]
    assert [found[code] for code in codes] == [name if name in found else OTHER for name in names]


def test_the_holdout_shares_the_groups_of_the_training_rows(table_of: Callable[..., Any]) -> None:
    train = table_of(records([{"task": "a"}, {"task": "b"}, {"task": "a"}]))
    held = table_of(records([{"task": "b"}, {"task": "c"}]))
    groups, (codes, held_codes) = group_rows([train, held])
    assert [groups[code].category for code in codes] == ["a", "b", "a"]
    assert [groups[code].category for code in held_codes] == ["b", "c"]
    assert [group.category for group in groups] == ["a", "b", "c"]
