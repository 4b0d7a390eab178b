"""Dialogues: from a sequence of speaking turns to a row with history.

Shared by every formatter of dialogues (`messages`, `transcript`, `moss`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from formatters.row import DroppedPart, Rejection, Row

USER, ASSISTANT, SYSTEM = "user", "assistant", "system"


def row_from_turns(
    turns: Sequence[tuple[str, str]],
    *,
    system: str | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Iterator[Row | DroppedPart]:
    """Yield the row of a dialogue: its last exchange, with the earlier ones as history.

    A dialogue that does not end with the assistant is cut back to its last answer. A leading
    assistant turn (a greeting) is left out. Both are reported as dropped parts.

    Raises:
        Rejection: roles do not alternate, or no answer is left.
    """
    turns = list(turns)
    while turns and turns[0][0] == SYSTEM:
        system = turns.pop(0)[1] if system is None else f"{system}\n{turns.pop(0)[1]}"
    if len(turns) > 1 and turns[0][0] == ASSISTANT:
        yield DroppedPart("leading_assistant_turn", turns.pop(0)[1])
    turns, tail = _cut_back(turns)
    if tail:
        yield DroppedPart("no_answer", tail)
    if not turns:
        raise Rejection("no_answer", "expected a user turn and an answer, got none")
    _check_alternation(turns)
    pairs = [(turns[at][1], turns[at + 1][1]) for at in range(0, len(turns), 2)]
    instruction, output = pairs[-1]
    yield Row(instruction, output, history=tuple(pairs[:-1]), system=system or None, extra=extra)


def _cut_back(turns: list[tuple[str, str]]) -> tuple[list[tuple[str, str]], str]:
    """Cut a dialogue after its last answer that says something."""
    end = len(turns)
    while end and (turns[end - 1][0] != ASSISTANT or not turns[end - 1][1].strip()):
        end -= 1
    tail = "\n".join(text.strip() for _, text in turns[end:] if text.strip())
    return turns[:end], tail


def _check_alternation(turns: Sequence[tuple[str, str]]) -> None:
    for position, (role, text) in enumerate(turns):
        expected = USER if position % 2 == 0 else ASSISTANT
        if role != expected:
            detail = f"turn {position + 1}: expected {expected}, got {role}"
            raise Rejection("roles_do_not_alternate", detail)
        if not text.strip():
            raise Rejection("empty_turn", f"turn {position + 1} ({role}) is empty")
