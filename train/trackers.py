"""Outside trackers by name: each is told the losses, in all and by tag, of every line of metrics.

`train.run` opens them in the first process; `metrics.jsonl` has it all without one.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpus.errors import TrainError

PROJECT = "woolgather"
Values = dict[str, float]


@dataclass(frozen=True, slots=True)
class Tracker:
    """A way to send values at a step, and to end."""

    send: Callable[[Values, int], Any]
    close: Callable[[], Any]


def tensorboard(name: str, folder: Path, settings: Mapping[str, Any]) -> Tracker:
    """Write event files into the run's folder."""
    from torch.utils.tensorboard import SummaryWriter

    writer: Any = SummaryWriter(str(folder / "tensorboard"))

    def send(values: Values, step: int) -> None:
        for key, value in values.items():
            writer.add_scalar(key, value, step)
        writer.flush()

    return Tracker(send, writer.close)


def wandb(name: str, folder: Path, settings: Mapping[str, Any]) -> Tracker:
    """Log to Weights & Biases; WANDB_MODE=offline keeps it in the run's folder."""
    module: Any = importlib.import_module("wandb")
    options = {"id": name[-64:], "resume": "allow", "dir": str(folder)}
    module.init(project=PROJECT, name=name, config=dict(settings), **options)
    return Tracker(lambda values, step: module.log(values, step=step), module.finish)


def trackio(name: str, folder: Path, settings: Mapping[str, Any]) -> Tracker:
    """Log to Trackio, which keeps its runs on this machine."""
    module: Any = importlib.import_module("trackio")
    module.init(project=PROJECT, name=name, config=dict(settings), resume="allow")
    return Tracker(lambda values, step: module.log(values, step=step), module.finish)


def mlflow(name: str, folder: Path, settings: Mapping[str, Any]) -> Tracker:
    """Log to MLflow, where MLFLOW_TRACKING_URI says, else where it keeps its runs by default."""
    module: Any = importlib.import_module("mlflow")
    module.set_experiment(PROJECT)
    module.start_run(run_name=name)
    module.log_params({key: str(value)[:500] for key, value in settings.items()})

    def send(values: Values, step: int) -> None:
        # Names may hold letters of any script, but few signs.
        plain = {re.sub(r"[^\w./\- :]", "_", key): value for key, value in values.items()}
        module.log_metrics(plain, step=step)

    return Tracker(send, module.end_run)


TRACKERS = {one.__name__: one for one in (tensorboard, wandb, trackio, mlflow)}
"""All trackers by name."""


def refuse_absent(names: Sequence[str]) -> None:
    """Raise when a tracker's package is not installed.

    Raises:
        TrainError: the first such one, and how to install it.
    """
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise TrainError(f"trackers: {name} is not installed. Install it: pip install {name}")


@contextlib.contextmanager
def open_trackers(
    names: Sequence[str], folder: Path, settings: Mapping[str, Any], say: Callable[[str], None]
) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Yield a function that tells the trackers a line of metrics; they end with the block.

    One that fails on the way is told once, and left alone: the run goes on.

    Raises:
        TrainError: a tracker does not start.
    """
    with contextlib.ExitStack() as opened:
        # Trackers greet on stdout, which is for the result alone.
        opened.enter_context(contextlib.redirect_stdout(sys.stderr))
        trackers = {name: _open(name, folder, settings) for name in names}
        for one in trackers.values():
            opened.callback(one.close)

        def tell(line: dict[str, Any]) -> None:
            for name, one in list(trackers.items()):
                try:
                    one.send(values_of(line), line["step"])
                except Exception as error:
                    del trackers[name]
                    say(f"trackers: {name} is told no more after step {line['step']}: {error}")

        yield tell


def _open(name: str, folder: Path, settings: Mapping[str, Any]) -> Tracker:
    try:
        return TRACKERS[name](folder.name, folder, settings)
    except Exception as error:  # Each has a tree of errors of its own.
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise TrainError(f"trackers: {name} does not start: {reason}") from error


def values_of(line: Mapping[str, Any]) -> Values:
    """Return a line of metrics as flat values, such as train/lang/CN."""
    kind, values = line["kind"], {}
    for key in ("loss", "lr", "grad_norm", "tokens_per_second", "learned_tokens_per_second", "mfu"):
        if line.get(key) is not None:
            values[f"{kind}/{key}"] = float(line[key])
    for tag, groups in line["tags"].items():
        for value, group in groups.items():
            values[f"{kind}/{tag}/{value}"] = group["loss"]
    return values
