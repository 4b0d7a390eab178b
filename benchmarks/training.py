"""Measure training beside TRL's SFTTrainer and transformers.Trainer with peft, step by step.

    python benchmarks/training.py --env ENVIRONMENT > training.json
    python benchmarks/training.py --shapes tiny --rounds 40

LoRA of rank 16 on all linear layers of random Llamas, float32, one packed row a step, on a
bilingual mixture of the bundled samples; every trainer gets the same tokens and learns the same.
The trainers run as processes that take turns: one optimizer step of each, in changing order, so
that all meet the same load. TRL and peft are installed in an environment of their own; it is made
when ENVIRONMENT is not there (1.5 GB, some minutes). One JSON object on stdout: real tokens a
second (medians over rounds), their ratios round by round, and the share of our step that is spent
outside forward, backward and optimizer.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corpus.settings import Home

HERE = Path(__file__).resolve().parent
PACKAGES = (
    *("trl==1.16.0", "peft==0.21.2", "transformers==5.23.0", "accelerate==1.15.0"),
    "bitsandbytes==0.50.2",
)
TORCH = "torch==2.13.0"
SELECT = "alpaca | dolly | gsm8k | hh_rlhf | alpaca_gpt4_zh"
TRAINERS = ("woolgather", "trl", "plain_peft")
SCRIPTS = {"woolgather": "own.py", "trl": "trl_sft.py", "plain_peft": "plain_peft.py"}

SHAPES: dict[str, dict[str, Any]] = {
    "tiny": {"vocab_size": 2000, "hidden_size": 128, "num_hidden_layers": 4},
    "125m": {"vocab_size": 32_000, "hidden_size": 768, "num_hidden_layers": 12},
    "llama-3.2-3b": {
        "vocab_size": 128_256,
        "hidden_size": 3072,
        "num_hidden_layers": 28,
        "intermediate_size": 8192,
        "num_attention_heads": 24,
        "num_key_value_heads": 8,
        "tie_word_embeddings": True,
    },
    "llama-3.1-8b": {
        "vocab_size": 128_256,
        "hidden_size": 4096,
        "num_hidden_layers": 32,
        "intermediate_size": 14_336,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
    },
}


@dataclass(frozen=True, slots=True)
class Trial:
    """What is trained, the same for every trainer."""

    shape: str
    sequence_length: int
    steps: int
    micro: int = 1
    rows: int = 1
    """Packed rows of an optimizer step."""
    rank: int = 16
    dtype: str = "float32"
    quantize: str = "none"
    attention: str = "sdpa"
    activation_checkpointing: int = 0
    optimizer: str = "adamw"
    threads: int | None = 1
    more: dict[str, Any] = field(default_factory=dict)
    """Further settings of our run."""

    def run(self, model: Path, name: str) -> dict[str, Any]:
        """Return the settings of our own run."""
        names = {"flash_attention_2": "flash"}
        return {
            "base_model": str(model),
            "mixture": "bench",
            "name": name,
            "method": {
                "type": "lora",
                "r": self.rank,
                "alpha": 2 * self.rank,
                "targets": "all-linear",
            },
            "sequence_length": self.sequence_length,
            "steps": self.steps,
            "batch": {"rows": self.rows, "micro": self.micro},
            "dtype": self.dtype,
            "quantize": self.quantize,
            "attention": names.get(self.attention, self.attention),
            "activation_checkpointing": self.activation_checkpointing,
            "optimizer": {"name": self.optimizer, "lr": 2e-4},
            "threads": self.threads,
            **self.more,
        }

    def spec(self, model: Path, rows: Path, home: Path, name: str) -> dict[str, Any]:
        """Return what a trainer's script is told."""
        theirs = {"adamw": "adamw_torch_fused", "adamw_8bit": "adamw_bnb_8bit"}
        return {
            "model": str(model),
            "rows": str(rows),
            "home": str(home),
            "output": str(home / "baselines" / name),
            "sequence_length": self.sequence_length,
            "micro": self.micro,
            "accumulation": self.rows // self.micro,
            "steps": self.steps,
            "lr": 2e-4,
            "rank": self.rank,
            "dtype": self.dtype,
            "quantize": self.quantize,
            "attention": self.attention,
            "activation_checkpointing": self.activation_checkpointing,
            "optimizer": theirs.get(self.optimizer, self.optimizer),
            "threads": self.threads,
            "run": self.run(model, name),
        }


