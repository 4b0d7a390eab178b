"""The token cache: each row rendered once, shared by mixtures, mended when damaged."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corpus.atomic import new_folder
from corpus.clean import find_garbage
from corpus.errors import TrainError
from corpus.settings import Home
from train import tokens
from train.encode import encode
from train.render import load_template, turns_of
from train.tokens import MARKS, NO_REPLY, NO_ROOM, Rendering, TokenStore, open_tokens

Make = Callable[..., Rendering]
Tables = Callable[..., Any]


@pytest.fixture
def rendering(tokenizer: Any) -> Make:
    def make(max_tokens: int = 128, **options: Any) -> Rendering:
        return Rendering(tokenizer, load_template("alpaca", tokenizer), max_tokens, **options)

    return make


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each call of the tokenizer was given."""
    calls: list[int] = []

    def counting(tokenizer: Any, parts: list[Any]) -> Any:
        calls.append(len(parts))
        return encode(tokenizer, parts)

    monkeypatch.setattr(tokens, "encode", counting)
    return calls


def lines(n_rows: int, first: int = 0) -> list[dict[str, Any]]:
    return [
        {"instruction": f"Say {n}.", "output": f"It is {n}."} for n in range(first, first + n_rows)
    ]


def told(store: TokenStore) -> list[tuple[list[int], list[bool]]]:
    rows = (store.row(number) for number in range(len(store)))
    return [(ids.tolist(), learned.tolist()) for ids, learned in rows]


def test_a_store_holds_what_rendering_gives(home: Home, table: Any, rendering: Make) -> None:
    store, held = open_tokens(home, table, rendering())
    assert held is not None
    for part, rows in ((store, table), (held, table.holdout)):
        columns = ("instruction", "input", "output", "history", "system")
        block = rows.rows(range(len(rows)), columns)
        records = [
            dict(zip(columns, values, strict=True)) for values in zip(*block.values(), strict=True)
        ]
        parts = [rendering().template.parts(turns_of(one), one["system"]) for one in records]
        expected = encode(rendering().tokenizer, parts)
        assert told(part) == [(one.ids, one.learned) for one in expected]
        assert part.position.tolist() == list(range(len(rows)))
        assert part.lengths.tolist() == [len(one.ids) for one in expected]
        assert [part.groups[code].source for code in part.group] == [
            rows.sources[code].name for code in rows.index.source
        ]
        assert part.facts["learned_tokens"] == sum(sum(one.learned) for one in expected)
        assert part.facts["tokens"] == sum(len(one.ids) for one in expected)


def test_a_changed_mixture_renders_only_what_is_new(
    home: Home, table_of: Tables, rendering: Make, rendered: list[int]
) -> None:
    first = told(open_tokens(home, table_of(lines(20)), rendering())[0])
    assert sum(rendered) == 20
    # Other order, repeats, one new row, another source.
    records = [*lines(20)[::-1], *lines(5), *lines(1, first=99)]
    store, _ = open_tokens(home, table_of(records, [2] * 26), rendering())
    assert sum(rendered) == 21
    assert told(store)[:20] == first[::-1]
    assert told(store)[20:25] == first[:5]
    assert store.start[20:25].tolist() == store.start[:20][::-1][:5].tolist()
    assert {store.groups[code].source for code in store.group} == {"gsm8k/train"}
    open_tokens(home, table_of(lines(20)), rendering())
    open_tokens(home, table_of(records, [2] * 26), rendering())
    assert sum(rendered) == 21


def test_the_key_follows_all_that_decides_the_tokens(tokenizer: Any, rendering: Make) -> None:
    others = [
        Rendering(tokenizer, load_template("alpaca_lora", tokenizer), 128),
        Rendering(tokenizer, load_template("alpaca", tokenizer, learn_turns="last"), 128),
    ]
    made = [rendering(), rendering(64), rendering(train_on_inputs=True), *others]
    assert len({one.key for one in made}) == len(made)
    assert rendering().key == rendering().key


def test_rows_with_nothing_to_learn_are_refused_by_id_and_reason(
    home: Home, table_of: Tables, rendering: Make, rendered: list[int]
) -> None:
    rows = [
        {"instruction": "Hi", "output": "Hello"},
        {"instruction": "Hi", "output": " "},
        {"instruction": "word " * 300, "output": "Hello"},
    ]
    table = table_of(rows, [0, 1, 2])
    ids = table.rows(range(3), ["id"])["id"]
    # The second mixture finds them refused before.
    for again in (table, table_of([*rows, rows[0]], [0, 1, 2, 0])):
        store, _ = open_tokens(home, again, rendering())
        assert store.facts["refused"] == {MARKS[NO_REPLY]: 1, MARKS[NO_ROOM]: 1}
        reasons = {"reason": "no reply text", "source": "belle_cn"}
        assert list(store.refused()) == [
            {"position": 1, "id": ids[1], **reasons},
            {"position": 2, "id": ids[2], "reason": MARKS[NO_ROOM], "source": "gsm8k/train"},
        ]
        assert store.position.tolist() == [0, 3][: len(store)]
    assert sum(rendered) == 3


def test_nothing_left_to_learn_is_an_error(home: Home, table_of: Tables, rendering: Make) -> None:
    with pytest.raises(TrainError, match=r"every one of the 3 train rows is refused: .*\(3\)"):
        open_tokens(home, table_of([{"instruction": "Hi", "output": "Hello"}] * 3), rendering(8))
    with pytest.raises(TrainError, match="every one of the 0 train rows is refused: there is none"):
        open_tokens(home, table_of([], [0]), rendering())


