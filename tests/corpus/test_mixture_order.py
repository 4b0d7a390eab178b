"""Order: whole numbers only, every prefix in proportion, every row once before any twice."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.mixture.order import (
    MASK,
    arrange,
    draw,
    draw_epochs,
    row_order_keys,
    splitmix64,
    turns,
)

QUOTAS = st.lists(st.integers(0, 60), min_size=1, max_size=9).filter(lambda quotas: sum(quotas) > 0)


def test_splitmix64_gives_its_published_numbers() -> None:
    # The first outputs for seed 1234567 of the reference implementation.
    gamma, state, found = 0x9E3779B97F4A7C15, 1234567, []
    for _ in range(3):
        found.append(splitmix64(state))
        state = (state + gamma) & MASK
    assert found == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_keys_are_the_outputs_of_one_splitmix64_stream() -> None:
    of_source = xxhash.xxh3_64_intdigest(b"alpaca")
    state = splitmix64(splitmix64(splitmix64(5) ^ of_source) ^ 1)
    rows = [0, 1, 2, 999, 2**32 - 1]
    keys = row_order_keys(np.array(rows, np.uint32), 5, "alpaca", 1)
    expected = [splitmix64((state + row * 0x9E3779B97F4A7C15) & MASK) for row in rows]
    assert keys.tolist() == expected


def test_the_order_of_today_is_the_order_of_tomorrow() -> None:
    rows = np.arange(10, dtype=np.uint32)
    assert draw(rows, 10, 42, "alpaca", 0).tolist() == [8, 3, 6, 5, 2, 4, 9, 0, 1, 7]
    assert turns([3, 2]).tolist() == [0, 1, 0, 1, 0]


@pytest.mark.parametrize("other", [(43, "alpaca", 0), (42, "dolly", 0), (42, "alpaca", 1)])
def test_seed_source_and_epoch_change_the_order(other: tuple[int, str, int]) -> None:
    rows = np.arange(100, dtype=np.uint32)
    assert draw(rows, 100, 42, "alpaca", 0).tolist() != draw(rows, 100, *other).tolist()


@given(
    rows=st.sets(st.integers(0, 2**32 - 1), min_size=1, max_size=80),
    seed=st.integers(0, MASK),
    data=st.data(),
)
def test_a_sample_is_the_beginning_of_the_whole_order(
    rows: set[int], seed: int, data: st.DataObject
) -> None:
    numbers = np.array(sorted(rows), dtype=np.uint32)
    count = data.draw(st.integers(0, len(numbers)))
    whole = draw(numbers, len(numbers), seed, "s", 0).tolist()
    assert sorted(whole) == numbers.tolist()
    assert draw(numbers, count, seed, "s", 0).tolist() == whole[:count]


def test_an_order_has_no_drift() -> None:
    places = draw(np.arange(20_000, dtype=np.uint32), 20_000, 1, "s", 0).astype(np.int64)
    assert abs(np.corrcoef(places, np.arange(20_000))[0, 1]) < 0.03
    assert abs(places[:2000].mean() - 10_000) < 500


@given(count=st.integers(1, 30), quota=st.integers(0, 120))
def test_no_row_repeats_before_every_row_of_the_epoch_was_used(count: int, quota: int) -> None:
    rows, epochs = draw_epochs(np.arange(5, 5 + count, dtype=np.uint32), quota, 3, "s")
    assert len(rows) == quota
    for epoch in range(quota // count):
        part = slice(epoch * count, (epoch + 1) * count)
        assert sorted(rows[part].tolist()) == list(range(5, 5 + count))
        assert set(epochs[part].tolist()) == {epoch}
    rest = rows[quota - quota % count :].tolist()
    assert len(set(rest)) == len(rest)


@given(QUOTAS)
def test_every_prefix_has_the_target_proportions(quotas: list[int]) -> None:
    places = turns(quotas)
    total = sum(quotas)
    assert Counter(places.tolist()) == Counter({s: q for s, q in enumerate(quotas) if q})
    live = sum(quota > 0 for quota in quotas)
    for source, quota in enumerate(quotas):
        emitted = np.cumsum(places == source)
        ideal = np.arange(1, total + 1) * quota / total
        bound = 0.5 + live * quota / (2 * total)
        assert np.abs(emitted - ideal).max() <= bound + 1e-6


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 400_000), min_size=2, max_size=20))
def test_long_mixtures_keep_the_bound(quotas: list[int]) -> None:
    places, total = turns(quotas), sum(quotas)
    for source, quota in enumerate(quotas):
        emitted = np.cumsum(places == source)
        ideal = np.arange(1, total + 1) * (quota / total)
        assert np.abs(emitted - ideal).max() <= 0.5 + len(quotas) * quota / (2 * total) + 1e-3


@given(QUOTAS, st.integers(0, MASK))
def test_arranging_keeps_each_sources_order(quotas: list[int], seed: int) -> None:
    drawn = [
        draw_epochs(np.arange(7, dtype=np.uint32), quota, seed, f"s{source}")
        for source, quota in enumerate(quotas)
    ]
    sources, rows, epochs = arrange(drawn)
    for source, (own_rows, own_epochs) in enumerate(drawn):
        assert rows[sources == source].tolist() == own_rows.tolist()
        assert epochs[sources == source].tolist() == own_epochs.tolist()


def test_nothing_is_arranged_from_nothing() -> None:
    empty = (np.empty(0, np.uint32), np.empty(0, np.uint16))
    assert [len(column) for column in arrange([empty, empty])] == [0, 0, 0]
