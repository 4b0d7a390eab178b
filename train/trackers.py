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
from functools import partial
from pathlib import Path
from typing import Any

from corpus.errors import TrainError

PROJECT = "woolgather"
KEYS = ("loss", "lr", "grad_norm", "tokens_per_second", "learned_tokens_per_second", "mfu")

Values = dict[str, float]
Opened = tuple[Callable[[Values, int], Any], Callable[[], Any]]
"""How a tracker is told values at a step, and how it is ended."""


def tensorboard(folder: Path, settings: Mapping[str, Any]) -> Opened:
    """Write event files into the run's folder."""
    from torch.utils.tensorboard import SummaryWriter

    writer: Any = SummaryWriter(str(folder / "tensorboard"))

    def send(values: Values, step: int) -> None:
        for key, value in values.items():
            writer.add_scalar(key, value, step)
        writer.flush()

    return send, writer.close


def wandb(folder: Path, settings: Mapping[str, Any], name: str = "wandb") -> Opened:
    """Log to Weights & Biases, offline with WANDB_MODE=offline, or to Trackio, which is like it."""
    module: Any = importlib.import_module(name)
    own = {"id": folder.name[-64:], "dir": str(folder)} if name == "wandb" else {}
    options = {"project": PROJECT, "name": folder.name, "resume": "allow"}
    module.init(config=dict(settings), **options, **own)
    return lambda values, step: module.log(values, step=step), module.finish


def mlflow(folder: Path, settings: Mapping[str, Any]) -> Opened:
    """Log to MLflow, where MLFLOW_TRACKING_URI says, else where it keeps its runs by default."""
    module: Any = importlib.import_module("mlflow")
    module.set_experiment(PROJECT)
    module.start_run(run_name=folder.name)
    module.log_params({key: str(value)[:500] for key, value in settings.items()})

    def send(values: Values, step: int) -> None:
        # Names may hold letters of any script, but few signs.
        plain = {re.sub(r"[^\w./\- :]", "_", key): value for key, value in values.items()}
        module.log_metrics(plain, step=step)

    return send, module.end_run


TRACKERS: dict[str, Callable[[Path, Mapping[str, Any]], Opened]] = {
    "tensorboard": tensorboard,
    "wandb": wandb,
    "trackio": partial(wandb, name="trackio"),
    "mlflow": mlflow,
}


def refuse_absent(names: Sequence[str]) -> None:
    """Raise TrainError for the first tracker whose package is not installed."""
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise TrainError(f"trackers: {name} is not installed. Install it: pip install {name}")


@contextlib.contextmanager
def open_trackers(
    names: Sequence[str], folder: Path, settings: Mapping[str, Any], say: Callable[[str], None]
) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Yield a function that tells the trackers a line of metrics; they end with the block.

    One that fails on the way is told no more, and the run goes on.

    Raises:
        TrainError: a tracker does not start.
    """
    sends: dict[str, Callable[[Values, int], Any]] = {}
    with contextlib.ExitStack() as opened:
        # Trackers greet on stdout, which is for the result alone.
        opened.enter_context(contextlib.redirect_stdout(sys.stderr))
        for name in names:
            try:
                sends[name], close = TRACKERS[name](folder, settings)
            except Exception as error:  # Each has a tree of errors of its own.
                reason = (str(error).strip() or type(error).__name__).splitlines()[0]
                raise TrainError(f"trackers: {name} does not start: {reason}") from error
            opened.callback(close)

        def tell(line: dict[str, Any]) -> None:
            for name, send in list(sends.items()):
                try:
                    send(values_of(line), line["step"])
                except Exception as error:
                    del sends[name]
                    say(f"trackers: {name} is told no more after step {line['step']}: {error}")

        yield tell


def values_of(line: Mapping[str, Any]) -> Values:
    """Return a line of metrics as flat values, such as train/lang/CN."""
    kind = line["kind"]
    values = {f"{kind}/{key}": line[key] for key in KEYS if line.get(key) is not None}
    for tag, groups in line["tags"].items():
        values |= {f"{kind}/{tag}/{value}": group["loss"] for value, group in groups.items()}
    return values
