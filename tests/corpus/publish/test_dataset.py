"""Published folders load by name, can be made again elsewhere, and refuse what is not allowed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import polars as pl
import pytest

from corpus.catalog import Catalog
from corpus.cli.main import main
from corpus.errors import PublishError
from corpus.license import Licensed, verdict_of
from corpus.mixture import Mixture, build_mixture, check_recipe, read_recipe, rebuild_mixture
from corpus.publish import Publication, build_dataset_folder, digest_of_files
from corpus.publish.licenses import check_accepted
from corpus.publish.parquet import SCHEMA
from corpus.resources import packed
from corpus.schema import RECORD
from corpus.settings import Home

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(
    sample_home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Return what calls the command line over the samples: exit code, stdout, stderr."""

    def call(*words: object, home: Home = sample_home) -> tuple[int, str, str]:
        line = ["woolgather", "--home", str(home.path), *(str(word) for word in words)]
        monkeypatch.setattr(sys, "argv", line)
        with pytest.raises(SystemExit) as done:
            main()
        captured = capsys.readouterr()
        return int(done.value.code or 0), captured.out, captured.err

    return call


def test_a_mixture_is_loaded_by_name_and_by_default(
    mixed: Publication, sample_home: Home, tmp_path: Path
) -> None:
    mixture = Mixture.open("wool", sample_home)
    for names in (("wool",), ()):
        found = datasets.load_dataset(str(mixed.path), *names, cache_dir=str(tmp_path))
        assert found["train"].features == datasets.Features.from_arrow_schema(SCHEMA)
        for split, rows in (("train", mixture), ("test", mixture.holdout)):
            expected = rows.rows(range(len(rows)), RECORD.names)
            assert {name: found[split][name][:] for name in RECORD.names} == expected


def test_each_source_is_loaded_by_name_and_all_by_default(
    stored: Publication, tmp_path: Path
) -> None:
    def load(*names: str) -> datasets.DatasetDict:
        return datasets.load_dataset(str(stored.path), *names, cache_dir=str(tmp_path))

    whole, names = load(), ("alpaca", "gsm8k", "woolgather_hant")
    parts = {name: load(name) for name in names}
    for split in ("train", "test"):
        together = [row for one in parts.values() if split in one for row in one[split]["id"]]
        assert whole[split]["id"][:] == together
    assert set(parts["gsm8k"]["train"]["source"]) == {"gsm8k/train"}
    assert set(parts["gsm8k"]["test"]["source"]) == {"gsm8k/test"}
    assert list(parts["alpaca"]) == ["train"]


def test_polars_reads_the_shards(mixed: Publication) -> None:
    frame = pl.read_parquet(mixed.path / "data" / "wool" / "train-*.parquet")
    assert frame.columns == SCHEMA.names
    assert frame.schema["history"] == pl.List(
        pl.Struct({"instruction": pl.String, "output": pl.String})
    )
    assert frame.schema["origin"] == pl.Struct(
        {"file": pl.String, "record": pl.Int64, "part": pl.Int32}
    )
    licences = frame.group_by("source").agg(pl.col("license").unique())
    assert dict(licences.iter_rows())["alpaca"] == ["CC-BY-NC-4.0"]


def test_the_lock_makes_the_same_mixture_in_an_empty_home(
    mixed: Publication, run: Run, tmp_path: Path
) -> None:
    second = Home(tmp_path / "second")
    sources = json.loads((mixed.path / "sources.json").read_text(encoding="utf-8"))
    code, _, told = run("build", " | ".join(sources), "--raw", packed("samples"), home=second)
    assert code == 0, told
    code, _, told = run("mix", "build", "--lock", mixed.path / "mixture.lock", home=second)
    assert code == 0, told
    code, out, told = run("mix", "verify", "wool", "--json", home=second)
    digest = json.loads((mixed.path / "mixture.lock").read_text(encoding="utf-8"))["digest"]
    assert (code, json.loads(out)["digest"]) == (0, digest), told
    words = ("--repo", "somebody/wool", "--accept-license", "sharegpt_zh", "--to", tmp_path / "out")
    code, out, told = run("publish", "dataset", "wool", *words, "--json", home=second)
    assert code == 0, told
    assert json.loads(out)["digest"] == mixed.digest


def test_the_recipe_is_the_one_that_was_built(mixed: Publication, sample_home: Home) -> None:
    recipe = read_recipe(mixed.path / "recipe.yaml")
    again = build_mixture(recipe, sample_home, Catalog.load(sample_home))
    assert again.digest == Mixture.open("wool", sample_home).digest


