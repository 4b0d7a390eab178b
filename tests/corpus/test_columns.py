"""Random reads of stored rows equal what pyarrow reads, whatever shards and batches hold them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.columns import RowReader
from corpus.schema import RECORD
from corpus.store import Build

MakeBuild = Callable[..., Build]

TEXT = st.sampled_from(["", "a", "羊毛", "🐑", "x" * 300])
TURN = st.fixed_dictionaries({"instruction": TEXT, "output": TEXT})
ROW = st.fixed_dictionaries(
    {
        "id": TEXT,
        "instruction": TEXT,
        "input": TEXT,
        "output": TEXT,
        "history": st.lists(TURN, max_size=3),
        "system": st.none() | TEXT,
        "source": TEXT,
        "origin": st.fixed_dictionaries(
            {"file": TEXT, "record": st.integers(0, 2**40), "part": st.integers(0, 9)}
        ),
        "extra": st.none() | TEXT,
    }
)


def written(folder: Path, rows: list[Any], shard_rows: int, batch_rows: int) -> RowReader:
    """Write rows as shards and return their reader."""
    shards = []
    for number, start in enumerate(range(0, len(rows), shard_rows)):
        table = pa.Table.from_pylist(rows[start : start + shard_rows], RECORD)
        name = f"data-{number:05d}.arrow"
        with pa.ipc.new_stream(str(folder / name), RECORD) as writer:
            for batch in table.to_batches(max_chunksize=batch_rows):
                writer.write_batch(batch)
        shards.append((name, table.num_rows))
    return RowReader(folder, shards)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(ROW, min_size=1, max_size=12),
    st.integers(1, 12),
    st.integers(1, 5),
    st.lists(st.integers(0, 11), max_size=20),
)
def test_taken_rows_are_the_rows_in_the_order_asked(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[Any],
    shard_rows: int,
    batch_rows: int,
    asked: list[int],
) -> None:
    reader = written(tmp_path_factory.mktemp("rows"), rows, shard_rows, batch_rows)
    asked = [one % len(rows) for one in asked]
    assert len(reader) == len(rows)
    taken = reader.take(np.array(asked, dtype=np.uint32), RECORD.names)
    assert taken == {name: [rows[one][name] for one in asked] for name in RECORD.names}
    assert reader.table().to_pylist() == rows
    assert reader.table(["id", "extra"]).column_names == ["id", "extra"]


@pytest.mark.parametrize("row", [-1, 20, 2**40])
def test_a_row_outside_of_the_build_is_refused(make_build: MakeBuild, row: int) -> None:
    reader = make_build("wool", [{"instruction": "a", "output": "b"}] * 20).reader()
    with pytest.raises(IndexError, match=r"row numbers must lie in \[0, 20\), got \[0, "):
        reader.take([0, row], ["id"])


def test_no_rows_asked_give_no_rows(make_build: MakeBuild) -> None:
    reader = make_build("wool", [{"instruction": "a", "output": "b"}]).reader()
    assert reader.take([], ["id", "history"]) == {"id": [], "history": []}
    assert RowReader(Path(), []).table().num_rows == 0
