"""Formatters of dialogues kept as lists: turns with roles, parallel lists, MOSS's numbered turns.

{"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello."}]}
{"input": ["Hi", "And you?"], "output": ["Hello.", "Fine."]}
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from formatters.registry import FORMATTERS
from formatters.row import (
    Formatter,
    Parts,
    RawRecord,
    RecordFormatter,
    Rejection,
    extra_of,
    optional_text_of,
    type_name,
)
from formatters.turns import ASSISTANT, SYSTEM, USER, row_from_turns


@FORMATTERS.register("messages")
def messages(
    *,
    turns: str = "conversations",
    role: str = "from",
    content: str = "value",
    user: Sequence[str] = ("human", "user"),
    assistant: Sequence[str] = ("gpt", "assistant", "chatgpt", "bing", "bard"),
    system: Sequence[str] = ("system",),
    system_column: str | None = None,
    extra: Sequence[str] = (),
) -> Formatter:
    """Read a list of turns, each an object with a role and a text."""
    named = {USER: user, ASSISTANT: assistant, SYSTEM: system}
    roles = {name.lower(): kind for kind, names in named.items() for name in names}

    def format_messages(record: RawRecord) -> Parts:
        found = _turns(_list_of(record, turns), role, content, roles)
        head = optional_text_of(record, system_column)
        return row_from_turns(found, system=head, extra=extra_of(record, extra))

    return RecordFormatter(format_messages, (turns,))


@FORMATTERS.register("parallel_turns")
def parallel_turns(
    *, user: str = "input", assistant: str = "output", extra: Sequence[str] = ()
) -> Formatter:
    """Read two lists of texts: what the user said, and what was answered."""

    def format_parallel(record: RawRecord) -> Parts:
        asked, answered = _list_of(record, user), _list_of(record, assistant)
        for text in (*asked, *answered):
            if not isinstance(text, str):
                raise Rejection("wrong_type", f"expected texts in {user!r} and {assistant!r}")
        if not 0 <= len(asked) - len(answered) <= 1:
            detail = f"{len(asked)} turns in {user!r}, {len(answered)} in {assistant!r}"
            raise Rejection("roles_do_not_alternate", detail)
        turns = [(USER if n % 2 == 0 else ASSISTANT, text) for n, text in _woven(asked, answered)]
        return row_from_turns(turns, extra=extra_of(record, extra))

    return RecordFormatter(format_parallel, (user, assistant))


FIELD = re.compile(r"^\s*<\|[^|]*\|>\s*:?\s*(?P<text>.*?)\s*(?:<eo[hmtcr]>)?\s*$", re.DOTALL)
"""`<|Human|>: text<eoh>`: the opening tag and the closing token around a MOSS text."""


@FORMATTERS.register("moss")
def moss(
    *,
    chat: str = "chat",
    system: str | None = "meta_instruction",
    extra: Sequence[str] = ("category",),
) -> Formatter:
    """Read MOSS conversations: numbered turns, each an object with Human and MOSS texts.

    Upstream: OpenMOSS/MOSS at f7c3309, CC-BY-NC-4.0. Turns are ordered by number (turn_10 comes
    after turn_9); inner thoughts, commands and tool responses are left out.
    """

    def format_moss(record: RawRecord) -> Parts:
        numbered = record.get(chat)
        if not isinstance(numbered, dict):
            reason = "missing_field" if numbered is None else "wrong_type"
            detail = f"{chat!r} must be an object of turns, got {type_name(numbered)}"
            raise Rejection(reason, detail)
        turns = []
        for name in sorted(numbered, key=_turn_number):
            turns.append((USER, _moss_text(numbered[name], name, "Human")))
            turns.append((ASSISTANT, _moss_text(numbered[name], name, "MOSS")))
        head = optional_text_of(record, system)
        return row_from_turns(turns, system=head, extra=extra_of(record, extra))

    return RecordFormatter(format_moss, (chat,))


def _moss_text(turn: Any, name: str, speaker: str) -> str:
    text = turn.get(speaker) if isinstance(turn, dict) else None
    if not isinstance(text, str):
        raise Rejection("missing_field", f"{name}: {speaker!r} must be a string")
    match = FIELD.match(text)
    return match["text"] if match else text


def _turn_number(name: str) -> tuple[int, str]:
    digits = re.search(r"\d+", name)
    return (int(digits.group()) if digits else 0, name)


def _turns(raw: list[Any], role: str, content: str, roles: dict[str, str]) -> list[tuple[str, str]]:
    """Return (role, text) of each turn; what is not as most are is looked at one by one."""
    try:
        found = [(roles[turn[role]], turn[content]) for turn in raw]
    except (KeyError, TypeError):
        found = []
    if found and all(type(text) is str for _, text in found):
        return found
    return [_turn(number, turn, role, content, roles) for number, turn in enumerate(raw, start=1)]


def _turn(number: int, raw: Any, role: str, content: str, roles: dict[str, str]) -> tuple[str, str]:
    if not isinstance(raw, dict):
        raise Rejection("wrong_type", f"turn {number} must be an object")
    speaker, text = raw.get(role), raw.get(content)
    if not isinstance(speaker, str) or speaker.lower() not in roles:
        raise Rejection("unknown_role", f"turn {number}: {role!r} is {speaker!r}")
    if text is None:
        text = ""
    if not isinstance(text, str):
        raise Rejection("wrong_type", f"turn {number}: {content!r} must be a string")
    return roles[speaker.lower()], text


def _list_of(record: RawRecord, key: str) -> list[Any]:
    value = record.get(key)
    if not isinstance(value, list):
        reason = "missing_field" if value is None else "wrong_type"
        raise Rejection(reason, f"{key!r} must be a list, got {type_name(value)}")
    return value


def _woven(asked: list[str], answered: list[str]) -> Iterator[tuple[int, str]]:
    for number in range(len(asked) + len(answered)):
        yield number, (asked if number % 2 == 0 else answered)[number // 2]
