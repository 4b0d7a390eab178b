"""A run as the arguments of transformers.Trainer: steps, optimizer, precision, devices, sharding.

Between `train.config` and `train.trainer`; what transformers calls things is said here only, and
what could not take effect here is refused.
"""

from __future__ import annotations

import importlib.util
import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments

from corpus.errors import TrainError
from train.config import Run
from train.distributed import is_joined, world_size
from train.pack import PackedRows, PackOrder

SHARDED = ("fsdp", "zero2", "zero3")
"""Ways to split a run in which no process holds all that it trains."""

OPTIMIZERS = {
    "adamw": "adamw_torch_fused",
    "adamw_8bit": "adamw_bnb_8bit",
    "paged_adamw": "paged_adamw_32bit",
    "paged_adamw_8bit": "paged_adamw_8bit",
}
"""Our name -> transformers' name."""

FUSED = ("cuda", "cpu", "xpu", "mps")
"""Devices with a fused AdamW; bit-stable on the CPU, whatever its threads."""

SCHEDULES = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}


def total_packs(run: Run, n_packs: int) -> int:
    """Return how many packed rows a run sees."""
    if run.steps is not None:
        return run.steps * run.rows_a_step()
    return max(1, math.ceil((run.epochs or 1) * n_packs))


def optimizer_steps(run: Run, n_packs: int) -> int:
    """Return how many optimizer steps a run makes."""
    return -(-total_packs(run, n_packs) // run.rows_a_step())


def pack_order(run: Run, data: PackedRows, rank: int = 0, world: int = 1) -> PackOrder:
    """Return the micro batches of a run that one of its processes sees."""
    return PackOrder(
        data.widths,
        total_packs(run, len(data)),
        run.rows_a_step(),
        run.batch.micro,
        run.seed,
        bucketed=not run.packing,
        rank=rank,
        world=world,
    )


def training_arguments(
    run: Run, folder: Path, n_packs: int, *, evaluates: bool
) -> TrainingArguments:
    """Translate a run into the arguments of the parent class.

    The loader yields the micro batches of the whole run, so to the parent it is one epoch.
    """
    steps = optimizer_steps(run, n_packs)
    warmup = run.schedule.warmup
    arguments = TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=1,
        per_device_train_batch_size=run.batch.micro,
        gradient_accumulation_steps=run.passes_a_step(world_size()),
        **_optimizer(run),
        lr_scheduler_type=SCHEDULES[run.schedule.name],
        # Rounded down: the parent would round up, and train a short run at rate 0.
        warmup_steps=int(warmup * steps if warmup < 1 else warmup),
        logging_steps=run.log.steps,
        eval_strategy="steps" if evaluates and run.eval.steps else "no",
        eval_steps=run.eval.steps or None,
        save_strategy="steps" if run.save.steps else "no",
        save_steps=run.save.steps or 1,
        **_computation(run),
        **_sharing(run),
        use_cpu=not torch.accelerator.is_available(),
        seed=run.seed,
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        logging_nan_inf_filter=False,
        dataloader_pin_memory=torch.cuda.is_available(),
    )
    # With several GPUs and one process the parent would split each batch over them, unasked.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments


def _optimizer(run: Run) -> dict[str, Any]:
    optimizer = run.optimizer
    device = torch.accelerator.current_accelerator()
    name = OPTIMIZERS[optimizer.name]
    if optimizer.name == "adamw" and (device.type if device else "cpu") not in FUSED:
        name = "adamw_torch"
    return {
        "optim": name,
        "learning_rate": optimizer.lr,
        "weight_decay": optimizer.weight_decay,
        "adam_beta1": optimizer.betas[0],
        "adam_beta2": optimizer.betas[1],
        "adam_epsilon": optimizer.eps,
        "max_grad_norm": optimizer.max_grad_norm,
    }


def _computation(run: Run) -> dict[str, Any]:
    """Return precision, checkpointing of activations, and compilation."""
    every = run.activation_checkpointing
    # FSDP checkpoints blocks itself: from outside, each would be gathered once more.
    blocks = bool(every) and run.distributed != "fsdp"
    return {
        # A frozen base is bfloat16 by itself; weights that all train are cast for each operation.
        "bf16": run.dtype == "bfloat16"
        and (run.method.type == "full" or run.distributed in SHARDED),
        "activation_checkpointing": blocks,
        "activation_checkpointing_kwargs": {"every_n_layers": every, "use_reentrant": False}
        if blocks
        else None,
        "torch_compile": run.compile,
        # The parent would lower the precision of float32 when it compiles.
        "tf32": False if run.compile else None,
    }


