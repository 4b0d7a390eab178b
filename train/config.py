"""The run: every setting of one training run, strict and complete.

`train.compose` reads it from a preset, a YAML file and the command line; it is written whole into
the run's folder and handed to `train.run.run_training`. Plain numbers and names: no torch here.
"""

from __future__ import annotations

from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator


class Section(BaseModel):
    """A strict, frozen group of settings: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Method(Section):
    """What is trained on top of the base model, or of it. A key that the type does not use must
    stay at its default.
    """

    type: str = "lora"
    """Name in `train.methods.METHODS`."""
    r: int = Field(default=8, ge=1)
    """Rank of the update; higher: better fit, more trainable parameters."""
    alpha: int = Field(default=16, ge=1)
    """LoRA scale: the update is multiplied by alpha / r."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of the adapter's inputs dropped while training; higher: more regularised."""
    targets: tuple[str, ...] | Literal["default", "all-linear"] = "default"
    """Names of the layers that are adapted; all-linear: every linear one but the head; default:
    what suits method and architecture."""
    modules_to_save: tuple[str, ...] = ()
    """Modules trained whole and saved with the adapter, such as embed_tokens and lm_head."""
    rslora: bool = False
    """Scale by alpha / sqrt(r) (rsLoRA, arXiv 2312.03732)."""
    dora: bool = False
    """Learn magnitude and direction apart (DoRA, arXiv 2402.09353); slower."""
    init: Literal["default", "pissa"] = "default"
    """First weights of LoRA: a zero update, or the base's principal parts (PiSSA, 2404.02948)."""
    lora_plus: float = Field(default=1.0, gt=0)
    """Learning rate of B over that of A (LoRA+, arXiv 2402.12354 uses 16); 1: the same."""
    init_r: int = Field(default=12, ge=1)
    """adalora: rank at the start, pruned down to r on average."""
    tinit: int | None = Field(default=None, ge=0)
    """adalora: steps before pruning begins; left out: a tenth of the run."""
    tfinal: int | None = Field(default=None, ge=0)
    """adalora: steps at the end without pruning; left out: half of the run."""
    delta_t: int = Field(default=10, ge=1)
    """adalora: steps between two prunings."""
    virtual_tokens: int = Field(default=20, ge=1)
    """prompt, p_tuning, prefix: learned tokens before every row."""
    encoder_hidden: int = Field(default=128, ge=1)
    """p_tuning, prefix: width of the network that makes the virtual tokens."""
    bottleneck: int = Field(default=256, ge=1)
    """sadapter_h, sadapter_p, padapter: width of the adapter; higher: more parameters."""
    activation: Literal["tanh", "relu", "gelu", "silu"] = "tanh"
    """sadapter_h, sadapter_p, padapter: between the adapter's two layers."""
    block_size: int = Field(default=32, ge=1)
    """oft: rows of one rotated block; higher: more parameters."""


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

    name: Literal["adamw", "adamw_8bit", "paged_adamw", "paged_adamw_8bit"] = "adamw"
    """adamw is fused where the device can; 8bit keeps its state in a quarter of the memory, paged
    lets it move to the host's memory (both by bitsandbytes; paged needs a GPU)."""
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


