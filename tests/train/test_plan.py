"""A plan foresees what the run then needs: bytes of weights and activations, rows, steps."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corpus.errors import TrainError
from corpus.settings import Home
from train.plan import GIB, Plan, plan_lines, plan_run, saved_bytes
from train.run import build_model, prepare


def needed(run: Any, home: Home, table: Any) -> tuple[int, float]:
    """Return the bytes of the real model's weights, and what its widest micro batch keeps."""
    data = prepare(run, home, table).train
    model = build_model(run, 10)
    model.train()
    widest = data.widths.argsort()[::-1][: run.batch.micro]
    kept = saved_bytes(model, data.collate([data[int(one)] for one in widest]))
    held = {one.untyped_storage().data_ptr(): one.untyped_storage() for one in model.parameters()}
    return sum(one.nbytes() for one in held.values()), kept


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"packing": False},
        {"attention": "eager"},
        {"method": {"type": "full"}},
        {"method": {"type": "padapter", "bottleneck": 16}},
        {"dtype": "bfloat16", "method": {"modules_to_save": ["lm_head"]}},
        {"quantize": "nf4", "sequence_length": 256},
    ],
    ids=str,
)
def test_memory_is_foreseen_within_a_tenth(
    a_run: Callable[..., Any], table: Any, tmp_path: Path, changes: dict[str, Any]
) -> None:
    run, home = a_run(**changes), Home(tmp_path)
    plan = plan_run(run, home, table)
    weights, kept = needed(run, home, table)
    assert plan.memory.weights == pytest.approx(weights, rel=0.1)
    assert plan.memory.activations == pytest.approx(kept, rel=0.1)
    assert plan.memory.gradients == 4 * plan.trainable
    assert plan.memory.optimizer == 8 * plan.trainable


def test_checkpointing_and_small_micro_batches_need_less(
    a_run: Callable[..., Any], table: Any, tmp_path: Path
) -> None:
    def activations(**changes: Any) -> int:
        return plan_run(a_run(**changes), Home(tmp_path), table).memory.activations

    two = activations()
    assert activations(batch={"rows": 4, "micro": 1}) == pytest.approx(two / 2, rel=0.02)
    # Two blocks: one is there in full instead of two, and each keeps its input.
    assert 0.5 * two < activations(activation_checkpointing=1) < 0.75 * two


def test_the_largest_micro_batch_divides_a_step_and_fits(
    a_run: Callable[..., Any], table: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def plan(limit: int) -> Plan:
        monkeypatch.setattr("train.plan._device", lambda gpu: ("small", limit))
        return plan_run(a_run(batch={"rows": 6, "micro": 1}), Home(tmp_path), table)

    roomy = plan(GIB)
    assert roomy.largest_micro == 6
    one = roomy.memory.total
    more = roomy.memory.activations
    assert plan(one + 3 * more).largest_micro == 3  # 4 would fit, but does not divide 6.
    tight = plan(one - 1)
    assert tight.largest_micro == 0
    assert tight.step_seconds is None
    assert tight.time_from == "it does not fit into this machine's memory"


def test_a_gpu_is_planned_for_without_one_and_without_weights(
    a_run: Callable[..., Any], table: Any, base: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "shape"
    shutil.copytree(base, folder)
    (folder / "model.safetensors").unlink()
    run = a_run(base_model=str(folder))
    plan = plan_run(run, Home(tmp_path), table, gpu="A100:40")
    assert plan.device == "A100:40"
    assert plan.memory_limit == int(40 * GIB * 0.92)
    assert plan.step_seconds is not None
    assert 0 < plan.step_seconds < 1  # A tiny model on a GPU of hundreds of teraflops.
    assert any("A100:40: 36.8 GiB usable" in one for one in plan_lines(run, plan))
    with pytest.raises(
        TrainError, match=r"--gpu: got 'A1OO', expected NAME or NAME:GIB\. Known: B200"
    ):
        plan_run(run, Home(tmp_path), table, gpu="A1OO")


def test_time_rests_on_micro_batches_of_the_run(
    a_run: Callable[..., Any], table: Any, tmp_path: Path
) -> None:
    plan = plan_run(a_run(), Home(tmp_path), table)
    value = plan.to_json()
    assert value["time_from"] == "3 micro batches on this machine"
    assert value["seconds"] == pytest.approx(value["step_seconds"] * 6)
    assert value["memory"]["total"] == sum(
        value["memory"][key] for key in value["memory"] if key != "total"
    )
