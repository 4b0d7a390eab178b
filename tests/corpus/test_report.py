"""Report pages: one file that opens offline, with what it is given, safely."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from corpus.charts import bars, lines
from corpus.errors import MissingExtraError
from corpus.report import Page

RECORDS = [
    {"source": "alpaca", "rows": 10, "lang": "EN"},
    {"source": "中文", "rows": 20, "lang": "CN"},
]


def test_a_page_holds_no_script_and_no_address(tmp_path: Path) -> None:
    page = Page("Mixture")
    page.chart(bars(RECORDS, value="rows", label="source", color="lang", title="Rows"))
    page.chart(lines(RECORDS, x="rows", y="rows", color=None, title="Loss"))
    page.write(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert text.count("<svg") == 2
    assert "中文" in text
    assert "<script" not in text
    assert "http" not in text


def test_texts_are_escaped() -> None:
    page = Page("<b>")
    page.text("a < b & c")
    page.quote("x", "<script>alert(1)</script>")
    page.table(["<i>"], [["<u>"]])
    assert "<script>" not in page.html()
    assert "a &lt; b &amp; c" in page.html()
    assert "&lt;u&gt;" in page.html()


def test_numbers_are_set_right_with_separators() -> None:
    page = Page("t")
    page.table(["name", "rows", "share"], [["a", 12345, 0.123456], ["b", 1, 2.0]])
    assert "<td class='number'>12,345</td>" in page.html()
    assert "<td class='number'>0.1235</td>" in page.html()
    assert "<td>a</td>" in page.html()


def test_charts_without_the_extra_name_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "altair", None)
    with pytest.raises(MissingExtraError, match=r"woolgather\[report\]"):
        bars(RECORDS, value="rows", label="source", title="Rows")
