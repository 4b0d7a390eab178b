"""Cards: every number is true, the head is what the Hub and `datasets` read, texts stay texts."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import pytest
import yaml
from datasets.info import DatasetInfosDict
from datasets.utils.metadata import MetadataConfigs
from huggingface_hub import DatasetCard
from markdown_it import MarkdownIt

from corpus.catalog import Catalog
from corpus.license import Licensed, verdict_of
from corpus.license.classes import LICENSES
from corpus.publish import Publication, build_dataset_folder
from corpus.publish.licenses import HUB_LICENSES, hub_license
from corpus.publish.metadata import features, size_category
from corpus.publish.parquet import SCHEMA
from corpus.settings import Home

SIZES = {"n<1K": (0, 999), "1K<n<10K": (1000, 9999), "1M<n<10M": (10**6, 10**7 - 1)}
HUB_NAMES = """\
apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m
bigscience-bloom-rail-1.0 bigcode-openrail-m afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause
bsd-3-clause bsd-3-clause-clear c-uda cc cc0-1.0 cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0
cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0
cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0
cdla-permissive-1.0 cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 agpl-3.0
gfdl gpl gpl-2.0 gpl-3.0 lgpl lgpl-2.1 lgpl-3.0 isc lppl-1.3c ms-pl mpl-2.0 odc-by odbl openrail++
osl-3.0 postgresql ofl-1.1 ncsa unlicense zlib pddl lgpl-lr unknown other
"""
"""Identifiers of https://huggingface.co/docs/hub/repositories-licenses."""


def test_every_number_of_a_mixtures_card_is_that_of_its_rows(
    mixed: Publication, check_card: Callable[[Path], int]
) -> None:
    assert check_card(mixed.path) > 200


def test_every_number_of_a_card_of_sources_is_that_of_their_rows(
    stored: Publication, check_card: Callable[[Path], int]
) -> None:
    assert check_card(stored.path) > 100


def test_a_wrong_number_anywhere_in_a_card_is_noticed(
    stored: Publication,
    check_card: Callable[[Path], int],
    changed_cards: Callable[[Path], Iterator[tuple[str, Callable[[], int]]]],
) -> None:
    check_card(stored.path)
    cards = list(changed_cards(stored.path))
    assert len(cards) > 100
    for number, check in random.Random(0).sample(cards, 40):
        try:
            check()
        except (AssertionError, KeyError):
            continue
        pytest.fail(f"a wrong {number} passes")


def test_the_head_is_what_the_hub_and_datasets_read(mixed: Publication) -> None:
    card = DatasetCard((mixed.path / "README.md").read_text(encoding="utf-8"))
    found = card.data.to_dict()
    assert (found["license"], mixed.verdict.license) == ("unknown", "unknown")  # type: ignore[union-attr]
    assert found["language"] == ["en", "zh"]
    assert set(found["language_details"]) == {"en", "zh-Hans", "zh-Hant"}
    assert found["size_categories"] == ["n<1K"]
    assert found["pretty_name"] == "wool"
    configs = MetadataConfigs.from_dataset_card_data(card.data)
    assert configs.get_default_config_name() == "wool"
    info = DatasetInfosDict.from_dataset_card_data(card.data)["wool"]
    assert info.features == datasets.Features.from_arrow_schema(SCHEMA)
    assert {name: split.num_examples for name, split in info.splits.items()}["test"] == 12


def test_features_are_written_as_datasets_writes_them() -> None:
    assert features(SCHEMA) == datasets.Features.from_arrow_schema(SCHEMA)._to_yaml_list()


def test_several_sources_have_a_config_each_and_one_for_all(stored: Publication) -> None:
    card = DatasetCard((stored.path / "README.md").read_text(encoding="utf-8"))
    configs = MetadataConfigs.from_dataset_card_data(card.data)
    assert list(configs) == ["default", "alpaca", "gsm8k", "woolgather_hant"]
    assert stored.configs == tuple(configs)
    assert configs.get_default_config_name() == "default"
    assert [one["split"] for one in configs["gsm8k"]["data_files"]] == ["train", "test"]


@pytest.mark.parametrize("category", SIZES)
def test_a_size_category_holds_from_its_first_to_its_last_number(category: str) -> None:
    assert [size_category(rows) for rows in SIZES[category]] == [category, category]


def test_known_licences_are_those_of_the_hub() -> None:
    assert set(HUB_LICENSES.values()) <= set(HUB_NAMES.split())
    assert {id for id in LICENSES if id.lower() in HUB_NAMES.split()} <= set(HUB_LICENSES)


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        ([("MIT", ())], {"license": "mit"}),
        ([("MIT", ()), ("MIT", ())], {"license": "mit"}),
        ([("ODC-By-1.0", ())], {"license": "odc-by"}),
        ([("MIT", ()), ("unknown", ())], {"license": "unknown"}),
        ([("unknown", ("openai-output",))], {"license": "unknown"}),
        ([("MIT", ()), ("CC-BY-4.0", ())], {"license_name": "mit-and-cc-by-4.0"}),
        ([("MIT", ("openai-output",))], {"license_name": "mit-with-openai-output-terms"}),
        ([("CC-BY-SA-2.5", ())], {"license_name": "cc-by-sa-2.5"}),
        ([(one, ()) for one in LICENSES], {"license_name": "several-licenses"}),
    ],
)
def test_the_hub_is_told_the_verdict(
    sources: list[tuple[str, tuple[str, ...]]], expected: dict[str, str]
) -> None:
    verdict = verdict_of(Licensed(f"a{n}", *one) for n, one in enumerate(sources))
    if "license_name" in expected:
        expected = {"license": "other", **expected, "license_link": "LICENSE"}
    assert hub_license(verdict) == expected


