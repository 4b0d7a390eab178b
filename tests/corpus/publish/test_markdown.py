"""Whatever text is put into Markdown, it is that text afterwards and nothing else."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from corpus.publish.markdown import code, cut, fence, inline, link, one_line, table, visible

PIECES = st.lists(
    st.sampled_from(
        [
            *"|`*_<>[]()!#~$\\&:@-+=.\n\t\r x字",
            *("```", "---", "www.x.org", "</td>", "\u202e", "\x00", "![](", "]("),
            *("&lt;", "http://x.y", "{{", "👩‍👩‍👧", "\u2028", "1. ", "> "),
        ]
    ),
    max_size=30,
).map("".join)
PARSER = MarkdownIt("commonmark").enable("table")


@settings(max_examples=300, deadline=None)
@given(PIECES)
def test_an_escaped_text_is_nothing_but_text(text: str) -> None:
    tokens = PARSER.parse(f"a {inline(text)} b")
    assert [one.type for one in tokens] == ["paragraph_open", "inline", "paragraph_close"]
    children = tokens[1].children or []
    assert {one.type for one in children} <= {"text", "text_special"}
    assert " ".join("".join(one.content for one in children).split()) == " ".join(
        f"a {one_line(text)} b".split()
    )


@settings(max_examples=300, deadline=None)
@given(PIECES)
def test_a_cell_stays_one_cell(text: str) -> None:
    lines = table(("a", "b", "c"), [(inline(text) or "-", code(text or "-"), 1)])
    cells = [one for one in PARSER.parse("\n".join(lines)) if one.type == "td_open"]
    assert len(cells) == 3


@settings(max_examples=300, deadline=None)
@given(PIECES)
def test_nothing_ends_a_fence(text: str) -> None:
    tokens = PARSER.parse("\n".join([*fence(text), "after"]))
    assert [one.type for one in tokens][:2] == ["fence", "paragraph_open"]
    shown = visible(text.replace("\r\n", "\n").replace("\r", "\n"))
    assert tokens[0].content.rstrip("\n") == shown.rstrip("\n")


def test_a_link_leads_where_it_says_or_is_a_text() -> None:
    assert link("home", "https://x.org/a b|<c>") == "[home](<https://x.org/a%20b%7C%3Cc%3E>)"
    assert link("home", None) == "–"
    assert link("home", "javascript:alert(1)") == "javascript\\:alert(1)"


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        ("abc", 3, "abc"),
        ("abcd", 3, "abc […]"),
        ("ab👩‍👩‍👧 and more", 4, "ab […]"),
        ("e\u0301e\u0301", 3, "e\u0301 […]"),
        ("👍🏽👍🏽", 3, "👍🏽 […]"),
    ],
)
def test_a_cut_never_parts_what_belongs_together(text: str, limit: int, expected: str) -> None:
    assert cut(text, limit) == expected


def test_marks_that_hide_or_turn_text_are_shown() -> None:
    shown = visible("a\u202eb\u2066c\ufeffd\x07e\U000e0041f")
    assert re.findall(r"\\u\{(\w+)\}", shown) == ["202e", "2066", "feff", "7", "e0041"]
    assert visible("👩‍👩‍👧 שלום\n\tx") == "👩‍👩‍👧 שלום\n\tx"
