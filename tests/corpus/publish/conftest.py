"""Publications of the samples, made once; and a reader that checks every number of a card.

The reader recomputes what a card says from the published Parquet files; what is told of rows that
are not published, from `mixture.lock` beside them.
"""

from __future__ import annotations

import importlib.util
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from corpus.annotate.language import row_languages
from corpus.annotate.quality import flag_counts, row_flags
from corpus.build import BuildRequest, build_entry, inputs_of
from corpus.catalog import Catalog
from corpus.engine import Engine
from corpus.mixture import build_mixture, check_recipe
from corpus.publish import Publication, build_dataset_folder
from corpus.resources import packed
from corpus.settings import Home

IDS = ("alpaca", "gsm8k", "dolly", "sharegpt_zh", "woolgather_hant", "hh_rlhf")
RECIPE = {
    "name": "wool",
    "seed": 5,
    "sources": [
        {"select": "alpaca | gsm8k", "rows": 80},
        {"select": "dolly | hh_rlhf", "epochs": 2},
        {"select": "sharegpt_zh | woolgather_hant", "epochs": 1},
    ],
    "dedup": {"exact": True, "across": True},
    "decontaminate": ["gsm8k/test"],
    "holdout": {"rows": 12},
}
NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
TEXT_COLUMNS = {
    *("config", "split", "source", "title", "lang", "task", "gen", "languages", "licence"),
    *("class", "home", "citation", "column", "tag", "language", "script", "setting", "value"),
    *("removed before because", "written with", "version", "type", "meaning", "flag"),
}


def built_home(path: Path, raw: Path, ids: tuple[str, ...]) -> Home:
    """Return a home with datasets built from a folder of raw files."""
    home = Home(path)
    catalog, request = Catalog.load(home), BuildRequest((raw,))
    with Engine("serial") as engine:
        for id in ids:
            build_entry(catalog[id], inputs_of(catalog[id], request), home, engine, request)
    return home


