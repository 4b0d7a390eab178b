"""Runs that die go on bit by bit; damaged checkpoints and full disks are told; the best is kept."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from corpus.errors import RecipeError, TrainError
from corpus.settings import Home
from train.checkpoint import Best, Progressed, checkpoints, newest_checkpoint, prune, sealed_folder
from train.files import is_whole
from train.run import run_training


class DyingError(Exception):
    """Ends a run at a step, as a power cut would."""


def dies_at(step: int) -> Callable[..., None]:
    def progress(completed: float, total: float | None = None, note: str = "") -> None:
        if completed == step:
            raise DyingError

    return progress


def trained_bytes(result: Any) -> dict[str, bytes]:
    """The weights of an adapter or a model, by file."""
    return {one.name: one.read_bytes() for one in Path(result.output).glob("*.safetensors")}


def assert_resumes(home: Home, table: Any, run: Any, step: int) -> None:
    """Kill a run at a step, resume it, and hold it against one that never stopped."""
    with pytest.raises(DyingError):
        run_training(run, home, dies_at(step), mixture=table)
    resumed = run_training(run.model_copy(update={"resume": True}), home, mixture=table)
    whole = run_training(run.model_copy(update={"name": "whole"}), home, mixture=table)
    assert resumed.losses == whole.losses
    assert trained_bytes(resumed) == trained_bytes(whole)


METHODS = {
    "adalora": {"r": 2, "init_r": 4, "tinit": 1, "tfinal": 2, "delta_t": 2, "dropout": 0.2},
    "p_tuning": {"virtual_tokens": 4, "encoder_hidden": 16},
    "full": {},
}
"""Methods with more state than their folders have: importances, a network behind tokens, all."""


@pytest.mark.slow
@pytest.mark.parametrize("method", ["adalora", "p_tuning", "full"])
def test_methods_with_more_state_resume_bit_equal(
    home: Home, table: Any, a_run: Callable[..., Any], method: str
) -> None:
    run = a_run(
        method={"type": method, **METHODS[method]},
        packing=method != "p_tuning",
        optimizer={"lr": 1e-3},
        save={"steps": 3},
        log={"steps": 2},
    )
    assert_resumes(home, table, run, 5)


WILD = {"optimizer": {"lr": 0.5}, "schedule": {"name": "constant", "warmup": 0}}
"""A rate at which the loss of lang:CN falls in step 2 and rises in step 3."""


def test_best_weights_and_patience_survive_two_kills(
    home: Home, table: Any, a_run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = a_run(
        **WILD, eval={"steps": 1, "best": "lang:CN", "patience": 1}, save={"steps": 1}, steps=9
    )
    with pytest.raises(DyingError):
        run_training(run, home, dies_at(3), mixture=table)
    resume = run.model_copy(update={"resume": True})

    def die(*given: Any, **options: Any) -> None:
        raise DyingError

    with monkeypatch.context() as patched:
        patched.setattr("train.run.save_output", die)
        with pytest.raises(DyingError):
            run_training(resume, home, mixture=table)
    resumed = run_training(resume, home, mixture=table)
    whole = run_training(run.model_copy(update={"name": "whole"}), home, mixture=table)
    assert (resumed.best, resumed.best["step"]) == (whole.best, 2)
    assert (resumed.steps, resumed.stopped_early) == (3, True)
    assert resumed.losses == whole.losses
    assert trained_bytes(resumed) == trained_bytes(whole)


def test_the_output_is_the_best_and_its_result_says_so(
    home: Home, table: Any, a_run: Callable[..., Any]
) -> None:
    run = a_run(**WILD, steps=3, eval={"steps": 1, "best": "lang:CN"})
    told: list[dict[str, Any]] = []
    result = run_training(run, home, mixture=table, on_line=told.append)
    losses = {
        line["step"]: line["tags"]["lang"]["CN"]["loss"]
        for line in told
        if line["kind"] == "eval" and line["step"]
    }
    best = min(losses, key=lambda step: losses[step])
    assert best == 2
    assert result.best == {"by": "lang:CN", "loss": losses[best], "step": best}
    assert result.tags["eval"]["lang"]["CN"]["loss"] == losses[best]
    kept = load_file(home.runs / "r" / f"best-{best}" / "trained.safetensors")
    output = load_file(f"{result.output}/adapter_model.safetensors")
    for name, weight in output.items():
        live = name.replace(".weight", ".default.weight")
        assert torch.equal(kept[f"weight.{live}"], weight)
    assert not result.stopped_early


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"best": "lang:FR"}, "no row of 'lang:FR', expected one of lang:CN, lang:EN$"),
        ({"best": "category:poems"}, "expected one of category:-, category:train$"),
    ],
)
def test_a_tag_that_the_holdout_lacks_is_refused(
    home: Home, table: Any, a_run: Callable[..., Any], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        run_training(a_run(eval={"steps": 1, **changes}), home, mixture=table)
    assert not (home.runs / "r").exists()


def test_without_a_holdout_there_is_no_best(
    home: Home, table_of: Callable[..., Any], a_run: Callable[..., Any]
) -> None:
    rows = table_of([{"instruction": "Hi", "output": "Hello"}] * 4)
    for setting in ({"best": "total"}, {"patience": 2}):
        name = next(iter(setting))
        with pytest.raises(RecipeError, match=rf"eval\.{name}: the mixture has no holdout"):
            run_training(a_run(eval={"steps": 1, **setting}), home, mixture=rows)
    said: list[str] = []
    result = run_training(a_run(eval={"steps": 1}, steps=1), home, mixture=rows, say=said.append)
    assert result.eval == {}
    assert said[0].startswith("eval.steps: nothing is measured, the mixture has no holdout.")


def test_best_counts_what_did_not_lower_it() -> None:
    best = Best()
    told = [best.judge(loss, step) for step, loss in enumerate([3.0, float("nan"), 2.0, 2.0], 1)]
    assert told == [True, False, True, False]
    assert (best.loss, best.step, best.stale) == (2.0, 3, 1)


def test_a_damaged_checkpoint_is_told_and_the_one_before_counts(
    home: Home, table: Any, a_run: Callable[..., Any]
) -> None:
    run = a_run(save={"steps": 2, "keep": 3}, steps=7)
    with pytest.raises(DyingError):
        run_training(run, home, dies_at(7), mixture=table)
    folder = home.runs / "r"
    file = folder / "checkpoint-6" / "optimizer.pt"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1  # One bit, the size stays.
    file.write_bytes(content)
    (folder / "checkpoint-4" / "rng_state.pth").unlink()
    said: list[str] = []
    resume = run.model_copy(update={"resume": True})
    resumed = run_training(resume, home, mixture=table, say=said.append)
    assert [line.partition(" is damaged")[0][-12:] for line in said] == [
        "checkpoint-6",
        "checkpoint-4",
    ]
    whole = run_training(run.model_copy(update={"name": "whole"}), home, mixture=table)
    assert resumed.losses == whole.losses
    assert trained_bytes(resumed) == trained_bytes(whole)
    assert [one.name for one in checkpoints(folder) if is_whole(one, deep=True)] == [
        "checkpoint-4",
        "checkpoint-6",
        "checkpoint-7",
    ]


@contextmanager
def small_files(limit: int) -> Iterator[None]:
    """Let files grow to so many bytes and no further, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_the_earlier_checkpoint_and_no_half(
    home: Home, table: Any, a_run: Callable[..., Any]
) -> None:
    run = a_run(save={"steps": 2}, log={"steps": 10})

    with pytest.raises(DyingError):
        run_training(run, home, dies_at(3), mixture=table)
    message = r"checkpoint-4: cannot be written: .*\([\d,]+ bytes are free\)\. Make room"
    resume = run.model_copy(update={"resume": True})
    # The weights find room, the optimizer's state, which is twice as large, does not.
    room = (home.runs / "r" / "checkpoint-2" / "optimizer.pt").stat().st_size // 2 + 20_000
    with small_files(room), pytest.raises(TrainError, match=message) as told:
        run_training(resume, home, mixture=table)
    assert "\n" not in str(told.value)
    left = sorted(one.name for one in (home.runs / "r").iterdir() if one.is_dir())
    assert left == ["checkpoint-2"]


