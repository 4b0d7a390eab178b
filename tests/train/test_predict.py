"""Predictions keep rows and their order, are what each row alone would get, and survive a kill."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corpus.errors import RawDataError, TrainError
from corpus.prompts import prompt_of, read_records
from corpus.settings import Home
from train.generate import PRESETS, TRIGGERS, Sampling, Speaker, load_speaker, triggered
from train.predict import predict, read_rows

GREEDY = Sampling(max_new_tokens=4)
ORDER = {"batch": 2, "compare": False, "trigger": None}


@pytest.fixture(scope="module")
def speaker(trained: Any) -> Speaker:
    return load_speaker(None, trained.output)


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    """Rows of very different lengths and every shape."""
    history = [{"instruction": "你好", "output": "你好！"}]
    rows: list[dict[str, Any]] = [
        {"id": f"row{n}", "instruction": f"Name {n} colours. " * (n % 5 + 1), "score": n}
        for n in range(18)
    ]
    rows[3] |= {"input": "red, green", "system": "Be brief."}
    rows[4] |= {"history": history}
    said = [("user", "Hi"), ("assistant", "Hello"), ("user", "Name 3 colours."), ("assistant", "r")]
    rows[7] = {"messages": [{"role": role, "content": text} for role, text in said]}
    return rows


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def run(speaker: Any, rows: Any, out: Path, home: Home, **changes: Any) -> int:
    sampling = changes.pop("sampling", GREEDY)
    return predict(rows, out, home, lambda: speaker, sampling=sampling, order={**ORDER, **changes})


def test_batched_answers_are_those_of_each_row_alone(
    speaker: Speaker, rows: list[dict[str, Any]], home: Home, tmp_path: Path
) -> None:
    out = tmp_path / "p.jsonl"
    assert run(speaker, rows, out, home, compare=True) == len(rows)
    made = lines(out)
    assert [
        {k: v for k, v in one.items() if k in row} for one, row in zip(made, rows, strict=True)
    ] == rows
    for one, row in zip(made, rows, strict=True):
        asked = prompt_of(row, "row")
        history = [tuple(turn.values()) for turn in asked["history"]]
        words = {"history": history, "system": asked["system"], "sampling": GREEDY}
        alone = speaker.answer(asked["instruction"], asked["input"], **words)
        assert one["prediction"] == alone
        base = speaker.answer(asked["instruction"], asked["input"], adapter=False, **words)
        assert one["without_adapter"] == base
    assert any(one["prediction"] != one["without_adapter"] for one in made)
    assert len({one["prediction"] for one in made}) > 1


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(6, repetition_penalty=1.8, no_repeat_ngram_size=2),
        Sampling(6, num_beams=3),
    ],
)
def test_penalties_and_beams_do_not_see_the_padding(
    speaker: Speaker, rows: list[dict[str, Any]], sampling: Sampling
) -> None:
    from train.render import Turn, encode_prompt

    prompts = [
        encode_prompt(speaker.tokenizer, speaker.template, [Turn(row["instruction"])])
        for row in rows[:5]
        if "instruction" in row
    ]
    ids, mask = speaker._batch(prompts, 6)
    seen = [set(row.tolist()) for row in ids]
    assert seen == [set(one) for one in prompts]  # Nothing is there to be penalised but the prompt.
    assert mask.sum(1).tolist() == [len(one) for one in prompts]
    together = speaker.reply(prompts, sampling)
    assert together == [speaker.reply([one], sampling)[0] for one in prompts]


@pytest.mark.parametrize("sampling", [GREEDY, Sampling(4, 1.5, seed=3)])
def test_a_killed_prediction_goes_on_to_the_same_bytes(
    speaker: Speaker, rows: list[dict[str, Any]], home: Home, tmp_path: Path, sampling: Sampling
) -> None:
    whole, cut = tmp_path / "whole.jsonl", tmp_path / "cut.jsonl"
    run(speaker, rows, whole, home, sampling=sampling)
    run(speaker, rows, cut, home, sampling=sampling)
    data = whole.read_bytes()
    for at in (data.index(b"\n", len(data) * 9 // 10) + 20, len(data) // 3, 5):
        cut.write_bytes(data[:at])
        assert run(speaker, rows, cut, home, sampling=sampling) == len(rows) - data[:at].count(
            b"\n"
        )
        assert cut.read_bytes() == data


def test_what_is_finished_needs_no_model(
    speaker: Speaker, rows: list[dict[str, Any]], home: Home, tmp_path: Path
) -> None:
    out = tmp_path / "p.jsonl"
    run(speaker, rows[:3], out, home)
    assert run(None, rows[:3], out, home) == 0
    assert run(speaker, rows[:5], out, home) == 2
    assert [one.get("id") for one in lines(out)] == [f"row{n}" for n in range(5)]


def test_another_file_is_not_gone_on_with(
    speaker: Speaker, rows: list[dict[str, Any]], home: Home, tmp_path: Path
) -> None:
    out = tmp_path / "p.jsonl"
    run(speaker, rows[:3], out, home)
    with pytest.raises(TrainError, match=r"it was begun with another batch, trigger\. Choose"):
        run(speaker, rows[:3], out, home, trigger={"en": "Think."}, batch=3)
    with pytest.raises(TrainError, match=r"p.jsonl:1: expected record 0 of the data"):
        run(speaker, rows[1:4], out, home)
    with pytest.raises(TrainError, match=r"p.jsonl:3: expected record 2 of the data"):
        run(speaker, rows[:2], out, home)
    strange = tmp_path / "strange.jsonl"
    strange.write_text("{}\n")
    with pytest.raises(TrainError, match="expected predictions, got a file of another kind"):
        run(speaker, rows[:3], strange, home)
    assert strange.read_text() == "{}\n"


def test_every_container_gives_the_same_rows(home: Home, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    rows = [
        {"instruction": 'Say, "red"\n请', "input": "", "n": "1"},
        {"instruction": "b", "input": "c", "n": "2"},
    ]
    table = pa.Table.from_pylist(rows)
    pyarrow.parquet.write_table(table, tmp_path / "r.parquet")
    pyarrow.csv.write_csv(table, tmp_path / "r.csv")
    (tmp_path / "r.json").write_text(json.dumps(rows, ensure_ascii=False, indent=1))
    (tmp_path / "r.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    for name in ("r.parquet", "r.csv", "r.json", "r.jsonl"):
        assert read_rows(str(tmp_path / name), home) == rows, name
        assert read_rows(str(tmp_path / name), home, 1) == rows[:1], name


def test_a_holdout_is_answered_with_its_provenance(
    home: Home, table: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def value(row: int, column: str, real: Callable[..., Any] = table.value) -> Any:
        place = {"file": "a.json", "record": row, "part": 0}
        return {"source": "alpaca", "origin": place, "extra": None}.get(column) or (
            None if column == "extra" else real(row, column)
        )

    monkeypatch.setattr(
        type(table), "value", lambda self, row, column: value(row, column), raising=True
    )
    monkeypatch.setattr("train.data.open_mixture", lambda name, home: table)
    found = read_rows("mixture:table", home, 3)
    assert len(found) == 3
    assert found[1]["origin"]["record"] == 1
    assert set(found[0]) >= {"id", "instruction", "source", "origin", "extra", "output"}


@pytest.mark.parametrize(
    "record",
    [
        {"text": "x"},
        {"instruction": None},
        {"instruction": " "},
        {"instruction": "a", "history": ["x"]},
        {"instruction": "a", "input": 3},
        {"messages": []},
        {"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]},
        {"messages": [{"role": "user", "content": None}]},
        "text",
        None,
    ],
)
def test_a_record_without_a_prompt_is_told(record: Any) -> None:
    with pytest.raises(RawDataError, match=r"d\.json: record 3: expected an instruction"):
        prompt_of(record, "d.json: record 3")


def test_prompts_of_every_shape_are_one() -> None:
    pairs = {"instruction": "b", "history": [["a", "A"]], "system": ""}
    turns = {"instruction": "b", "input": None, "history": [{"instruction": "a", "output": "A"}]}
    said = [("user", "a"), ("assistant", "A"), ("user", "b"), ("assistant", "B")]
    messages = {"messages": [{"role": role, "content": text} for role, text in said]}
    expected = {
        "instruction": "b",
        "input": "",
        "history": [{"instruction": "a", "output": "A"}],
        "system": None,
        "output": None,
    }
    assert [prompt_of(one, "") for one in (pairs, turns, messages)] == [expected] * 3
    messages["messages"].insert(0, {"role": "system", "content": "S"})
    assert prompt_of(messages, "")["system"] == "S"


def test_wrong_files_are_told(home: Home, tmp_path: Path) -> None:
    file = tmp_path / "d.jsonl"
    file.write_text('{"instruction": "a"}\n{"instruction": "b", "prediction": "x"}\n')
    with pytest.raises(TrainError, match=r"record 1: has a field .prediction.\. Rename it"):
        read_rows(str(file), home)
    file.write_text('{"instruction": "a"}\n{"instr\n')
    with pytest.raises(RawDataError, match="record 1: expected an instruction"):
        read_rows(str(file), home)
    file.write_text("")
    with pytest.raises((TrainError, RawDataError), match="expected"):
        read_rows(str(file), home)
    with pytest.raises(RawDataError, match="expected a file of records, got no such file"):
        read_records(tmp_path / "none.jsonl")


def test_a_trigger_is_put_as_a_mixture_puts_it() -> None:
    assert triggered("Add 1 and 2.", "", TRIGGERS) == (
        "Add 1 and 2.\nLet's think step by step.",
        "",
    )
    assert triggered("请计算", "1+2", TRIGGERS) == ("请计算", "1+2\n先思考，再决定")
    assert triggered("請計算這個", "", TRIGGERS) == ("請計算這個\n先思考，再決定", "")
    assert triggered("Add", "", None) == ("Add", "")
    again = triggered("Add 1 and 2.", "", TRIGGERS)
    assert triggered(*again, TRIGGERS) == again


def test_published_sampling_is_as_published() -> None:
    told = {name: one.options() for name, one in PRESETS.items()}
    keys = ("temperature", "top_p", "top_k", "num_beams", "max_new_tokens")
    assert [tuple(one[key] for key in keys) for one in told.values()] == [
        (0.1, 0.75, 40, 4, 128),
        (1.0, 0.9, 40, 4, 512),
        (0.2, 0.9, 40, 1, 400),
    ]
    assert told["alpaca_cot"]["repetition_penalty"] == 1.8
    assert told["alpaca_cot"]["no_repeat_ngram_size"] == 6
    assert told["chinese_alpaca"]["repetition_penalty"] == 1.1