def test_a_dry_run_writes_the_folder_and_lists_every_file(
    run: Run, mixed: Publication, sample_home: Home
) -> None:
    words = ("publish", "dataset", "wool", "--repo", "somebody/wool", "--dry-run")
    code, out, _ = run(*words, "--accept-license", "sharegpt_zh", "--public", "--json")
    found = json.loads(out)
    assert (code, found["digest"]) == (0, mixed.digest)
    assert [(one["path"], one["bytes"]) for one in found["files"]] == list(mixed.files)
    path = Path(found["path"])
    assert path == sample_home.publications / "somebody--wool"
    assert digest_of_files(path) == mixed.digest
    assert (found["visibility"], found["configs"]) == ("public", ["wool"])
    code, out, _ = run(*words, "--accept-license", "sharegpt_zh")
    assert code == 0
    assert out.splitlines()[1].split() == ["NOTICE", f"{mixed.files[0][1]:,}"]
    assert "nothing was sent, somebody/wool would be private" in out


def test_rows_of_a_later_choice_replace_those_of_an_earlier_dry_run(
    run: Run, sample_home: Home
) -> None:
    for what in ("gsm8k", "woolgather_hant"):
        words = ("publish", "dataset", what, "--repo", "somebody/changing", "--dry-run", "--json")
        code, out, _ = run(*words)
        assert (code, json.loads(out)["configs"]) == (0, [what])


def test_evaluation_sets_are_published_only_by_name(
    sample_home: Home, stored: Publication, tmp_path: Path
) -> None:
    def configs(what: str) -> list[str]:
        made = build_dataset_folder(
            *(what, tmp_path / what.replace("/", "-"), sample_home, Catalog.load(sample_home)),
            repo="a/b",
            workers=1,
        )
        return [name for name, _ in made.files if name.startswith("data/")]

    train, test = (f"data/gsm8k/{one}-00000-of-00001.parquet" for one in ("train", "test"))
    assert configs("gsm8k") == [train]
    assert configs("gsm*") == [train]
    assert configs("gsm8k/test") == [test]
    assert {train, test} <= {name for name, _ in stored.files}


OFFENDERS = verdict_of(
    [
        Licensed("open", "MIT"),
        Licensed("belle/math", "GPL-3.0", ("research-only",)),
        Licensed("silent+zh-Hant", "unknown"),
    ]
)


@pytest.mark.parametrize(
    ("accepted", "refused"),
    [
        ([], "belle/math (GPL-3.0 with research-only: research-only), silent+zh-Hant (unknown: un"),
        (["belle"], "got: silent+zh-Hant (unknown: unknown)"),
        (["silent"], "got: belle/math"),
        (["belle/math", "silent", "open"], "--accept-license open: expected a source here whose"),
        (["all"], "--accept-license all: expected a source here"),
    ],
)
def test_unknown_and_research_only_licences_are_accepted_by_name(
    accepted: list[str], refused: str
) -> None:
    with pytest.raises(PublishError) as told:
        check_accepted(OFFENDERS, accepted)
    assert refused in str(told.value)
    assert "\n" not in str(told.value)


def test_accepted_sources_are_returned() -> None:
    expected = ["belle/math", "silent+zh-Hant"]
    assert check_accepted(OFFENDERS, ["belle", "silent+zh-Hant"]) == expected
    assert check_accepted(verdict_of([Licensed("a", "CC-BY-NC-4.0")]), []) == []


REPO = ("--repo", "somebody/wool", "--dry-run")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("wool", *REPO), "--accept-license sharegpt_zh"),
        (("wool", *REPO, "--accept-license", "dolly"), "--accept-license dolly: expected"),
        (("wool", "--repo", "wool", "--dry-run"), "--repo 'wool': expected ORG/NAME, got no org"),
        (("wool", "--repo", "a/b/c", "--dry-run"), "--repo 'a/b/c': expected ORG/NAME"),
        (("wool", "--repo", "a/b c", "--dry-run"), "--repo 'a/b c': expected ORG/NAME"),
        (("wol", *REPO), "no mixture 'wol'. Known: wool. Nor is it a tag expression: 'wol'"),
        (("dolly & alpaca", *REPO), "nothing matches all of it"),
        (("firefly", *REPO), "expected built datasets, got none of: firefly. Build them"),
        (("alpaca | firefly", *REPO), "expected built datasets, got none of: firefly."),
        (("belle_ev*", *REPO), "got evaluation sets that are only matched"),
        (("alpaca", "--repo", "a/b", "--to", "x", "--public"), "--public: expected a repository"),
    ],
)
def test_wrong_input_is_one_line(run: Run, words: tuple[str, ...], told: str) -> None:
    code, out, error = run("publish", "dataset", *words)
    assert (code, out) == (1, "")
    assert told in error
    assert len(error.strip().splitlines()) == 1


