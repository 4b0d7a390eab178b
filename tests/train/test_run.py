"""A run learns, resumes bit by bit, stops on nonsense, and leaves only what reads back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from corpus.atomic import sole_writer
from corpus.errors import BusyError, RecipeError, TrainError
from corpus.settings import Home
from train.checkpoint import checkpoints
from train.files import MANIFEST, is_whole
from train.run import read_metrics, run_training

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


def weights(result: Any) -> dict[str, torch.Tensor]:
    return dict(load_file(f"{result.output}/adapter_model.safetensors"))


def without_times(folder: Path) -> list[dict[str, Any]]:
    measured = ("seconds", "tokens_per_second", "learned_tokens_per_second", "mfu", "memory_bytes")
    return [
        {key: value for key, value in line.items() if key not in measured}
        for line in read_metrics(folder)
    ]


def test_lora_learns_and_the_holdout_follows(trained: Any) -> None:
    assert sum(trained.losses[-3:]) < 0.95 * sum(trained.losses[:3])
    assert trained.eval["end"] < trained.eval["start"]
    assert 0 < trained.trainable < trained.parameters / 5


def test_learning_rate_zero_changes_nothing(
    home: Home, table: Any, a_run: Callable[..., Any]
) -> None:
    result = run_training(a_run(optimizer={"lr": 0}, steps=2), home, mixture=table)
    assert result.eval["end"] == result.eval["start"]
    assert not any(one.any() for name, one in weights(result).items() if ".lora_B." in name)


def test_the_run_folder_tells_all(trained: Any) -> None:
    folder = Path(trained.path)
    run = yaml.safe_load((folder / "run.yaml").read_text())
    assert run["method"]["r"] == 8
    made_of = json.loads((folder / "made_of.json").read_text())
    assert made_of["mixture_digest"] == trained.mixture_digest
    assert made_of["versions"]["torch"] == torch.__version__
    assert json.loads((folder / "result.json").read_text()) == trained.to_json()


def test_the_adapter_folder_carries_what_belongs_to_it(trained: Any, base: Path) -> None:
    folder = Path(trained.output)
    facts = json.loads((folder / "woolgather.json").read_text())
    assert facts["template"] == "alpaca"
    assert facts["mixture"]["digest"] == trained.mixture_digest
    assert (folder / "tokenizer.model").read_bytes() == (base / "tokenizer.model").read_bytes()
    assert (folder / "tokenizer.json").is_file()
    assert (folder / "run.yaml").read_text() == (Path(trained.path) / "run.yaml").read_text()
    # Not peft's empty form: computed from the run.
    assert trained.mixture_digest in (folder / "README.md").read_text()


def test_all_weights_can_be_trained(home: Home, table: Any, a_run: Callable[..., Any]) -> None:
    from transformers import AutoModelForCausalLM

    run = a_run(method={"type": "full"}, optimizer={"lr": 1e-3})
    result = run_training(run, home, mixture=table)
    assert result.losses[-1] < result.losses[0]
    assert result.trainable == result.parameters
    model = AutoModelForCausalLM.from_pretrained(result.output)
    assert model.config.use_cache is True


@pytest.mark.parametrize("method", ["lora", "full"])
def test_what_is_trained_stays_float32_over_a_bfloat16_base(
    home: Home, table: Any, a_run: Callable[..., Any], method: str
) -> None:
    run = a_run(dtype="bfloat16", method={"type": method}, optimizer={"lr": 3e-3})
    result = run_training(run, home, mixture=table)
    assert result.losses[-1] < result.losses[0]
    (file,) = Path(result.output).glob("*.safetensors")
    assert {one.dtype for one in load_file(file).values()} == {torch.float32}


def test_refused_rows_are_told(
    home: Home, table_of: Callable[..., Any], a_run: Callable[..., Any]
) -> None:
    rows = [{"instruction": "Hi", "output": "Hello"}] * 4 + [{"instruction": "Hi", "output": " "}]
    result = run_training(a_run(steps=1), home, mixture=table_of(rows))
    assert (result.rows, result.refused) == (4, {"no reply text": 1})


KILLED = """
import os, runpy, signal, sys
import torch, train.checkpoint
from corpus.settings import Home
from train.compose import load_run
from train.run import run_training
from pathlib import Path

torch.set_num_threads(1)
conftest, home, file = map(Path, sys.argv[1:])
seal = train.checkpoint.seal

