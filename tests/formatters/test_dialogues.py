"""Dialogues: messages, parallel lists, MOSS turns and transcripts become rows with history."""

from __future__ import annotations

from typing import Any

import pytest

from formatters import FORMATTERS
from formatters.row import DroppedPart, Rejection, Row
from formatters.turns import row_from_turns

U, A, S = "user", "assistant", "system"


def parts_of(name: str, record: dict[str, Any], **arguments: Any) -> list[Row | DroppedPart]:
    """Return what a formatter makes of a record."""
    return list(FORMATTERS[name](**arguments)(record))


def refusal(name: str, record: dict[str, Any], **arguments: Any) -> tuple[str, str]:
    """Return the reason and the detail for which a formatter refuses a record."""
    with pytest.raises(Rejection) as refused:
        parts_of(name, record, **arguments)
    return refused.value.reason, refused.value.detail


@pytest.mark.parametrize(
    ("turns", "parts"),
    [
        ([(U, "Hi"), (A, "Hello.")], [Row("Hi", "Hello.")]),
        (
            [(U, "Hi"), (A, "Hello."), (U, "And you?"), (A, "Fine.")],
            [Row("And you?", "Fine.", history=(("Hi", "Hello."),))],
        ),
        ([(S, "Be brief."), (U, "Hi"), (A, "Hello.")], [Row("Hi", "Hello.", system="Be brief.")]),
        (
            [(S, "One."), (S, "Two."), (U, "Hi"), (A, "Hello.")],
            [Row("Hi", "Hello.", system="One.\nTwo.")],
        ),
        (
            [(A, "Welcome."), (U, "Hi"), (A, "Hello.")],
            [DroppedPart("leading_assistant_turn", "Welcome."), Row("Hi", "Hello.")],
        ),
        (
            [(U, "Hi"), (A, "Hello."), (U, "Bye")],
            [DroppedPart("no_answer", "Bye"), Row("Hi", "Hello.")],
        ),
        (
            [(U, "Hi"), (A, "Hello."), (U, "Bye"), (A, "  ")],
            [DroppedPart("no_answer", "Bye"), Row("Hi", "Hello.")],
        ),
    ],
)
def test_the_last_exchange_is_the_row(turns: list[Any], parts: list[Any]) -> None:
    assert list(row_from_turns(turns)) == parts


@pytest.mark.parametrize(
    ("turns", "reason", "detail"),
    [
        ([], "no_answer", "expected a user turn and an answer, got none"),
        ([(U, "Hi")], "no_answer", "expected a user turn and an answer, got none"),
        (
            [(U, "a"), (U, "b"), (A, "c")],
            "roles_do_not_alternate",
            "turn 2: expected assistant, got user",
        ),
        ([(A, "c")], "roles_do_not_alternate", "turn 1: expected user, got assistant"),
        (
            [(U, "a"), (S, "b"), (A, "c")],
            "roles_do_not_alternate",
            "turn 2: expected assistant, got system",
        ),
        ([(U, " "), (A, "c")], "empty_turn", "turn 1 (user) is empty"),
        ([(U, "a"), (A, ""), (U, "b"), (A, "c")], "empty_turn", "turn 2 (assistant) is empty"),
    ],
)
def test_a_dialogue_without_an_answer_or_order_is_refused(
    turns: list[Any], reason: str, detail: str
) -> None:
    with pytest.raises(Rejection) as refused:
        list(row_from_turns(turns))
    assert (refused.value.reason, refused.value.detail) == (reason, detail)


def said(*turns: tuple[str, Any]) -> dict[str, Any]:
    return {"conversations": [{"from": who, "value": text} for who, text in turns]}


def test_messages_read_roles_of_any_case() -> None:
    record = said(("Human", "Hi"), ("GPT", "Hello."))
    assert parts_of("messages", record) == [Row("Hi", "Hello.")]
    named = said(("Sheep", "Hi"), ("Dog", "Woof."))
    arguments = {"user": ["Sheep"], "assistant": ["DOG"]}
    assert parts_of("messages", named, **arguments) == [Row("Hi", "Woof.")]