class Eval(Every):
    """When the holdout's loss is measured, and what follows from it."""

    best: str | None = Field(default=None, pattern=r"^(total|(source|lang|task|gen|category):.+)$")
    """Keep the weights with the lowest holdout loss: total, or of one tag, such as lang:CN."""
    mixture: str | None = None
    """Mixture whose holdout is measured, so that runs on different mixtures can be compared; its
    rows leave the training. Left out: the run's own."""
    patience: int = Field(default=0, ge=0)
    """Stop after so many evaluations in a row that do not lower `best` (total when left out);
    0: never."""

    @model_validator(mode="after")
    def _measured(self) -> Eval:
        if (self.best or self.patience) and not self.steps:
            name = "best" if self.best else "patience"
            raise ValueError(f"{name} needs evaluations on the way: set eval.steps too")
        return self


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
    trust_remote_code: bool = False
    """Run the Python code that a base model's folder or hub page brings."""
    template: str = "alpaca"
    """Prompt template: a name of train/templates, or `chat` for the tokenizer's own."""
    stage: Literal["sft"] = "sft"
    """What is learned: sft is answers to instructions."""
    method: Method = Method()
    """What is trained."""
    quantize: Literal["none", "nf4", "int8"] = "none"
    """Quantisation of the frozen base weights: nf4 (QLoRA, double quantisation) or int8."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Type that the base computes in; bfloat16 halves a frozen base's memory; what is trained is
    kept in float32 in both."""
    sequence_length: int = Field(default=1024, ge=8)
    """Tokens of a packed row; longer rows are cut at their end."""
    packing: bool = True
    """Several rows share one packed row, isolated from each other; off: one row each, padded."""
    train_on_inputs: bool = False
    """Also learn the prompt's tokens, not only the answers and their ends."""
    learn_turns: Literal["all", "last"] = "all"
    """Which answers of a dialogue are learned."""
    attention: Literal["auto", "sdpa", "eager", "flex", "flash"] = "auto"
    """Attention kernel; auto: flash-attention on a GPU that has it, else sdpa."""
    loss: Literal["auto", "chunked", "plain", "liger", "cce"] = "auto"
    """Kernel of head and cross-entropy; auto: the fastest installed that agrees with plain."""
    activation_checkpointing: int = Field(default=0, ge=0)
    """Compute every n-th block again in the backward pass; 0: none, 1: all (least memory)."""
    compile: bool = False
    """torch.compile: slow first steps, faster ones after."""
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
    eval: Eval = Eval()
    """When the holdout's loss is measured, besides before the first and after the last step."""
    save: Save = Save()
    """When checkpoints are written."""
    resume: bool = False
    """Continue this run from its last whole checkpoint."""
    distributed: Literal["none", "ddp", "fsdp", "zero2", "zero3"] = "none"
    """How several processes share the work; a step's size does not change with their number."""
    processes: int | None = Field(default=None, ge=1)
    """Processes on this machine; left out: one a GPU, or what torchrun started."""
    threads: int | None = Field(default=None, ge=1)
    """CPU threads of torch, left out: its own choice; 1: the fastest for tiny models, and the same
    numbers whatever the machine."""
    trackers: tuple[Literal["tensorboard", "wandb", "trackio", "mlflow"], ...] = ()
    """Outside trackers that are told every loss; metrics.jsonl has them all without one."""
    seed: int = Field(default=42, ge=0, lt=2**32)
    """Seeds initial adapter weights, dropout and the order of rows."""

    @model_validator(mode="after")
    def _consistent(self) -> Run:
        if self.epochs is not None and self.steps is not None:
            raise ValueError("give epochs or steps, not both")
        self.passes_a_step(self.processes or 1)
        if self.processes is not None and self.distributed == "none":
            raise ValueError(
                f"processes {self.processes} needs distributed: ddp, fsdp, zero2 or zero3, got none"
            )
        return self

    def passes_a_step(self, n_processes: int) -> int:
        """Return the forward passes of each process in one optimizer step, whose size is fixed."""
        rows, at_once = self.rows_a_step(), self.batch.micro * n_processes
        if rows % at_once:
            below = rows // at_once * at_once
            near = f"{below} or {below + at_once}" if below else f"{at_once}"
            split = f" x {n_processes} processes" if n_processes > 1 else ""
            raise ValueError(
                f"batch: {rows} packed rows a step are no multiple of micro {self.batch.micro}"
                f"{split}. Nearest: {near}"
            )
        return rows // at_once

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
        return rows

    def dump(self) -> str:
        """Return the whole run as YAML, every default written out."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
