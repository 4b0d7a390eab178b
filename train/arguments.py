"""A run as the arguments of transformers.Trainer: steps, optimizer, precision, devices.

Between `train.config` and `train.trainer`; what transformers calls things is said here only.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from transformers import TrainingArguments

from train.config import Run


def total_packs(run: Run, n_packs: int) -> int:
    """Return how many packed rows a run sees."""
    if run.steps is not None:
        return run.steps * run.rows_a_step()
    return max(1, math.ceil((run.epochs or 1) * n_packs))


def training_arguments(
    run: Run, folder: Path, n_packs: int, *, evaluates: bool
) -> TrainingArguments:
    """Translate a run into the arguments of the parent class.

    The loader yields the micro batches of the whole run, so to the parent it is one epoch.
    """
    steps = -(-total_packs(run, n_packs) // run.rows_a_step())
    warmup = run.schedule.warmup
    mixed = run.dtype == "bfloat16" and run.method.type == "full"
    return TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=1,
        per_device_train_batch_size=run.batch.micro,
        gradient_accumulation_steps=run.rows_a_step() // run.batch.micro,
        learning_rate=run.optimizer.lr,
        weight_decay=run.optimizer.weight_decay,
        adam_beta1=run.optimizer.betas[0],
        adam_beta2=run.optimizer.betas[1],
        adam_epsilon=run.optimizer.eps,
        max_grad_norm=run.optimizer.max_grad_norm,
        lr_scheduler_type=run.schedule.name
        if run.schedule.name != "constant"
        else "constant_with_warmup",
        # Rounded down: the parent would round up, and train a short run at rate 0.
        warmup_steps=int(warmup * steps if warmup < 1 else warmup),
        logging_steps=run.log.steps,
        eval_strategy="steps" if evaluates and run.eval.steps else "no",
        eval_steps=run.eval.steps or None,
        save_strategy="steps" if run.save.steps else "no",
        save_steps=run.save.steps or 1,
        bf16=mixed,
        use_cpu=not torch.accelerator.is_available(),
        seed=run.seed,
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        logging_nan_inf_filter=False,
        dataloader_pin_memory=torch.cuda.is_available(),
    )