def test_a_licence_that_the_hub_has_no_name_for_stands_in_a_file(
    stored: Publication, mixed: Publication
) -> None:
    text = (stored.path / "LICENSE").read_text(encoding="utf-8")
    assert "CC-BY-NC-4.0 AND MIT AND Apache-2.0" in text
    assert "Class: non-commercial. Allowed use: research, any." in text
    assert not (mixed.path / "LICENSE").exists()
    notice = (mixed.path / "NOTICE").read_text(encoding="utf-8")
    assert all(one.name in notice for one in mixed.verdict.sources)  # type: ignore[union-attr]


def test_a_card_says_what_was_not_done(mixed: Publication, stored: Publication) -> None:
    told = (mixed.path / "README.md").read_text(encoding="utf-8")
    assert "Near-duplicates were not removed." in told
    assert "Exact duplicates within a source were not removed." not in told
    assert "accepted by name: `sharegpt_zh`" in told
    other = (stored.path / "README.md").read_text(encoding="utf-8")
    assert "No decontamination was done" in other
    assert "none was removed, changed or put elsewhere" in other


HOSTILE = [
    {"instruction": "| a | b |\n| --- | --- |\n| 1 | 2 |", "output": "---\nlicense: mit\n---\n"},
    {"instruction": "<script>alert(1)</script>", "output": "```\n## Not a heading\n```` x\n`````"},
    {
        "instruction": "\u202eevil\u202c \u2066x\u2069",
        "output": "שלום عليكم 👩‍👩‍👧‍👦 \x1b[31mred\x00",
    },
    {
        "instruction": "[a](javascript:alert(1)) ![](x)",
        "output": "~~~\n$$x$$\n<!-- -->\n</details>",
    },
    {"instruction": "long", "output": "字" * 5000, "system": "\r\nsys\u2028tem"},
]
TITLE = '"<script>alert(1)</script> | **bold** `x` [a](javascript:b) www.x.org --- \\u202e"'
ENTRY = f"""\
datasets:
  hostile_%d:
    name: {TITLE}
    lang: EN
    languages: [en]
    task: MT
    gen: HG
    license: MIT
    home: 'https://x.org/a|b<c>"d"'
    citation: "}} \\\\input{{x}} | <b>"
    formatter: {{name: columns, instruction: instruction, output: output}}
    files: [{{path: rows.jsonl}}]
"""


def test_hostile_texts_stay_texts(make_build: Any, home: Home, tmp_path: Path) -> None:
    home.path.mkdir(parents=True, exist_ok=True)
    entries = [ENTRY % number for number in range(len(HOSTILE))]
    text = entries[0] + "".join(one.partition("\n")[2] for one in entries[1:])
    home.catalog.write_text(text, encoding="utf-8")
    for number, row in enumerate(HOSTILE):
        make_build(f"hostile_{number}", [row])
    made = build_dataset_folder(
        "hostile_*", tmp_path / "out", home, Catalog.load(home), repo="a/b", workers=1
    )
    text = (made.path / "README.md").read_text(encoding="utf-8")
    assert yaml.safe_load(text.split("---\n")[1])["license"] == "mit"
    assert DatasetCard(text).data.to_dict()["pretty_name"] == "b"
    assert not {"\u202e", "\u2066", "\x1b", "\x00", "\u2028", "\r"} & set(text)
    tokens = MarkdownIt("commonmark").enable("table").parse(text.split("---\n", 2)[2])
    inner = [one for token in tokens for one in (token.children or [])]
    assert not [one for one in (*tokens, *inner) if one.type.startswith("html")]
    links = {one.attrs["href"] for one in inner if one.type == "link_open"}
    assert {one.partition("/")[0] for one in links} == {
        "#licence",
        "NOTICE",
        "sources.json",
        "https:",
    }
    headings = [
        tokens[place + 1].content for place, one in enumerate(tokens) if one.type == "heading_open"
    ]
    assert len([one for one in headings if one.startswith("`hostile_")]) == len(HOSTILE)
    assert "Not a heading" not in headings
    fences = [one.content for one in tokens if one.type == "fence"]
    assert "```\n## Not a heading\n```` x\n`````\n" in fences
    assert "\\u{202e}evil\\u{202c} \\u{2066}x\\u{2069}\n" in fences
    assert "שלום عليكم 👩‍👩‍👧‍👦 \\u{1b}[31mred\\u{0}\n" in fences
    assert "字" * 600 + " […]\n" in fences
    kinds = [one.type for one in tokens]
    rows = " ".join(kinds).split("tr_open")
    wide = [one for one in rows if one.count("td_open") == 14]
    assert len(wide) == len(HOSTILE) + 1, "each source, and all together, keep their cells"
