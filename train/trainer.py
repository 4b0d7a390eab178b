"""The trainer: transformers.Trainer with our order of rows, loss, log, evaluation and checkpoints.

`train.run` builds it; what it inherits are the loop, the optimizer, the schedule and the devices.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from corpus.errors import TrainError
from train import methods
from train.adapters import load_state, save_state
from train.arguments import pack_order, total_packs, training_arguments
from train.checkpoint import (
    Best,
    Progressed,
    checkpoint_step,
    cut_metrics,
    prune,
    sealed_folder,
)
from train.config import Run
from train.distributed import gathered, is_first
from train.loss import TagSums, Totals, token_losses
from train.pack import IGNORED, PackedRows, micro_batches
from train.speed import flops_a_token, peak_flops, peak_memory, timed

METRICS = "metrics.jsonl"

OnLine = Callable[[dict[str, Any]], None]
"""Is given a line of metrics."""


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
        *,
        on_progress: Progress | None = None,
        on_lines: Sequence[OnLine] = (),
    ) -> None:
        arguments = training_arguments(run, folder, len(data), evaluates=holdout is not None)
        super().__init__(model, arguments, train_dataset=data, eval_dataset=holdout)
        self.run, self.folder = run, folder
        self.data, self.holdout = data, holdout
        self.loss_is_scaled_for_ga = True
        device = self.args.device
        self.train_sums, self.eval_sums = (TagSums(data.store.groups, device) for _ in range(2))
        self.evaluated_at = -1
        self.best = Best()
        self.spent = {"evaluate": 0.0, "save": 0.0}
        self._on_lines = on_lines
        self._logged, self._seen = time.monotonic(), 0
        self._flops, self._peak = flops_a_token(model), peak_flops(device)
        self.remove_callback(PrinterCallback)
        self.remove_callback(ProgressCallback)
        self.add_callback(_Steps(on_progress))

    @property
    def is_sharded(self) -> bool:
        """Tell whether each process holds a part of the weights only."""
        return bool(self.is_fsdp_enabled or self.is_deepspeed_enabled)

    @property
    def is_exhausted(self) -> bool:
        """Tell whether `eval.patience` has run out."""
        return 0 < self.run.eval.patience <= self.best.stale

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Return the micro batches of the whole run; the parent skips those already seen."""
        data: Any = self.data
        return DataLoader(
            data,
            batch_sampler=pack_order(self.run, data, self.args.process_index, self.args.world_size),
            collate_fn=self._collate,
            pin_memory=self.args.dataloader_pin_memory,
            # Its own generator: a loader must not move the random state that dropout uses.
            generator=torch.Generator(),
        )

    def _collate(self, batch: Sequence[Sequence[int]]) -> dict[str, torch.Tensor]:
        """Return the tensors of a micro batch, and how many tokens it has without padding."""
        seen = sum(int(self.data.store.lengths[row]) for rows in batch for row in rows)
        return {**self.data.collate(batch), "seen": torch.tensor(seen)}

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Make the run's optimizer over the groups that its method asks for."""
        if self.optimizer is None:
            trained: Any = model if model is not None else self.model
            kind, options = self.get_optimizer_cls_and_kwargs(self.args, trained)
            self.optimizer = kind(methods.parameter_groups(trained, self.run), **options)
        return self.optimizer

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: Any) -> torch.Tensor:
        """Count the learned tokens of a whole step, over all its micro batches and processes."""
        self._seen += sum(int(one["seen"]) for one in batch_samples)
        count = sum((one["targets"] != IGNORED).sum() for one in batch_samples)
        assert isinstance(count, torch.Tensor)
        count = count.to(device)
        return self.accelerator.gather(count).sum() if self.args.world_size > 1 else count

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Count nothing: the parent would walk over all weights in every micro batch."""
        return 0

    def training_step(
        self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """Run a micro batch forward and backward."""
        with self._memory_told(inputs):
            return super().training_step(model, inputs, num_items_in_batch)

    @contextmanager
    def _memory_told(self, batch: dict[str, Any]) -> Iterator[None]:
        """Turn running out of memory into one line about the micro batch that did it."""
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            text = str(error).splitlines()[0] if str(error) else ""
            if not isinstance(error, (torch.OutOfMemoryError, MemoryError)) and (
                "can't allocate memory" not in text and "out of memory" not in text
            ):
                raise
            rows, width = batch["input_ids"].shape
            raise TrainError(
                f"step {self.state.global_step + 1}: out of memory with {rows} packed rows of"
                f" {width} tokens a forward pass. Lower batch.micro (now {self.run.batch.micro}) or"
                f" sequence_length (now {self.run.sequence_length}), or set"
                f" activation_checkpointing: 1. {text}".rstrip()
            ) from error

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
        """Write a line of metrics with exact sums by tag; the parent keeps no history of its own,
        which would make every checkpoint longer than the one before.
        """
        if "loss" not in logs:
            return
        totals = self.train_sums.take()
        logs["loss"] = totals.loss
        now = time.monotonic()
        seconds, seen = max(now - self._logged, 1e-9), sum(gathered(self._seen))
        packs = self.state.global_step * self.run.rows_a_step()
        self._write(
            {
                "kind": "train",
                "step": self.state.global_step,
                "epoch": min(packs, total_packs(self.run, len(self.data))) / len(self.data),
                "loss": totals.loss,
                "tokens": totals.tokens,
                "seen_tokens": seen,
                "lr": logs["learning_rate"],
                "grad_norm": logs.get("grad_norm"),
                "seconds": seconds,
                "tokens_per_second": seen / seconds,
                "learned_tokens_per_second": totals.tokens / seconds,
                "mfu": self._utilisation(seen, totals.tokens, seconds),
                "memory_bytes": peak_memory(self.args.device),
                "tags": totals.by_tag(),
            }
        )
        self._logged, self._seen = now, 0
        self.control = self.callback_handler.on_log(self.args, self.state, self.control, logs)

    def _utilisation(self, seen: int, learned: int, seconds: float) -> float | None:
        """Return the share of the devices' peak that the model's own flops came to."""
        if self._flops is None or self._peak is None:
            return None
        flops = self._flops[0] * seen + self._flops[1] * learned
        return float(flops / seconds / (self._peak * self.args.world_size))

    @contextmanager
    def _aside(self, what: str) -> Iterator[None]:
        """Book time under a name, and keep it out of the training speed."""
        before = self.spent[what]
        with timed(self.spent, what):
            yield
        self._logged += self.spent[what] - before

    def evaluate(
        self,
        eval_dataset: Any = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """Measure the holdout's loss by tag, from token losses alone; keep the best weights."""
        with self._aside("evaluate"):
            totals = self._measure()
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
        if self.state.global_step:
            self._judge(totals)
        return metrics

    def _measure(self) -> Totals:
        """Return the losses of the holdout, of which each process takes its share."""
        self.eval_sums.take()
        model: Any = self.model
        assert self.holdout is not None
        was_training = model.training
        model.eval()
        # Before training the parent has not wrapped the model to compute in the run's type.
        with torch.no_grad(), self.accelerator.autocast():
            for number, one in enumerate(micro_batches(self.holdout, self.run.batch.micro)):
                is_mine = number % self.args.world_size == self.args.process_index
                if is_mine or self.is_sharded:  # Sharded weights meet for every forward pass.
                    batch = self._prepare_inputs(one)
                    with self._memory_told(batch):
                        losses, codes = token_losses(model, batch)
                    if is_mine:
                        self.eval_sums.add(losses, codes)
        model.train(was_training)
        return self.eval_sums.take()

    def _judge(self, totals: Totals) -> None:
        """Keep the weights of the best evaluation; stop when patience runs out."""
        wanted, step = self.run.eval.best, self.state.global_step
        tag, _, value = (wanted or "total").partition(":")
        loss = totals.by_tag()[tag][value]["loss"] if value else totals.loss
        if self.best.judge(loss, step) and wanted:
            with self._aside("save"):
                self._write_folder(
                    f"best-{step}",
                    lambda made: save_state(self.model, made) if is_first() else None,
                )
        if self.is_exhausted:
            self.control.should_training_stop = True

    def _write(self, line: dict[str, Any]) -> None:
        if is_first():
            with (self.folder / METRICS).open("a", encoding="utf-8") as file:
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
            for tell in self._on_lines:
                tell(line)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Write a checkpoint aside, then make it appear whole; keep the newest ones."""
        with self._aside("save"):
            seconds = time.monotonic() - self._logged
            sums = torch.tensor(gathered(self.train_sums.state()), dtype=torch.float64).sum(0)
            state = Progressed(sums.tolist(), sum(gathered(self._seen)), seconds, self.best)

            def fill(made: Path) -> None:
                if not self.is_sharded and is_first():
                    save_state(self.model, made)
                self._save_optimizer_and_scheduler(str(made))
                self._save_scaler(str(made))
                self._save_rng_state(str(made))
                if is_first():
                    self.state.save_to_json(str(made / "trainer_state.json"))
                    state.write(made)

            self._write_folder(f"checkpoint-{self.state.global_step}", fill)

    def _write_folder(self, name: str, fill: Callable[[Path], None]) -> None:
        """Make a folder of the run appear whole, and remove those that it supersedes."""
        if is_first():
            shutil.rmtree(self.folder / name, ignore_errors=True)  # A damaged one, met on the way.
        with sealed_folder(self.folder / name) as made:
            fill(made)
        if is_first():
            prune(self.folder, self.run.save.keep, self.best.step)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Take the weights from a checkpoint; sharded ones are the parent's."""
        if self.is_sharded:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        else:
            load_state(self.model, Path(resume_from_checkpoint))

    def resume_from(self, checkpoint: Path) -> None:
        """Continue sums by tag, best weights and the metrics file from a checkpoint."""
        state = Progressed.read(checkpoint)
        if is_first():  # The sums are those of all processes.
            self.train_sums.restore(state.sums)
            self._seen = state.seen
            self.evaluated_at = cut_metrics(self.folder / METRICS, checkpoint_step(checkpoint))
        self.evaluated_at = gathered(self.evaluated_at)[0]
        self.best = state.best
        self.state.global_step = checkpoint_step(checkpoint)
        self._logged = time.monotonic() - state.seconds


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
