"""Exports: the files that other trainers read, whole or not there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pyarrow.parquet as pq
import pytest

from corpus.errors import RecipeError
from corpus.export import export, messages_row, sharegpt_row
from corpus.mixture import Mixture, build_mixture, check_recipe
from corpus.schema import RECORD

PLAIN = [{"instruction": f"问 {n}", "input": "x" * (n % 2), "output": f"答 {n}"} for n in range(30)]
TURNS = [
    {
        "instruction": f"and {n}?",
        "output": f"then {n}",
        "history": [{"instruction": f"first {n}", "output": "one"}] * (n % 3),
        "system": "Be brief" if n % 2 else None,
    }
    for n in range(20)
]


@pytest.fixture
def mixture(make_build, home, catalog) -> Mixture:
    make_build("alpaca", PLAIN)
    make_build("dolly", TURNS)
    recipe = {
        "name": "both",
        "sources": [{"select": "alpaca | dolly", "epochs": 1}],
        "holdout": {"rows": 4},
    }
    return build_mixture(check_recipe(recipe), home, catalog)


def whole(rows: Any) -> list[dict[str, Any]]:
    found = rows.rows(range(len(rows)), RECORD.names)
    return [dict(zip(found, values, strict=True)) for values in zip(*found.values(), strict=True)]


def test_alpaca_keeps_order_history_and_system(mixture: Mixture, tmp_path: Path) -> None:
    files = export(mixture, "alpaca", tmp_path / "out")
    assert [(one.path.name, one.rows) for one in files] == [
        ("train.alpaca.json", 46),
        ("holdout.alpaca.json", 4),
    ]
    for one, rows in zip(files, (mixture, mixture.holdout), strict=True):
        assert json.loads(one.path.read_text(encoding="utf-8")) == [
            {
                "instruction": row["instruction"],
                "input": row["input"],
                "output": row["output"],
                "system": row["system"] or "",
                "history": [[turn["instruction"], turn["output"]] for turn in row["history"]],
            }
            for row in whole(rows)
        ]


def test_alpaca_of_single_turns_has_the_three_keys(make_build, home, catalog, tmp_path) -> None:
    make_build("alpaca", PLAIN)
    recipe = {"name": "plain", "sources": [{"select": "alpaca", "epochs": 1}]}
    files = export(build_mixture(check_recipe(recipe), home, catalog), "alpaca", tmp_path)
    assert [one.path.name for one in files] == ["train.alpaca.json"]
    rows = json.loads(files[0].path.read_text(encoding="utf-8"))
    assert {tuple(row) for row in rows} == {("instruction", "input", "output")}


ROW = {
    "instruction": "Sort",
    "input": "b a",
    "output": "a b",
    "history": [{"instruction": "Hello", "output": "Hi"}],
    "system": "Be brief",
}


def test_sharegpt_has_human_and_gpt_turns() -> None:
    assert sharegpt_row(ROW) == {
        "conversations": [
            {"from": "system", "value": "Be brief"},
            {"from": "human", "value": "Hello"},
            {"from": "gpt", "value": "Hi"},
            {"from": "human", "value": "Sort\nb a"},
            {"from": "gpt", "value": "a b"},
        ]
    }


def test_messages_have_roles() -> None:
    assert messages_row({**ROW, "input": "", "system": None}) == {
        "messages": [
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": "Hi"},
            {"role": "user", "content": "Sort"},
            {"role": "assistant", "content": "a b"},
        ]
    }


def test_sharegpt_and_messages_files_hold_every_row(mixture: Mixture, tmp_path: Path) -> None:
    dialogues = export(mixture, "sharegpt", tmp_path)[0].path
    lines = export(mixture, "messages", tmp_path)[0].path
    rows = whole(mixture)
    assert json.loads(dialogues.read_text(encoding="utf-8")) == [sharegpt_row(row) for row in rows]
    assert [json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines()] == [
        messages_row(row) for row in rows
    ]


def test_parquet_holds_the_records(mixture: Mixture, tmp_path: Path) -> None:
    files = export(mixture, "parquet", tmp_path)
    table = pq.read_table(files[0].path)
    assert table.schema.equals(RECORD)
    assert table.to_pylist() == whole(mixture)


@pytest.mark.parametrize("format", ["alpaca", "sharegpt", "messages", "parquet"])
def test_datasets_reads_what_is_exported(mixture: Mixture, tmp_path: Path, format: str) -> None:
    path = export(mixture, format, tmp_path)[0].path
    builder = "parquet" if format == "parquet" else "json"
    loaded = datasets.load_dataset(builder, data_files=str(path), cache_dir=str(tmp_path / "cache"))
    assert loaded["train"].num_rows == len(mixture)


def test_exporting_again_gives_the_same_bytes(mixture: Mixture, tmp_path: Path) -> None:
    for format in ("alpaca", "parquet"):
        first = [one.path.read_bytes() for one in export(mixture, format, tmp_path / "a")]
        again = [one.path.read_bytes() for one in export(mixture, format, tmp_path / "b")]
        assert first == again


def test_an_older_holdout_does_not_stay(home, catalog, mixture: Mixture, tmp_path: Path) -> None:
    export(mixture, "alpaca", tmp_path)
    assert (tmp_path / "holdout.alpaca.json").exists()
    recipe = {"name": "bare", "sources": [{"select": "dolly", "epochs": 1}]}
    export(build_mixture(check_recipe(recipe), home, catalog), "alpaca", tmp_path)
    assert not (tmp_path / "holdout.alpaca.json").exists()


def test_a_failed_export_leaves_nothing(mixture: Mixture, tmp_path: Path, monkeypatch) -> None:
    kept = tmp_path / "train.alpaca.json"
    kept.write_text("before", encoding="utf-8")
    done: list[float] = []

    def fail(completed: float, total: float) -> None:
        done.append(completed)
        if completed > len(mixture):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(mixture, "alpaca", tmp_path, advance=fail)
    assert done
    assert [path.name for path in tmp_path.iterdir()] == ["train.alpaca.json"]
    assert kept.read_text(encoding="utf-8") == "before"


def test_an_unknown_format_is_refused(mixture: Mixture, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"format 'alpacca' is unknown. Did you mean 'alpaca'"):
        export(mixture, "alpacca", tmp_path / "out")
    assert not (tmp_path / "out").exists()