@pytest.fixture(scope="session")
def sample_home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Return a home with some samples and the mixture `wool` of them."""
    home = built_home(tmp_path_factory.mktemp("publish"), packed("samples"), IDS)
    build_mixture(check_recipe(RECIPE), home, Catalog.load(home))
    return home


@pytest.fixture(scope="session")
def mixed(sample_home: Home) -> Publication:
    """Return the publication of the mixture."""
    out = sample_home.path / "out" / "mixed"
    return build_dataset_folder(
        *("wool", out, sample_home, Catalog.load(sample_home)),
        repo="somebody/wool",
        accepted=["sharegpt_zh"],
        workers=1,
    )


@pytest.fixture(scope="session")
def stored(sample_home: Home) -> Publication:
    """Return the publication of stored sources, an evaluation set among them."""
    out = sample_home.path / "out" / "stored"
    what = "alpaca | gsm8k | gsm8k/test | woolgather_hant"
    return build_dataset_folder(
        what, out, sample_home, Catalog.load(sample_home), repo="somebody/three", workers=1
    )


@dataclass(frozen=True)
class Table:
    """A table of a card."""

    section: str
    header: tuple[str, ...]
    rows: list[list[str]]


@dataclass
class Card:
    """A card, parsed."""

    text: str

    @cached_property
    def metadata(self) -> dict[str, Any]:
        found: dict[str, Any] = yaml.safe_load(self.text.split("---\n", 2)[1])
        return found

    @cached_property
    def lines(self) -> list[str]:
        """The lines of the body outside of fences."""
        found, closing = [], ""
        for line in self.text.split("---\n", 2)[2].split("\n"):
            ticks = re.match(r"`{3,}", line)
            if closing:
                closing = "" if line == closing else closing
            elif ticks:
                closing = ticks.group()
            else:
                found.append(line)
        return found

    @cached_property
    def tables(self) -> list[Table]:
        found: list[Table] = []
        section, inside = "", False
        for line in self.lines:
            if line.startswith("## "):
                section = line[3:]
            if not line.startswith("| "):
                inside = False
                continue
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            if not inside:
                found.append(Table(section, tuple(cells), []))
            elif not set("".join(cells)) <= set("-: "):
                found[-1].rows.append(cells)
            inside = True
        return found

    @cached_property
    def prose(self) -> list[str]:
        """Lines with numbers in them, without tables, code, addresses and headings."""
        lines = [line for line in self.lines if not line.startswith(("| ", "#", "!", "Row "))]
        bare = [re.sub(r"`+[^`]*`+|\]\([^)]*\)", "", line) for line in lines]
        return [line for line in bare if NUMBER.search(line)]


def numbers(text: str) -> list[float]:
    """Return all numbers in a text."""
    return [float(one.replace(",", "")) for one in NUMBER.findall(text)]


def _measured(table: pa.Table) -> pl.DataFrame:
    batch = table.combine_chunks().to_batches()[0]
    languages = row_languages(batch)
    frame = pl.DataFrame(
        {
            **{name: table.column(name).to_pylist() for name in ("id", "source", "gen")},
            **{name: table.column(name).to_pylist() for name in ("lang", "task", "license")},
            **{
                name: languages.column(name).cast(pa.string()).to_pylist()
                for name in languages.schema.names
                if not name.endswith("percent")
            },
            "turns": [len(one) + 1 for one in table.column("history").to_pylist()],
        }
    )
    return frame.with_columns(
        pl.Series(name, [len(one) for one in table.column(name).to_pylist()])
        for name in ("instruction", "input", "output")
    )


@dataclass
class Truth:
    """What a published folder really holds."""

    folder: Path

    @cached_property
    def files(self) -> dict[tuple[str, str], list[Path]]:
        found: dict[tuple[str, str], list[Path]] = {}
        for path in sorted((self.folder / "data").rglob("*.parquet")):
            found.setdefault((path.parent.name, path.name.partition("-")[0]), []).append(path)
        return found

    @cached_property
    def tables(self) -> dict[tuple[str, str], pa.Table]:
        return {key: pa.concat_tables(map(pq.read_table, one)) for key, one in self.files.items()}

    @cached_property
    def rows(self) -> pl.DataFrame:
        return pl.concat(
            _measured(table).with_columns(split=pl.lit(split))
            for (_, split), table in sorted(
                self.tables.items(), key=lambda one: one[0][1] != "train"
            )
        )

    @cached_property
    def lock(self) -> dict[str, Any] | None:
        path = self.folder / "mixture.lock"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    @cached_property
    def sources(self) -> list[str]:
        order = [one["name"] for one in self.lock["sources"]] if self.lock else []
        seen = self.rows["source"].unique(maintain_order=True).to_list()
        # Without a lock, in the order of the configs; parts to evaluate with come last in theirs.
        configs = [key for key, _ in self.files]
        return [one for one in order if one in seen] or sorted(
            seen, key=lambda one: configs.index(one.partition("/")[0])
        )

    def bytes_of(self, key: tuple[str, str]) -> int:
        return sum(path.stat().st_size for path in self.files[key])

    def uncompressed(self, key: tuple[str, str]) -> int:
        metadata = [pq.read_metadata(path) for path in self.files[key]]
        return sum(
            one.row_group(n).total_byte_size for one in metadata for n in range(one.num_row_groups)
        )

    def share(self, rows: int) -> float:
        return round(100 * rows / len(self.rows), 1)

    def of(self, source: str) -> pl.DataFrame:
        return self.rows if source == "**all**" else self.rows.filter(pl.col("source") == source)

    @cached_property
    def flags(self) -> dict[str, int]:
        catalog = Catalog.load(Home(self.folder / "nowhere"))
        counts: Counter[str] = Counter()
        for table in self.tables.values():
            for source in self.sources:
                mine = table.filter(pa.compute.equal(table.column("source"), source))
                if len(mine):
                    batch = row_flags(mine.combine_chunks().to_batches()[0])
                    languages = tuple(catalog[source.partition("/")[0]].languages)
                    counts.update(flag_counts(pa.Table.from_batches([batch]), languages))
        return counts

    def expected(self, table: Table) -> Iterator[list[float]]:
        """Yield the numbers of each row of a table."""
        for row in table.rows:
            name = row[0].strip("`").replace("\\|", "|")
            yield [float(one) for one in self._row(table, row, name)]

    def _row(self, table: Table, row: list[str], name: str) -> list[float]:
        head = table.header[0]
        if head == "config":
            key = (name, row[1].strip("`"))
            sizes = [self.bytes_of(key), self.uncompressed(key)]
            return [len(self.tables[key]), len(self.files[key]), *sizes]
        if head == "source" and table.section == "Sources":
            mine = self.of(name)
            splits = [len(mine.filter(pl.col("split") == one)) for one in ("train", "test")]
            return [*splits, mine["id"].n_unique(), self.share(len(mine))]
        if head == "source" and table.section == "Lengths and turns":
            return self._lengths(self.of(name))
        if head == "source":
            return self._drawn(name)
        if head == "column" and len(row) == 4:
            tag = row[1].strip("`")
            count = len(self.rows.filter(pl.col(name) == tag))
            return [count, self.share(count)]
        if head in ("language", "script"):
            asked, answered = (
                len(self.rows.filter(pl.col(f"{field}_{head}") == name))
                for field in ("instruction", "output")
            )
            return [asked, answered, self.share(answered)]
        if head == "removed before because":
            assert self.lock is not None
            return [sum(one["removed"].get(name, 0) for one in self.lock["sources"])]
        if head == "flag":
            return [self.flags[name], self.share(self.flags[name])]
        return []

    def _drawn(self, name: str) -> list[float]:
        assert self.lock is not None
        one = next(one for one in self.lock["sources"] if one["name"] == name)
        mine = self.of(name)
        drawn = len(mine.filter(pl.col("split") == "train"))
        held = len(mine.filter(pl.col("split") == "test"))
        epochs = round(drawn / one["unique"], 2)
        return [one["unique"], sum(one["removed"].values()), drawn, held, epochs]

    def _lengths(self, mine: pl.DataFrame) -> list[float]:
        def spread(name: str) -> list[float]:
            ordered = sorted(mine[name].to_list())
            return [ordered[(len(ordered) - 1) * p // 100] for p in (50, 95)] + [ordered[-1]]

        characters = sum(int(mine[name].sum()) for name in ("instruction", "input", "output"))
        turns = mine["turns"].to_list()
        with_input = len(mine.filter(pl.col("input") > 0)) / len(mine)
        with_turns = len(mine.filter(pl.col("turns") > 1)) / len(mine)
        return [
            *spread("instruction"),
            *spread("output"),
            characters,
            round(sum(turns) / len(turns), 2),
            max(turns),
            *(round(100 * round(one, 4), 1) for one in (with_input, with_turns)),
        ]

    def prose(self) -> list[list[float]]:
        """Return the numbers of each sentence that has any, in the card's order."""
        rows = self.rows
        splits = [len(rows.filter(pl.col("split") == one)) for one in ("train", "test")]
        found: list[list[float]] = [[*(one for one in splits if one), len(self.sources)]]
        if all(splits):
            ids = [set(rows.filter(pl.col("split") == one)["id"]) for one in ("train", "test")]
            found.append([len(ids[0] & ids[1])])
        if self.lock and self.lock["recipe"].get("decontaminate"):
            gone = [one["removed"].get("contaminated", 0) for one in self.lock["sources"]]
            found.append([sum(gone)])
        found.append([len(rows) - rows["id"].n_unique()])
        found.append([len(rows.filter(pl.col("gen").is_in(["SI", "MIX"])))])
        found.append([len(rows.filter(pl.col("output_language") == "und"))])
        return found


