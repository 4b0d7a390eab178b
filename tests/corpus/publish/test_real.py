"""Six real sources, two of them with awkward licences: skipped where the raw files are absent."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import polars as pl
import pytest
import yaml
from markdown_it import MarkdownIt

from corpus.cli.main import main
from corpus.settings import Home

SOURCES = "alpaca | gsm8k | hh_rlhf | alpaca_gpt4_zh | sharegpt_zh | belle_train_0_5m_cn"
AWKWARD = ("sharegpt_zh", "belle_train_0_5m_cn")
RECIPE = """\
name: six
seed: 11
size: {rows: 900}
sources:
  - {select: alpaca | hh_rlhf, share: 0.4}
  - {select: gsm8k, share: 0.2}
  - {select: belle_train_0_5m_cn, rows: 20}
  - {select: alpaca_gpt4_zh | sharegpt_zh, share: rest}
dedup: {exact: true, across: true}
decontaminate: [gsm8k/test]
filter: {min_output_chars: 2}
holdout: {rows: 40}
"""


@pytest.fixture
def run(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Any]:
    """Return what calls the command line: its JSON, or its one line of error."""

    def call(*words: object, home: Home = home) -> Any:
        line = ["woolgather", "--home", str(home.path), "--json", *(str(word) for word in words)]
        monkeypatch.setattr(sys, "argv", line)
        with pytest.raises(SystemExit) as done:
            main()
        captured = capsys.readouterr()
        if done.value.code:
            return captured.err.strip().splitlines()[-1]
        return json.loads(captured.out)

    return call


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_six_real_sources_are_published_loaded_and_made_again(
    run: Callable[..., Any], real_raw: Path, check_card: Callable[[Path], int], tmp_path: Path
) -> None:
    (tmp_path / "six.yaml").write_text(RECIPE, encoding="utf-8")
    assert run("build", SOURCES, "--raw", real_raw)["failed"] == []
    mixed = run("mix", "build", tmp_path / "six.yaml")
    words = ("publish", "dataset", "six", "--repo", "somebody/six", "--to", tmp_path / "out")
    refused = run(*words)
    assert all(f"--accept-license {name}" in refused for name in AWKWARD)
    words += tuple(word for name in AWKWARD for word in ("--accept-license", name))
    made = run(*words)

    folder = Path(made["path"])
    assert check_card(folder) > 150
    text = (folder / "README.md").read_text(encoding="utf-8")
    metadata = yaml.safe_load(text.split("---\n", 2)[1])
    assert metadata["license"] == made["license"]["license"] == "unknown"
    assert {"en", "zh"} <= set(metadata["language"])
    tokens = MarkdownIt("commonmark").enable("table").parse(text.split("---\n", 2)[2])
    assert not [one for token in tokens for one in (token.children or []) if "html" in one.type]

    for names in (("six",), ()):
        found = datasets.load_dataset(str(folder), *names, cache_dir=str(tmp_path / "cache"))
        assert {name: len(rows) for name, rows in found.items()} == {"train": 900, "test": 40}
    frame = pl.read_parquet(folder / "data" / "six" / "*.parquet")
    assert set(frame["source"].str.split("/").list.first()) == set(SOURCES.split(" | "))
    assert not set(found["train"]["id"]) & set(found["test"]["id"])

    second = Home(tmp_path / "second")
    assert run("build", SOURCES, "--raw", real_raw, home=second)["failed"] == []
    again = run("mix", "build", "--lock", folder / "mixture.lock", home=second)
    assert again["digest"] == mixed["digest"]
    assert run("mix", "verify", "six", home=second)["verified"]
    words = tuple(tmp_path / "out2" if word == tmp_path / "out" else word for word in words)
    assert run(*words, home=second)["digest"] == made["digest"]
