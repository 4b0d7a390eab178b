"""Every template gives its published bytes, learns every reply and its end, and keeps data text."""

from __future__ import annotations

import re
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corpus.errors import TrainError
from train.encode import Encoded, Part, encode
from train.render import Turn, encode_prompt, load_template, template_names, text_template

GOLDEN = yaml.safe_load(Path(__file__).with_name("templates.yaml").read_text(encoding="utf-8"))
CASES: dict[str, tuple[list[Turn], str | None]] = {
    "one turn": ([Turn("Add.", "3")], None),
    "with input": ([Turn("Add.", "3", "1, 2")], None),
    "history of two": ([Turn("Hi", "Hello"), Turn("你好", "您好"), Turn("Add.", "3")], None),
    "with system": ([Turn("Add.", "3")], "Be kind."),
    "prompt only": ([Turn("Hi", "Hello"), Turn("Add.", None, "1, 2")], "Be kind."),
}
NAMES = template_names()
TOKENS = sorted({token for name in NAMES for token in text_template(name).tokens})
ROLE = "<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n"
JINJA = {
    "chatml": "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] +"
    " '<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\n' }}{% endif %}",
    "llama3": "{{ bos_token }}{% for m in messages %}{{ '" + ROLE + "' + m['content'] +"
    " '<|eot_id|>' }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}",
    "llama2": "{% if messages[0]['role'] == 'system' %}{% set rest = messages[1:] %}{% set lead ="
    " '<<SYS>>\n' + messages[0]['content'] + '\n<</SYS>>\n\n' %}{% else %}{% set rest = messages"
    " %}{% set lead = '' %}{% endif %}{% for m in rest %}{% if m['role'] == 'user' %}{{ bos_token +"
    " '[INST] ' + (lead if loop.first else '') + m['content'] + ' [/INST]' }}{% else %}{{ ' ' +"
    " m['content'] + ' ' + eos_token }}{% endif %}{% endfor %}",
    "glm": "[gMASK]<sop>{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}",
}
"""Chat templates as the models' publishers have them, for what both can say."""


@pytest.fixture(scope="module")
def knowing(base: Path) -> Any:
    """A tokenizer that knows the tokens of all templates."""
    from train.model import load_tokenizer

    tokenizer = load_tokenizer(base)
    tokenizer.add_special_tokens({"extra_special_tokens": TOKENS})
    return tokenizer


