"""The run: every setting of one training run, strict and complete.

A run is read from a preset, a YAML file and the command line, written whole into its run folder,
and handed to `train.run.run_training`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from corpus.catalog.lines import Lined, parse_yaml
from corpus.errors import CatalogError, RecipeError
from corpus.resources import packed

Path_ = tuple[str, ...]


class Section(BaseModel):
    """A strict, frozen group of settings: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Method(Section):
    """What is trained on top of the base model, or of it."""

    type: str = "lora"
    """Name in `train.methods.METHODS`: lora (an adapter) or full (all weights)."""
    r: int = Field(default=8, ge=1)
    """Rank of the LoRA update; higher: better fit, more trainable parameters."""
    alpha: int = Field(default=16, ge=1)
    """LoRA scale: the update is multiplied by alpha / r."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of the adapter's inputs dropped while training; higher: more regularised."""
    targets: tuple[str, ...] | Literal["all-linear"] = "all-linear"
    """Names of the linear layers that get LoRA; all-linear: every one but the head."""
    modules_to_save: tuple[str, ...] = ()
    """Modules trained whole and saved with the adapter, such as embed_tokens and lm_head."""


class Batch(Section):
    """How much is seen before one optimizer step, over all processes."""

    rows: int | None = Field(default=None, ge=1)
    """Packed rows an optimizer step; 16 when `tokens` is left out too."""
    tokens: int | None = Field(default=None, ge=1)
    """Token places an optimizer step, a multiple of sequence_length x micro; or give `rows`."""
    micro: int = Field(default=1, ge=1)
    """Packed rows a forward pass; higher: faster, more memory, the same result."""

    @model_validator(mode="after")
    def _one_size(self) -> Batch:
        if self.rows is not None and self.tokens is not None:
            raise ValueError("give rows or tokens, not both")
        return self


class Optimizer(Section):
    """AdamW and its numbers."""

    name: Literal["adamw"] = "adamw"
    """The optimizer."""
    lr: float = Field(default=2e-4, ge=0)
    """Peak learning rate; 0 trains nothing, which is useful as a control."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled weight decay per step, times the learning rate."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay of the running mean and of the running square of the gradient."""
    eps: float = Field(default=1e-8, gt=0)
    """Added to the root of the running square."""
    max_grad_norm: float = Field(default=1.0, ge=0)
    """Gradients are scaled down to this global norm; 0: never."""


class Schedule(Section):
    """The learning rate over the run."""

    name: Literal["linear", "cosine", "constant"] = "cosine"
    """Shape of the decay to zero after warmup; constant: no decay."""
    warmup: float = Field(default=0.03, ge=0)
    """Linear warmup: below 1 a share of all steps, from 1 on a number of steps."""


class Every(Section):
    """How often something happens."""

    steps: int = Field(default=0, ge=0)
    """Optimizer steps between two times; 0: only at the ends of the run."""


class Log(Section):
    """How often the losses are written."""

    steps: int = Field(default=1, ge=1)
    """Optimizer steps a line of metrics.jsonl covers."""


class Save(Every):
    """How often a checkpoint is written, from which the run can resume bit by bit."""

    keep: int = Field(default=2, ge=1)
    """Newest whole checkpoints that stay on disk."""


