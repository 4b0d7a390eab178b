"""Train rows of tokens by TRL's SFTTrainer, packed.

ENV/bin/python benchmarks/trainers/trl_sft.py SPEC.json
"""

from __future__ import annotations

import torch
from datasets import Dataset
from steps import Clock, common_arguments, load_model, lora, peak_memory, read_rows, read_spec, told
from transformers import AutoTokenizer, set_seed
from trl import SFTConfig, SFTTrainer


def main() -> None:
    """Train as the file says."""
    spec = read_spec()
    clock = Clock(waits=spec["waits"])
    if spec["threads"]:
        torch.set_num_threads(spec["threads"])
    set_seed(42)
    trainer = SFTTrainer(
        load_model(spec),
        SFTConfig(
            **common_arguments(spec),
            max_length=spec["sequence_length"],
            packing=True,
            packing_strategy="bfd",
        ),
        train_dataset=Dataset.from_list(read_rows(spec)),
        processing_class=AutoTokenizer.from_pretrained(spec["model"]),
        peft_config=lora(spec),
    )
    told(trainer, clock).train()
    clock.tell({"done": True, "memory_bytes": peak_memory()})


if __name__ == "__main__":
    main()