def check_numbers(card: Card, truth: Truth) -> int:
    """Hold every number of a card to what the folder holds; return how many there were."""
    checked = 0
    for table in card.tables:
        places = [n for n, one in enumerate(table.header) if one not in TEXT_COLUMNS]
        for row, expected in zip(table.rows, truth.expected(table), strict=True):
            told = [one for place in places for one in numbers(row[place])]
            assert told == expected, f"{table.section}: {row}"
            checked += len(told)
    told = [numbers(line) for line in card.prose]
    assert told == truth.prose(), card.prose
    _check_rows(card, truth)
    _check_metadata(card.metadata, truth)
    return checked + sum(map(len, told))


def _check_rows(card: Card, truth: Truth) -> None:
    """Every source, tag, language, setting and version has its line."""
    by_header = {(one.section, one.header[0]): one for one in card.tables}
    named = [row[0].strip("`") for row in by_header["Sources", "source"].rows]
    assert named == [*truth.sources, "**all**"]
    flags = by_header.get(("Known limits", "flag"))
    assert {row[0].strip("`") for row in flags.rows} == set(truth.flags) if flags else True
    for kind in ("language", "script"):
        shown = {row[0].strip("`") for row in by_header["Languages and scripts", kind].rows}
        fields = [truth.rows[f"{field}_{kind}"] for field in ("instruction", "output")]
        assert shown == set(fields[0]) | set(fields[1])
    versions = by_header["How it was made", "written with"].rows
    for name, found in versions[1:]:
        assert found.strip("`") == version(name.strip("`"))