class Run(Section):
    """One training run."""

    base_model: str
    """Folder or hub id of the base model."""
    mixture: str
    """Name or folder of a built mixture."""
    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$")
    """Name of the run folder; left out: made of mixture, method and a digest of the settings."""
    tokenizer: str | None = None
    """Folder or hub id of the tokenizer; left out: the base model's."""
    template: str = "alpaca"
    """Prompt template: a name of train/templates, or `chat` for the tokenizer's own."""
    stage: Literal["sft"] = "sft"
    """What is learned: sft is answers to instructions."""
    method: Method = Method()
    """What is trained."""
    quantize: Literal["none"] = "none"
    """Quantisation of the frozen base weights."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Type that the base computes in; bfloat16 halves a frozen base's memory; what is trained is
    kept in float32 in both."""
    sequence_length: int = Field(default=1024, ge=8)
    """Tokens of a packed row; longer rows are cut at their end."""
    packing: bool = True
    """Several rows share one packed row, isolated from each other; off: one row each, padded."""
    train_on_inputs: bool = False
    """Also learn the prompt's tokens, not only the answers and their ends."""
    batch: Batch = Batch()
    """Size of a step."""
    optimizer: Optimizer = Optimizer()
    """How weights move."""
    schedule: Schedule = Schedule()
    """Learning rate over time."""
    epochs: float | None = Field(default=None, gt=0)
    """Passes over the mixture; 1 when `steps` is left out too."""
    steps: int | None = Field(default=None, ge=1)
    """Optimizer steps; or give `epochs`."""
    log: Log = Log()
    """When losses are written."""
    eval: Every = Every()
    """When the holdout's loss is measured, besides before the first and after the last step."""
    save: Save = Save()
    """When checkpoints are written."""
    resume: bool = False
    """Continue this run from its last whole checkpoint."""
    distributed: Literal["none"] = "none"
    """How several processes share the work."""
    threads: int | None = Field(default=None, ge=1)
    """CPU threads of torch, left out: its own choice; 1: the fastest for tiny models, and the same
    numbers whatever the machine."""
    trackers: tuple[str, ...] = Field(default=(), max_length=0)
    """Outside services told about losses; none is supported, metrics.jsonl has them all."""
    seed: int = Field(default=42, ge=0, lt=2**32)
    """Seeds initial adapter weights, dropout and the order of rows."""

    @model_validator(mode="after")
    def _consistent(self) -> Run:
        if self.epochs is not None and self.steps is not None:
            raise ValueError("give epochs or steps, not both")
        self.rows_a_step()
        return self

    def rows_a_step(self) -> int:
        """Return the packed rows of one optimizer step."""
        batch = self.batch
        rows = batch.rows or 16
        if batch.tokens is not None:
            rows, rest = divmod(batch.tokens, self.sequence_length)
            if rest or not rows:
                raise ValueError(
                    f"batch.tokens must be a multiple of sequence_length {self.sequence_length},"
                    f" got {batch.tokens}"
                )
        if rows % batch.micro:
            raise ValueError(
                f"batch.micro must divide the {rows} packed rows of a step, got {batch.micro}"
            )
        return rows

    def dump(self) -> str:
        """Return the whole run as YAML, every default written out."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def load_run(
    file: Path | None = None,
    *,
    preset: str | None = None,
    given: Mapping[str, Any] | None = None,
    sets: Sequence[str] = (),
) -> Run:
    """Compose a run: preset, then file, then the given keys, then `a.b=c` settings; later wins.

    Raises:
        RecipeError: all errors at once, one a line, with file and line where there is one.
    """
    values: dict[str, Any] = {}
    where: dict[Path_, str] = {}
    for source in ([preset_file(preset)] if preset else []) + ([file] if file else []):
        layer, places = read_layer(source)
        _overlay(values, layer)
        where |= places
    for key, value in (given or {}).items():
        if value is not None:
            _put(values, where, key, value, f"--{key.replace('_', '-')}")
    for text in sets:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise RecipeError(f"--set: expected KEY.KEY=VALUE, got {text!r}")
        _put(values, where, key.strip(), parse_yaml(value, "--set"), "--set")
    return validate(values, where, file.name if file else "run")


def validate(values: Mapping[str, Any], where: Mapping[Path_, str], name: str) -> Run:
    """Check values against the schema and the registry of methods.

    Raises:
        RecipeError: all errors at once.
    """
    from train.methods import METHODS

    try:
        run = Run.model_validate(values)
    except ValidationError as error:
        lines = [_line(one, where, name) for one in error.errors()]
        raise RecipeError("\n".join(lines)) from None
    if run.method.type not in METHODS:
        place = where.get(("method", "type"), name)
        raise RecipeError(
            f"{place}: method.type: got {run.method.type!r}, supported: {', '.join(METHODS)}"
        )
    return run


def preset_file(name: str) -> Path:
    """Return the file of a shipped preset.

    Raises:
        RecipeError: there is none of that name.
    """
    folder = packed("recipes") / "runs"
    file = folder / f"{name}.yaml"
    if not file.is_file():
        known = ", ".join(sorted(one.stem for one in folder.glob("*.yaml")))
        raise RecipeError(f"--preset: {name!r} is unknown. Known: {known}.")
    return file


def read_layer(file: Path) -> tuple[dict[str, Any], dict[Path_, str]]:
    """Return a file's keys and values, and where each key stands.

    Raises:
        RecipeError: the file is absent, not YAML, not a mapping, or has a key twice.
    """
    try:
        found = parse_yaml(file.read_text(encoding="utf-8-sig"), file.name)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise RecipeError(f"{file}: cannot be read: {reason}") from error
    except CatalogError as error:
        raise RecipeError(str(error)) from error
    if not isinstance(found, Lined):
        raise RecipeError(f"{file.name}:1: expected keys and values, got {type(found).__name__}")
    return found, dict(_places(found, (), file.name))


def _places(found: Lined, inside: Path_, name: str) -> Iterator[tuple[Path_, str]]:
    for key, first, again in found.repeated:
        shown = ".".join((*inside, key))
        raise RecipeError(f"{name}:{again}: {shown} is given twice, first in line {first}")
    for key, value in found.items():
        yield (*inside, key), f"{name}:{found.lines[key]}"
        if isinstance(value, Lined):
            yield from _places(value, (*inside, key), name)


RIVALS = {"steps": "epochs", "epochs": "steps", "rows": "tokens", "tokens": "rows"}
"""Keys of which only one can be given: a later layer's replaces the other of an earlier one."""


