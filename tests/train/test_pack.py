"""Packing puts every row in once, never overfills, and any step knows its rows."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.settings import Home
from train.pack import IGNORED, PackedRows, PackOrder, epoch_order, plan_packs
from train.render import load_template
from train.tokens import Rendering, open_tokens

LENGTHS = st.lists(st.integers(1, 40), max_size=200)


@given(LENGTHS, st.integers(40, 90), st.booleans())
def test_every_row_is_packed_once_within_capacity(
    lengths: list[int], capacity: int, packing: bool
) -> None:
    sizes = np.array(lengths, np.int64)
    packs = plan_packs(sizes, capacity, packing=packing)
    assert sorted(packs.rows.tolist()) == list(range(len(lengths)))
    for pack in range(len(packs)):
        rows = packs[pack]
        assert 0 < sizes[rows].sum() <= capacity
        assert rows.tolist() == sorted(rows.tolist())
    if not packing:
        assert len(packs) == len(lengths)


@given(LENGTHS, st.integers(40, 90))
def test_packing_in_groups_is_best_fit_decreasing(lengths: list[int], capacity: int) -> None:
    rooms: list[int] = []
    for size in sorted(lengths, reverse=True):
        fits = [room for room in rooms if room >= size]
        if fits:
            rooms[rooms.index(min(fits))] -= size
        else:
            rooms.append(capacity - size)
    sizes = np.array(lengths, np.int64)
    packs = plan_packs(sizes, capacity)
    left = [capacity - int(sizes[packs[one]].sum()) for one in range(len(packs))]
    assert sorted(left) == sorted(rooms)


def test_a_million_rows_pack_in_seconds_and_nearly_full() -> None:
    lengths = np.random.default_rng(0).lognormal(5, 0.8, 1_000_000).astype(np.int64).clip(8, 2048)
    started = time.perf_counter()
    packs = plan_packs(lengths, 2048)
    assert time.perf_counter() - started < 10
    assert lengths.sum() / (len(packs) * 2048) > 0.98


@given(st.integers(1, 50), st.integers(1, 120), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_the_order_visits_every_pack_once_an_epoch(
    n_packs: int, total: int, micro: int, seed: int
) -> None:
    seen = [one for batch in PackOrder(n_packs, total, micro, seed) for one in batch]
    assert len(seen) == total
    for start in range(0, total - n_packs + 1, n_packs):
        assert sorted(seen[start : start + n_packs]) == list(range(n_packs))


def test_processes_share_the_order_between_them() -> None:
    alone = list(PackOrder(10, 24, 2, 3))
    parts = [list(PackOrder(10, 24, 2, 3, rank=rank, world=2)) for rank in (0, 1)]
    assert [one for pair in zip(*parts, strict=True) for one in pair] == alone


def test_epochs_and_seeds_have_orders_of_their_own_that_never_change() -> None:
    assert epoch_order(8, 42, 0).tolist() == [4, 3, 5, 0, 7, 6, 1, 2]
    orders = {tuple(epoch_order(8, seed, epoch)) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9


@pytest.fixture
def data(home: Home, table: Any, tokenizer: Any) -> PackedRows:
    rendering = Rendering(tokenizer, load_template("alpaca", tokenizer), 160)
    store = open_tokens(home, table, rendering)[0]
    return PackedRows(store, plan_packs(store.lengths, 160))


def test_a_packed_row_restarts_positions_and_predicts_within_rows(data: PackedRows) -> None:
    rows = data[0]
    batch = data.collate([rows])
    lengths = [int(data.store.lengths[row]) for row in rows]
    assert batch["position_ids"][0].tolist() == [n for size in lengths for n in range(size)]
    ids, keep = batch["input_ids"][0], batch["keep"]
    assert batch["targets"][0].tolist() == ids[keep + 1].tolist()
    learned = np.concatenate([data.store.row(row)[1] for row in rows])
    assert (keep + 1).tolist() == np.flatnonzero(learned).tolist()
    sources = np.repeat([data.store.group[row] for row in rows], lengths)
    assert batch["groups"][0].tolist() == sources[keep].tolist()


def test_padding_predicts_nothing_and_stands_alone(data: PackedRows) -> None:
    sizes = [sum(int(data.store.lengths[row]) for row in data[pack]) for pack in range(len(data))]
    short, long = int(np.argmin(sizes)), int(np.argmax(sizes))
    batch = data.collate([data[short], data[long]])
    assert batch["position_ids"][0, sizes[short] :].eq(0).all()
    targets = batch["targets"][0][batch["keep"] >= sizes[short]]
    assert targets.eq(IGNORED).all()
    alone = data.collate([data[short]])["targets"]
    assert batch["targets"][0].ne(IGNORED).sum() == alone.ne(IGNORED).sum()