def test_a_folder_that_cannot_be_filled_does_not_appear(tmp_path: Path) -> None:
    message = "best-3: cannot be written: too large .* run --resume mine$"
    (tmp_path / "mine").mkdir()
    with pytest.raises(TrainError, match=message), sealed_folder(tmp_path / "mine" / "best-3"):
        raise RuntimeError("too large\nand more")
    assert list((tmp_path / "mine").iterdir()) == []


def test_best_weights_stay_while_a_checkpoint_can_go_back_to_them(tmp_path: Path) -> None:
    for step, best in ((2, 1), (4, 3), (6, 3)):
        with sealed_folder(tmp_path / f"checkpoint-{step}") as made:
            Progressed([[0.0], [0.0]], 0, 0.0, Best(1.0, best, 0)).write(made)
    for step in (1, 3, 5, 7):
        (tmp_path / f"best-{step}").mkdir()
    prune(tmp_path, 2, best_step=7)
    assert sorted(one.name for one in tmp_path.iterdir()) == [
        "best-3",
        "best-7",
        "checkpoint-4",
        "checkpoint-6",
    ]
    found = newest_checkpoint(tmp_path, print)
    assert found == tmp_path / "checkpoint-6"
    assert Progressed.read(found).best == Best(1.0, 3, 0)
    assert json.loads((found / "state.json").read_text())["seen"] == 0
