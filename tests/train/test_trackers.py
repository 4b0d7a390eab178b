"""Trackers are told every loss by tag; they stay off, out of stdout, and never end a run."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corpus.errors import TrainError
from corpus.settings import Home
from train.run import read_metrics, run_training
from train.trackers import TRACKERS, open_trackers, refuse_absent, values_of

LINE = {
    "kind": "train",
    "step": 3,
    "loss": 2.0,
    "lr": 0.1,
    "grad_norm": None,
    "tags": {"lang": {"CN": {"loss": 1.5}}, "category": {"写作 (a)": {"loss": 2.5}}},
}
FAKE = """
told = []

def __getattr__(name):
    def call(*values, **options):
        print("a greeting")
        told.append((name, values, options))
    if name.startswith("__"):
        raise AttributeError(name)
    return call
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[Any]]:
    """Install a package of a name that notes how its functions are called."""
    folder = tmp_path / "packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))

    def install(name: str) -> list[Any]:
        (folder / f"{name}.py").write_text(FAKE)
        monkeypatch.delitem(sys.modules, name, raising=False)
        import importlib

        module = importlib.import_module(name)
        monkeypatch.setitem(sys.modules, name, module)
        told: list[Any] = module.told
        return told

    return install


def test_a_line_becomes_flat_values() -> None:
    assert values_of(LINE) == {
        "train/loss": 2.0,
        "train/lr": 0.1,
        "train/lang/CN": 1.5,
        "train/category/写作 (a)": 2.5,
    }


@pytest.mark.parametrize("name", ["wandb", "trackio", "mlflow"])
def test_a_tracker_is_started_told_and_ended(
    name: str,
    fake: Callable[[str], list[Any]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = fake(name)
    with open_trackers([name], tmp_path / "mine", {"seed": 1}, print) as tell:
        tell(LINE)
    values = values_of(LINE)
    log = {
        "wandb": ("log", (values,), {"step": 3}),
        "trackio": ("log", (values,), {"step": 3}),
        "mlflow": ("log_metrics", ({**values},), {"step": 3}),
    }[name]
    if name == "mlflow":  # Its names have no brackets.
        log[1][0]["train/category/写作 _a_"] = log[1][0].pop("train/category/写作 (a)")
    last = "end_run" if name == "mlflow" else "finish"
    assert told[-2:] == [log, (last, (), {})]
    starts = {call: options for call, _, options in told[:-2]}
    if name == "mlflow":
        assert starts["start_run"] == {"run_name": "mine"}
    else:
        assert starts["init"]["name"] == "mine"
        assert starts["init"]["config"] == {"seed": 1}
    assert capsys.readouterr().out == ""


def test_tensorboard_holds_every_loss_by_tag(
    home: Home, table: Any, a_run: Callable[..., Any]
) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = a_run(steps=3, eval={"steps": 2}, trackers=["tensorboard"])
    run_training(run, home, mixture=table)
    events = EventAccumulator(str(home.runs / "r" / "tensorboard")).Reload()
    lines = read_metrics(home.runs / "r")
    for kind in ("train", "eval"):
        expected = [
            (line["step"], pytest.approx(line["tags"]["lang"]["CN"]["loss"], rel=1e-6))
            for line in lines
            if line["kind"] == kind and "CN" in line["tags"]["lang"]
        ]
        assert [(one.step, one.value) for one in events.Scalars(f"{kind}/lang/CN")] == expected
    assert {"train/loss", "train/lr", "train/grad_norm"} <= set(events.Tags()["scalars"])


def test_a_missing_package_is_told_before_anything_happens(
    home: Home, table: Any, a_run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert set(TRACKERS) == {"tensorboard", "wandb", "trackio", "mlflow"}
    message = r"^trackers: wandb is not installed\. Install it: pip install wandb$"
    with pytest.raises(TrainError, match=message):
        refuse_absent(["wandb"])
    with pytest.raises(TrainError, match=message):
        run_training(a_run(trackers=["wandb"]), home, mixture=table)
    assert not (home.runs / "r").exists()


def test_a_tracker_that_fails_does_not_end_the_run(
    fake: Callable[[str], list[Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake("wandb")
    told = fake("trackio")

    def fail(*values: Any, **options: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr(sys.modules["wandb"], "log", fail, raising=False)
    said: list[str] = []
    with open_trackers(["wandb", "trackio"], tmp_path / "mine", {}, said.append) as tell:
        tell(LINE)
        tell(LINE)
    assert said == ["trackers: wandb is told no more after step 3: no network"]
    assert [call for call, _, _ in told] == ["init", "log", "log", "finish"]
    monkeypatch.setattr(sys.modules["wandb"], "init", fail, raising=False)
    with (
        pytest.raises(TrainError, match="wandb does not start: no network"),
        open_trackers(["wandb"], tmp_path / "mine", {}, print),
    ):
        pass
