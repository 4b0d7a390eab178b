"""What a run would cost before it starts: rows, weights, memory, time, the largest micro batch.

`woolgather train plan` prints it. Rows come from the real token cache; weights are counted on a
model without memory; activations are measured on one and two blocks of the real width.
"""

from __future__ import annotations

import copy
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Container
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from corpus.errors import TrainError
from corpus.settings import Home
from train.arguments import optimizer_steps, pack_order
from train.config import Run
from train.data import Mixed
from train.kernels import CHUNK, ROWS
from train.loss import token_losses
from train.methods import METHODS, parameter_counts
from train.model import load_shape, model_folder, quiet_libraries
from train.pack import IGNORED, PackedRows
from train.requantise import quantised_names
from train.run import build_model, cpu_threads, prepare
from train.speed import flops_a_token, stated_peak

GIB = 1 << 30
MEMORY = {
    "B200": 180, "H200": 141, "GH200": 96, "H100 PCIe": 80, "H100": 80, "A100": 80, "L40S": 48,
    "L40": 48, "L4": 24, "A40": 48, "A10": 24, "RTX 4090": 24, "RTX 3090": 24, "V100": 32, "T4": 16,
}  # fmt: skip
"""GPU -> GiB of its largest common version; `--gpu A100:40` names another."""

USABLE = 0.92
"""Share of a device's memory that a run can have: the rest is the library's own and fragments."""

UTILISATION = 0.4
"""Share of a GPU's stated peak that a run is taken to reach."""

STATE_BYTES = {"adamw": 8.0, "adamw_8bit": 2.06, "paged_adamw": 0.0, "paged_adamw_8bit": 0.0}
"""Optimizer -> bytes of state a trained weight; paged ones keep theirs with the host."""

WEIGHT_BYTES = {"nf4": 0.5 + 1 / 64 + 4 / (64 * 256), "int8": 1.0}
LENGTHS, BLOCKS = (64, 128), (1, 2)
"""Places and blocks at which activations are measured; between them they are a plane of both."""

SMALL_VOCABULARY = 512
TIMED = 3


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes that one process needs at its widest micro batch."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    logits: int

    @property
    def total(self) -> int:
        """All of it."""
        return sum(asdict(self).values())


@dataclass(frozen=True, slots=True)
class Plan:
    """The size of a run before it starts."""

    rows: int
    refused: dict[str, int]
    cut_rows: int
    tokens: int
    learned_tokens: int
    packs: int
    fill: float
    """Share of the packed rows' places that hold a token."""
    padding: float
    """Share of the places that are computed but hold none: micro batches are as wide as their
    widest row."""
    holdout_rows: int
    steps: int
    trainable: int
    parameters: int
    device: str
    memory: Memory
    memory_limit: int
    """Bytes of the device that a run can have."""
    largest_micro: int
    """Largest batch.micro that fits and divides a step; 0: none does."""
    step_seconds: float | None
    """Of one optimizer step on one device; None where nothing is known of its speed."""
    time_from: str
    """What the time rests on."""

    def to_json(self) -> dict[str, Any]:
        """Return the plan as plain values."""
        seconds = self.step_seconds and self.step_seconds * self.steps
        derived = {"trainable_share": self.trainable / self.parameters, "seconds": seconds}
        return (
            asdict(self) | derived | {"memory": asdict(self.memory) | {"total": self.memory.total}}
        )


def plan_run(run: Run, home: Home, mixture: Mixed | None = None, *, gpu: str | None = None) -> Plan:
    """Render and pack the rows, count weights, and foresee memory and time.

    Raises:
        TrainError: the GPU's name is unknown.
    """
    name, limit = _device(gpu)
    prepared = prepare(run, home, mixture)
    data, facts = prepared.train, prepared.train.store.facts
    steps, rows = optimizer_steps(run, len(data)), run.rows_a_step()
    with quiet_libraries(), cpu_threads(run.threads):
        shape = load_shape(run.base_model, run.trust_remote_code)
        held = set() if run.quantize == "none" else set(quantised_names(shape))
        model = METHODS[run.method.type].build(shape, run.method, steps)
        memory = _memory(run, data, model, held)
        micros = [one for one in range(1, rows + 1) if rows % one == 0]
        fitting = [one for one in micros if memory(one).total <= limit]
        seconds, rests_on = _step_seconds(run, data, model, gpu, memory(run.batch.micro))
    trainable, parameters = parameter_counts(model)
    return Plan(
        **{key: facts[key] for key in ("refused", "cut_rows", "tokens", "learned_tokens")},
        rows=len(data.store),
        packs=len(data),
        fill=facts["tokens"] / (len(data) * run.sequence_length),
        padding=pack_order(run, data).padding(),
        holdout_rows=len(prepared.holdout.store) if prepared.holdout else 0,
        steps=steps,
        trainable=trainable,
        parameters=parameters,
        device=name,
        memory=memory(run.batch.micro),
        memory_limit=limit,
        largest_micro=max(fitting, default=0),
        step_seconds=seconds,
        time_from=rests_on,
    )


