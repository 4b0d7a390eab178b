"""One training run from settings to a verified adapter: the entry that everything else calls.

Mixture -> token store -> packs -> trainer -> run folder (run.yaml, metrics.jsonl, checkpoints,
adapter or model, result.json).
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from corpus.atomic import remove_unfinished, sole_writer, write_text
from corpus.errors import RecipeError, TrainError
from corpus.settings import Home
from train import data
from train.arguments import optimizer_steps
from train.config import Run
from train.data import TAGS, Mixed
from train.loss import install_loss, probe_isolation
from train.methods import METHODS, parameter_counts, refuse_unfit
from train.model import load_base, load_tokenizer, quiet_libraries, refuse_vocabulary
from train.output import save_output
from train.pack import PackedRows, plan_packs
from train.render import load_template
from train.stop import StopWhenAsked, stop_requests
from train.tokens import Rendering, TokenStore, open_tokens
from train.trainer import METRICS, Progress, TagTrainer, checkpoint_step, checkpoints, cut_metrics

RESULT = "result.json"
MADE_OF = "made_of.json"


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run made and measured; losses are means over learned tokens."""

    run: str
    path: str
    output: str
    """The adapter's folder, or the model's for method full."""
    method: str
    base_model: str
    mixture: str
    mixture_digest: str
    template: str
    steps: int
    loss: float
    """Of the last log line."""
    losses: list[float]
    """Of all log lines."""
    eval: dict[str, float]
    """Holdout loss before the first step (`start`) and after the last (`end`); may be empty."""
    tags: dict[str, Any]
    """`train` over the whole run and `eval` at its end: tag -> value -> loss, sum, tokens."""
    rows: int
    refused: dict[str, int]
    """Reason -> rows that could not be learned from."""
    learned_tokens: int
    """Learned tokens seen, over all epochs."""
    trainable: int
    parameters: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Prepared:
    """Rows rendered and packed, ready to train on."""

    mixture: Mixed
    tokenizer: Any
    rendering: Rendering
    train: PackedRows
    holdout: PackedRows | None


def prepare(run: Run, home: Home, mixture: Mixed | None = None) -> Prepared:
    """Open the mixture, render it into the token store, and pack it."""
    mixture = mixture if mixture is not None else data.open_mixture(run.mixture, home)
    with quiet_libraries():
        tokenizer = load_tokenizer(run.tokenizer or run.base_model, run.trust_remote_code)
    refuse_vocabulary(tokenizer, run.base_model)
    template = load_template(run.template, tokenizer, learn_turns=run.learn_turns)
    rendering = Rendering(tokenizer, template, run.sequence_length, run.train_on_inputs)
    store, held = open_tokens(home, mixture, rendering)
    holdout = _packed(held, run) if held is not None else None
    return Prepared(mixture, tokenizer, rendering, _packed(store, run), holdout)


def _packed(store: TokenStore, run: Run) -> PackedRows:
    return PackedRows(store, plan_packs(store.lengths, run.sequence_length, packing=run.packing))


def run_training(
    config: Run,
    home: Home,
    on_progress: Progress | None = None,
    *,
    mixture: Mixed | None = None,
) -> RunResult:
    """Train as the run says and return what came of it.

    Raises:
        TrainError: the run's folder exists and is not resumed, a loss is not finite, a saved
            adapter does not read back, or the user stopped the run.
        BusyError: another process trains the run now.
    """
    mixture = mixture if mixture is not None else data.open_mixture(config.mixture, home)
    name = config.name or default_name(config, mixture)
    config = config.model_copy(update={"name": name})
    with sole_writer(home.locks, f"run-{name}", wait=False), cpu_threads(config.threads):
        return _run(config, home, mixture, on_progress)


@contextmanager
def cpu_threads(n_threads: int | None) -> Iterator[None]:
    """Have torch use so many CPU threads while the block runs."""
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def default_name(config: Run, mixture: Mixed) -> str:
    """Name a run after its mixture, its method and a digest of all settings."""
    settings = config.model_copy(update={"name": None, "resume": False}).dump() + mixture.digest
    digest = hashlib.sha256(settings.encode()).hexdigest()[:8]
    return f"{mixture.name}-{config.method.type}-{digest}"


def _run(config: Run, home: Home, mixture: Mixed, on_progress: Progress | None) -> RunResult:
    folder = home.runs / str(config.name)
    refuse_unfit(config)
    finished = _open_folder(folder, config, mixture)
    if finished:
        return finished
    started = time.monotonic()
    prepared = prepare(config, home, mixture)
    with quiet_libraries():
        model = build_model(config, optimizer_steps(config, len(prepared.train)))
        if config.packing:
            probe_rows(model, prepared.train.store)
        trainer = TagTrainer(
            model,
            config,
            folder,
            prepared.train,
            prepared.holdout,
            on_progress,
        )
        _train(trainer, folder)
        trained = any(line["lr"] for line in read_metrics(folder) if line["kind"] == "train")
        output = save_output(trainer.model, prepared, config, folder, trained=trained)
    seconds = time.monotonic() - started
    return _finish(trainer, prepared, output, seconds)


def build_model(config: Run, steps: int) -> Any:
    """Load the base and make it trainable; the seed decides an adapter's first weights."""
    # Weights that all train stay in float32; a frozen base may be held in less.
    dtype = "float32" if config.method.type == "full" else config.dtype
    base = load_base(
        config.base_model,
        dtype,
        quantize=config.quantize,
        attention=config.attention,
        trust_remote_code=config.trust_remote_code,
    )
    transformers.set_seed(config.seed)
    model = METHODS[config.method.type].build(base, config.method, steps)
    model.loss_kernel = install_loss(model, config)
    return model


