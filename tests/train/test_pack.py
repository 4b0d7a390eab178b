"""Packing puts every row in once, never overfills, isolates rows, and any step knows its rows."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from corpus.settings import Home
from train.loss import install_loss, token_losses
from train.pack import IGNORED, PackedRows, PackOrder, epoch_keys, plan_packs
from train.render import load_template
from train.tokens import Rendering, open_tokens

LENGTHS = st.lists(st.integers(1, 40), max_size=200)

QUANTILES = (10, 38, 56, 79, 105, 138, 180, 232, 310, 460, 700, 1100, 2048)
"""Tokens of instruction rows at each twelfth of all rows, as public sets have them."""


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
    places = np.random.default_rng(0).random(1_000_000) * (len(QUANTILES) - 1)
    lengths = np.interp(places, range(len(QUANTILES)), QUANTILES).astype(np.int64)
    started = time.perf_counter()
    packs = plan_packs(lengths, 2048)
    assert time.perf_counter() - started < 10
    assert lengths.sum() / (len(packs) * 2048) > 0.98


def steps_of(orders: list[PackOrder], passes: int) -> list[Counter[int]]:
    """The packs of every optimizer step, of all processes together."""
    batches = [list(order) for order in orders]
    assert len({len(one) for one in batches}) == 1  # Or one would wait for the others for ever.
    assert [len(one) for one in orders] == [len(one) for one in batches]
    steps = -(-len(batches[0]) // passes)
    return [
        Counter(
            pack
            for one in batches
            for batch in one[step * passes : (step + 1) * passes]
            for pack in batch
        )
        for step in range(steps)
    ]


@given(
    widths=st.lists(st.integers(1, 30), min_size=1, max_size=50),
    total=st.integers(1, 120),
    shape=st.tuples(st.integers(1, 6), st.integers(1, 5), st.integers(1, 4)),
    seed=st.integers(0, 2**32 - 1),
    bucketed=st.booleans(),
)
def test_a_step_holds_the_same_packs_for_any_micro_batch_and_processes(
    widths: list[int], total: int, shape: tuple[int, int, int], seed: int, bucketed: bool
) -> None:
    passes, micro, world = shape
    rows, sizes = passes * micro * world, np.array(widths)
    alone = PackOrder(sizes, total, rows, 1, seed, bucketed=bucketed)
    parts = [
        PackOrder(sizes, total, rows, micro, seed, bucketed=bucketed, rank=rank, world=world)
        for rank in range(world)
    ]
    steps = steps_of([alone], rows)
    assert steps_of(parts, passes) == steps
    assert [one.total() for one in steps[:-1]] == [rows] * (len(steps) - 1)
    # Once an epoch: an epoch is so many places, and no step but the last is short.
    seen = Counter[int]()
    for one in steps:
        seen += one
    assert seen.total() == total
    assert max(seen.values()) - min(seen[pack] for pack in range(len(widths))) <= 1
    for epoch in range(-(-total // len(widths))):
        assert sorted(alone.epoch(epoch).tolist()) == list(range(len(widths)))


@given(
    widths=st.lists(st.integers(1, 30), min_size=1, max_size=40),
    world=st.integers(1, 4),
    bucketed=st.booleans(),
)
def test_the_widest_packs_come_first_in_every_process(
    widths: list[int], world: int, bucketed: bool
) -> None:
    sizes = np.array(widths)
    orders = [
        PackOrder(sizes, len(sizes), 8, 2, 3, bucketed=bucketed, rank=rank, world=world)
        for rank in range(world)
    ]
    first = [next(iter(order)) for order in orders]
    found = [pack for batch in first for pack in batch]
    assert (
        sorted((widths[pack] for pack in found), reverse=True) == sorted(widths)[::-1][: 2 * world]
    )
    assert widths[first[0][0]] == max(widths)


def test_any_step_is_known_without_those_before_it() -> None:
    sizes = np.arange(1, 11)
    batches = list(PackOrder(sizes, 24, 4, 2, 3))
    for number in range(6):
        told = PackOrder(sizes, 24, 4, 2, 3).step(number)
        assert [told[:2], told[2:]] == batches[2 * number : 2 * number + 2]


def test_epochs_and_seeds_have_orders_of_their_own_that_never_change() -> None:
    assert np.argsort(epoch_keys(8, 42, 0)).tolist() == [4, 3, 5, 0, 7, 6, 1, 2]
    orders = {tuple(np.argsort(epoch_keys(8, seed, one))) for seed in range(3) for one in range(3)}
    assert len(orders) == 9


def test_rows_of_like_length_go_together_without_packing() -> None:
    sizes = np.random.default_rng(0).lognormal(5, 0.8, 20_000).astype(np.int64).clip(8, 2048)
    shares = [PackOrder(sizes, 1, 32, 8, 0, bucketed=one).padding() for one in (True, False)]
    assert shares[0] < 0.02 < 0.2 < shares[1]
    order = PackOrder(sizes, len(sizes), 32, 8, 0, bucketed=True)
    computed = sum(len(batch) * int(sizes[batch].max()) for batch in order)
    assert 1 - sizes.sum() / computed == pytest.approx(order.padding(), abs=1e-12)
    lengths = [float(sizes[order.step(number)].mean()) for number in range(1, 200)]
    assert abs(np.corrcoef(lengths[1:], lengths[:-1])[0, 1]) < 0.2  # Long and short steps mix.


@pytest.fixture
def data(home: Home, table: Any, tokenizer: Any) -> PackedRows:
    rendering = Rendering(tokenizer, load_template("alpaca", tokenizer), 160)
    store, _ = open_tokens(home, table, rendering)
    return PackedRows(store, plan_packs(store.lengths, 160))


def test_a_packed_row_restarts_positions_and_predicts_within_rows(data: PackedRows) -> None:
    rows = data[0]
    batch = data.collate([rows])
    lengths = [int(data.store.lengths[row]) for row in rows]
    assert int(data.widths[0]) == sum(lengths)
    assert batch["position_ids"][0].tolist() == [n for size in lengths for n in range(size)]
    ids, keep = batch["input_ids"][0], batch["keep"]
    assert batch["targets"][0].tolist() == ids[keep + 1].tolist()
    learned = np.concatenate([data.store.row(row)[1] for row in rows])
    assert (keep + 1).tolist() == np.flatnonzero(learned).tolist()
    groups = np.repeat([data.store.group[row] for row in rows], lengths)
    assert batch["groups"][0].tolist() == groups[keep].tolist()
    assert "attention_mask" not in batch


def test_padding_predicts_nothing_and_stands_alone(data: PackedRows) -> None:
    short, long = int(np.argmin(data.widths)), int(np.argmax(data.widths))
    size = int(data.widths[short])
    batch = data.collate([data[short], data[long]])
    assert batch["position_ids"][0, size:].eq(0).all()
    assert batch["targets"][0][batch["keep"] >= size].eq(IGNORED).all()
    alone = data.collate([data[short]])["targets"]
    assert batch["targets"][0].ne(IGNORED).sum() == alone.ne(IGNORED).sum()


def test_rows_alone_have_a_mask_of_their_tokens(data: PackedRows) -> None:
    packs = plan_packs(data.store.lengths, 160, packing=False)
    lone = PackedRows(data.store, packs, masked=True)
    short, long = int(np.argmin(lone.widths)), int(np.argmax(lone.widths))
    batch = lone.collate([lone[short], lone[long]])
    n_short, n_long = (int(lone.widths[one]) for one in (short, long))
    assert n_short < n_long
    assert batch["attention_mask"].tolist() == [
        [1] * n_short + [0] * (n_long - n_short),
        [1] * n_long,
    ]


@pytest.mark.parametrize("masked", [False, True])
def test_an_empty_micro_batch_gives_no_loss_and_zero_gradients(
    data: PackedRows, base: Path, a_run: Callable[..., Any], masked: bool
) -> None:
    model = AutoModelForCausalLM.from_pretrained(base)
    install_loss(model, a_run())
    batch = PackedRows(data.store, data.packs, masked=masked).collate([])
    losses, groups = token_losses(model, batch)
    assert (losses.shape, groups.shape) == ((0,), (0,))
    (losses.sum() / 7).backward()
    # Each weight takes part, so that processes can add up their gradients.
    assert all(one.grad is not None and not one.grad.any() for one in model.parameters())


SIZES = {"vocab_size": 90, "hidden_size": 64, "num_hidden_layers": 2, "head_dim": 16}
SIZES |= {"num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 96}


def farthest(kind: Any, config: Any, attention: str) -> tuple[float, float]:
    """How far any logit moves when rows are packed, and when they are only put together."""
    torch.manual_seed(0)
    config._attn_implementation = attention
    model = kind(config).eval()
    rows = [torch.randint(0, 90, (size,)) for size in (17, 1, 40, 5, 23)]
    padding = torch.zeros(3, dtype=torch.int64)
    ids = torch.cat([*rows, padding])[None]
    places = torch.cat([*(torch.arange(len(one)) for one in rows), padding])[None]
    with torch.no_grad():
        alone = torch.cat([model(one[None], use_cache=False).logits[0] for one in rows])
        packed = model(ids, position_ids=places, use_cache=False).logits[0, :-3]
        mixed = model(ids, use_cache=False).logits[0, :-3]
    return float((packed - alone).abs().max()), float((mixed - alone).abs().max())


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize(
    ("kind", "config"), [(LlamaForCausalLM, LlamaConfig), (Qwen3ForCausalLM, Qwen3Config)]
)
def test_packed_rows_have_the_logits_of_rows_alone(kind: Any, config: Any, attention: str) -> None:
    packed, mixed = farthest(kind, config(**SIZES), attention)
    assert packed < 1e-5
    assert mixed > 1e-3


@pytest.mark.slow  # It compiles its kernels for minutes.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_packed_rows_have_the_logits_of_rows_alone_under_flex_attention() -> None:
    try:
        packed, mixed = farthest(LlamaForCausalLM, LlamaConfig(**SIZES), "flex_attention")
    except Exception as error:  # Whatever the compiler lacks here.
        pytest.skip(f"flex attention does not compile here: {error!r:.300}")
    assert packed < 1e-5
    assert mixed > 1e-3
