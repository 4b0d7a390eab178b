"""Folding: which texts are duplicates, and which are not."""

from __future__ import annotations

import opencc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.annotate.fold import FINAL, fold, han_variants


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Name three fruits.", "name three  fruits"),
        ("Name three fruits!", "Name three fruits ?"),
        ("Wait...", "wait…"),
        ("\tGive me\n\na list ", "Give me a list"),
        ("ＡＢＣ１２３", "abc123"),
        ("ﬁne", "fine"),
        ("STRASSE", "straße"),
        ("Cafe\u0301", "Café"),
        ("你好，世界。", "你好,世界"),
        ("你 好 world", "你好world"),
        ("使用 Python 编程", "使用Python编程"),
        ("漢字與繁體", "汉字与繁体"),
        ("請問你瞭解頭髮的發展嗎？", "请问你了解头发的发展吗"),
        ("這裡", "這裏"),
        ("看著我", "看着我"),
        ("ﾃｽﾄ", "テスト"),
        ("a\u3000b", "a b"),
        ("a\u00a0b", "a b"),
        ("पानी क्या है।", "पानी क्या है"),
        ("ما هذا؟", "ما هذا"),
    ],
)
def test_texts_that_differ_in_form_only_are_one(one: str, other: str) -> None:
    assert fold(one) == fold(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Write it in C", "Write it in C++"),
        ("Write it in C", "Write it in C#"),
        ("Write it in C++", "Write it in C#"),
        ("Is 3.5 more than 35", "Is 35 more than 3.5"),
        ("a, b", "a b"),
        ("ab", "a b"),
        ("你好，世界", "你好世界"),
        ("?", "!"),
        (".", ""),
        ("résumé", "resume"),
        ("-1", "1"),
        ("(x", "(x)"),
        ("he said: no", "he said no"),
        ("数据", "資料"),
        ("한국 어", "한국어"),
    ],
)
def test_texts_that_mean_different_things_stay_different(one: str, other: str) -> None:
    assert fold(one) != fold(other)


def test_only_final_sentence_punctuation_is_stripped() -> None:
    assert fold("First. Second! Third?") == "first. second! third"
    assert fold("Version 2.0.") == "version 2.0"
    assert fold("“Go.”") == "“go.”"


def test_the_form_of_han_characters_is_simplified() -> None:
    assert fold("電腦與網絡、頭髮和發展") == "电脑与网络、头发和发展"


def test_no_class_of_variants_is_large() -> None:
    sizes: dict[str, int] = {}
    for form in han_variants().values():
        sizes[form] = sizes.get(form, 0) + 1
    assert max(sizes.values()) <= 6


CHINESE = st.text(
    st.sampled_from(
        "的一是了我不人在他有这个上们来到时大地为子中你说生国年着就那和要她出也得里后自以会"
        "发干复面台松准谷历志制钟系范御征斗郁致表板冲丑淀范丰刮胡回伙姜借克困累漫蒙蔑辟仆朴签秋舍涂托咸向叶吁"
    ),
    min_size=1,
)


@given(text=CHINESE, config=st.sampled_from(["s2t", "s2tw", "s2hk"]))
def test_simplified_and_traditional_versions_fold_to_one_text(text: str, config: str) -> None:
    assert fold(opencc.OpenCC(config).convert(text)) == fold(text)


@given(st.text())
def test_folding_twice_changes_nothing(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@given(st.text(), st.sampled_from(FINAL), st.sampled_from(["", " ", "\n"]))
def test_one_more_final_sign_changes_nothing(text: str, sign: str, space: str) -> None:
    if text and fold(text).rstrip(FINAL + " "):
        assert fold(text + space + sign) == fold(text)


@given(st.text(), st.text())
def test_upper_case_and_outer_space_change_nothing(left: str, right: str) -> None:
    text = f"{left}x{right}"
    assert fold(f" {text}\n") == fold(text)
    assert fold(text.casefold()) == fold(text)
