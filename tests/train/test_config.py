"""Runs: presets, files and options compose; every error has its place; all come at once."""

from __future__ import annotations

import ast
import inspect
import itertools
from pathlib import Path

import pytest
import yaml

import train.config
from corpus.errors import RecipeError
from corpus.resources import packed
from train.compose import load_run
from train.config import Run

MINIMAL = {"base_model": "b", "mixture": "m"}


def write(folder: Path, text: str) -> Path:
    file = folder / "run.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_later_layers_win(tmp_path: Path) -> None:
    file = write(tmp_path, "base_model: b\nmixture: m\nmethod: {r: 4, alpha: 32}\n")
    run = load_run(file, given={"method.type": "lora"}, sets=["method.r=64", "seed=7"])
    assert (run.method.r, run.method.alpha, run.seed) == (64, 32, 7)


def test_the_dump_reads_back_as_the_same_run(tmp_path: Path) -> None:
    run = load_run(given=MINIMAL, sets=["method.targets=[q_proj, v_proj]", "batch.tokens=4096"])
    assert load_run(write(tmp_path, run.dump())) == run


def test_all_errors_come_at_once_with_file_and_line(tmp_path: Path) -> None:
    text = "base_model: b\nmethod:\n  rank: 8\nquantize: fp4\nschedule: {warmup: -1}\n"
    with pytest.raises(RecipeError) as caught:
        load_run(write(tmp_path, text))
    assert sorted(str(caught.value).splitlines()) == [
        "run.yaml: mixture is missing. Give --mixture NAME",
        "run.yaml:3: method.rank is unknown",
        "run.yaml:4: quantize: got 'fp4', supported: 'none', 'nf4' or 'int8'",
        "run.yaml:5: schedule.warmup: input should be greater than or equal to 0, got -1",
    ]


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (["stage=pretrain"], "stage: got 'pretrain', supported: 'sft'"),
        (["method.type=loha"], "method.type: got 'loha', supported: .*lora"),
        (["distributed=zero1"], "distributed: got 'zero1', supported: 'none', 'ddp', 'fsdp'"),
        (["trackers=[neptune]"], "trackers: got 'neptune', supported: 'tensorboard', 'wandb'"),
        (
            ["epochs=1", "batch.rows=3", "batch.micro=2"],
            "3 packed rows a step are no multiple of micro 2. Nearest: 2 or 4",
        ),
        (["batch.tokens=1000"], "batch.tokens must be a multiple of sequence_length 1024"),
        (["batch={tokens: 1024, rows: 1}"], "give rows or tokens, not both"),
        (["nonsense"], "--set: expected KEY.KEY=VALUE, got 'nonsense'"),
    ],
)
def test_what_is_not_supported_is_refused_in_one_line(sets: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_run(given=MINIMAL, sets=sets)


def test_a_key_given_twice_is_refused(tmp_path: Path) -> None:
    text = "base_model: b\nmixture: m\nseed: 1\nseed: 2\n"
    with pytest.raises(RecipeError, match=r"run.yaml:4: seed is given twice, first in line 3"):
        load_run(write(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "message"),
    [("- 1\n", "run.yaml:1: expected keys and values"), ("a: [1\n", "run.yaml:2: expected YAML")],
)
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_run(write(tmp_path, text))


def test_an_unknown_preset_lists_the_known_ones() -> None:
    with pytest.raises(RecipeError, match=r"'alpaca_lore' is unknown. Known: .*alpaca_lora"):
        load_run(preset="alpaca_lore", given=MINIMAL)


def test_steps_replace_the_epochs_of_a_preset_and_tokens_its_rows(tmp_path: Path) -> None:
    file = write(tmp_path, "steps: 50\nbatch: {tokens: 1024}\n")
    run = load_run(file, preset="alpaca_lora", given=MINIMAL)
    assert (run.steps, run.epochs) == (50, None)
    assert run.rows_a_step() == 4


@pytest.mark.parametrize("file", sorted((packed("recipes") / "runs").glob("*.yaml")), ids=str)
def test_every_preset_is_a_run(file: Path) -> None:
    run = load_run(preset=file.stem, given=MINIMAL)
    assert run.base_model == "b"


def test_the_alpaca_lora_preset_has_the_published_settings() -> None:
    run = load_run(preset="alpaca_lora", given=MINIMAL)
    assert (run.method.r, run.method.alpha, run.method.dropout) == (8, 16, 0.05)
    assert run.method.targets == ("q_proj", "v_proj")
    assert (run.optimizer.lr, run.epochs, run.sequence_length) == (3e-4, 3, 256)
    assert (run.rows_a_step(), run.batch.micro, run.schedule.warmup) == (128, 4, 100)
    assert (run.train_on_inputs, run.packing, run.template) == (True, False, "alpaca_lora")


def test_every_setting_is_documented() -> None:
    classes = [
        one
        for one in ast.parse(inspect.getsource(train.config)).body
        if isinstance(one, ast.ClassDef)
    ]
    for found in classes:
        for field, after in itertools.pairwise([*found.body, None]):
            if isinstance(field, ast.AnnAssign):
                documented = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
                assert documented, f"{found.name}.{ast.unparse(field.target)}"


def test_the_dump_is_yaml_with_every_key() -> None:
    dumped = yaml.safe_load(load_run(given=MINIMAL).dump())
    assert set(dumped) == set(Run.model_fields)