def _sharing(run: Run) -> dict[str, Any]:
    """Return how several processes share the work."""
    if run.distributed == "fsdp":
        return {"fsdp": True, "fsdp_config": fsdp_config(run)}
    if run.distributed in SHARDED:
        return {"deepspeed": deepspeed_config(run)}
    if run.distributed == "none":
        return {}
    return {
        # Every trained weight is used in every pass, also when its blocks are computed again; to
        # look for others costs a walk over the graph, and fails with checkpointed activations.
        "ddp_find_unused_parameters": False,
        # Buffers (positions, quantisation scales) never change, so they need not be sent around.
        "ddp_broadcast_buffers": False,
    }


def fsdp_config(run: Run) -> dict[str, Any]:
    """Return FSDP2's settings: each block a unit, freed again after its forward pass."""
    return {
        "version": 2,
        "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
        "reshard_after_forward": True,
        # One file of whole weights, which peft and transformers open.
        "state_dict_type": "FULL_STATE_DICT",
        "activation_checkpointing": bool(run.activation_checkpointing),
    }


def deepspeed_config(run: Run) -> dict[str, Any]:
    """Return DeepSpeed's settings: `auto` is filled in from the other arguments."""
    zero: dict[str, Any] = {
        "stage": int(run.distributed[-1]),
        "overlap_comm": True,
        "contiguous_gradients": True,
        "reduce_bucket_size": "auto",
    }
    if run.distributed == "zero2":
        zero |= {"reduce_scatter": True, "allgather_partitions": True}
        zero |= {"reduce_bucket_size": 200_000_000, "allgather_bucket_size": 200_000_000}
    else:
        zero |= {
            "stage3_prefetch_bucket_size": "auto",
            "stage3_param_persistence_threshold": "auto",
            # Else a saved model is a set of shards that nothing but DeepSpeed can open.
            "stage3_gather_16bit_weights_on_model_save": True,
        }
    return {
        "bf16": {"enabled": "auto"},
        "zero_optimization": zero,
        "gradient_clipping": "auto",
        "train_batch_size": "auto",
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
    }


def refuse_here(run: Run) -> None:
    """Refuse settings that could not take effect with these devices and processes.

    Raises:
        TrainError: all of them, one a line.
    """
    found = [*_unfit_processes(run), *_unfit_sharding(run), *_unfit_device(run)]
    if found:
        raise TrainError("\n".join(found))


def _unfit_processes(run: Run) -> Iterator[str]:
    started = int(os.environ.get("WORLD_SIZE", "1"))
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if run.distributed == "none":
        if started > 1 or "LOCAL_RANK" in os.environ:
            yield f"distributed: none, but torchrun started {started} processes. Set it to ddp"
        return
    if not is_joined():
        yield (
            f"distributed: {run.distributed} needs processes. Start them: woolgather train run, or"
            " torchrun -m train.worker RUN.yaml --home DIR"
        )
    if run.processes not in (None, here):
        yield f"processes: expected {run.processes} on this machine, got {here} from torchrun"
    n_gpus = torch.cuda.device_count()
    if 0 < n_gpus < here:
        yield f"processes: expected one a GPU, at most {n_gpus}, got {here}"
    try:
        run.passes_a_step(started)
    except ValueError as error:
        yield str(error)


def _unfit_sharding(run: Run) -> Iterator[str]:
    how = run.distributed
    if how not in SHARDED:
        return
    if not torch.accelerator.is_available():
        yield f"distributed: {how} needs a GPU, this machine has none. Use ddp"
    if how != "fsdp" and importlib.util.find_spec("deepspeed") is None:
        yield f"distributed: {how} needs deepspeed. Install it: pip install deepspeed"
    if run.optimizer.name != "adamw":
        yield f"distributed: {how} shards no {run.optimizer.name}. Use optimizer.name: adamw"
    if how != "zero2" and run.quantize != "none":
        yield f"distributed: {how} cannot shard a base of quantize: {run.quantize}. Use ddp"
    if run.method.type == "adalora":
        yield f"distributed: {how} hides the gradients that adalora ranks by. Use ddp"
    if how == "fsdp" and run.activation_checkpointing > 1:
        yield (
            "activation_checkpointing: fsdp takes every block or none, expected 0 or 1, got"
            f" {run.activation_checkpointing}"
        )


def _unfit_device(run: Run) -> Iterator[str]:
    device = torch.accelerator.current_accelerator()
    kind = device.type if device else "cpu"
    if run.optimizer.name.startswith("paged") and kind != "cuda":
        yield f"optimizer.name: {run.optimizer.name} needs a CUDA GPU. Use adamw or adamw_8bit"
    if run.dtype == "bfloat16" and kind == "cuda" and not torch.cuda.is_bf16_supported(False):
        yield "dtype: this GPU has no bfloat16. Use float32"
    if run.compile and kind == "cpu" and not any(map(shutil.which, ("g++", "clang++"))):
        yield "compile: needs g++ or clang++ on the CPU, found neither. Set it to false"
    if run.compile and kind not in ("cpu", "cuda"):
        yield f"compile: works on CUDA GPUs and on the CPU, got {kind}. Set it to false"
