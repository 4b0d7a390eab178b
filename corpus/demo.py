"""The demo: the whole chain on the bundled samples, offline, with a tiny model made on the spot.

Build, mix, learn, merge, answer, report. All weights learn English first; then LoRA learns the
bilingual mixture, so that the losses by tag have something to tell. Each step is what the verb of
that name does; what is finished is found again when the demo is run a second time.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corpus.atomic import new_folder
from corpus.build import BuildRequest, build_entry, inputs_of
from corpus.catalog import Catalog
from corpus.engine import Engine, load
from corpus.mixture import (
    Mixture,
    Plan,
    build_mixture,
    plan_mixture,
    read_recipe,
    write_mixture,
)
from corpus.resources import packed
from corpus.settings import Home

if TYPE_CHECKING:
    from corpus.cli.session import Advance

RECIPE, BASE_RECIPE = "demo.yaml", "demo-base.yaml"
TEMPLATE = "alpaca"
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "lm_head")
LENGTH = 384
"""Tokens of a packed row."""
QUESTION = "Name three things that a sheep gives us."
TAGS = ("source", "lang", "task", "gen")

Bar = Callable[[str], AbstractContextManager["Advance"]]
Say = Callable[[str], None]


@dataclass(slots=True)
class Demo:
    """What the demo makes, step by step; the report shows it."""

    folder: Path
    say: Say
    bar: Bar
    plan: Plan | None = None
    mixture: Mixture | None = None
    full: Any = None
    """`train.run.RunResult` of the stage that trains all weights."""
    lora: Any = None
    """The same of the LoRA stage."""
    merged: Any = None
    answers: dict[str, str] = field(default_factory=dict)

    @property
    def home(self) -> Home:
        """Return the demo's own home, apart from the user's."""
        return Home(self.folder / "home")

    @property
    def base(self) -> Path:
        """Return the folder of the tiny base model."""
        return self.folder / "base"


def build_samples(demo: Demo) -> list[tuple[str, int, int]]:
    """Build every bundled source; return (id, rows, rejected) of each."""
    catalog = Catalog.load(demo.home)
    request = BuildRequest((packed("samples"),))
    counts = []
    with Engine("serial") as engine, demo.bar("build") as advance:
        entries = list(catalog)
        for number, entry in enumerate(entries, start=1):
            inputs = inputs_of(entry, request)
            if inputs.read:
                built = build_entry(entry, inputs, demo.home, engine, request)
                counts.append((entry.id, built.build.rows, built.build.rejected))
            advance(number, len(entries), entry.id)
    return counts


def mix_samples(demo: Demo) -> None:
    """Plan and write the demo's mixture, and the English one that the base model reads."""
    catalog = Catalog.load(demo.home)
    recipe, base = (read_recipe(packed("recipes") / name) for name in (RECIPE, BASE_RECIPE))
    with demo.bar("mix") as advance:
        demo.plan = plan_mixture(recipe, demo.home, catalog, advance=advance)
        demo.mixture = write_mixture(demo.plan, demo.home)
        build_mixture(base, demo.home, catalog)


def make_base(demo: Demo) -> None:
    """Make a tokenizer of the mixture's texts and a small random Llama."""
    if demo.base.is_dir():
        return
    with new_folder(demo.base) as temporary:
        load("train.tiny:make_tiny")(temporary, load("train.tiny:rendered_texts")(demo.mixture))


def learn(demo: Demo, full_steps: int, lora_steps: int) -> None:
    """Train all weights on English for a while; then LoRA on the bilingual mixture."""
    full = {"method": {"type": "full"}, "steps": full_steps, "mixture": "demo-base"}
    demo.full = _train(demo, "full", str(demo.base), full)
    lora = {
        "method": {"type": "lora", "r": 16, "alpha": 32, "targets": TARGETS},
        "steps": lora_steps,
    }
    demo.lora = _train(demo, "lora", demo.full.output, {**lora, "mixture": "demo"})


def _train(demo: Demo, name: str, base: str, settings: dict[str, Any]) -> Any:
    config = load("train.config:Run")(
        base_model=base,
        name=name,
        template=TEMPLATE,
        sequence_length=LENGTH,
        batch={"rows": 4, "micro": 4},
        threads=1,
        optimizer={"lr": 3e-3},
        save={"steps": max(1, settings["steps"] // 2), "keep": 1},
        resume=(demo.home.runs / name).is_dir(),
        **settings,
    )
    with demo.bar(f"train {name}") as advance:
        return load("train.run:run_training")(config, demo.home, advance)


def merge_adapter(demo: Demo) -> None:
    """Merge the adapter into its base and check the result against the live adapter."""
    out = demo.folder / "merged"
    shutil.rmtree(out, ignore_errors=True)
    demo.merged = load("train.merge:merge")(Path(demo.lora.output), out)


def answer(demo: Demo) -> None:
    """Ask one question with and without the adapter."""
    speaker = load("train.generate:load_speaker")(None, demo.lora.output)
    sampling = load("train.generate:Sampling")(max_new_tokens=60)
    demo.answers = {
        "without the adapter": speaker.answer(QUESTION, sampling=sampling, adapter=False),
        "with the adapter": speaker.answer(QUESTION, sampling=sampling),
    }


def loss_table(result: Any, tag: str) -> list[tuple[str, int, float, float | None]]:
    """Return (value, learned tokens, training loss, holdout loss) for each value of a tag."""
    train, held = result.tags["train"][tag], result.tags["eval"].get(tag, {})
    return [
        (value, int(sums["tokens"]), sums["loss"], held.get(value, {}).get("loss"))
        for value, sums in sorted(train.items())
    ]


def fall(losses: Sequence[float], window: int = 10) -> float:
    """Return by which share the mean of the last losses lies below that of the first."""
    first, last = losses[:window], losses[-window:]
    return 1 - (sum(last) / len(last)) / (sum(first) / len(first))