def test_the_documented_templates_are_those_of_the_folder() -> None:
    text = (Path(__file__).parents[2] / "docs/training.md").read_text(encoding="utf-8")
    table = text[text.index("## Templates") : text.index("## What a run writes")]
    lines = [line for line in table.splitlines() if line.startswith("| `")]
    rows = [[one.strip() for one in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    told = {name.strip("`"): (tokens, end) for name, _, tokens, end, _ in rows}
    assert sorted(told) == NAMES
    for name, (tokens, end) in told.items():
        template = text_template(name)
        assert tuple(re.findall("`(.+?)`", tokens.replace("\\", ""))) == template.tokens
        assert end.replace("\\", "").strip("`") == template.end.replace("{eos}", "end of sequence")


def marked(parts: list[Part]) -> str:
    """Return the text of parts with what is learned between angle quotes."""
    runs = [
        (on, "".join(one.text for one in run)) for on, run in groupby(parts, lambda p: p.learned)
    ]
    return "".join(f"«{text}»" if on else text for on, text in runs)


def replies(tokenizer: Any, row: Encoded) -> list[str]:
    """Return the learned runs of a row, decoded."""
    pairs = zip(row.ids, row.learned, strict=True)
    runs = [(on, [token for token, _ in run]) for on, run in groupby(pairs, lambda one: one[1])]
    return [tokenizer.decode(ids) for on, ids in runs if on]


def test_every_template_has_golden_bytes() -> None:
    assert sorted(GOLDEN) == NAMES


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", NAMES)
def test_a_template_has_its_published_bytes(knowing: Any, name: str, case: str) -> None:
    assert marked(load_template(name, knowing).parts(*CASES[case])) == GOLDEN[name][case]


@pytest.mark.parametrize("name", NAMES)
def test_tokens_decode_to_the_bytes_and_the_tokens_of_a_template_are_one_each(
    knowing: Any, name: str
) -> None:
    template = text_template(name, marks=load_template(name, knowing).marks)
    for case in CASES:
        parts = template.parts(*CASES[case])
        row = encode(knowing, [parts])[0]
        whole = "".join(one.text for one in parts)
        # A text begins with the space that the tokenizer begins texts with: <s> is one's beginning.
        assert knowing.decode(row.ids).replace("<s> ", "<s>") == whole
        special = [one for one in row.ids if one in knowing.all_special_ids]
        assert knowing.convert_ids_to_tokens(special) == [p.text for p in parts if p.special]


@pytest.mark.parametrize("name", NAMES)
def test_generation_sees_a_prefix_of_what_training_saw(knowing: Any, name: str) -> None:
    template = load_template(name, knowing)
    for case in ("one turn", "with input", "history of two", "with system"):
        turns, system = CASES[case]
        row = encode(knowing, [template.parts(turns, system)])[0]
        prompt = encode_prompt(knowing, template, turns, system)
        assert row.ids[: len(prompt)] == prompt
        assert row.learned[len(prompt) :] == [True] * (len(row.ids) - len(prompt))


@pytest.mark.parametrize("name", NAMES)
def test_only_the_last_reply_is_learned_where_asked(knowing: Any, name: str) -> None:
    turns, system = CASES["history of two"]
    every = load_template(name, knowing).parts(turns, system)
    last = load_template(name, knowing, learn_turns="last").parts(turns, system)
    assert [one.text for one in last] == [one.text for one in every]
    kept = marked(every).rpartition("«")[2]
    assert (
        marked(last)
        == marked(every).replace("«", "").replace("»", "")[: -len(kept) + 1] + "«" + kept
    )


texts = st.text(st.characters(exclude_categories=("Cs", "Cc", "Cn", "Co")), min_size=1, max_size=20)
clean = st.builds(
    lambda text, token, end: f"x{text}{token}{end}.",
    texts.filter(lambda one: " " not in one and "  " not in one),
    st.sampled_from(["", *TOKENS, "<s>", "</s>"]),
    st.sampled_from(["", "答。", " end"]),
)


@settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(name=st.sampled_from(NAMES), said=st.lists(st.tuples(clean, clean), min_size=1, max_size=3))
def test_whatever_the_data_each_turn_comes_back(
    knowing: Any, name: str, said: list[tuple[str, str]]
) -> None:
    template = load_template(name, knowing)
    parts = template.parts([Turn(*pair) for pair in said], None)
    row = encode(knowing, [parts])[0]
    found = [one.strip() for one in replies(knowing, row)]
    ends = load_template(name, knowing).parts([Turn("?", "!")], None)[-1].text
    learned = said[-1:] if name == "chatglm" and len(said) > 1 else said
    assert found == [f"{output}{gap}{ends}" for _, output in learned for gap in [gap_of(name)]]
    decoded = knowing.decode(row.ids)
    assert all(asked in decoded for asked, _ in said)


def gap_of(name: str) -> str:
    """Return what a template puts between a reply and its end."""
    return " " if name in ("alpaca_cot", "llama2") else ""


@pytest.mark.parametrize("name", ["glm", "baichuan", "moss", "chatglm2"])
def test_tokens_that_a_tokenizer_sees_in_any_text_are_kept_apart_in_data(
    base: Path, name: str
) -> None:
    from train.model import load_tokenizer

    tokenizer = load_tokenizer(base)
    tokens = list(text_template(name).tokens)
    tokenizer.add_tokens(tokens)  # Not special: found even where text is to stay text.
    template = load_template(name, tokenizer)
    assert template.risky == tuple(tokens)
    turns = [Turn(f"Say {token}.", f"{token}{token}") for token in tokens]
    row = encode(tokenizer, [template.parts(turns, None)])[0]
    clean = encode(tokenizer, [template.parts([Turn("a", "b") for _ in turns], None)])[0]
    ids = tokenizer.convert_tokens_to_ids(tokens)
    assert [one for one in row.ids if one in ids] == [one for one in clean.ids if one in ids]
    decoded = tokenizer.decode(row.ids)
    assert all(f"Say {token}." in decoded for token in tokens)
    prompt = encode_prompt(tokenizer, template, turns)
    assert row.ids[: len(prompt)] == prompt


@pytest.mark.parametrize("case", ["one turn", "with input", "history of two", "with system"])
@pytest.mark.parametrize("name", JINJA)
def test_a_template_and_the_tokenizers_own_are_one(knowing: Any, name: str, case: str) -> None:
    turns, system = CASES[case]
    messages = [{"role": "system", "content": system}] if system else []
    for turn in turns:
        asked = f"{turn.instruction}\n\n{turn.input}" if turn.input else turn.instruction
        messages += [{"role": "user", "content": asked}]
        messages += [{"role": "assistant", "content": turn.output or ""}]
    ours = "".join(one.text for one in load_template(name, knowing).parts(turns, system))
    options = {"tokenize": False, "chat_template": JINJA[name]}
    theirs = knowing.apply_chat_template(messages, **options)
    if name == "glm":  # Its own says no end after the last reply: the next user is the end.
        ours = ours.removesuffix("<|user|>")
    assert ours == theirs.removesuffix("\n")
    options["add_generation_prompt"] = True
    asked = "".join(
        one.text
        for one in load_template(name, knowing).parts([*turns[:-1], open_turn(turns)], system)
    )
    assert asked == knowing.apply_chat_template(messages[:-1], **options)


def open_turn(turns: list[Turn]) -> Turn:
    return Turn(turns[-1].instruction, None, turns[-1].input)


def test_the_space_before_a_reply_is_the_models_to_say(knowing: Any) -> None:
    knowing.chat_template = JINJA["llama2"]
    try:
        template = load_template("chat", knowing)
        turns, system = CASES["history of two"]
        named = load_template("llama2", knowing)
        assert marked(template.parts(turns, system)) == marked(named.parts(turns, system))
        prompt = encode_prompt(knowing, template, turns, system)
        assert prompt == encode_prompt(knowing, named, turns, system)
        last = load_template("chat", knowing, learn_turns="last").parts(turns, system)
        assert marked(last).endswith("[INST] Add. [/INST]« 3 </s>»")
        assert marked(last).count("«") == 1
    finally:
        knowing.chat_template = None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("chatml", r"template chatml: expected a tokenizer with <\|im_start\|>, <\|im_end\|>, got"),
        ("internlm", "template internlm: expected a tokenizer with <eoh>, <eoa>, got one without"),
    ],
)
def test_a_template_is_refused_where_its_tokens_are_unknown(
    tokenizer: Any, name: str, message: str
) -> None:
    with pytest.raises(TrainError, match=message):
        load_template(name, tokenizer)