def plan_lines(run: Run, plan: Plan) -> list[str]:
    """Return a plan as lines of text."""
    refused = "".join(f", {n:,} refused: {why}" for why, n in plan.refused.items())
    needs = " + ".join(f"{key} {value / GIB:.2f}" for key, value in asdict(plan.memory).items())
    total, limit = plan.memory.total, plan.memory_limit
    fits = f"batch.micro up to {plan.largest_micro} fits" if plan.largest_micro else "none fits"
    seconds = plan.step_seconds
    pace = f"{seconds:.2f} s a step, {seconds * plan.steps / 3600:.2f} h" if seconds else "unknown"
    return [
        f"rows      {plan.rows:,} ({plan.cut_rows:,} cut{refused}), {plan.holdout_rows:,} held out",
        f"tokens    {plan.tokens:,}, of which {plan.learned_tokens:,} are learned",
        f"packs     {plan.packs:,}, {plan.fill:.1%} full, {plan.padding:.1%} of places padded",
        f"steps     {plan.steps:,} of {run.rows_a_step()} packed rows",
        f"weights   {plan.trainable:,} of {plan.parameters:,} train"
        f" ({plan.trainable / plan.parameters:.2%})",
        f"memory    {total / GIB:.2f} GiB = {needs}, with batch.micro {run.batch.micro}",
        f"device    {plan.device}: {limit / GIB:.1f} GiB usable, {fits}",
        f"time      {pace} ({plan.time_from})",
    ]


def _device(gpu: str | None) -> tuple[str, int]:
    """Return a device's name and the bytes that a run can have there; None: this machine's."""
    if gpu is not None:
        name, _, size = gpu.partition(":")
        if name not in MEMORY or not (size.isdigit() or not size):
            raise TrainError(
                f"--gpu: got {gpu!r}, expected NAME or NAME:GIB. Known: {', '.join(MEMORY)}"
            )
        return gpu, int((int(size) if size else MEMORY[name]) * GIB * USABLE)
    if torch.cuda.is_available():
        facts = torch.cuda.get_device_properties(0)
        return facts.name, int(facts.total_memory * USABLE)
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return f"cpu, {torch.get_num_threads()} threads", int(total * USABLE)


