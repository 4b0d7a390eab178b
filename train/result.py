"""What a run came to: result.json, the losses by tag of the whole run, and where it was computed.

`train.run` writes it at the end of a run; `train.runs` compares what it says.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from corpus.atomic import write_text
from corpus.publish.folder import CARD
from corpus.publish.model_card import output_card
from train.data import TAGS, Measured, Mixed
from train.methods import parameter_counts
from train.speed import device_name, peak_memory
from train.trainer import METRICS, TagTrainer

if TYPE_CHECKING:
    from train.run import Prepared

RESULT = "result.json"
LIBRARIES = ("woolgather", "torch", "transformers", "peft", "accelerate", "tokenizers")
"""What decides a run's numbers."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run made and measured; losses are means over learned tokens."""

    run: str
    path: str
    output: str
    """The adapter's folder, or the model's where there is no adapter."""
    method: str
    base_model: str
    quantize: str
    mixture: str
    mixture_digest: str
    measured_on: str
    """Digest of the mixture whose holdout was measured."""
    license: dict[str, Any] | None
    """The verdict on the mixture's licences, as its lock says it."""
    template: str
    steps: int
    loss: float
    """Of the last log line."""
    losses: list[float]
    """Of all log lines."""
    eval: dict[str, float]
    """Holdout loss before the first step (`start`) and of the output (`end`); may be empty."""
    best: dict[str, Any] | None
    """With `eval.best`: what was lowest (`by`), its `loss` and `step`, whose weights are kept."""
    stopped_early: bool
    """Whether `eval.patience` ended the run."""
    tags: dict[str, Any]
    """`train` over the whole run and `eval` of the output: tag -> value -> loss, sum, tokens."""
    rows: int
    refused: dict[str, int]
    """Reason -> rows that could not be learned from."""
    learned_tokens: int
    """Learned tokens seen, over all epochs."""
    seen_tokens: int
    """Tokens seen, over all epochs, without padding."""
    tokens_per_second: float
    """Over all training steps."""
    trainable: int
    parameters: int
    trainable_share: float
    memory_bytes: int
    """The most in use: of the GPU, else of the process."""
    seconds: dict[str, float]
    """Phase -> seconds since the run was started or resumed, and their `total`."""
    loss_kernel: str
    """What computed the losses."""
    environment: dict[str, Any]
    """Versions, machine, device and threads."""

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain values."""
        return asdict(self)


def sum_up(
    trainer: TagTrainer, prepared: Prepared, output: Path, seconds: dict[str, float]
) -> RunResult:
    """Sum up a run from its metrics file; write the result beside it, and its output's card."""
    config, folder, best = trainer.run, trainer.folder, trainer.best
    measured, lines = prepared.rows, read_metrics(folder)
    train = [line for line in lines if line["kind"] == "train"]
    evals = [line for line in lines if line["kind"] == "eval"]
    kept = [one for one in evals if not config.eval.best or one["step"] == best.step][-1:]
    trainable, parameters = parameter_counts(trainer.model)
    seen = sum(line["seen_tokens"] for line in train)
    result = RunResult(
        run=folder.name,
        path=str(folder),
        output=str(output),
        method=config.method.type,
        base_model=config.base_model,
        quantize=config.quantize,
        mixture=prepared.mixture.name,
        mixture_digest=prepared.mixture.digest,
        measured_on=measured.other.digest if isinstance(measured, Measured) else measured.digest,
        license=verdict_of(prepared.mixture),
        template=config.template,
        steps=trainer.state.global_step,
        loss=train[-1]["loss"],
        losses=[line["loss"] for line in train],
        eval={"start": evals[0]["loss"], "end": kept[0]["loss"]} if kept else {},
        best={"by": config.eval.best, "loss": best.loss, "step": best.step}
        if config.eval.best
        else None,
        stopped_early=trainer.is_exhausted,
        tags={"train": sum_tags(train), "eval": kept[0]["tags"] if kept else {}},
        rows=len(prepared.train.store),
        refused=prepared.train.store.facts["refused"],
        learned_tokens=sum(line["tokens"] for line in train),
        seen_tokens=seen,
        tokens_per_second=seen / sum(line["seconds"] for line in train),
        trainable=trainable,
        parameters=parameters,
        trainable_share=trainable / parameters,
        memory_bytes=peak_memory(trainer.args.device),
        seconds={**seconds, "total": sum(seconds.values())},
        loss_kernel=str(getattr(trainer.model, "loss_kernel", "")),
        environment=environment(),
    )
    write_text(folder / RESULT, json.dumps(result.to_json(), ensure_ascii=False, indent=1))
    write_text(output / CARD, output_card(output))
    return result


def verdict_of(mixture: Mixed) -> dict[str, Any] | None:
    """Return the verdict on a mixture's licences; None for one without a lock."""
    lock: dict[str, Any] = getattr(mixture, "lock", {})
    return lock.get("verdict")


def environment() -> dict[str, Any]:
    """Return what computes here: versions, machine, device, threads."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return {
        "versions": {name: version(name) for name in LIBRARIES},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
    }


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Return the lines of a run's metrics file, in order."""
    text = (folder / METRICS).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def sum_tags(lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Add up the losses by tag of several metrics lines."""
    totals: dict[str, dict[str, dict[str, float]]] = {tag: {} for tag in TAGS}
    for line in lines:
        for tag, groups in line["tags"].items():
            for value, group in groups.items():
                total = totals[tag].setdefault(value, {"loss": 0.0, "sum": 0.0, "tokens": 0})
                total["sum"] += group["sum"]
                total["tokens"] += group["tokens"]
                total["loss"] = total["sum"] / total["tokens"]
    return totals