class Trainer:
    """A trainer in a process of its own, which stops after every step where it is told to wait."""

    def __init__(self, python: str, script: str, spec: Path, log: Path) -> None:
        self.name, self.log = script, log
        offline = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        self.process = subprocess.Popen(
            [python, str(HERE / "trainers" / script), str(spec)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log.open("w"),
            text=True,
            env={**os.environ, **offline},
        )
        self.steps: list[dict[str, Any]] = []
        self.lines: list[dict[str, Any]] = []

    def go(self) -> None:
        """Let it make the next step, and wait for its end."""
        if self.steps:
            assert self.process.stdin is not None
            self.process.stdin.write("\n")
            self.process.stdin.flush()
        self.steps.append(self._read("step_seconds"))

    def finish(self, *, waits: bool) -> dict[str, Any]:
        """Let it come to its end; return its last line."""
        if waits:
            assert self.process.stdin is not None
            self.process.stdin.close()
        last = self._read("done")
        if self.process.wait() != 0:
            self._fail()
        return last

    def _read(self, key: str) -> dict[str, Any]:
        assert self.process.stdout is not None
        for text in self.process.stdout:
            line: dict[str, Any] = json.loads(text)
            if key in line:
                return line
            (self.steps if "step_seconds" in line else self.lines).append(line)
        return self._fail()

    def _fail(self) -> Any:
        self.process.wait()
        tail = "\n".join(self.log.read_text(encoding="utf-8").splitlines()[-15:])
        raise SystemExit(f"{self.name} ended with {self.process.returncode}:\n{tail}")

    def counted(self) -> list[dict[str, Any]]:
        """Return the steps with their tokens, which our own trainer tells apart."""
        counts = [line for line in self.lines if "tokens" in line]
        return [
            {**one, **(counts[at] if at < len(counts) else {})} for at, one in enumerate(self.steps)
        ]


def environment(folder: Path) -> str:
    """Return the python of the baselines' environment; make it when it is not there."""
    python = folder / "bin" / "python"
    if not (folder / "made").is_file():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [str(python), "-m", "pip", "--disable-pip-version-check", "-q", "install"]
        # torch first and alone: with it in place nothing pulls a build with CUDA.
        for packages in ((TORCH,), PACKAGES):
            subprocess.run([*pip, *packages], check=True, stdout=sys.stderr)
        (folder / "made").touch()
    return str(python)


def make_mixture(home: Home) -> Any:
    """Build a mixture of the bundled samples, as interop does for exports."""
    sys.path.insert(0, str(HERE))
    import interop

    from corpus.mixture import Mixture

    if (home.mixtures / "bench").is_dir():
        return Mixture.open("bench", home)
    sources = [{"select": SELECT, "epochs": 1}]
    interop.RECIPE = {"name": "bench", "seed": 1, "sources": sources}
    return interop.make_mixture(home)


def make_model(folder: Path, shape: str, mixture: Any) -> Path:
    """Write a random Llama of a shape, with a tokenizer learned from the mixture."""
    if (folder / "config.json").is_file():
        return folder
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from train.model import quiet_libraries
    from train.tiny import make_tokenizer, rendered_texts

    sizes = SHAPES[shape]
    make_tokenizer(folder, rendered_texts(mixture), 2000)
    width = sizes["hidden_size"]
    filled = {
        "intermediate_size": width * 8 // 3,
        "num_attention_heads": width // 64,
        "num_key_value_heads": width // 64,
        "max_position_embeddings": 8192,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 3,
        **sizes,
    }
    large = torch.cuda.is_available()
    with quiet_libraries(), torch.device("cuda" if large else "cpu"):
        torch.manual_seed(0)
        model = LlamaForCausalLM(LlamaConfig(**filled))
        (model.bfloat16() if large else model).save_pretrained(str(folder))
    return folder


def write_rows(trial: Trial, model: Path, home: Home, mixture: Any, file: Path) -> dict[str, int]:
    """Write the tokens that our run trains on for the other trainers; return the counts."""
    from train.config import Run
    from train.run import prepare

    store = prepare(Run.model_validate(trial.run(model, "rows")), home, mixture).train.store
    with file.open("w", encoding="utf-8") as lines:
        for number in range(len(store)):
            ids, learned = store.row(number)
            labels = [
                token if mark else -100
                for token, mark in zip(ids.tolist(), learned.tolist(), strict=True)
            ]
            lines.write(json.dumps({"input_ids": ids.tolist(), "labels": labels}) + "\n")
    return {"rows": len(store), "tokens": int(store.lengths.sum())}


@contextmanager
def started(
    trial: Trial, names: Sequence[str], python: str, folder: Path, *, waits: bool
) -> Iterator[dict[str, Trainer]]:
    """Start trainers, one after another; end those that are left when the block ends."""
    home = Home(folder)
    mixture = make_mixture(home)
    model = make_model(folder / "models" / trial.shape, trial.shape, mixture)
    rows = folder / f"{trial.shape}.jsonl"
    write_rows(trial, model, home, mixture, rows)
    with ExitStack() as stack:
        found = {}
        for name in names:
            spec = folder / f"{name}.json"
            run = f"{trial.shape}-{name}-{len(list(folder.glob('*.log')))}"
            given = {**trial.spec(model, rows, folder, run), "waits": waits}
            spec.write_text(json.dumps(given), encoding="utf-8")
            own = name == "woolgather"
            found[name] = Trainer(
                sys.executable if own else python, SCRIPTS[name], spec, folder / f"{run}.log"
            )
            stack.callback(found[name].process.kill)
            found[name].go()
        yield found


def race(
    trial: Trial, names: Sequence[str], python: str, folder: Path, warm: int
) -> dict[str, Any]:
    """Let trainers take turns; return their speeds and the ratios."""
    with started(trial, names, python, folder, waits=True) as trainers:
        order = list(names)
        for _ in range(trial.steps - 1):
            for name in order:
                trainers[name].go()
            order = [*order[1:], order[0]]
        ends = {name: one.finish(waits=True) for name, one in trainers.items()}
    steps = {name: one.counted()[warm:] for name, one in trainers.items()}
    speeds = {name: [one["tokens"] / one["step_seconds"] for one in steps[name]] for name in names}
    result: dict[str, Any] = {name: summary(steps[name], ends[name]) for name in names}
    for name in names:
        if name != names[0]:
            pairs = zip(speeds[names[0]], speeds[name], strict=True)
            result[f"{names[0]}_over_{name}"] = statistics.median(a / b for a, b in pairs)
    return result


def summary(steps: Sequence[dict[str, Any]], end: dict[str, Any]) -> dict[str, Any]:
    """Return the medians of a trainer's steps."""

    def median(value: Any) -> float:
        return statistics.median(value(one) for one in steps)

    found = {
        "tokens_per_second": median(lambda one: one["tokens"] / one["step_seconds"]),
        "learned_tokens_per_second": median(lambda one: one["learned"] / one["step_seconds"]),
        "tokens_per_cpu_second": median(lambda one: one["tokens"] / one["cpu_seconds"]),
        "tokens_a_step": median(lambda one: one["tokens"]),
        "steps": len(steps),
        "memory_bytes": end["memory_bytes"],
    }
    if "outside" in steps[0]:
        found["outside_share"] = median(lambda one: one["outside"])
        found["kernel"] = end["kernel"]
    return found


def main() -> None:
    """Race over the shapes that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", default="tiny,125m", help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=12, help="measured; default: %(default)s")
    parser.add_argument("--warm", type=int, default=2, help="steps before; default: %(default)s")
    parser.add_argument("--threads", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--sequence", type=int, default=1024, help="default: %(default)s")
    parser.add_argument("--trainers", default=",".join(TRAINERS), help="default: %(default)s")
    parser.add_argument("--env", type=Path, help="folder of the baselines' environment")
    given = parser.parse_args()
    names = given.trainers.split(",")
    with tempfile.TemporaryDirectory() as scratch:
        python = sys.executable
        if set(names) != {"woolgather"}:
            python = environment(given.env or Path(scratch) / "env")
        shapes = {}
        for shape in given.shapes.split(","):
            steps = given.warm + given.rounds
            trial = Trial(shape, given.sequence, steps, threads=given.threads)
            folder = Path(scratch) / shape
            folder.mkdir()
            shapes[shape] = race(trial, names, python, folder, given.warm)
    machine = {"processor": platform.machine(), "cores": os.cpu_count(), "threads": given.threads}
    print(json.dumps({"machine": machine, "baselines": PACKAGES, "shapes": shapes}, indent=1))


if __name__ == "__main__":
    main()
