"""Merging by method and by base: each that changes weights merges exactly; others say why not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from corpus.errors import TrainError
from corpus.settings import Home
from train.certificate import verify_merged
from train.generate import load_speaker
from train.merge import merge
from train.methods import METHODS
from train.run import run_training

IDS = torch.arange(4, 60)[None]

SETTINGS: dict[str, list[dict[str, Any]]] = {
    "lora": [
        {"targets": ["q_proj", "embed_tokens", "lm_head"]},
        {"rslora": True},
        {"dora": True},
        {"init": "pissa"},
        {"targets": ["q_proj"], "modules_to_save": ["embed_tokens", "lm_head"]},
    ],
    "oft": [{"block_size": 16}],
}
"""Method -> settings to merge with; others are merged with their defaults."""

MERGING = [name for name in METHODS if not METHODS[name].merges and METHODS[name].adapter]


def logits(folder: str | Path, adapter: str | Path | None = None, **options: Any) -> torch.Tensor:
    speaker = load_speaker(folder, adapter, **options)
    with torch.no_grad():
        found: torch.Tensor = speaker.model(IDS, use_cache=False).logits.float()
    return found


def trained_adapter(make: Callable[..., Any], table: Any, home: Path, **changes: Any) -> Path:
    result = run_training(make(steps=3, **changes), Home(home), mixture=table)
    return Path(result.output)


@pytest.mark.parametrize(
    ("name", "settings"),
    [(name, one) for name in MERGING for one in SETTINGS.get(name, [{}])],
    ids=lambda one: one if isinstance(one, str) else "-".join(one) or "default",
)
def test_a_merged_model_answers_as_the_live_adapter(
    a_run: Callable[..., Any],
    table: Any,
    base: Path,
    tmp_path: Path,
    name: str,
    settings: dict[str, Any],
) -> None:
    adapter = trained_adapter(a_run, table, tmp_path, method={"type": name, **settings})
    done = merge(adapter, tmp_path / "out")
    live = logits(base, adapter)
    assert torch.allclose(logits(tmp_path / "out"), live, atol=1e-5)
    assert not torch.allclose(logits(base), live, atol=1e-4)
    assert done["check"] is not None
    assert done["check"]["kl"] < 1e-6


@pytest.mark.parametrize(
    "name", [one for one in METHODS if METHODS[one].merges and METHODS[one].adapter]
)
def test_what_is_no_change_of_weights_says_so(
    a_run: Callable[..., Any], table: Any, tmp_path: Path, name: str
) -> None:
    changes = {"method": {"type": name}, "packing": not METHODS[name].packs}
    adapter = trained_adapter(a_run, table, tmp_path, **changes)
    with pytest.raises(TrainError, match=METHODS[name].merges):
        merge(adapter, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def qlora(
    base: Path, table: Any, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """Train one adapter on each kind of quantised base, once."""
    from train.config import Run

    made: dict[str, Path] = {}

    def make(kind: str) -> Path:
        if kind not in made:
            run = Run(
                base_model=str(base),
                mixture="table",
                name=kind,
                sequence_length=128,
                steps=3,
                quantize=kind,  # type: ignore[arg-type]
                batch={"rows": 4, "micro": 2},  # type: ignore[arg-type]
                optimizer={"lr": 1e-2},  # type: ignore[arg-type]
            )
            home = Home(tmp_path_factory.mktemp(kind))
            made[kind] = Path(run_training(run, home, mixture=table).output)
        return made[kind]

    return make


def test_merged_onto_what_the_nf4_base_saw_it_is_what_was_trained(
    qlora: Callable[[str], Path], base: Path, tmp_path: Path
) -> None:
    done = merge(qlora("nf4"), tmp_path / "out")
    assert done["onto"] == "dequantised"
    live = logits(base, qlora("nf4"), quantize="nf4")
    assert torch.allclose(logits(tmp_path / "out"), live, atol=1e-5)


def test_other_ways_to_merge_report_how_far_they_are(
    qlora: Callable[[str], Path], tmp_path: Path
) -> None:
    near = merge(qlora("nf4"), tmp_path / "near")["check"]
    original = merge(qlora("nf4"), tmp_path / "original", onto="original")["check"]
    again = merge(qlora("nf4"), tmp_path / "again", onto="quantised")["check"]
    assert near is not None
    assert original is not None
    assert again is not None
    assert near["kl"] < 1e-8 < min(original["kl"], again["kl"])


@pytest.mark.parametrize("kind", ["nf4", "int8"])
def test_a_model_quantised_again_loads_quantised(
    qlora: Callable[[str], Path], tmp_path: Path, kind: str
) -> None:
    merge(qlora(kind), tmp_path / "out", onto="quantised", check=False)
    model = load_speaker(tmp_path / "out").model
    layer = model.model.layers[0].mlp.down_proj
    assert type(layer).__name__ == {"nf4": "Linear4bit", "int8": "Linear8bitLt"}[kind]
    with torch.no_grad():
        ours = model(IDS, use_cache=False).logits.float()
    merge(qlora(kind), tmp_path / "full", check=False)
    full = logits(tmp_path / "full")
    assert float((ours - full).norm() / full.norm()) < 0.2
    assert verify_merged(tmp_path / "out")["tensors"] > 0


def test_int8_is_merged_near_to_what_was_trained(
    qlora: Callable[[str], Path], tmp_path: Path
) -> None:
    done = merge(qlora("int8"), tmp_path / "out")
    certificate = json.loads((tmp_path / "out" / "merge.json").read_text())
    assert certificate["onto"] == done["onto"] == "dequantised"
    assert done["check"] is not None
    assert done["check"]["kl"] < 1e-2


def test_a_plain_adapter_has_no_quantised_base_to_merge_onto(trained: Any, tmp_path: Path) -> None:
    with pytest.raises(TrainError, match=r"--onto quantised: .* not trained on a quantised base"):
        merge(Path(trained.output), tmp_path / "out", onto="quantised")