def probe_rows(model: Any, store: TokenStore) -> float:
    """Check on the first two rows that packed rows do not see each other; return what moved."""
    device = next(model.parameters()).device
    rows = [0, min(1, len(store) - 1)]
    ids = [torch.from_numpy(store.row(row)[0][:64].astype("int64")).to(device) for row in rows]
    return probe_isolation(model, *ids)


def _train(trainer: TagTrainer, folder: Path) -> None:
    """Train from the start or the last whole checkpoint; evaluate at both ends."""
    kept = checkpoints(folder)
    last = kept[-1] if kept else None
    if last is not None:
        trainer.resume_from(last)
    else:
        cut_metrics(folder / METRICS, -1)
        if trainer.holdout is not None:
            trainer.evaluate()
    try:
        with stop_requests() as asked:
            trainer.add_callback(StopWhenAsked(asked))
            trainer.train(resume_from_checkpoint=str(last) if last else None)
        if trainer.state.global_step < trainer.state.max_steps:
            raise KeyboardInterrupt
        if trainer.holdout is not None and trainer.evaluated_at != trainer.state.global_step:
            trainer.evaluate()
    except KeyboardInterrupt:
        kept = checkpoints(folder)
        at = f"checkpoint of step {checkpoint_step(kept[-1])}" if kept else "start"
        raise TrainError(
            f"run {folder.name}: stopped at step {trainer.state.global_step}. Continue from the"
            f" {at}: woolgather train run --resume {folder.name}"
        ) from None


def _open_folder(folder: Path, config: Run, mixture: Mixed) -> RunResult | None:
    """Make or reopen a run's folder; return its result when it is finished and resumed."""
    made_of = {"mixture_digest": mixture.digest, "versions": versions()}
    if not (folder / MADE_OF).exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "run.yaml", config.model_copy(update={"resume": False}).dump())
        write_text(folder / MADE_OF, json.dumps(made_of, indent=1))
        return None
    done = (folder / RESULT).is_file()
    if not config.resume:
        state = "is finished" if done else "was started before"
        raise TrainError(
            f"run {folder.name} {state}. Continue it: woolgather train run --resume {folder.name};"
            " or give this one another --name"
        )
    _same_settings(folder, config, mixture)
    remove_unfinished(folder)
    if not done:
        return None
    return RunResult(**json.loads((folder / RESULT).read_text(encoding="utf-8")))


def _same_settings(folder: Path, config: Run, mixture: Mixed) -> None:
    """Refuse to continue a run as another one."""
    import yaml

    before = yaml.safe_load((folder / "run.yaml").read_text(encoding="utf-8"))
    now = config.model_copy(update={"resume": False}).model_dump(mode="json")
    changed = sorted(key for key in now if before.get(key) != now[key])
    digest = json.loads((folder / MADE_OF).read_text())["mixture_digest"]
    if digest != mixture.digest:
        changed.append(f"mixture digest ({digest[:8]}, now {mixture.digest[:8]})")
    if changed:
        raise RecipeError(
            f"run {folder.name}: cannot resume with other settings: {', '.join(changed)}."
            " Give the new run another --name."
        )


def versions() -> dict[str, str]:
    """Return the versions of the libraries that decide a run's numbers."""
    from importlib.metadata import version

    names = ("torch", "transformers", "peft", "accelerate", "tokenizers")
    return {name: version(name) for name in names}


def _finish(trainer: TagTrainer, prepared: Prepared, output: Path, seconds: float) -> RunResult:
    """Sum up a run from its metrics file, and write the result beside it."""
    config, folder = trainer.run, trainer.folder
    lines = read_metrics(folder)
    train = [line for line in lines if line["kind"] == "train"]
    evals = [line for line in lines if line["kind"] == "eval"]
    trainable, parameters = parameter_counts(trainer.model)
    result = RunResult(
        run=folder.name,
        path=str(folder),
        output=str(output),
        method=config.method.type,
        base_model=config.base_model,
        mixture=prepared.mixture.name,
        mixture_digest=prepared.mixture.digest,
        template=config.template,
        steps=trainer.state.global_step,
        loss=train[-1]["loss"],
        losses=[line["loss"] for line in train],
        eval={"start": evals[0]["loss"], "end": evals[-1]["loss"]} if evals else {},
        tags={"train": sum_tags(train), "eval": evals[-1]["tags"] if evals else {}},
        rows=len(prepared.train.store),
        refused=prepared.train.store.facts["refused"],
        learned_tokens=sum(line["tokens"] for line in train),
        trainable=trainable,
        parameters=parameters,
        seconds=seconds,
    )
    write_text(folder / RESULT, json.dumps(result.to_json(), ensure_ascii=False, indent=1))
    return result


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Return the lines of a run's metrics file, in order."""
    text = (folder / METRICS).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def sum_tags(lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Add up the losses by tag of several metrics lines."""
    totals: dict[str, dict[str, dict[str, float]]] = {tag: {} for tag in TAGS}
    for line in lines:
        for tag, groups in line["tags"].items():
            for value, group in groups.items():
                total = totals[tag].setdefault(value, {"loss": 0.0, "sum": 0.0, "tokens": 0})
                total["sum"] += group["sum"]
                total["tokens"] += group["tokens"]
                total["loss"] = total["sum"] / total["tokens"]
    return totals