def _check_metadata(metadata: dict[str, Any], truth: Truth) -> None:
    total = len(truth.rows)
    low, high = re.fullmatch(r"(?:(\d+)K<)?n<(\d+)K", metadata["size_categories"][0]).groups()  # type: ignore[union-attr]
    assert int(low or 0) * 1000 <= total < int(high) * 1000
    for info in metadata["dataset_info"]:
        name = info["config_name"]
        mine = [key for key in truth.files if name in (key[0], "default")]
        assert info["download_size"] == sum(map(truth.bytes_of, mine))
        assert info["dataset_size"] == sum(map(truth.uncompressed, mine))
        for split in info["splits"]:
            keys = [key for key in mine if key[1] == split["name"]]
            assert split["num_examples"] == sum(len(truth.tables[key]) for key in keys)
            assert split["num_bytes"] == sum(map(truth.uncompressed, keys))


CheckCard = Callable[[Path], int]


@pytest.fixture(scope="session")
def check_card() -> CheckCard:
    """Return what holds every number of a folder's card to the folder's rows."""

    def check(folder: Path) -> int:
        card = Card((folder / "README.md").read_text(encoding="utf-8"))
        return check_numbers(card, Truth(folder))

    return check


@pytest.fixture(scope="session")
def changed_cards() -> Callable[[Path], Iterator[tuple[str, Callable[[], int]]]]:
    """Return what yields a card with one number changed, for each number, and its check."""

    def changes(folder: Path) -> Iterator[tuple[str, Callable[[], int]]]:
        text, truth = (folder / "README.md").read_text(encoding="utf-8"), Truth(folder)
        head, body = text.split("---\n\n# ", 1)
        places = [
            found
            for found in NUMBER.finditer(body)
            if not _is_text(body, found.start(), Card(text).prose)
        ]
        for found in places:
            wrong = f"{body[: found.start()]}9{found.group()}{body[found.end() :]}"
            card = Card(f"{head}---\n\n# {wrong}")
            yield found.group(), lambda card=card: check_numbers(card, truth)

    return changes


def _is_text(body: str, place: int, prose: list[str]) -> bool:
    """Tell whether a place lies in code, an address, or a cell of a column of texts."""
    start = body.rfind("\n", 0, place) + 1
    line = body[start : body.find("\n", place)]
    before = line[: place - start]
    if line.startswith("| "):
        table = body[:start].rpartition("\n\n")[2] + line
        header = [one.strip() for one in table.splitlines()[0].split("|")[1:-1]]
        column = len(re.findall(r"(?<!\\)\|", before)) - 1
        return header[column] in TEXT_COLUMNS or before.count("`") % 2 == 1
    bare = re.sub(r"`+[^`]*`+|\]\([^)]*\)", "", line)
    return bare not in prose or before.count("`") % 2 == 1


def _server_module() -> Any:
    """Import the server beside this file, once for all tests."""
    name = "publish_tests_server"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name("server.py"))
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Serve a Hub over loopback, have this process send to it, and wait for nothing.

    `hub.slept` has the seconds that would have been waited; `hub.Fault` and `hub.CUT` are what its
    `fail` takes.
    """
    from huggingface_hub import constants

    module = _server_module()
    with module.serving() as server:
        server.Fault, server.CUT, server.slept = module.Fault, module.CUT, []
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("HF_TOKEN", module.TOKEN)
        monkeypatch.setattr(time, "sleep", server.slept.append)
        yield server