def _memory(
    run: Run, data: PackedRows, model: Any, held: Container[str]
) -> Callable[[int], Memory]:
    """Return what memory grows with: a function of the packed rows of a micro batch.

    Weights are counted on a model without memory, activations measured on its blocks; `held` names
    the weights that are quantised.
    """
    trainable, _ = parameter_counts(model)
    config = model.config.get_text_config()
    size = torch.finfo(getattr(torch, run.dtype)).bits // 8
    weights = int(_weight_bytes(run, model, held, size))
    state = int(STATE_BYTES[run.optimizer.name] * trainable)
    row = _row_bytes(run, model, int(data.widths.max()), size)
    most_learned = _most_learned(data)

    def needed(micro: int) -> Memory:
        learned = most_learned * micro
        chunk = min(learned, max(ROWS, CHUNK["cpu"] // config.vocab_size))
        activations = int(row * micro + learned * config.hidden_size * size)
        # The logits of a chunk and their softmax, in float32.
        logits = chunk * config.vocab_size * 4 * 2
        return Memory(weights, 4 * trainable, state, activations, logits)

    return needed


def _weight_bytes(run: Run, model: Any, held: Container[str], size: int) -> float:
    """Return the bytes of all weights: quantised, frozen, or trained in float32."""
    total = 0.0
    for name, weight in model.named_parameters():
        plain = name.removeprefix("base_model.model.").replace(".base_layer.", ".")
        each = 4.0 if weight.requires_grad else float(size)
        total += weight.numel() * (WEIGHT_BYTES[run.quantize] if plain in held else each)
    return total


def _most_learned(data: PackedRows) -> int:
    """Return the most learned tokens that one packed row has, of the widest hundred."""
    widest = data.widths.argsort()[-100:]
    return max(int((data.collate([data[int(one)]])["targets"] != IGNORED).sum()) for one in widest)


def _row_bytes(run: Run, model: Any, width: int, size: int) -> float:
    """Return the bytes of activations of one packed row.

    What autograd keeps is a T + b T^2 + blocks (c T + d T^2) for T places; four measurements on
    small T and few blocks give all of it.
    """
    found = {blocks: [_kept(run, model, blocks, places) for places in LENGTHS] for blocks in BLOCKS}
    one_more = [two - one for one, two in zip(found[1], found[2], strict=True)]
    none = [one - step for one, step in zip(found[1], one_more, strict=True)]
    block, rest = _parabola(one_more, width), _parabola(none, width)
    config = model.config.get_text_config()
    n_blocks = int(getattr(config, _depth(config)[0]))
    every = run.activation_checkpointing
    if not every:
        return rest + n_blocks * block
    again = n_blocks // every
    # A block that is computed again keeps its input, and one at a time is there in full.
    return rest + (n_blocks - again + 1) * block + again * width * int(config.hidden_size) * size


def _parabola(values: list[float], at: int) -> float:
    """Return a x + b x^2 at a place, through the values at LENGTHS."""
    (x, u), (y, v) = zip(LENGTHS, values, strict=True)
    b = (v / y - u / x) / (y - x)
    return (u / x - b * x) * at + b * at * at


def _kept(run: Run, model: Any, blocks: int, places: int) -> float:
    """Return the bytes that autograd keeps of one forward pass through a few blocks."""
    method = run.method.model_copy(update={"modules_to_save": (), "init": "default"})
    with tempfile.TemporaryDirectory() as folder:
        _write_small(run, model, Path(folder), blocks)
        few = {"base_model": folder, "method": method, "activation_checkpointing": 0}
        small = build_model(run.model_copy(update=few), 100)
    small.train()
    return saved_bytes(small, _batch(places, packed=run.packing))


def _write_small(run: Run, model: Any, folder: Path, blocks: int) -> None:
    """Write a random base of the run's architecture and width, with few blocks and few tokens."""
    lm = model.get_base_model() if hasattr(model, "get_base_model") else model
    config = copy.deepcopy(lm.config)
    text = config.get_text_config()
    for name in _depth(text):
        setattr(text, name, blocks)
    if getattr(text, "layer_types", None):
        text.layer_types = text.layer_types[:blocks]
    text.vocab_size = SMALL_VOCABULARY
    for mark in ("bos_token_id", "eos_token_id", "pad_token_id"):
        setattr(text, mark, 0)
    made = type(lm)(config).to(getattr(torch, run.dtype))
    made.save_pretrained(folder)
    for file in model_folder(run.base_model).glob("*.py"):
        shutil.copyfile(file, folder / file.name)


def _depth(config: Any) -> list[str]:
    """Return the names under which a configuration has its number of blocks."""
    names = ("num_hidden_layers", "num_layers", "n_layer", "n_layers")
    return [one for one in names if isinstance(getattr(config, one, None), int)]


def _batch(places: int, *, packed: bool) -> dict[str, torch.Tensor]:
    """Return a micro batch of one packed row of two halves, which learns its last token."""
    ids = torch.arange(places)[None] % (SMALL_VOCABULARY // 2) + 1
    batch = {"input_ids": ids, "keep": torch.tensor([places - 2])}
    if packed:
        batch["position_ids"] = (torch.arange(places) % (places // 2))[None]
    else:
        batch["attention_mask"] = torch.ones_like(ids)
    return batch | {"targets": ids[:, -1:], "groups": torch.zeros_like(ids[:, -1:])}


def saved_bytes(model: Any, batch: dict[str, torch.Tensor]) -> float:
    """Return the bytes that autograd keeps for the backward pass beside the weights."""
    own = {one.untyped_storage().data_ptr() for one in (*model.parameters(), *model.buffers())}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        losses, _ = token_losses(model, batch)
    del losses
    return float(sum(kept.values()))


def _step_seconds(
    run: Run, data: PackedRows, shape: Any, gpu: str | None, memory: Memory
) -> tuple[float | None, str]:
    """Return the seconds of an optimizer step, and what they rest on."""
    micros = run.rows_a_step() // run.batch.micro
    if gpu is None and not torch.cuda.is_available():
        if memory.total > _device(None)[1]:
            return None, "it does not fit into this machine's memory"
        return micros * _micro_seconds(run, data), f"{TIMED} micro batches on this machine"
    name = gpu.partition(":")[0] if gpu else torch.cuda.get_device_name(0)
    peak = stated_peak(name)
    flops = flops_a_token(shape)
    if peak is None or flops is None:
        return None, f"nothing is known of {name}" if peak is None else "a mixture of experts"
    body, head = flops
    again = 1.5 if run.activation_checkpointing else 1.0
    places = float(data.widths.mean()) * run.rows_a_step()
    share = data.store.facts["learned_tokens"] / data.store.facts["tokens"]
    work = places * (body * again + head * share)
    return work / (peak * UTILISATION), f"{UTILISATION:.0%} of the stated peak of {name}"


def _micro_seconds(run: Run, data: PackedRows) -> float:
    """Return the median seconds of a forward and backward pass of micro batches of usual width."""
    model = build_model(run, 100)
    model.train()
    if run.activation_checkpointing:
        model.gradient_checkpointing_enable()
    middle = data.widths.argsort()[len(data) // 2 :]
    seconds = []
    for turn in range(TIMED + 1):  # The first one warms up.
        rows = middle[turn * run.batch.micro :][: run.batch.micro]
        batch = data.collate([data[int(one)] for one in (rows if len(rows) else middle)])
        started = time.perf_counter()
        losses, _ = token_losses(model, batch)
        torch.autograd.backward(losses.mean())
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[1:])
