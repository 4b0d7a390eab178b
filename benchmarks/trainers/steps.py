"""Tell a trainer's optimizer steps, one line of JSON each, and wait for the word to go on.

A benchmark starts several trainers as processes that stop after every step, and lets one step of
each follow the other, so that all of them meet the same load of the machine. Runs in any trainer's
environment: nothing of woolgather is imported here.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any


class Clock:
    """Measures the time between two steps, without the time of waiting."""

    def __init__(self, *, waits: bool) -> None:
        self.waits = waits
        # What a library prints goes to stderr; the lines go to what was stdout.
        self.out = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        self._start()

    def _start(self) -> None:
        self.started, self.cpu = time.perf_counter(), time.process_time()

    def step(self, **facts: Any) -> None:
        """Tell a step, and wait."""
        seconds, cpu = time.perf_counter() - self.started, time.process_time() - self.cpu
        self.tell({"step_seconds": seconds, "cpu_seconds": cpu, **facts})
        if self.waits:
            sys.stdin.readline()
        self._start()

    def tell(self, line: dict[str, Any]) -> None:
        """Print a line."""
        print(json.dumps(line), file=self.out, flush=True)


def read_spec() -> dict[str, Any]:
    """Read what to train: the file named on the command line."""
    spec: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    return spec


def read_rows(spec: dict[str, Any]) -> list[dict[str, list[int]]]:
    """Read the rows: tokens, and labels that are -100 where nothing is learned."""
    with Path(spec["rows"]).open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def load_model(spec: dict[str, Any]) -> Any:
    """Load the base as anyone would who uses transformers and peft."""
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    options: dict[str, Any] = {}
    if spec["quantize"] == "nf4":
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=getattr(torch, spec["dtype"]),
        )
    return AutoModelForCausalLM.from_pretrained(
        spec["model"],
        dtype=getattr(torch, spec["dtype"]),
        attn_implementation=spec["attention"],
        **options,
    )


def lora(spec: dict[str, Any]) -> Any:
    """Return the adapter's settings."""
    from peft import LoraConfig

    return LoraConfig(
        r=spec["rank"],
        lora_alpha=2 * spec["rank"],
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )


def common_arguments(spec: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments that every trainer based on transformers shares."""
    import torch

    every = spec["activation_checkpointing"]
    return {
        "output_dir": spec["output"],
        "per_device_train_batch_size": spec["micro"],
        "gradient_accumulation_steps": spec["accumulation"],
        "max_steps": spec["steps"],
        "learning_rate": spec["lr"],
        "lr_scheduler_type": "cosine",
        "optim": spec["optimizer"],
        "bf16": spec["dtype"] == "bfloat16",
        "use_cpu": not torch.cuda.is_available(),
        "activation_checkpointing": bool(every),
        "save_strategy": "no",
        "logging_steps": 1,
        "report_to": "none",
        "disable_tqdm": True,
        "seed": 42,
    }


def told(trainer: Any, clock: Clock) -> Any:
    """Have a trainer tell its steps, with the tokens that it saw and learned; return it."""
    import torch
    from transformers import TrainerCallback

    counts = {"tokens": 0, "learned": 0}
    inner = trainer.training_step

    def training_step(model: Any, inputs: dict[str, Any], *rest: Any, **others: Any) -> Any:
        labels = inputs["labels"]
        counts["tokens"] += int(inputs["input_ids"].numel())
        counts["learned"] += int((labels[..., 1:] != -100).sum())
        return inner(model, inputs, *rest, **others)

    class Tell(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            clock.step(**counts, memory_bytes=peak_memory())
            counts.update(tokens=0, learned=0)

    trainer.training_step = training_step
    trainer.add_callback(Tell())
    return trainer


def peak_memory() -> int:
    """Return the most bytes in use so far: of the GPU, else of the process."""
    import resource

    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
