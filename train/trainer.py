"""The trainer: transformers.Trainer with our order of rows, loss, log, evaluation and checkpoints.

`train.run` builds it; what it inherits are the loop, the optimizer, the schedule and the devices.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from pathlib import Path
from typing import Any, Protocol

import torch
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from corpus.atomic import new_folder, write_text
from corpus.errors import TrainError
from train import methods
from train.arguments import total_packs, training_arguments
from train.config import Run
from train.files import is_whole, seal
from train.loss import TagSums, token_losses
from train.methods import is_adapter
from train.pack import IGNORED, PackedRows, PackOrder, micro_batches

METRICS = "metrics.jsonl"
SUMS = "tag_sums.json"


class Progress(Protocol):
    """Reports progress: steps done, all steps, a note."""

    def __call__(self, completed: float, total: float | None = None, note: str = "") -> None: ...


class TagTrainer(Trainer):
    """A trainer that knows the group of every token."""

    def __init__(
        self,
        model: Any,
        run: Run,
        folder: Path,
        data: PackedRows,
        holdout: PackedRows | None,
        on_progress: Progress | None = None,
    ) -> None:
        arguments = training_arguments(run, folder, len(data), evaluates=holdout is not None)
        super().__init__(model, arguments, train_dataset=data, eval_dataset=holdout)
        self.run, self.folder = run, folder
        self.data, self.holdout = data, holdout
        self.loss_is_scaled_for_ga = True
        device = self.args.device
        self.train_sums, self.eval_sums = (TagSums(data.store.groups, device) for _ in range(2))
        self.evaluated_at = -1
        self._making: Path | None = None
        self._logged = time.monotonic()
        self.remove_callback(PrinterCallback)
        self.remove_callback(ProgressCallback)
        self.add_callback(_Steps(on_progress))

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Return the micro batches of the whole run; the parent skips those already seen."""
        data: Any = self.data
        run = self.run
        order = PackOrder(
            len(data),
            total_packs(run, len(data)),
            run.batch.micro,
            run.seed,
            rank=self.args.process_index,
            world=self.args.world_size,
        )
        return DataLoader(
            data,
            batch_sampler=order,
            collate_fn=data.collate,
            pin_memory=self.args.dataloader_pin_memory,
            # Its own generator: a loader must not move the random state that dropout uses.
            generator=torch.Generator(),
        )

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Make the run's optimizer over the groups that its method asks for."""
        if self.optimizer is None:
            trained: Any = model if model is not None else self.model
            kind, options = self.get_optimizer_cls_and_kwargs(self.args, trained)
            self.optimizer = kind(methods.parameter_groups(trained, self.run), **options)
        return self.optimizer

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: Any) -> torch.Tensor:
        """Count the learned tokens of a whole step, over all its micro batches and processes."""
        count = sum((one["targets"] != IGNORED).sum() for one in batch_samples)
        assert isinstance(count, torch.Tensor)
        count = count.to(device)
        return self.accelerator.gather(count).sum() if self.args.world_size > 1 else count

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Return this micro batch's share of the step's mean loss, and book it by group."""
        losses, codes = token_losses(model, inputs)
        self.train_sums.add(losses, codes)
        # Processes average their gradients, where a sum is meant.
        loss = losses.sum() / num_items_in_batch * self.args.world_size
        extra = methods.extra_loss(self.model)
        if extra is not None:
            loss = loss + extra / self.current_gradient_accumulation_steps
        return (loss, None) if return_outputs else loss

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        """Stop before a step that would destroy the weights: the norm is the same everywhere."""
        parent: Any = super()
        norm = parent._get_grad_norm(model, grad_norm)
        if not math.isfinite(float(norm)):
            totals = self.train_sums.take()
            summed = zip(totals.values["source"], totals.sums, strict=True)
            bad = dict.fromkeys(name for name, total in summed if not math.isfinite(total))
            what = f"loss of {', '.join(bad)}" if bad else "gradient"
            raise TrainError(
                f"step {self.state.global_step + 1}: the {what} is not finite; nothing of this step"
                " was applied. Lower optimizer.lr, or look at the rows with: woolgather train check"
            )
        return norm

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Write a line of metrics with exact sums by tag; other lines go to the parent only."""
        if "loss" in logs:
            totals = self.train_sums.take()
            logs["loss"] = totals.loss
            now = time.monotonic()
            packs = self.state.global_step * self.run.rows_a_step()
            line = {
                "kind": "train",
                "step": self.state.global_step,
                "epoch": min(packs, total_packs(self.run, len(self.data))) / len(self.data),
                "loss": totals.loss,
                "tokens": totals.tokens,
                "lr": logs["learning_rate"],
                "grad_norm": logs.get("grad_norm"),
                "seconds": now - self._logged,
                "tags": totals.by_tag(),
            }
            self._logged = now
            self._write(line)
        super().log(logs, start_time)

    def evaluate(
        self,
        eval_dataset: Any = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """Measure the holdout's loss by tag, from token losses alone."""
        self.eval_sums.take()
        model: Any = self.model
        assert self.holdout is not None
        was_training = model.training
        model.eval()
        with torch.no_grad():
            for batch in micro_batches(self.holdout, self.run.batch.micro):
                self.eval_sums.add(*token_losses(model, self._prepare_inputs(batch)))
        model.train(was_training)
        totals = self.eval_sums.take()
        self.evaluated_at = self.state.global_step
        self._write(
            {
                "kind": "eval",
                "step": self.state.global_step,
                "loss": totals.loss,
                "tokens": totals.tokens,
                "tags": totals.by_tag(),
            }
        )
        metrics = {f"{metric_key_prefix}_loss": totals.loss}
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def _write(self, line: dict[str, Any]) -> None:
        if self.is_world_process_zero():
            with (self.folder / METRICS).open("a", encoding="utf-8") as file:
                file.write(json.dumps(line, ensure_ascii=False) + "\n")

    def _get_output_dir(self, trial: Any) -> str:
        """Send the parent's checkpoint to the folder that is being made."""
        return str(self._making or self.folder)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """Save the trained weights only."""
        if self.args.should_save:
            save_weights(self.model, Path(output_dir or self.folder))

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Write a checkpoint aside, then make it appear whole; keep the newest ones."""
        name = f"checkpoint-{self.state.global_step}"
        shutil.rmtree(self.folder / name, ignore_errors=True)  # A damaged one, met on the way.
        with new_folder(self.folder / name) as self._making:
            super()._save_checkpoint(model, trial)
            for one in (self._making / name).iterdir():
                one.rename(self._making / one.name)
            (self._making / name).rmdir()
            (self._making / SUMS).write_text(json.dumps(self.train_sums.state()))
            seal(self._making, manifest=True)
        self._making = None
        for old in checkpoints(self.folder)[: -self.run.save.keep]:
            shutil.rmtree(old)

    def resume_from(self, checkpoint: Path) -> None:
        """Continue the sums by tag and the metrics file from a checkpoint."""
        self.train_sums.restore(json.loads((checkpoint / SUMS).read_text()))
        step = checkpoint_step(checkpoint)
        self.evaluated_at = cut_metrics(self.folder / METRICS, step)


class _Steps(TrainerCallback):
    """Reports progress, and has the last step logged whatever its number."""

    def __init__(self, on_progress: Progress | None) -> None:
        self.on_progress = on_progress
        self.note = ""

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        methods.after_step(others["model"], state.global_step + 1)

    def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> Any:
        if state.global_step >= state.max_steps:
            control.should_log = True
        if self.on_progress:
            self.on_progress(state.global_step, state.max_steps, self.note)
        return control

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **others: Any) -> None:
        if logs and "loss" in logs:
            self.note = f"loss {logs['loss']:.3f}"


def save_weights(model: Any, folder: Path) -> None:
    """Save what was trained: the adapter, or all weights."""
    folder.mkdir(parents=True, exist_ok=True)
    if is_adapter(model):
        # The base's embeddings are not part of an adapter that did not train them whole.
        model.save_pretrained(str(folder), save_embedding_layers=False)
        (folder / "README.md").unlink(missing_ok=True)  # peft's empty form of a model card
        return
    caches, model.config.use_cache = model.config.use_cache, True
    model.save_pretrained(str(folder))
    model.config.use_cache = caches


def checkpoint_step(folder: Path) -> int:
    """Return the step at which a checkpoint was written."""
    return int(folder.name.rpartition("-")[2])


def checkpoints(folder: Path) -> list[Path]:
    """Return the whole checkpoints of a run, the oldest first."""
    found = [one for one in folder.glob("checkpoint-*") if one.name[11:].isdigit()]
    return sorted((one for one in found if is_whole(one)), key=checkpoint_step)


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
