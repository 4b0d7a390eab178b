"""Checkpoints: sealed folders from which a run goes on bit by bit, and its best weights.

The trainer writes them; resuming takes the newest one whose digests are right.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors import SafetensorError

from corpus.atomic import new_folder, write_text
from corpus.errors import TrainError
from train.distributed import from_first, gathered, is_first
from train.files import is_whole, seal

STATE = "state.json"
"""File of a checkpoint with what transformers does not know of."""


@dataclass(slots=True)
class Best:
    """The lowest holdout loss so far, and how many evaluations since did not lower it."""

    loss: float | None = None
    step: int = 0
    stale: int = 0

    def judge(self, loss: float, step: int) -> bool:
        """Take in an evaluation; tell whether it is the best."""
        if math.isfinite(loss) and (self.loss is None or loss < self.loss):
            self.loss, self.step, self.stale = loss, step, 0
            return True
        self.stale += 1
        return False


@dataclass(frozen=True, slots=True)
class Progressed:
    """What a checkpoint says of a run beside weights, optimizer, schedule and random state."""

    sums: list[list[float]]
    """Losses by group since the last log line, over all processes."""
    seen: int
    """Tokens since then."""
    seconds: float
    """Seconds since then."""
    best: Best

    def write(self, folder: Path) -> None:
        """Write it into a checkpoint."""
        (folder / STATE).write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Progressed:
        """Read it from a checkpoint."""
        found = json.loads((folder / STATE).read_text(encoding="utf-8"))
        return cls(**{**found, "best": Best(**found["best"])})


@contextmanager
def sealed_folder(final: Path) -> Iterator[Path]:
    """Yield one new folder to all processes; sealed, it becomes `final`, or goes with an error.

    Raises:
        TrainError: it cannot be written, such as on a full disk.
    """
    try:
        with ExitStack() as stack:
            made = from_first(lambda: stack.enter_context(new_folder(final)))
            yield made
            gathered(None)  # All have written.
            if is_first():
                seal(made, manifest=True)
        gathered(None)
    except (OSError, RuntimeError, SafetensorError) as error:
        if isinstance(error, TrainError):
            raise
        free = shutil.disk_usage(final.parent).free
        raise TrainError(
            f"{final}: cannot be written: {str(error).splitlines()[0]} ({free:,} bytes are free)."
            f" Make room, and continue: woolgather train run --resume {final.parent.name}"
        ) from error


def checkpoint_step(folder: Path) -> int:
    """Return the step at which a checkpoint, or the best weights, were written."""
    return int(folder.name.rpartition("-")[2])


def checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints of a run that have all their files, the oldest first."""
    return [one for one in _found(folder) if is_whole(one)]


def _found(folder: Path) -> list[Path]:
    found = [one for one in folder.glob("checkpoint-*") if one.name[11:].isdigit()]
    return sorted(found, key=checkpoint_step)


def newest_checkpoint(folder: Path, say: Callable[[str], None]) -> Path | None:
    """Return the newest checkpoint that is whole to the last byte; damaged ones are told."""
    for one in reversed(_found(folder)):
        if is_whole(one, deep=True):
            return one
        say(f"{one} is damaged, its files are not those of its manifest: the one before counts")
    return None


def prune(folder: Path, keep: int, best_step: int) -> None:
    """Remove all but the newest checkpoints, and best weights that no run can go back to."""
    kept = checkpoints(folder)
    for old in kept[:-keep]:
        shutil.rmtree(old)
    wanted = {best_step, *(Progressed.read(one).best.step for one in kept[-keep:])}
    for one in folder.glob("best-*"):
        if checkpoint_step(one) not in wanted:
            shutil.rmtree(one)


def cut_metrics(file: Path, step: int) -> int:
    """Drop the lines after a step, which will come again; return the step last evaluated."""
    lines, evaluated = [], -1
    for text in file.read_text(encoding="utf-8").splitlines() if file.exists() else []:
        try:
            line = json.loads(text)
        except ValueError:
            continue  # The last line of a killed run may be half written.
        if line["step"] <= step:
            lines.append(text + "\n")
            evaluated = line["step"] if line["kind"] == "eval" else evaluated
    write_text(file, "".join(lines))
    return evaluated
