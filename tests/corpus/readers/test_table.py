"""CSV and TSV, whole and broken, give the records that the csv module reads."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from corpus.errors import RawDataError
from corpus.readers.scan import Broken

Read = Callable[..., list[Any]]

PIECES = ['"', '""', ",", "\t", "\n", "\r\n", "\r", "'", "绵羊", "\\n", " ", "a", "b", "é"]
FIELD = st.lists(st.sampled_from(PIECES), max_size=5).map("".join)
ROW = st.tuples(FIELD, FIELD, FIELD)
BLOCK = st.integers(1, 200)
NAMES = ["ask", "given", "answer"]


def as_csv(rows: list[Any], **options: Any) -> str:
    """Return a table with a header, as the csv module writes it."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, **options)
    writer.writerow(NAMES)
    writer.writerows(rows)
    return stream.getvalue()


def as_read(text: str, delimiter: str = ",") -> list[dict[str, str]]:
    """Return what the csv module reads; a line of white space alone is no record."""
    rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))[1:]
    return [
        dict(zip(NAMES, row, strict=True))
        for row in rows
        if len(row) > 1 or any(field.strip() for field in row)
    ]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(ROW.filter(lambda row: any(field.strip() for field in row)), max_size=10),
    st.sampled_from([",", "\t", ";"]),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.sampled_from(["utf-8", "utf-8-sig", "gb18030", "utf-16"]),
    BLOCK,
)
@example([("a\nb", '"', "\r\n"), ("", "", "x")], ",", "\r\n", csv.QUOTE_MINIMAL, "gb18030", 1)
def test_a_table_reads_as_the_csv_module_reads_it(
    read: Read,
    rows: list[Any],
    delimiter: str,
    newline: str,
    quoting: int,
    encoding: str,
    block: int,
) -> None:
    if newline != "\r\n":
        quoting = csv.QUOTE_ALL  # The csv module leaves the other line end unquoted.
    text = as_csv(rows, delimiter=delimiter, lineterminator=newline, quoting=quoting)
    found = read(text.encode(encoding), "raw.csv", block, encoding=encoding, delimiter=delimiter)
    assert found == [dict(zip(NAMES, row, strict=True)) for row in rows] == as_read(text, delimiter)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(FIELD, FIELD), max_size=10), BLOCK)
def test_without_quoting_every_line_is_a_record(read: Read, rows: list[Any], block: int) -> None:
    lines = [
        "\t".join(field.translate({9: " ", 10: " ", 13: " "}) for field in row) for row in rows
    ]
    found = read(
        "\n".join(lines).encode(),
        "raw.tsv",
        block,
        quoting="none",
        header=False,
        columns=["ask", "answer"],
    )
    expected = [line.split("\t") for line in lines if line.strip()]
    assert found == [dict(zip(["ask", "answer"], row, strict=True)) for row in expected]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text(alphabet='a,"\n\r b', max_size=12), max_size=8).map("\n".join), BLOCK)
def test_any_text_gives_the_same_records_for_any_block(read: Read, text: str, block: int) -> None:
    data = ("ask,answer\n" + text).encode()
    assert read(data, "raw.csv", block) == read(data, "raw.csv", 1 << 20)


@pytest.mark.parametrize("block", [1, 40, 1 << 20])
@pytest.mark.parametrize(
    ("harmed", "reason"),
    [
        ('4,"never closed', "wrong_columns"),
        ("4", "wrong_columns"),
        ("4,a,b,c", "wrong_columns"),
        ('"4,a,b', "wrong_columns"),
    ],
)
def test_a_broken_record_loses_only_itself(
    read: Read, harmed: str, reason: str, block: int
) -> None:
    good = [f'{n},"say, {n}",ok' for n in range(9)]
    lines = ["n,say,note", *good[:4], harmed, *good[4:]]
    records = read("\n".join(lines).encode(), "raw.csv", block)
    assert isinstance(records[4], Broken)
    assert (records[4].reason, records[4].raw.rstrip()) == (reason, harmed)
    rest = records[:4] + records[5:]
    assert [one["n"] for one in rest] == [str(n) for n in range(9)]


def test_a_quote_that_closes_by_chance_further_down_loses_only_its_line(read: Read) -> None:
    text = 'ask,answer\n1,"open\n2,"two"\n3,three\n4,"four"\n'
    records = read(text.encode(), "raw.csv")
    assert [one if isinstance(one, dict) else one.reason for one in records[2:]] == [
        {"ask": "3", "answer": "three"},
        {"ask": "4", "answer": "four"},
    ]


def test_a_field_longer_than_the_modules_limit_is_read(read: Read) -> None:
    long = "绵羊\n" * 70_000
    records = read(as_csv([("a", "b", long), ("c", "d", "e")]).encode(), "raw.csv", 1000)
    assert [one["answer"] for one in records] == [long, "e"]


def test_a_byte_that_is_no_text_breaks_only_its_record(read: Read) -> None:
    data = "n,say\n1,绵\n2,X\n3,羊\n".encode("gb18030").replace(b"X", b"\xff\xff")
    records = read(data, "raw.csv", encoding="gb18030")
    assert [isinstance(one, Broken) for one in records] == [False, True, False]
    assert (records[1].reason, records[1].raw) == ("broken_encoding", "2,\\xff\\xff\n")


def test_a_header_in_another_encoding_says_how_to_declare_it(read: Read) -> None:
    with pytest.raises(RawDataError, match=r"raw.csv: expected a header in utf-8.*`encoding`"):
        read("科室,回答\n内科,多喝水\n".encode("gb18030"), "raw.csv")


def test_declared_columns_replace_the_header(read: Read) -> None:
    data = b"x,y\n1,2\n"
    assert read(data, "raw.csv", columns=["a", "b"], header=True) == [{"a": "1", "b": "2"}]
    assert read(data, "raw.csv", columns=["a", "b"])[0] == {"a": "x", "b": "y"}


def test_a_table_with_a_json_body_is_read_as_json(read: Read) -> None:
    assert read(b'{"a": 1}\n{"a": 2}\n', "raw.csv") == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize("data", [b"", b"a,b\n", b"\xef\xbb\xbfa,b", b"\n\n"])
def test_a_table_without_rows_gives_no_records(read: Read, data: bytes) -> None:
    assert read(data, "raw.csv") == []