def test_a_template_is_refused_where_a_mark_is_missing(base: Path) -> None:
    from train.model import load_tokenizer

    tokenizer = load_tokenizer(base)
    tokenizer.eos_token = None
    with pytest.raises(TrainError, match=r"template belle: expected .* an end-of-sequence token"):
        load_template("belle", tokenizer)


def test_text_that_goes_on_is_not_begun_with_a_space(knowing: Any) -> None:
    turns = [Turn("Red", "Red, green"), Turn("Name 1", "3")]
    row = encode(knowing, [load_template("alpaca_lora", knowing).parts(turns, None)])[0]
    pieces = "".join(knowing.convert_ids_to_tokens(row.ids))
    assert pieces.startswith("<s>▁Below▁is▁an")
    assert "Response:\nRed,▁green</s>\n\n###" in pieces.replace("<0x0A>", "\n")
    parts = load_template("llama2", knowing).parts(turns, None)
    pieces = "".join(knowing.convert_ids_to_tokens(encode(knowing, [parts])[0].ids))
    pieces = re.sub("<0x(..)>", lambda found: chr(int(found[1], 16)), pieces)
    assert pieces == "<s>▁[INST]▁Red▁[/INST]▁Red,▁green▁</s><s>▁[INST]▁Name▁1▁[/INST]▁3▁</s>"


def test_a_tokenizer_without_spaces_before_text_is_left_alone() -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = {one: n for n, one in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    model = Tokenizer(models.BPE(vocab=alphabet | {"</s>": 256}, merges=[]))
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = decoders.ByteLevel()
    bytewise = PreTrainedTokenizerFast(tokenizer_object=model, eos_token="</s>")
    parts = load_template("alpaca", bytewise).parts(*CASES["history of two"])
    row = encode(bytewise, [parts])[0]
    assert bytewise.decode(row.ids) == "".join(one.text for one in parts)
    assert len(row.ids) == sum(1 if p.special else len(p.text.encode()) for p in parts)
