"""Shipped runs carry the published settings and fit the architectures that they are for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corpus.resources import packed
from corpus.settings import Home
from train.check import check_run
from train.compose import load_run

MADE_FOR: dict[str, str | None] = {
    "alpaca_cot_bloom": "bloom",
    "alpaca_cot_chatglm": "chatglm",
    "alpaca_cot_internlm": "internlm",
    "alpaca_cot_llama": None,
    "alpaca_cot_moss": "moss",
    "alpaca_lora": None,
    "chinese_alpaca_sft": None,
    "gradient_30b": None,
    "qlora_all_linear": None,
}
"""Preset -> tiny model of its architecture; None: the shared Llama."""


@pytest.fixture(scope="session")
def bloom(base: Path, tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    import shutil

    from transformers import BloomConfig, BloomForCausalLM

    folder = tmp_path_factory.mktemp("bloom")
    config = BloomConfig(vocab_size=len(tokenizer), hidden_size=64, n_layer=2, n_head=4)
    BloomForCausalLM(config).save_pretrained(folder)
    for file in base.glob("tokenizer*"):
        shutil.copyfile(file, folder / file.name)
    return folder


def test_every_preset_is_checked_on_a_model_of_its_architecture() -> None:
    assert sorted(MADE_FOR) == sorted(
        file.stem for file in (packed("recipes") / "runs").glob("*.yaml")
    )


@pytest.mark.parametrize("name", MADE_FOR)
def test_a_preset_passes_the_check(
    name: str,
    base: Path,
    bloom: Path,
    foreign: Callable[[str], Path],
    table: Any,
    tmp_path: Path,
) -> None:
    kind = MADE_FOR[name]
    folder = base if kind is None else bloom if kind == "bloom" else foreign(kind)
    sets = ["trust_remote_code=true"] if kind not in (None, "bloom") else []
    # A tiny tokenizer spells MOSS's long preamble in more tokens than the real one.
    sets += ["sequence_length=2048"] if kind == "moss" else []
    given = {"base_model": str(folder), "mixture": "table"}
    run = load_run(preset=name, given=given, sets=sets)
    findings, rows = check_run(run, Home(tmp_path), table)
    assert [one.line() for one in findings if not one.ok] == []
    assert all(any(learned for _, learned in row.pieces) for row in rows)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("alpaca_cot_llama", (8, 16, 0.05, ("q_proj", "v_proj"), 3e-4, 512, 128, "int8")),
        ("alpaca_cot_bloom", (8, 16, 0.05, ("query_key_value",), 3e-4, 512, 128, "int8")),
        ("alpaca_cot_chatglm", (32, 32, 0.1, ("query_key_value",), 2e-5, 512, 64, "none")),
        ("alpaca_cot_internlm", (32, 32, 0.1, ("q_proj", "v_proj"), 2e-5, 512, 32, "none")),
        ("alpaca_cot_moss", (8, 16, 0.05, ("qkv_proj",), 3e-4, 512, 32, "int8")),
        ("gradient_30b", (8, 16, 0.05, ("q_proj", "v_proj"), 3e-4, 256, 128, "int8")),
        ("qlora_all_linear", (64, 16, 0.1, "all-linear", 2e-4, 1024, 16, "nf4")),
    ],
)
def test_presets_have_the_published_numbers(name: str, expected: tuple[Any, ...]) -> None:
    run = load_run(preset=name, given={"base_model": "b", "mixture": "m"})
    method = run.method
    assert expected == (
        *(method.r, method.alpha, method.dropout, method.targets),
        *(run.optimizer.lr, run.sequence_length, run.rows_a_step(), run.quantize),
    )


def test_the_chinese_alpaca_preset_trains_what_the_paper_trained() -> None:
    run = load_run(preset="chinese_alpaca_sft", given={"base_model": "b", "mixture": "m"})
    assert run.method.modules_to_save == ("embed_tokens", "lm_head")
    assert (run.method.r, run.method.alpha, len(run.method.targets)) == (8, 32, 7)
    assert (run.rows_a_step(), run.optimizer.lr, run.schedule.warmup) == (512, 1e-4, 0.03)
    assert (run.eval.steps, run.save.steps, run.save.keep) == (100, 200, 3)
    assert run.template == "alpaca_chinese"


def test_no_preset_allows_foreign_code() -> None:
    for name in MADE_FOR:
        run = load_run(preset=name, given={"base_model": "b", "mixture": "m"})
        assert run.trust_remote_code is False, name
