"""A trained model answers through its own template, with and without its adapter."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from corpus.errors import TrainError
from corpus.settings import Home
from train.generate import Sampling, Speaker, load_speaker
from train.render import Turn, encode_prompt
from train.run import run_training

SHORT = Sampling(max_new_tokens=12)


@pytest.fixture(scope="module")
def speaker(trained: Any) -> Speaker:
    return load_speaker(None, trained.output)


def test_an_adapter_brings_its_base_template_and_tokenizer(speaker: Speaker) -> None:
    assert speaker.template.name == "alpaca"
    assert speaker.has_adapter


def test_greedy_answers_are_the_likeliest_tokens(speaker: Speaker) -> None:
    ids = encode_prompt(speaker.tokenizer, speaker.template, [Turn("Name 3 colours.")])
    made: list[int] = []
    for _ in range(SHORT.max_new_tokens):
        with torch.no_grad():
            step = speaker.model(torch.tensor([ids + made]), use_cache=False).logits[0, -1]
        made.append(int(step.argmax()))
        if made[-1] in speaker.end_tokens():
            break
    expected = speaker.tokenizer.decode(made, skip_special_tokens=True).strip()
    assert speaker.answer("Name 3 colours.", sampling=SHORT) == expected


def test_the_adapter_can_be_left_out(speaker: Speaker, base: Path) -> None:
    bare = load_speaker(base, template="alpaca")
    asked = {"instruction": "Name 3 colours.", "sampling": SHORT}
    assert speaker.answer(**asked, adapter=False) == bare.answer(**asked)
    ids = torch.tensor([encode_prompt(bare.tokenizer, bare.template, [Turn("Name 3 colours.")])])
    with torch.no_grad():
        gap = speaker.model(ids).logits - bare.model(ids).logits
    assert float(gap.abs().max()) > 1e-3


def test_sampling_follows_its_seed_and_leaves_the_global_state(speaker: Speaker) -> None:
    before = torch.random.get_rng_state()
    draws = [
        speaker.answer("Hi", sampling=Sampling(20, temperature=2.0, top_k=50, seed=seed))
        for seed in (1, 1, 2)
    ]
    assert draws[0] == draws[1] != draws[2]
    assert torch.equal(torch.random.get_rng_state(), before)


def test_answers_end_where_training_ended_them(
    home: Home, table_of: Callable[..., Any], a_run: Callable[..., Any]
) -> None:
    rows = [{"instruction": "Say red", "output": "red"}] * 16
    run = a_run(method={"type": "full"}, optimizer={"lr": 3e-3}, steps=40)
    result = run_training(run, home, mixture=table_of(rows))
    assert load_speaker(result.output).answer("Say red", sampling=SHORT) == "red"


@pytest.mark.parametrize(
    ("base", "adapter", "message"),
    [
        (None, None, "expected a base model or an adapter"),
        (None, "nowhere", "expected an adapter folder with an adapter_config.json"),
        ("/nowhere", None, "expected a folder or a hub id"),
        ("org/none", None, "no such folder, and the hub says"),
    ],
)
def test_a_model_that_is_not_there_is_told(
    base: str | None, adapter: str | None, message: str
) -> None:
    with pytest.raises(TrainError, match=message):
        load_speaker(base, adapter)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"temperature": 1.0, "top_p": 0}, "top_p must be above 0 and at most 1, got 0"),
        ({"max_new_tokens": 0}, "max_new_tokens and num_beams must be at least 1"),
        ({"no_repeat_ngram_size": -1}, "no_repeat_ngram_size must be at least 0"),
        ({"repetition_penalty": 0.0}, "repetition_penalty must be above 0"),
        ({"top_k": 5}, "top_p and top_k need a temperature above 0"),
    ],
)
def test_sampling_that_makes_no_sense_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(TrainError, match=message):
        Sampling(**wrong)
