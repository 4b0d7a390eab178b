"""The record's columns and the id that its content gives it."""

from __future__ import annotations

import pyarrow as pa
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from corpus.schema import RECORD, row_id


def independent_id(
    system: str | None, turns: list[tuple[str, str]], instruction: str, given: str, output: str
) -> str:
    """Compute an id from its definition, with nothing of ours."""
    data = bytearray()

    def add(text: str) -> None:
        encoded = text.encode("utf-8")
        data.extend(len(encoded).to_bytes(4, "little"))
        data.extend(encoded)

    if system is None:
        data.extend(b"\xff" * 4)
    else:
        add(system)
    data.extend(len(turns).to_bytes(4, "little"))
    for asked, said in turns:
        add(asked)
        add(said)
    for text in (instruction, given, output):
        add(text)
    return f"{xxhash.xxh3_128(bytes(data)).intdigest():032x}"


TEXT = st.text(max_size=20)


@given(st.none() | TEXT, st.lists(st.tuples(TEXT, TEXT), max_size=3), TEXT, TEXT, TEXT)
def test_an_id_is_the_hash_of_the_sized_texts(
    system: str | None, turns: list[tuple[str, str]], instruction: str, given: str, output: str
) -> None:
    expected = independent_id(system, turns, instruction, given, output)
    assert row_id(instruction, given, output, turns, system) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (("", "", ""), "506044dcdb73571ee0d06bdd08cf54ab"),
        (("What is wool?", "", "Hair of sheep."), "85d133686cbd6edf087e48b6f3220c96"),
        (("什么是羊毛？", "", "绵羊的毛。"), "04b4e194215fa96807347463adff9332"),
        (
            ("And you?", "", "Fine.", [("Hi", "Hello.")], "Be brief."),
            "785ffeb9fb35ef9bbdb9afcaee0c1518",
        ),
    ],
)
def test_ids_never_change(content: tuple[object, ...], expected: str) -> None:
    assert row_id(*content) == expected  # type: ignore[arg-type]


def test_no_two_arrangements_of_the_same_characters_share_an_id() -> None:
    ids = {
        row_id("ab", "", "c"),
        row_id("a", "b", "c"),
        row_id("a", "", "bc"),
        row_id("c", "", "d", [("a", "b")]),
        row_id("a", "", "b", [("c", "d")]),
        row_id("c", "", "d", [], "ab"),
        row_id("c", "", "d", [], ""),
        row_id("c", "", "d"),
    }
    assert len(ids) == 8


def test_columns_are_of_plain_types() -> None:
    types = {str(field.type) for field in RECORD}
    assert types == {
        "string",
        "list<item: struct<instruction: string, output: string>>",
        "struct<file: string, record: int64, part: int32>",
    }
    assert [field.name for field in RECORD if field.nullable] == ["system", "extra"]
    assert RECORD.field("system").type == pa.string()
