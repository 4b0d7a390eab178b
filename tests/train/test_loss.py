"""Losses are exact: by token, by tag, packed or not, in one pass or in several."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from corpus.errors import TrainError
from corpus.settings import Home
from train.data import group_rows
from train.loss import TagSums, probe_isolation
from train.model import load_base
from train.run import read_metrics, run_training

TASK = "Below is an instruction that describes a task"
PAIRED = ", paired with an input that provides further context"
REQUEST = ". Write a response that appropriately completes the request.\n\n"


def token_losses_by_hand(model: Any, tokenizer: Any, row: dict[str, Any]) -> list[float]:
    """Render, mask and score one row with nothing of ours: one row, one plain forward pass."""

    def pieces(text: str) -> list[int]:
        # The pieces alone: this tokenizer would put a space before every text.
        return [
            one.id for one in tokenizer.backend_tokenizer.model.tokenize(text.replace(" ", "▁"))
        ]

    earlier = [{**turn, "input": ""} for turn in row["history"]]
    lead = f"{row['system']}\n\n" if row["system"] else ""
    lead += TASK + (PAIRED if row["input"] else "") + REQUEST
    ids, learned = [tokenizer.bos_token_id], [False]
    for turn in [*earlier, row]:
        asked = f"### Instruction:\n{turn['instruction']}\n\n"
        asked += f"### Input:\n{turn['input']}\n\n" if turn["input"] else ""
        prompt = pieces(f"{lead}{asked}### Response:")
        reply = [*pieces(turn["output"]), tokenizer.eos_token_id]
        ids += prompt + reply
        learned += [False] * len(prompt) + [True] * len(reply)
        lead = "\n\n"
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0]
    scores = torch.log_softmax(logits.double(), -1)
    return [-float(scores[at - 1, ids[at]]) for at in range(len(ids)) if learned[at]]


def sums_by_hand(model: Any, tokenizer: Any, rows: Any) -> dict[str, dict[str, list[float]]]:
    columns = ("instruction", "input", "output", "history", "system")
    table = rows.rows(range(len(rows)), columns)
    sums: dict[str, dict[str, list[float]]] = {}
    for number in range(len(rows)):
        row = {name: values[number] for name, values in table.items()}
        losses = token_losses_by_hand(model, tokenizer, row)
        source = rows.sources[rows.index.source[number]]
        tags = {tag: getattr(source, tag) for tag in ("lang", "task", "gen")}
        tags |= {"source": source.name, "category": "train" if "/" in source.name else "-"}
        for tag, value in tags.items():
            sums.setdefault(tag, {}).setdefault(value, []).extend(losses)
    return sums


def assert_same(tags: Any, expected: dict[str, dict[str, list[float]]]) -> None:
    assert {tag: set(groups) for tag, groups in tags.items()} == {
        tag: set(groups) for tag, groups in expected.items()
    }
    for tag, groups in expected.items():
        for value, losses in groups.items():
            assert tags[tag][value]["tokens"] == len(losses)
            mean = sum(losses) / len(losses)
            assert tags[tag][value]["loss"] == pytest.approx(mean, abs=1e-5), (tag, value)


def test_train_loss_by_tag_equals_a_row_by_row_forward(
    home: Home, table: Any, base: Path, a_run: Callable[..., Any]
) -> None:
    # With learning rate 0 every step sees the base's weights; 4 forward passes make a step.
    run = a_run(
        steps=None,
        epochs=1,
        batch={"rows": 4, "micro": 1},
        optimizer={"lr": 0},
        sequence_length=512,
    )
    result = run_training(run, home, mixture=table)
    model = AutoModelForCausalLM.from_pretrained(base)
    expected = sums_by_hand(model, AutoTokenizer.from_pretrained(base), table)
    assert_same(result.tags["train"], expected)


def test_holdout_loss_by_tag_equals_a_row_by_row_forward_of_the_adapter(
    trained: Any, table: Any, base: Path
) -> None:
    from peft import PeftModel

    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), trained.output)
    expected = sums_by_hand(model.eval(), AutoTokenizer.from_pretrained(base), table.holdout)
    assert_same(trained.tags["eval"], expected)


def test_tags_weighted_by_tokens_are_the_total_at_every_log_line(trained: Any) -> None:
    lines = read_metrics(Path(trained.path))
    assert [line["step"] for line in lines if line["kind"] == "train"] == list(range(1, 13))
    assert [line["step"] for line in lines if line["kind"] == "eval"] == [0, 5, 10, 12]
    for line in lines:
        for groups in line["tags"].values():
            tokens = sum(group["tokens"] for group in groups.values())
            assert tokens == line["tokens"]
            weighted = sum(group["loss"] * group["tokens"] for group in groups.values()) / tokens
            assert weighted == pytest.approx(line["loss"], rel=1e-12)


def test_accumulation_does_not_change_training(
    home: Home, table: Any, a_run: Callable[..., Any]
) -> None:
    def losses(name: str, micro: int) -> list[float]:
        run = a_run(name=name, batch={"rows": 8, "micro": micro}, optimizer={"lr": 1e-3})
        return run_training(run, home, mixture=table).losses

    assert losses("whole", 8) == pytest.approx(losses("pieces", 1), rel=1e-6)


def test_packing_does_not_change_the_loss_of_an_epoch(
    home: Home, table: Any, a_run: Callable[..., Any]
) -> None:
    def loss(name: str, packing: bool) -> float:
        run = a_run(name=name, packing=packing, steps=None, epochs=1, optimizer={"lr": 0})
        groups = run_training(run, home, mixture=table).tags["train"]["source"].values()
        return sum(one["sum"] for one in groups) / sum(one["tokens"] for one in groups)

    assert loss("packed", True) == pytest.approx(loss("padded", False), abs=1e-6)


def test_sums_by_tag_survive_a_checkpoint(table: Any) -> None:
    groups, _ = group_rows([table])
    sums = TagSums(groups)
    sums.add(torch.tensor([0.1, 0.2, 0.3]), torch.tensor([2, 0, 2]))
    other = TagSums(groups)
    other.restore(json.loads(json.dumps(sums.state())))
    total = other.take()
    assert total.sums == pytest.approx([0.2, 0, 0.4])
    assert total.counts == [1, 0, 2]
    assert sums.take().by_tag()["lang"]["EN"]["tokens"] == 3
    assert sums.take().tokens == 0


def test_packed_rows_do_not_see_each_other(base: Path) -> None:
    model = load_base(base)
    first, second = torch.arange(10, 40), torch.arange(50, 75)
    assert probe_isolation(model, first, second) < 1e-5


def test_a_model_that_mixes_packed_rows_is_refused(base: Path) -> None:
    model = load_base(base)

    def mixing(input_ids: torch.Tensor, position_ids: torch.Tensor, use_cache: bool) -> Any:
        # An all-ones mask is the trap: transformers then ignores where positions restart.
        mask = torch.ones_like(input_ids)
        return type(model).forward(
            model, input_ids, position_ids=position_ids, attention_mask=mask, use_cache=use_cache
        )

    model.forward = mixing
    with pytest.raises(TrainError, match=r"see each other in this model .* Set packing: false"):
        probe_isolation(model, torch.arange(10, 40), torch.arange(50, 75))
