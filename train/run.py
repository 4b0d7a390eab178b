"""One training run from settings to a verified adapter: the entry that everything else calls.

Mixture -> token store -> packs -> trainer -> run folder (run.yaml, metrics.jsonl, checkpoints,
adapter or model, result.json).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from corpus.atomic import remove_unfinished, sole_writer, write_text
from corpus.errors import RecipeError, TrainError
from corpus.settings import Home
from train import data
from train.adapters import load_state
from train.arguments import optimizer_steps, refuse_here
from train.checkpoint import checkpoint_step, checkpoints, cut_metrics, newest_checkpoint
from train.config import Run
from train.data import Mixed
from train.distributed import from_first
from train.loss import install_loss, probe_isolation
from train.methods import METHODS, refuse_unfit
from train.model import load_base, load_tokenizer, quiet_libraries, refuse_vocabulary
from train.output import save_output
from train.pack import PackedRows, plan_packs
from train.render import load_template
from train.result import RESULT, RunResult, environment, read_metrics, sum_up, verdict_of
from train.speed import timed
from train.stop import Asked, StopWhenAsked, stop_requests
from train.tokens import Rendering, TokenStore, open_tokens
from train.trackers import open_trackers, refuse_absent
from train.trainer import METRICS, OnLine, Progress, TagTrainer

MADE_OF = "made_of.json"

Say = Callable[[str], None]


def silent(line: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """Rows rendered and packed, ready to train on."""

    mixture: Mixed
    rows: Mixed
    """What was rendered of it: without the rows that `eval.mixture` holds out."""
    tokenizer: Any
    rendering: Rendering
    train: PackedRows
    holdout: PackedRows | None


def prepare(run: Run, home: Home, mixture: Mixed | None = None) -> Prepared:
    """Open the mixture, render it into the token store, and pack it."""
    mixture = mixture if mixture is not None else data.open_mixture(run.mixture, home)
    if not len(mixture):
        raise TrainError(
            f"mixture {mixture.name}: expected rows to train on, got none. Look at it:"
            f" woolgather mix show {mixture.name}"
        )
    rows = mixture
    if run.eval.mixture is not None:
        rows = data.measured_on(mixture, data.open_mixture(run.eval.mixture, home))
    with quiet_libraries():
        tokenizer = load_tokenizer(run.tokenizer or run.base_model, run.trust_remote_code)
    refuse_vocabulary(tokenizer, run.base_model)
    template = load_template(run.template, tokenizer, learn_turns=run.learn_turns)
    rendering = Rendering(tokenizer, template, run.sequence_length, run.train_on_inputs)
    store, held = open_tokens(home, rows, rendering)
    holdout = _packed(held, run) if held is not None else None
    return Prepared(mixture, rows, tokenizer, rendering, _packed(store, run), holdout)


def _packed(store: TokenStore, run: Run) -> PackedRows:
    packs = plan_packs(store.lengths, run.sequence_length, packing=run.packing)
    return PackedRows(store, packs, masked=not run.packing)


def run_training(
    config: Run,
    home: Home,
    on_progress: Progress | None = None,
    *,
    mixture: Mixed | None = None,
    on_line: OnLine | None = None,
    say: Say = silent,
) -> RunResult:
    """Train as the run says and return what came of it.

    `on_line` is given every line of metrics; `say` what the user should know beside it.

    Raises:
        TrainError: the run's folder exists and is not resumed, a loss is not finite, a saved
            adapter does not read back, or the user stopped the run.
        BusyError: another process trains the run now.
    """
    mixture = mixture if mixture is not None else data.open_mixture(config.mixture, home)
    name = config.name or default_name(config, mixture)
    config = config.model_copy(update={"name": name})
    with ExitStack() as stack:
        lock = sole_writer(home.locks, f"run-{name}", wait=False)
        from_first(lambda: stack.enter_context(lock))
        stack.enter_context(cpu_threads(config.threads))
        stack.enter_context(quiet_libraries())
        return _run(config, home, mixture, on_progress=on_progress, on_line=on_line, say=say)


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


def _run(
    config: Run,
    home: Home,
    mixture: Mixed,
    *,
    on_progress: Progress | None,
    on_line: OnLine | None,
    say: Say,
) -> RunResult:
    folder = home.runs / str(config.name)
    refuse_unfit(config)
    refuse_here(config)
    refuse_absent(config.trackers)
    finished = from_first(lambda: _reopen(folder, config, mixture))
    if finished:
        return finished
    seconds: dict[str, float] = {}
    with timed(seconds, "prepare"):
        made: list[Prepared] = []
        from_first(lambda: made.append(prepare(config, home, mixture)))
        prepared = made[0] if made else prepare(config, home, mixture)  # Rendered by the first.
        refuse_unmeasured(config, prepared.holdout, say)
    with timed(seconds, "build"):
        model = build_model(config, optimizer_steps(config, len(prepared.train)))
        if model.loss_kernel.startswith("plain: "):
            say(f"loss: {model.loss_kernel}")
        if config.packing:
            probe_rows(model, prepared.train.store)
    from_first(lambda: _begin(folder, config, mixture))
    with ExitStack() as stack, timed(seconds, "train"):
        lines = [on_line] if on_line else []
        settings = config.model_dump(mode="json") | {"mixture_digest": mixture.digest}
        opened = open_trackers(config.trackers, folder, settings, say)
        from_first(lambda: lines.append(stack.enter_context(opened)))
        trainer = TagTrainer(
            model,
            config,
            folder,
            prepared.train,
            prepared.holdout,
            on_progress=on_progress,
            on_lines=lines,
        )
        _train(trainer, folder, say)
    with timed(seconds, "output"):
        output = from_first(lambda: _output(trainer, prepared))
    seconds["train"] -= sum(trainer.spent.values())
    seconds |= trainer.spent
    return from_first(lambda: sum_up(trainer, prepared, output, seconds))


def _output(trainer: TagTrainer, prepared: Prepared) -> Path:
    """Save what was trained: the best weights where the run asks for them, else the last ones."""
    config, folder, best = trainer.run, trainer.folder, trainer.best
    if config.eval.best and best.loss is not None:
        load_state(trainer.model, folder / f"best-{best.step}")
    trained = any(line["lr"] for line in read_metrics(folder) if line["kind"] == "train")
    return save_output(trainer.model, prepared, config, folder, trained=trained)


def refuse_unmeasured(config: Run, holdout: PackedRows | None, say: Say) -> None:
    """Raise when `eval.best` or `eval.patience` ask for a loss that will never be measured.

    Raises:
        RecipeError: there is no holdout, or it has no row of the tag.
    """
    best = config.eval.best
    if holdout is None:
        way_out = f"Give the recipe of {config.mixture} a holdout, or name one by eval.mixture"
        if best or config.eval.patience:
            name = "eval.best" if best else "eval.patience"
            raise RecipeError(f"run: {name}: the mixture has no holdout to measure. {way_out}.")
        if config.eval.steps:
            say(f"eval.steps: nothing is measured, the mixture has no holdout. {way_out}.")
    elif best and config.distributed in ("fsdp", "zero3"):
        raise RecipeError(f"run: eval.best: {config.distributed} keeps no whole weights on the way")
    elif best and best != "total":
        tag = best.partition(":")[0]
        held = [holdout.store.groups[code] for code in set(holdout.store.group.tolist())]
        known = sorted({f"{tag}:{getattr(one, tag)}" for one in held})
        if best not in known:
            raise RecipeError(
                f"run: eval.best: the holdout has no row of {best!r}, expected one of"
                f" {', '.join(known)}"
            )


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
    device = torch.accelerator.current_accelerator()
    if device and config.quantize == "none" and config.distributed in ("none", "ddp"):
        # Where it will train, so that probes run what training runs.
        model.to(f"{device.type}:{os.environ.get('LOCAL_RANK', '0')}")
    model.loss_kernel = install_loss(model, config)
    return model


def probe_rows(model: Any, store: TokenStore) -> float:
    """Check on the first two rows that packed rows do not see each other; return what moved."""
    device = next(model.parameters()).device
    rows = [0, min(1, len(store) - 1)]
    ids = [torch.from_numpy(store.row(row)[0][:64].astype("int64")).to(device) for row in rows]
    return probe_isolation(model, *ids)


def _train(trainer: TagTrainer, folder: Path, say: Say) -> None:
    """Train from the start or the last whole checkpoint; evaluate at both ends."""
    last = from_first(lambda: newest_checkpoint(folder, say))
    if last is not None:
        trainer.resume_from(last)
    else:
        from_first(lambda: cut_metrics(folder / METRICS, -1))
        if trainer.holdout is not None:
            trainer.evaluate()
    if last is not None and trainer.is_exhausted:  # It was killed after its last step.
        load_state(trainer.model, last)
        return
    asked = Asked()
    try:
        with stop_requests() as asked:
            trainer.add_callback(StopWhenAsked(asked))
            trainer.train(resume_from_checkpoint=str(last) if last else None)
            if trainer.state.global_step < trainer.state.max_steps and not trainer.is_exhausted:
                raise KeyboardInterrupt
            if trainer.holdout is not None and trainer.evaluated_at != trainer.state.global_step:
                trainer.evaluate()
    except KeyboardInterrupt:
        kept = checkpoints(folder)
        at = f"checkpoint of step {checkpoint_step(kept[-1])}" if kept else "start"
        error = TrainError(
            f"run {folder.name}: stopped at step {trainer.state.global_step}. Continue from the"
            f" {at}: woolgather train run --resume {folder.name}"
        )
        error.exit_code = asked.exit_code
        raise error from None


def _reopen(folder: Path, config: Run, mixture: Mixed) -> RunResult | None:
    """Refuse a folder that is another run's; return the result of one that is finished."""
    if not (folder / MADE_OF).exists():
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


def _begin(folder: Path, config: Run, mixture: Mixed) -> None:
    """Write what a run is made of, once nothing stands in its way."""
    if (folder / MADE_OF).exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "run.yaml", config.model_copy(update={"resume": False}).dump())
    made_of = {"mixture_digest": mixture.digest, "license": verdict_of(mixture), **environment()}
    write_text(folder / MADE_OF, json.dumps(made_of, ensure_ascii=False, indent=1))


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
