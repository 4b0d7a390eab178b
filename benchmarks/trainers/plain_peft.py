"""Train rows of tokens by transformers.Trainer and peft, flattened without padding.

ENV/bin/python benchmarks/trainers/plain_peft.py SPEC.json
"""

from __future__ import annotations

import torch
from peft import get_peft_model
from steps import Clock, common_arguments, load_model, lora, peak_memory, read_rows, read_spec, told
from transformers import DataCollatorWithFlattening, Trainer, TrainingArguments, set_seed


def main() -> None:
    """Train as the file says."""
    spec = read_spec()
    clock = Clock(waits=spec["waits"])
    if spec["threads"]:
        torch.set_num_threads(spec["threads"])
    set_seed(42)
    rows = read_rows(spec)
    # There is no packing: as many rows a forward pass as come near to the length of a packed one.
    mean = sum(len(row["input_ids"]) for row in rows) / len(rows)
    a_pass = max(1, round(spec["micro"] * spec["sequence_length"] / mean))
    given = {**common_arguments(spec), "per_device_train_batch_size": a_pass}
    model = load_model(spec)
    if spec["quantize"] != "none":
        from peft import prepare_model_for_kbit_training

        model = prepare_model_for_kbit_training(
            model, use_gradient_checkpointing=bool(spec["activation_checkpointing"])
        )
    trainer = Trainer(
        get_peft_model(model, lora(spec)),
        TrainingArguments(**given),
        train_dataset=rows,
        data_collator=DataCollatorWithFlattening(),
    )
    told(trainer, clock).train()
    clock.tell({"done": True, "memory_bytes": peak_memory()})


if __name__ == "__main__":
    main()
