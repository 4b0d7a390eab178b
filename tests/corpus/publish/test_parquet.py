"""Shards: sizes that fit readers, the rows in their order, the same bytes each time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from corpus.catalog import Catalog
from corpus.mixture import Mixture, build_mixture, check_recipe
from corpus.publish import parquet
from corpus.publish.parquet import SCHEMA, sizes_of, write_split
from corpus.row_index import id_keys
from corpus.schema import RECORD
from corpus.settings import Home


@pytest.fixture
def mixture(make_build: Any, home: Home) -> Mixture:
    rows = [
        {
            "instruction": f"q{n}",
            "output": f"答{n}" * (n % 9),
            "history": [{"instruction": "a", "output": f"{n}"}] * (n % 3),
            "system": "s" if n % 5 == 0 else None,
            "extra": '{"n":1}' if n % 7 == 0 else None,
        }
        for n in range(120)
    ]
    make_build("alpaca", rows[:70])
    make_build("dolly", rows[70:])
    lines = [{"select": "alpaca", "epochs": 2}, {"select": "dolly", "epochs": 1}]
    return build_mixture(check_recipe({"name": "m", "sources": lines}), home, Catalog.load(home))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make shards and groups so small that a few rows fill several."""
    monkeypatch.setattr(parquet, "SMALL_BYTES", 1_000)
    monkeypatch.setattr(parquet, "SHARD_BYTES", 8_000)
    monkeypatch.setattr(parquet, "GROUP_BYTES", 2_000)
    monkeypatch.setattr(parquet, "WINDOW_BYTES", 5_000)


def test_rows_are_written_whole_and_in_order(mixture: Mixture, small: None, tmp_path: Path) -> None:
    done: list[int] = []
    files = write_split(tmp_path, "m", "train", mixture, tick=done.append)
    assert files.shards > 2
    assert done[-1] == files.rows == 190
    paths = sorted((tmp_path / "data" / "m").iterdir())
    last = f"train-{files.shards - 1:05d}-of-{files.shards:05d}.parquet"
    assert (len(paths), paths[-1].name) == (files.shards, last)
    tables = [pq.read_table(path) for path in paths]
    assert all(one.schema.equals(SCHEMA) for one in tables)
    found = [row for one in tables for row in one.to_pylist()]
    expected = mixture.rows(range(len(mixture)), RECORD.names)
    for name in RECORD.names:
        assert [row[name] for row in found] == expected[name], name
    tags = {one.name: one for one in mixture.sources}
    for row in found:
        source = tags[row["source"]]
        assert (row["lang"], row["gen"], row["license"]) == (
            source.lang,
            source.gen,
            source.license,
        )
    keys = [key for one in tables for chunk in one["id"].chunks for key in id_keys(chunk)]
    assert files.keys.tolist() == keys


def test_shards_and_groups_are_of_the_sizes_that_fit(
    mixture: Mixture, small: None, tmp_path: Path
) -> None:
    sizes = sizes_of(mixture)
    assert sizes.window % sizes.group == 0
    files = write_split(tmp_path, "m", "train", mixture)
    groups = []
    for path in sorted((tmp_path / "data" / "m").iterdir()):
        metadata = pq.read_metadata(path)
        groups += [metadata.row_group(n) for n in range(metadata.num_row_groups)]
        assert metadata.row_group(0).column(0).has_column_index, "readers need not read a group"
    assert max(one.num_rows for one in groups) == sizes.group
    assert len(groups) > files.shards
    assert {one.column(1).compression for one in groups} == {"ZSTD"}
    assert sum(one.total_byte_size for one in groups) == files.uncompressed


def test_rows_far_longer_than_others_make_smaller_groups(make_build: Any, home: Home) -> None:
    make_build("alpaca", [{"instruction": f"q{n}", "output": "a"} for n in range(50)])
    make_build("dolly", [{"instruction": f"q{n}", "output": "a" * 400_000} for n in range(5)])
    lines = [{"select": "alpaca | dolly", "epochs": 1}]
    recipe = check_recipe({"name": "m", "sources": lines})
    sizes = sizes_of(build_mixture(recipe, home, Catalog.load(home)))
    assert sizes.group < parquet.GROUP_BYTES / 300_000
    assert sizes.shards == 1


def test_the_same_rows_give_the_same_bytes(mixture: Mixture, small: None, tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_split(tmp_path / name, "m", "train", mixture)
    one, two = (sorted((tmp_path / name).rglob("*.parquet")) for name in ("one", "two"))
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]


def test_a_table_of_rows_is_what_their_lists_are(mixture: Mixture) -> None:
    places = [5, 189, 0, 5, 77]
    table = mixture.table(places)
    expected = mixture.rows(places, RECORD.names)
    assert {name: table.column(name).to_pylist() for name in RECORD.names} == expected
    assert mixture.table([]).num_rows == 0
    with pytest.raises(IndexError, match="must lie in"):
        mixture.table([190])
