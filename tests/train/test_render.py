"""Templates give exact bytes, masks cover replies and their ends, data stays text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from corpus.errors import RecipeError, TrainError
from train.encode import Encoded, Part, encode
from train.render import Turn, encode_prompt, load_template, template_names, text_template

WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further"
    " context. Write a response that appropriately completes the request.\n\n### Instruction:\n"
    "{instruction}\n\n### Input:\n{input}\n\n### Response:"
)
WITHOUT_INPUT = (
    "Below is an instruction that describes a task. Write a response that appropriately completes"
    " the request.\n\n### Instruction:\n{instruction}\n\n### Response:"
)
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture
def chatml(base: Path) -> Any:
    """A tokenizer with a chat template and its special tokens."""
    from train.model import load_tokenizer

    tokenizer = load_tokenizer(base)
    tokenizer.add_special_tokens({"extra_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.chat_template = CHATML
    return tokenizer


def text(parts: list[Part], *, learned: bool | None = None) -> str:
    return "".join(one.text for one in parts if learned is None or one.learned == learned)


@pytest.mark.parametrize(("name", "tail"), [("alpaca", ""), ("alpaca_lora", "\n")])
def test_the_alpaca_prompt_has_the_published_bytes(tokenizer: Any, name: str, tail: str) -> None:
    template = load_template(name, tokenizer)
    asked = template.parts([Turn("Add {x}.", None, "1, 2")], None)
    plain = template.parts([Turn("Add {x}.")], None)
    assert (
        text(asked)
        == "<s>" + WITH_INPUT.replace("{instruction}", "Add {x}.").replace("{input}", "1, 2") + tail
    )
    assert text(plain) == "<s>" + WITHOUT_INPUT.replace("{instruction}", "Add {x}.") + tail


def test_a_dialogue_repeats_the_blocks_and_speaks_of_the_last_input(tokenizer: Any) -> None:
    template = load_template("alpaca", tokenizer)
    parts = template.parts([Turn("Hi", "Hello"), Turn("Add", "3", "1, 2")], "Be kind.")
    opening = WITH_INPUT.split("### Instruction")[0]
    assert text(parts) == (
        f"<s>Be kind.\n\n{opening}### Instruction:\nHi\n\n### Response:Hello</s>\n\n"
        "### Instruction:\nAdd\n\n### Input:\n1, 2\n\n### Response:3</s>"
    )
    assert text(parts, learned=True) == "Hello</s>3</s>"


def test_every_reply_and_its_end_is_learned_and_nothing_else(tokenizer: Any) -> None:
    template = load_template("alpaca", tokenizer)
    row = encode(tokenizer, [template.parts([Turn("Hi", "Red"), Turn("Go", "Green")], None)])[0]
    runs = decoded_runs(tokenizer, row)
    assert [one for one, learned in runs if learned] == ["Red</s>", "Green</s>"]
    assert row.ids[0] == tokenizer.bos_token_id
    assert row.ids.count(tokenizer.bos_token_id) == 1


def test_special_tokens_inside_data_stay_text(tokenizer: Any) -> None:
    template = load_template("alpaca", tokenizer)
    turn = Turn("Say </s> and <s>.", "It is </s>, <pad>.")
    row = encode(tokenizer, [template.parts([turn], None)])[0]
    specials = [one for one in row.ids if one in tokenizer.all_special_ids]
    assert specials == [tokenizer.bos_token_id, tokenizer.eos_token_id]
    assert "It is </s>, <pad>." in tokenizer.decode(row.ids)


def test_special_tokens_inside_data_stay_text_in_a_chat_template(chatml: Any) -> None:
    template = load_template("chat", chatml)
    turn = Turn("a<|im_end|>\n<|im_start|>system", "b<|im_end|>c")
    row = encode(chatml, [template.parts([turn], None)])[0]
    marks = chatml.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"])
    assert [one for one in row.ids if one in marks] == [marks[0], marks[1], marks[0], marks[1]]


def test_a_chat_template_learns_replies_and_their_end(chatml: Any) -> None:
    template = load_template("chat", chatml)
    parts = template.parts([Turn("Hi", "Hello"), Turn("Add", "3", "1, 2")], "Be kind.")
    assert text(parts) == chatml.apply_chat_template(
        [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hello"},
            {"role": "user", "content": "Add\n\n1, 2"},
            {"role": "assistant", "content": "3"},
        ],
        tokenize=False,
    )
    assert text(parts, learned=True) == "Hello<|im_end|>3<|im_end|>"


@pytest.mark.parametrize("name", ["alpaca", "alpaca_lora", "chat"])
def test_generation_sees_the_prompt_that_training_saw(chatml: Any, name: str) -> None:
    template = load_template(name, chatml)
    turns = [Turn("你好", "你好！"), Turn("Add", "3", "1, 2")]
    row = encode(chatml, [template.parts(turns, "Be kind.")])[0]
    prompt = encode_prompt(chatml, template, turns, "Be kind.")
    assert row.ids[: len(prompt)] == prompt
    assert row.learned[len(prompt)]
    assert chatml.decode(row.ids[len(prompt) :]).startswith("3")


@pytest.mark.parametrize(
    ("chat_template", "message"),
    [
        ("{{ messages[0]['content'] }}", "drops, repeats or reorders messages"),
        ("{% for m in messages %}{{ m['content'] }}\n{% endfor %}", "could not learn to stop"),
        ("{{ raise_exception('no') }}", "the tokenizer's chat template failed: no"),
    ],
)
def test_a_chat_template_that_cannot_teach_is_refused(
    chatml: Any, chat_template: str, message: str
) -> None:
    chatml.chat_template = chat_template
    with pytest.raises(TrainError, match=message):
        load_template("chat", chatml).parts([Turn("Hi", "Hello")], None)


def test_an_unknown_template_lists_the_known_ones(tokenizer: Any) -> None:
    with pytest.raises(RecipeError, match=r"'alpacca' is unknown. Did you mean 'alpaca'\?"):
        load_template("alpacca", tokenizer)


def test_a_tokenizer_without_chat_template_is_told(tokenizer: Any) -> None:
    with pytest.raises(TrainError, match="the tokenizer has no chat template"):
        load_template("chat", tokenizer)


def test_templates_are_named_as_their_files() -> None:
    assert [text_template(name).name for name in template_names()] == template_names()


def test_a_template_is_known_by_its_text(tokenizer: Any) -> None:
    names = template_names()
    assert len({text_template(name).identity for name in names}) == len(names)
    last = load_template("alpaca", tokenizer, learn_turns="last").identity
    assert last != load_template("alpaca", tokenizer).identity


def decoded_runs(tokenizer: Any, row: Encoded) -> list[tuple[str, bool]]:
    runs: list[tuple[list[int], bool]] = []
    for token, learned in zip(row.ids, row.learned, strict=True):
        if not runs or runs[-1][1] != learned:
            runs.append(([], learned))
        runs[-1][0].append(token)
    return [(tokenizer.decode(ids), learned) for ids, learned in runs]
