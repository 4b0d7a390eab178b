"""Train Llama-3.2-3B and 8B shapes on a GPU beside TRL and plain peft, then by further settings.

    python benchmarks/gpu/training.py --env ENVIRONMENT > training.json
    python benchmarks/gpu/training.py --tiny --only lora --trainers woolgather

Random weights in bfloat16, LoRA of rank 16 on all linear layers and QLoRA (nf4, double
quantisation), packed rows of 4096 tokens, a bilingual mixture of the bundled samples. One trainer
after the other has the GPU to itself. One JSON object on stdout: tokens and learned tokens a second
(medians over steps), the share of the GPU's peak that the model's own flops come to, and the peak
memory. A setting that this machine cannot follow has the reason instead of numbers. --tiny: a small
shape on whatever there is, a processor too.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from training import TRAINERS, Trial, environment, started, summary

SHAPES = ("llama-3.2-3b", "llama-3.1-8b")
BESIDE: dict[str, dict[str, Any]] = {
    "lora": {},
    "qlora": {"quantize": "nf4"},
    "lora-flash": {"attention": "flash_attention_2"},
    "lora-checkpointed": {"activation_checkpointing": 1, "micro": 2, "rows": 2},
}
"""Raced against the others."""

ALONE: dict[str, dict[str, Any]] = {
    "compile": {"more": {"compile": True}},
    "adamw_8bit": {"optimizer": "adamw_8bit"},
    "paged_adamw": {"optimizer": "paged_adamw"},
    "paged_adamw_8bit": {"optimizer": "paged_adamw_8bit", "quantize": "nf4"},
    "int8": {"quantize": "int8"},
    "loss-plain": {"more": {"loss": "plain"}},
    "loss-chunked": {"more": {"loss": "chunked"}},
    "loss-liger": {"more": {"loss": "liger"}},
    "loss-cce": {"more": {"loss": "cce"}},
}
"""Our own run by a further setting."""


def measure(
    trial: Trial, names: Sequence[str], python: str, folder: Path, warm: int
) -> dict[str, Any]:
    """Run trainers one after another; return their numbers, or why they ended."""
    found: dict[str, Any] = {}
    for name in names:
        print(f"{trial.shape} {name} {trial}", file=sys.stderr)
        try:
            with started(trial, [name], python, folder, waits=False) as trainers:
                end = trainers[name].finish(waits=False)
        except SystemExit as error:
            found[name] = {"refused": str(error).splitlines()[-1]}
            continue
        steps = trainers[name].counted()[warm:]
        found[name] = summary(steps, end)
        if steps[0].get("mfu"):
            found[name]["mfu"] = max(one["mfu"] for one in steps)
    own = found.get("woolgather", {})
    for name, theirs in found.items():
        if name != "woolgather" and "tokens_per_second" in theirs and "tokens_per_second" in own:
            ratio = own["tokens_per_second"] / theirs["tokens_per_second"]
            found[f"woolgather_over_{name}"] = ratio
            if "mfu" in own:
                theirs["mfu"] = own["mfu"] / ratio  # By the same flops of a token.
    return found


def main() -> None:
    """Run the settings that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", default=",".join(SHAPES), help="default: %(default)s")
    parser.add_argument("--only", help="names of settings, default: all of them")
    parser.add_argument("--steps", type=int, default=20, help="measured; default: %(default)s")
    parser.add_argument("--warm", type=int, default=5, help="steps before; default: %(default)s")
    parser.add_argument("--trainers", default=",".join(TRAINERS), help="default: %(default)s")
    parser.add_argument("--env", type=Path, help="folder of the baselines' environment")
    parser.add_argument("--folder", type=Path, help="where models and runs go")
    parser.add_argument(
        "--tiny", action="store_true", help="a small shape, three steps, any device"
    )
    given = parser.parse_args()
    import torch

    cuda = torch.cuda.is_available()
    if not cuda and not given.tiny:
        parser.error("there is no CUDA GPU. Try it on a processor with --tiny")
    names, shapes = given.trainers.split(","), given.shapes.split(",")
    base = Trial(shapes[0], 4096, given.warm + given.steps, rows=4, dtype="bfloat16", threads=None)
    warm = given.warm
    if given.tiny:
        kind = "bfloat16" if cuda else "float32"
        base, shapes, warm = replace(base, sequence_length=256, steps=3, rows=2), ["tiny"], 1
        base = replace(base, dtype=kind, threads=None if cuda else 1)
    wanted = given.only.split(",") if given.only else [*BESIDE, *ALONE]
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        theirs = set(names) - {"woolgather"}
        python = environment(given.env or folder / "env") if theirs else sys.executable
        results: dict[str, Any] = {}
        for shape in shapes:
            for name in wanted:
                trial = replace(base, shape=shape, **{**BESIDE, **ALONE}[name])
                beside = names if name in BESIDE else [one for one in names if one == "woolgather"]
                results.setdefault(shape, {})[name] = measure(trial, beside, python, folder, warm)
    device = torch.cuda.get_device_name() if cuda else "cpu"
    print(json.dumps({"device": device, "torch": torch.__version__, "shapes": results}, indent=1))


if __name__ == "__main__":
    main()