def test_a_long_row_is_cut_and_counted(home: Home, table_of: Tables, rendering: Make) -> None:
    table = table_of([{"instruction": "Hi", "output": "Hello " * 300}])
    store, held = open_tokens(home, table, rendering())
    assert held is None
    assert (store.facts["cut_rows"], store.lengths.tolist()) == (1, [128])


def test_train_on_inputs_learns_all_but_the_first_token(
    home: Home, table: Any, rendering: Make
) -> None:
    store, _ = open_tokens(home, table, rendering(train_on_inputs=True))
    _, learned = store.row(0)
    assert learned.tolist() == [False] + [True] * (len(learned) - 1)


def test_large_vocabularies_give_the_same_tokens(
    home: Home, table: Any, rendering: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    small, _ = open_tokens(home, table, rendering())
    monkeypatch.setattr(Rendering, "kind", "<i4")
    large, _ = open_tokens(Home(tmp_path / "other"), table, rendering())
    assert (small.tokens[0].dtype, large.tokens[0].dtype) == (np.int16, np.int32)
    assert told(small) == told(large)


@pytest.mark.parametrize("file", ["tokens.bin", "rows.bin"])
def test_a_damaged_segment_is_made_again(
    home: Home, table: Any, rendering: Make, rendered: list[int], file: str
) -> None:
    store, _ = open_tokens(home, table, rendering())
    before, n_rows = told(store), sum(rendered)
    segment = next(store.path.parent.glob("segment-*"))
    found = bytearray((segment / file).read_bytes())
    found[len(found) // 2] ^= 1
    (segment / file).write_bytes(found)
    assert told(open_tokens(home, table, rendering())[0]) == before
    assert sum(rendered) == 2 * n_rows
    assert not segment.exists()


def test_a_damaged_index_is_made_again_without_rendering(
    home: Home, table: Any, rendering: Make, rendered: list[int]
) -> None:
    store, _ = open_tokens(home, table, rendering())
    before, n_rows = told(store), sum(rendered)
    (store.path / "train-start.bin").write_bytes(b"")
    assert told(open_tokens(home, table, rendering())[0]) == before
    assert sum(rendered) == n_rows


def test_a_killed_writer_keeps_its_whole_segments_and_leaves_nothing_else(
    home: Home,
    table_of: Tables,
    rendering: Make,
    rendered: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table, sealed = table_of(lines(100)), []
    monkeypatch.setattr(tokens, "SEGMENT", 30)

    @contextmanager
    def dying(path: Path) -> Iterator[Path]:
        if len(sealed) == 2:
            (path.parent / ".unfinished-x").mkdir()  # What a kill leaves.
            raise KeyboardInterrupt
        with new_folder(path) as made:
            yield made
        sealed.append(path)

    with monkeypatch.context() as patched:
        patched.setattr(tokens, "new_folder", dying)
        with pytest.raises(KeyboardInterrupt):
            open_tokens(home, table, rendering())
    assert sum(rendered) == 60
    store, _ = open_tokens(home, table, rendering())
    assert sum(rendered) == 100
    assert not list(store.path.parent.glob(".unfinished-*"))
    assert len(store) == 100


def test_many_segments_become_few(
    home: Home,
    table_of: Tables,
    rendering: Make,
    rendered: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tokens, "MOST_SEGMENTS", 4)
    alone = [told(open_tokens(home, table_of(lines(7, n)), rendering())[0]) for n in range(9)]
    store, _ = open_tokens(home, table_of(lines(7)), rendering())
    assert len(list(store.path.parent.glob("segment-*"))) <= 4
    for n in range(9):  # Indexes of before the merge are written anew.
        again, _ = open_tokens(home, table_of(lines(7, n)), rendering())
        assert told(again) == alone[n]
    assert sum(rendered) == 7 + 8  # Each new mixture had one new row.


def test_clean_names_the_tokens_of_mixtures_that_are_gone(
    home: Home, table_of: Tables, rendering: Make
) -> None:
    kept, gone = table_of(lines(3)), table_of(lines(4))
    stores = [open_tokens(home, one, rendering())[0] for one in (kept, gone)]
    lone, _ = open_tokens(home, gone, rendering(64))
    lock = home.mixtures / "m" / kept.digest / "mixture.lock"
    lock.parent.mkdir(parents=True)
    lock.write_text(json.dumps({"sources": []}))
    assert {one.path for one in find_garbage(home)} == {stores[1].path, lone.path.parent}
    assert "no mixture" in find_garbage(home)[0].why


def test_tokens_of_ids_that_end_in_zero_bytes_are_found(home: Home, rendering: Make) -> None:
    keys = np.frombuffer(bytes.fromhex("00" * 16 + "ab" + "00" * 15 + "ff" * 16), "S16")
    table = np.zeros(3, tokens.ROW)
    table["key"] = keys
    number, at = tokens._find([(home.path, table)], keys)
    assert (number.tolist(), at.tolist()) == ([0, 0, 0], [0, 1, 2])


def test_the_last_answer_alone_is_learned(
    home: Home, table_of: Tables, rendering: Make, tokenizer: Any
) -> None:
    turn = {"instruction": "Hi", "output": "Hello"}
    table = table_of([{"instruction": "And?", "output": "Bye", "history": [turn]}])
    last = load_template("alpaca", tokenizer, learn_turns="last")
    stores = [
        open_tokens(home, table, one)[0]
        for one in (rendering(), replace(rendering(), template=last))
    ]
    texts = [
        tokenizer.decode(store.row(0)[0][store.row(0)[1]], skip_special_tokens=True)
        for store in stores
    ]
    assert [text.split() for text in texts] == [["HelloBye"], ["Bye"]]