def _overlay(below: dict[str, Any], above: Mapping[str, Any]) -> None:
    for key, value in above.items():
        if key in RIVALS and RIVALS[key] not in above:
            below.pop(RIVALS[key], None)
        if isinstance(value, dict) and isinstance(below.get(key), dict):
            _overlay(below[key], value)
        else:
            below[key] = value


def _put(values: dict[str, Any], where: dict[Path_, str], key: str, value: Any, by: str) -> None:
    path = tuple(key.split("."))
    for one in reversed(path):
        value = {one: value}
    _overlay(values, value)
    where[path] = by


def _line(error: Any, where: Mapping[Path_, str], name: str) -> str:
    """Return one validation error as one line."""
    path = tuple(str(part) for part in error["loc"])
    known = next((path[:n] for n in range(len(path), 0, -1) if path[:n] in where), ())
    place = where.get(known, name)
    # Union members add their own parts to the location: show only what the user wrote.
    shown = ".".join(
        known if known and len(known) < len(path) and error["type"] != "missing" else path
    )
    kind, got = error["type"], error["input"]
    if kind == "missing":
        option = {"base_model": ". Give --base MODEL", "mixture": ". Give --mixture NAME"}
        return f"{place}: {shown} is missing{option.get(shown, '')}"
    if kind == "extra_forbidden":
        return f"{place}: {'.'.join(path)} is unknown"
    if kind == "literal_error":
        return f"{place}: {shown}: got {got!r}, supported: {error['ctx']['expected']}"
    if kind == "value_error":
        return f"{place}: {shown + ': ' if shown else ''}{error['ctx']['error']}"
    if path[:1] == ("trackers",):
        return f"{place}: trackers: got {got!r}, supported: none yet, leave it empty"
    message = error["msg"][0].lower() + error["msg"][1:]
    return f"{place}: {shown}: {message}, got {got!r}"