def dying(made, **options):
    if "checkpoint-4" in made.name:
        (made / "optimizer.pt").write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)
    seal(made, **options)

train.checkpoint.seal = dying
run_training(load_run(file), Home(home), mixture=runpy.run_path(str(conftest))["make_table"]())
"""


ADALORA = {"type": "adalora", "r": 2, "init_r": 4, "tinit": 1, "tfinal": 2, "delta_t": 2}


@pytest.mark.parametrize(
    "method", [{"type": "lora"}, pytest.param(ADALORA, marks=pytest.mark.slow)]
)
def test_resume_after_kill_while_saving_is_bit_equal(
    home: Home, table: Any, a_run: Callable[..., Any], tmp_path: Path, method: dict[str, Any]
) -> None:
    # Dropout makes the random state matter; log lines that span a checkpoint make the sums matter.
    run = a_run(
        save={"steps": 2},
        eval={"steps": 3},
        log={"steps": 3},
        method={**method, "dropout": 0.2},
        steps=7,
    )
    file = tmp_path / "run.yaml"
    file.write_text(run.dump())
    arguments = [str(HERE / "conftest.py"), str(home.path), str(file)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *arguments], env=environment, capture_output=True, text=True
    )
    assert killed.returncode == -9, killed.stderr
    folder = home.runs / "r"
    assert [one.name for one in checkpoints(folder)] == ["checkpoint-2"]
    assert not (folder / "adapter").exists()

    resumed = run_training(run.model_copy(update={"resume": True}), home, mixture=table)
    whole = run_training(run.model_copy(update={"name": "whole"}), home, mixture=table)
    assert resumed.losses == whole.losses
    assert [one.name for one in folder.iterdir() if one.name.startswith(".")] == []
    assert without_times(folder) == without_times(home.runs / "whole")
    ours, theirs = weights(resumed), weights(whole)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_checkpoint_with_a_missing_or_short_file_does_not_count(
    home: Home, table: Any, a_run: Callable[..., Any]
) -> None:
    run_training(a_run(save={"steps": 2, "keep": 3}), home, mixture=table)
    folder = home.runs / "r"
    kept = checkpoints(folder)
    assert [one.name for one in kept] == ["checkpoint-2", "checkpoint-4", "checkpoint-6"]
    assert all(is_whole(one, deep=True) for one in kept)
    (kept[2] / "optimizer.pt").write_bytes(b"half")
    (kept[1] / MANIFEST).unlink()
    assert [one.name for one in checkpoints(folder)] == ["checkpoint-2"]


def test_a_run_is_not_overwritten(home: Home, table: Any, a_run: Callable[..., Any]) -> None:
    done = run_training(a_run(steps=1), home, mixture=table)
    with pytest.raises(TrainError, match=r"run r is finished. Continue it: .* --resume r; or"):
        run_training(a_run(steps=1), home, mixture=table)
    assert run_training(a_run(steps=1, resume=True), home, mixture=table) == done


def test_a_run_is_not_resumed_as_another(
    home: Home, table: Any, table_of: Callable[..., Any], a_run: Callable[..., Any]
) -> None:
    run_training(a_run(steps=1), home, mixture=table)
    with pytest.raises(RecipeError, match=r"other settings: method, seed\."):
        run_training(a_run(steps=1, resume=True, seed=1, method={"r": 4}), home, mixture=table)
    other = table_of([{"instruction": "Hi", "output": "Hello"}])
    with pytest.raises(RecipeError, match=r"other settings: mixture digest"):
        run_training(a_run(steps=1, resume=True), home, mixture=other)


def test_a_run_has_one_writer(home: Home, table: Any, a_run: Callable[..., Any]) -> None:
    with (
        sole_writer(home.locks, "run-r"),
        pytest.raises(BusyError, match="run-r is being written by process"),
    ):
        run_training(a_run(), home, mixture=table)


def test_a_loss_that_is_not_finite_stops_the_run(
    home: Home, table: Any, a_run: Callable[..., Any]
) -> None:
    wild = a_run(optimizer={"lr": 1e30, "max_grad_norm": 0}, schedule={"warmup": 0})
    with pytest.raises(TrainError, match=r"step \d: the loss of .*belle_cn.* is not finite"):
        run_training(wild, home, mixture=table)
    assert not (home.runs / "r" / "adapter").exists()
    assert not (home.runs / "r" / "result.json").exists()


def test_an_interrupted_run_says_how_to_go_on(
    home: Home, table: Any, a_run: Callable[..., Any]
) -> None:
    def interrupt(completed: float, total: float | None = None, note: str = "") -> None:
        if completed == 3:
            raise KeyboardInterrupt

    message = r"stopped at step 3. Continue from the checkpoint of step 2: .* run --resume r$"
    with pytest.raises(TrainError, match=message):
        run_training(a_run(save={"steps": 2}), home, interrupt, mixture=table)


def test_ctrl_c_keeps_what_was_learned(home: Home, table: Any, a_run: Callable[..., Any]) -> None:
    run = a_run(method={"dropout": 0.2}, log={"steps": 2}, steps=6)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def press(completed: float, total: float | None = None, note: str = "") -> None:
        if completed == 3:
            os.kill(os.getpid(), signal.SIGINT)

    message = r"stopped at step [34]. Continue from the checkpoint of"
    with pytest.raises(TrainError, match=message) as told:
        run_training(run, home, press, mixture=table)
    assert told.value.exit_code == 130
    assert signal.signal(signal.SIGINT, before) is signal.default_int_handler
    resumed = run_training(run.model_copy(update={"resume": True}), home, mixture=table)
    whole = run_training(run.model_copy(update={"name": "whole"}), home, mixture=table)
    assert resumed.losses == whole.losses
    ours, theirs = weights(resumed), weights(whole)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_progress_reports_every_step(home: Home, table: Any, a_run: Callable[..., Any]) -> None:
    seen: list[tuple[float, float | None]] = []

    def progress(completed: float, total: float | None = None, note: str = "") -> None:
        seen.append((completed, total))

    run_training(a_run(steps=3), home, progress, mixture=table)
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_a_run_has_its_own_number_of_threads(
    home: Home, table: Any, a_run: Callable[..., Any]
) -> None:
    seen = []
    before = torch.get_num_threads()
    run_training(
        a_run(steps=1, threads=before + 1),
        home,
        lambda *told, **more: seen.append(torch.get_num_threads()),
        mixture=table,
    )
    assert (seen, torch.get_num_threads()) == ([before + 1], before)


@pytest.mark.parametrize("damage", ["change", "drop", "zero"])
def test_an_adapter_that_does_not_read_back_is_refused(
    home: Home,
    table: Any,
    a_run: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    damage: str,
) -> None:
    from safetensors.torch import save_file

    import train.output

    save = train.output.save_weights

    def damaged(model: Any, folder: Path) -> None:
        if damage == "zero":
            with torch.no_grad():
                [one.zero_() for name, one in model.named_parameters() if ".lora_B." in name]
        save(model, folder)
        file = folder / "adapter_model.safetensors"
        tensors = load_file(file)
        name = sorted(tensors)[0]
        if damage == "change":
            tensors[name] += 1
        elif damage == "drop":
            del tensors[name]
        save_file(tensors, file)

    monkeypatch.setattr(train.output, "save_weights", damaged)
    message = {
        "change": "does not read back as it was trained",
        "drop": "1 weights were not saved",
        "zero": "all of its LoRA B weights are zero",
    }
    with pytest.raises(TrainError, match=message[damage]):
        run_training(a_run(steps=2), home, mixture=table)
    assert not (home.runs / "r" / "adapter").exists()


def test_targets_that_the_base_lacks_are_told(
    home: Home, table: Any, a_run: Callable[..., Any]
) -> None:
    with pytest.raises(TrainError, match=r"^method\.targets: .*W_pack"):
        run_training(a_run(method={"targets": ["W_pack"]}), home, mixture=table)


def test_the_result_tells_speed_memory_phases_and_environment(trained: Any) -> None:
    assert trained.trainable_share == trained.trainable / trained.parameters
    phases = {"prepare", "build", "train", "evaluate", "save", "output", "total"}
    assert set(trained.seconds) == phases
    assert trained.seconds["total"] == pytest.approx(
        sum(seconds for phase, seconds in trained.seconds.items() if phase != "total")
    )
    assert trained.seen_tokens > trained.learned_tokens > 0
    assert 1e7 < trained.memory_bytes < 1e11
    told = trained.environment
    assert (told["device"], told["threads"]) == ("cpu", 1)
    assert set(told) == {"versions", "python", "platform", "device", "threads", "cores"}
    assert (trained.best, trained.stopped_early, trained.license) == (None, False, None)
    assert (trained.quantize, trained.loss_kernel) == ("none", "chunked")


def test_every_line_of_metrics_tells_its_speed(trained: Any) -> None:
    lines = [line for line in read_metrics(Path(trained.path)) if line["kind"] == "train"]
    for line in lines:
        assert line["tokens_per_second"] == line["seen_tokens"] / line["seconds"]
        assert line["learned_tokens_per_second"] == line["tokens"] / line["seconds"]
        assert 0 < line["mfu"] < 1.5
        assert line["memory_bytes"] > 0
        assert set(line["tags"]) == {"source", "lang", "task", "gen", "category"}
    assert trained.seen_tokens == sum(line["seen_tokens"] for line in lines)


def test_tokens_seen_are_those_of_the_rows_without_padding(
    home: Home, table: Any, a_run: Callable[..., Any]
) -> None:
    from train.run import prepare

    run = a_run(steps=None, epochs=1, packing=False)
    result = run_training(run, home, mixture=table)
    assert result.seen_tokens == prepare(run, home, table).train.store.lengths.sum()


def test_the_verdict_on_licences_travels_with_the_run(
    home: Home, table_of: Callable[..., Any], a_run: Callable[..., Any]
) -> None:
    table = table_of([{"instruction": "Hi", "output": "Hello"}] * 4)
    verdict: dict[str, Any] = {"license": "CC-BY-NC-4.0", "class": "non-commercial"}
    verdict |= {"terms": [], "obligations": {}, "conflicts": []}
    table.lock = {"verdict": verdict}
    result = run_training(a_run(steps=1), home, mixture=table)
    assert result.license == table.lock["verdict"]
    assert json.loads((home.runs / "r" / "made_of.json").read_text())["license"] == result.license


@pytest.mark.parametrize(
    ("method", "a_weight", "at_head"),
    [("full", 6, 6), ("lora", 4, 4)],
)
def test_flops_count_trained_weights_more_than_frozen_ones(
    base: Path, a_run: Callable[..., Any], method: str, a_weight: int, at_head: int
) -> None:
    from train.run import build_model
    from train.speed import flops_a_token

    model = build_model(a_run(method={"type": method}), steps=6)
    sizes = {name: one.numel() for name, one in model.named_parameters()}
    adapters = sum(n for name, n in sizes.items() if ".lora_" in name)
    ends = {
        end: sum(n for name, n in sizes.items() if f"{end}.weight" in name)
        for end in ("embed_tokens", "lm_head")
    }
    body = sum(sizes.values()) - adapters - sum(ends.values())
    assert flops_a_token(model) == (
        a_weight * body + 6 * adapters,
        at_head * ends["lm_head"],
    )


def test_running_out_of_memory_is_one_line_about_the_micro_batch(
    home: Home, table: Any, a_run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import train.trainer

    losses = train.trainer.token_losses

    def hungry(model: Any, batch: Any) -> Any:
        if model.training:
            torch.empty(2**60, dtype=torch.uint8)
        return losses(model, batch)

    monkeypatch.setattr(train.trainer, "token_losses", hungry)
    message = (
        r"^step 1: out of memory with 2 packed rows of \d+ tokens a forward pass\. Lower"
        r" batch\.micro \(now 2\) or sequence_length \(now 128\), or set activation_check"
    )
    with pytest.raises(TrainError, match=message) as told:
        run_training(a_run(), home, mixture=table)
    assert "\n" not in str(told.value)
    assert "allocate memory" in str(told.value)


def test_curves_are_one_page_without_scripts(trained: Any) -> None:
    from train.runs import open_run, write_losses

    folder = Path(trained.path)
    page = write_losses(open_run(Home(folder.parent.parent), folder.name))
    text = page.read_text()
    assert page == folder / "losses.html"
    assert text.count("<svg") == 12  # Total and five tags, training and holdout.
    for word in ("alpaca", "belle_cn", "CN", "EN"):
        assert word in text
    assert "<script" not in text
    assert "http" not in text


def test_a_failed_start_leaves_no_folder(home: Home, table: Any, a_run: Callable[..., Any]) -> None:
    with pytest.raises(TrainError, match="expected a folder or a hub id"):
        run_training(a_run(base_model="/nowhere/llama"), home, mixture=table)
    assert run_training(a_run(steps=1), home, mixture=table).steps == 1