def test_messages_keep_the_system_column_and_extras() -> None:
    record = said(("human", "Hi"), ("gpt", "Hello.")) | {"sys": "Be kind.", "id": 7}
    (row,) = parts_of("messages", record, system_column="sys", extra=["id", "gone"])
    assert row == Row("Hi", "Hello.", system="Be kind.", extra={"id": 7})


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({}, ("missing_field", "'conversations' must be a list, got nothing")),
        ({"conversations": "Hi"}, ("wrong_type", "'conversations' must be a list, got a string")),
        ({"conversations": ["Hi"]}, ("wrong_type", "turn 1 must be an object")),
        (said(("tool", "x")), ("unknown_role", "turn 1: 'from' is 'tool'")),
        (said(("human", 3)), ("wrong_type", "turn 1: 'value' must be a string")),
    ],
)
def test_messages_refuse_by_name(record: dict[str, Any], expected: tuple[str, str]) -> None:
    assert refusal("messages", record) == expected


def test_parallel_lists_are_woven() -> None:
    record = {"input": ["Hi", "And you?"], "output": ["Hello.", "Fine."]}
    assert parts_of("parallel_turns", record) == [
        Row("And you?", "Fine.", history=(("Hi", "Hello."),))
    ]
    open_end = {"input": ["Hi", "Bye"], "output": ["Hello."]}
    assert parts_of("parallel_turns", open_end) == [
        DroppedPart("no_answer", "Bye"),
        Row("Hi", "Hello."),
    ]


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (
            {"input": ["a"], "output": ["b", "c"]},
            ("roles_do_not_alternate", "1 turns in 'input', 2 in 'output'"),
        ),
        (
            {"input": ["a", 1], "output": ["b", "c"]},
            ("wrong_type", "expected texts in 'input' and 'output'"),
        ),
        ({"input": ["a"]}, ("missing_field", "'output' must be a list, got nothing")),
    ],
)
def test_parallel_lists_refuse_by_name(record: dict[str, Any], expected: tuple[str, str]) -> None:
    assert refusal("parallel_turns", record) == expected


def test_moss_turns_come_in_the_order_of_their_numbers() -> None:
    chat = {
        f"turn_{n}": {
            "Human": f"<|Human|>: Ask {n}<eoh>\n",
            "Inner Thoughts": "<|Inner Thoughts|>: None<eot>\n",
            "Commands": "<|Commands|>: None<eoc>\n",
            "Tool Responses": "<|Results|>: None<eor>\n",
            "MOSS": f"<|MOSS|>: Say {n}<eom>\n",
        }
        for n in (1, 10, 2)
    }
    record = {"meta_instruction": "You are kind.\n", "chat": chat, "category": "Writing"}
    assert parts_of("moss", record) == [
        Row(
            "Ask 10",
            "Say 10",
            history=(("Ask 1", "Say 1"), ("Ask 2", "Say 2")),
            system="You are kind.\n",
            extra={"category": "Writing"},
        )
    ]


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({}, ("missing_field", "'chat' must be an object of turns, got nothing")),
        ({"chat": []}, ("wrong_type", "'chat' must be an object of turns, got a list")),
        (
            {"chat": {"turn_1": {"Human": "a"}}},
            ("missing_field", "turn_1: 'MOSS' must be a string"),
        ),
    ],
)
def test_moss_refuses_by_name(record: dict[str, Any], expected: tuple[str, str]) -> None:
    assert refusal("moss", record) == expected


CHOSEN = "\n\nHuman: Hi\n\nAssistant: Hello.\n\nHuman: And you?\n\nAssistant: Fine."


def test_a_transcript_is_split_at_its_marks_and_keeps_the_worse_answer() -> None:
    record = {"chosen": CHOSEN, "rejected": CHOSEN.replace("Fine.", "Go away.")}
    assert parts_of("transcript", record, text="chosen", worse="rejected") == [
        Row("And you?", "Fine.", history=(("Hi", "Hello."),), extra={"rejected": "Go away."})
    ]


def test_a_transcript_may_lack_its_leading_newlines() -> None:
    (row,) = parts_of("transcript", {"text": "Human: Hi\n\nAssistant: Hello."}, text="text")
    assert row == Row("Hi", "Hello.")


def test_a_mark_within_a_sentence_is_text() -> None:
    record = {"text": "\n\nHuman: Say Human: twice\n\nAssistant: Human: Human:"}
    (row,) = parts_of("transcript", record, text="text")
    assert row == Row("Say Human: twice", "Human: Human:")


@pytest.mark.parametrize("text", ["Once upon a time", "", "Hi\n\nHuman: a\n\nAssistant: b"])
def test_a_text_that_begins_without_a_mark_is_refused(text: str) -> None:
    reason, detail = refusal("transcript", {"text": text}, text="text")
    assert reason == "no_speaker_mark"
    assert detail.startswith("expected 'Human:' first, got ")
