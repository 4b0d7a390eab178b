"""The token store: one rendering per key, refused rows by reason, nothing half written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corpus.errors import TrainError
from corpus.settings import Home
from train.render import Turn, encode, load_template
from train.tokens import NO_REPLY, NO_ROOM, Rendering, open_tokens


@pytest.fixture
def rendering(tokenizer: Any) -> Callable[..., Rendering]:
    def make(max_tokens: int = 128, **options: Any) -> Rendering:
        return Rendering(tokenizer, load_template("alpaca", tokenizer), max_tokens, **options)

    return make


def test_a_store_holds_what_rendering_gives(
    home: Home, table: Any, tokenizer: Any, rendering: Callable[..., Rendering]
) -> None:
    store = open_tokens(home, table, rendering())[0]
    assert len(store) == len(table)
    columns = ("instruction", "input", "output", "history", "system")
    rows = table.rows(range(len(table)), columns)
    for row in (0, 1, 2, len(table) - 1):
        one = {name: values[row] for name, values in rows.items()}
        earlier = [Turn(turn["instruction"], turn["output"]) for turn in one["history"]]
        turns = [*earlier, Turn(one["instruction"], one["output"], one["input"])]
        parts = rendering().template.parts(turns, one["system"])
        expected = encode(tokenizer, [parts])[0]
        ids, learned = store.row(row)
        assert ids.tolist() == expected.ids
        assert learned.astype(bool).tolist() == expected.learned
    assert store.group.tolist() == table.index.source.tolist()
    assert store.learned_tokens == int(store.learned.sum())
    assert store.facts["tokens"] == len(store.ids)


def test_the_same_rendering_is_made_once(
    home: Home, table: Any, rendering: Callable[..., Rendering]
) -> None:
    first = open_tokens(home, table, rendering())[0]
    made = (first.path / "ids.bin").stat().st_mtime_ns
    assert open_tokens(home, table, rendering())[0].path == first.path
    assert (first.path / "ids.bin").stat().st_mtime_ns == made


def test_the_key_follows_all_that_decides_the_bytes(
    tokenizer: Any, rendering: Callable[..., Rendering]
) -> None:
    other = Rendering(tokenizer, load_template("alpaca_lora", tokenizer), 128)
    keys = [
        rendering().key("a"),
        rendering().key("b"),
        rendering(64).key("a"),
        rendering(train_on_inputs=True).key("a"),
        other.key("a"),
    ]
    assert len(set(keys)) == len(keys)


def test_rows_with_nothing_to_learn_are_refused_by_id_and_reason(
    home: Home, table_of: Callable[..., Any], rendering: Callable[..., Rendering]
) -> None:
    rows = [
        {"instruction": "Hi", "output": "Hello"},
        {"instruction": "Hi", "output": " "},
        {"instruction": "word " * 300, "output": "Hello"},
    ]
    table = table_of(rows, [0, 1, 2])
    store = open_tokens(home, table, rendering())[0]
    assert store.facts["refused"] == {NO_REPLY: 1, NO_ROOM: 1}
    ids = table.rows(range(3), ["id"])["id"]
    assert list(store.refused()) == [
        {"position": 1, "id": ids[1], "reason": NO_REPLY, "source": "belle_cn"},
        {"position": 2, "id": ids[2], "reason": NO_ROOM, "source": "gsm8k/train"},
    ]
    assert store.position.tolist() == [0]


def test_all_rows_refused_is_an_error_and_leaves_no_store(
    home: Home, table_of: Callable[..., Any], rendering: Callable[..., Rendering]
) -> None:
    table = table_of([{"instruction": "Hi", "output": "Hello"}] * 3)
    with pytest.raises(TrainError, match=r"every one of the 3 rows is refused: .*\(3\)"):
        open_tokens(home, table, rendering(8))
    assert list(home.tokens.iterdir()) == []


def test_a_long_row_is_cut_and_counted(
    home: Home, table_of: Callable[..., Any], rendering: Callable[..., Rendering]
) -> None:
    table = table_of([{"instruction": "Hi", "output": "Hello " * 300}])
    store = open_tokens(home, table, rendering())[0]
    assert (store.facts["cut_rows"], store.lengths.tolist()) == (1, [128])


def test_train_on_inputs_learns_all_but_the_first_token(
    home: Home, table: Any, rendering: Callable[..., Rendering]
) -> None:
    store = open_tokens(home, table, rendering(train_on_inputs=True))[0]
    _, learned = store.row(0)
    assert learned.tolist() == [0] + [1] * (len(learned) - 1)


def test_a_writer_that_dies_leaves_nothing_that_counts(
    home: Home,
    table: Any,
    rendering: Callable[..., Rendering],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def die(*paths: Path, **options: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("train.tokens.seal", die)
        with pytest.raises(KeyboardInterrupt):
            open_tokens(home, table, rendering())[0]
    assert list(home.tokens.iterdir()) == []
    assert np.all(open_tokens(home, table, rendering())[0].lengths > 0)