def test_a_place_with_other_files_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    code, _, error = run("publish", "dataset", "gsm8k", "--repo", "a/b", "--to", tmp_path)
    assert code == 1
    assert "expected an empty folder or none" in error
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_what_is_matched_and_not_built_is_told(run: Run) -> None:
    words = ("publish", "dataset", "alpaca*", "--repo", "a/b", "--dry-run", "--json")
    code, out, error = run(*words)
    assert code == 0
    assert json.loads(out)["configs"] == ["alpaca"]
    assert "not built, left out: alpaca_gpt4" in error


@pytest.mark.parametrize("what", ["m", "alpaca"])
def test_damaged_rows_are_not_published(run: Run, make_build: Any, home: Home, what: str) -> None:
    build = make_build("alpaca", [{"instruction": f"q{n}", "output": "a"} for n in range(9)])
    lines = [{"select": "alpaca", "epochs": 1}]
    build_mixture(check_recipe({"name": "m", "sources": lines}), home, Catalog.load(home))
    shard = build.path / "data-00000.arrow"
    shard.write_bytes(shard.read_bytes().replace(b"q1", b"qX"))
    code, _, error = run("publish", "dataset", what, "--repo", "a/b", "--dry-run", home=home)
    assert code == 1
    assert "expected xxh3" in error
    assert not home.publications.exists()


def test_a_mixture_goes_before_a_dataset_of_its_name(run: Run, make_build: Any, home: Home) -> None:
    make_build("gsm8k", [{"instruction": f"q{n}", "output": "a"} for n in range(9)])
    make_build("woolgather_hant", [{"instruction": "q", "output": "a"}])
    lines = [{"select": "woolgather_hant", "epochs": 1}]
    build_mixture(check_recipe({"name": "gsm8k", "sources": lines}), home, Catalog.load(home))
    words = ("publish", "dataset", "gsm8k", "--repo", "a/b", "--dry-run", "--json")
    code, out, error = run(*words, home=home)
    assert (code, json.loads(out)["configs"]) == (0, ["gsm8k"])
    assert "gsm8k is a dataset and a mixture: it is the mixture that is published" in error


def test_a_tokenizers_place_stays_private(make_build: Any, home: Home, tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models

    place = tmp_path / "secret" / "tok"
    place.mkdir(parents=True)
    Tokenizer(models.WordLevel({"?": 0}, unk_token="?")).save(str(place / "tokenizer.json"))
    make_build("woolgather_hant", [{"instruction": f"q{n}", "output": "a"} for n in range(9)])
    lines = [{"select": "woolgather_hant", "tokens": 4}]
    recipe = {"name": "m", "sources": lines, "tokenizer": str(place)}
    mixture = build_mixture(check_recipe(recipe), home, Catalog.load(home))
    out = tmp_path / "out"
    made = build_dataset_folder("m", out, home, Catalog.load(home), repo="a/b", workers=1)
    texts = [(made.path / name).read_bytes() for name, _ in made.files]
    assert not any(b"secret" in text for text in texts)
    lock = json.loads((out / "mixture.lock").read_text(encoding="utf-8"))
    assert (lock["recipe"]["tokenizer"], lock["digest"]) == ("tok", mixture.digest)


def test_a_derived_source_is_published_and_rebuilt(sample_home: Home, tmp_path: Path) -> None:
    recipe = {
        "name": "hant",
        "sources": [{"select": "woolgather_hant", "epochs": 1}],
        "convert": {"zh": "zh-Hans"},
    }
    catalog = Catalog.load(sample_home)
    mixture = build_mixture(check_recipe(recipe), sample_home, catalog)
    made = build_dataset_folder(
        "hant", tmp_path / "out", sample_home, catalog, repo="a/b", workers=1
    )
    frame = pl.read_parquet(made.path / "data" / "hant" / "train-*.parquet")
    assert set(frame["source"]) <= {"woolgather_hant+zh-Hans", "woolgather_hant"}
    card = (made.path / "README.md").read_text(encoding="utf-8")
    assert "woolgather build 'woolgather_hant' --raw DIR" in card
    assert rebuild_mixture(made.path / "mixture.lock", sample_home).digest == mixture.digest
