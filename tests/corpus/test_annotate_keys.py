"""Duplicate keys: the batch computation gives what the definition gives."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
import xxhash
from hypothesis import example, given, settings
from hypothesis import strategies as st

from corpus.annotate import keys
from corpus.annotate.fold import fold
from corpus.schema import RECORD

Row = dict[str, Any]
COLUMNS = ("instruction", "input", "output", "history", "system")
SIGNS = "aZ é.。!?？ \t\n\u3000\0\x1f\u200b\ufe0f你漢汉語ｃｷﾞ①…ßİŉ가ᄀ각ा❤́😀𠮷\u0345＋#"

TEXT = st.text(st.one_of(st.sampled_from(SIGNS), st.characters(exclude_categories=["Cs"])))
TURN = st.fixed_dictionaries({"instruction": TEXT, "output": TEXT})
ROW = st.fixed_dictionaries(
    {
        "instruction": TEXT,
        "input": TEXT,
        "output": TEXT,
        "history": st.lists(TURN, max_size=2),
        "system": st.none() | TEXT,
    }
)


def batch_of(rows: list[Row]) -> pa.RecordBatch:
    whole = [{"input": "", "output": "", "history": [], "system": None} | row for row in rows]
    columns = [pa.array([row[name] for row in whole], RECORD.field(name).type) for name in COLUMNS]
    return pa.record_batch(columns, names=list(COLUMNS))


def keys_of(*rows: Row) -> tuple[list[int], list[int]]:
    found = keys.row_keys(batch_of(list(rows)))
    return found.column("prompt_key").to_pylist(), found.column("row_key").to_pylist()


def defined(row: Row) -> tuple[int, int]:
    """Compute a row's keys text by text."""
    turns = [text for turn in row["history"] for text in (turn["instruction"], turn["output"])]
    texts = [row["system"] or "", *turns, row["instruction"], row["input"]]
    prompt = "".join(f"{fold(text)}\0" for text in texts)
    whole = f"{prompt}{fold(row['output'])}\0"
    return xxhash.xxh3_64_intdigest(prompt.encode()), xxhash.xxh3_64_intdigest(whole.encode())


@settings(max_examples=300)
@given(st.lists(ROW, min_size=1, max_size=5))
@example(
    [
        {
            "instruction": "a" + "." * 80,
            "input": "!" * 80,
            "output": "a",
            "history": [],
            "system": None,
        }
    ]
)
@example(
    [{"instruction": "ᄀ" + "ᅡ", "input": "e", "output": "\u0301", "history": [], "system": ""}]
)
def test_a_batch_has_the_keys_of_the_definition(rows: list[Row]) -> None:
    prompt_keys, row_keys = keys_of(*rows)
    assert list(zip(prompt_keys, row_keys, strict=True)) == [defined(row) for row in rows]


def test_every_code_point_has_the_key_of_the_definition() -> None:
    codes = [code for code in range(0x30000) if not 0xD800 <= code <= 0xDFFF]
    rows = [
        {
            "instruction": "".join(
                f"x{chr(code)} {chr(code)}y" for code in codes[start : start + 64]
            ),
            "input": chr(codes[start]),
            "output": chr(codes[start + 63]) + " x",
            "history": [],
            "system": None,
        }
        for start in range(0, len(codes) - 64, 64)
    ]
    prompt_keys, row_keys = keys_of(*rows)
    assert list(zip(prompt_keys, row_keys, strict=True)) == [defined(row) for row in rows]


def test_programming_languages_keep_their_keys() -> None:
    prompts, _ = keys_of(*({"instruction": f"Explain {name}."} for name in ("C", "C++", "C#", "c")))
    assert len(set(prompts)) == 3
    assert prompts[0] == prompts[3]


def test_simplified_and_traditional_rows_have_one_key() -> None:
    prompts, rows = keys_of(
        {"instruction": "請列出三種水果。", "output": "蘋果、香蕉、葡萄"},
        {"instruction": "请列出三种水果", "output": "苹果、香蕉、葡萄。"},
    )
    assert prompts[0] == prompts[1]
    assert rows[0] == rows[1]


def test_another_answer_changes_the_row_key_only() -> None:
    prompts, rows = keys_of(
        {"instruction": "Name a fruit", "output": "Apple"},
        {"instruction": "Name a fruit", "output": "Pear"},
    )
    assert prompts[0] == prompts[1]
    assert rows[0] != rows[1]


@pytest.mark.parametrize(
    "other",
    [
        {"instruction": "Sort", "input": "", "system": "b a"},
        {"instruction": "Sort b a", "input": ""},
        {"instruction": "b a", "input": "Sort"},
        {"instruction": "Sort", "input": "b a", "history": [{"instruction": "", "output": ""}]},
        {"instruction": "Sort", "input": "b a", "system": "Be brief"},
    ],
)
def test_where_a_text_stands_counts(other: Row) -> None:
    prompts, _ = keys_of({"instruction": "Sort", "input": "b a"}, other)
    assert prompts[0] != prompts[1]


def test_an_empty_system_prompt_is_none() -> None:
    prompts, _ = keys_of({"instruction": "a", "system": ""}, {"instruction": "a", "system": None})
    assert prompts[0] == prompts[1]


def test_a_slice_of_a_batch_has_its_own_keys() -> None:
    rows = [
        {"instruction": f"é{n}", "history": [{"instruction": f"q{n}", "output": "a"}] * (n % 3)}
        for n in range(9)
    ]
    whole = keys.row_keys(batch_of(rows))
    assert keys.row_keys(batch_of(rows).slice(3, 4)).equals(whole.slice(3, 4))


def test_no_rows_have_no_keys() -> None:
    assert keys.row_keys(batch_of([])).num_rows == 0
