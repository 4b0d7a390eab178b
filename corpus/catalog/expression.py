"""The grammar of tag expressions: terms joined by `!`, `&`, `|` and parentheses.

`corpus.catalog.select` matches what this parses against a catalog.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple

from corpus.errors import CatalogError

MAX_DEPTH = 100
"""Deepest nesting of `!` and `(` that is read: more is an accident, and would exhaust the stack."""

_TOKEN = re.compile(r"\s*(?:(?P<sign>[()!&|])|(?P<word>[^\s()!&|]+))")
_OPERANDS = "expected an id, a tag such as lang:CN, a group, `!` or `(`"


@dataclass(frozen=True, slots=True)
class Term:
    """An id, `id/subset`, glob, group, or `tag:value`."""

    text: str
    position: int = field(default=1, compare=False)
    """Where it stands in the expression, from 1."""

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Not:
    """All that the operand does not match."""

    operand: Expression

    def __str__(self) -> str:
        return f"!{_enclosed(self.operand, And, Or)}"


@dataclass(frozen=True, slots=True)
class And:
    """What every operand matches."""

    operands: tuple[Expression, ...]

    def __str__(self) -> str:
        return " & ".join(_enclosed(one, And, Or) for one in self.operands)


@dataclass(frozen=True, slots=True)
class Or:
    """What any operand matches."""

    operands: tuple[Expression, ...]

    def __str__(self) -> str:
        return " | ".join(_enclosed(one, Or) for one in self.operands)


Expression = Term | Not | And | Or


def _enclosed(one: Expression, *kinds: type) -> str:
    return f"({one})" if isinstance(one, kinds) else str(one)


def terms_of(expression: Expression) -> list[Term]:
    """Return the terms of an expression, from left to right."""
    if isinstance(expression, Term):
        return [expression]
    if isinstance(expression, Not):
        return terms_of(expression.operand)
    return [term for one in expression.operands for term in terms_of(one)]


def parse(text: str) -> Expression:
    """Return the expression that a text writes; `!` binds tighter than `&`, `&` than `|`.

    Raises:
        CatalogError: the text is no tag expression; the message has the position, from 1.
    """
    parser = _Parser(text, _tokens(text))
    found = parser.union(0)
    if parser.peek().text:
        raise parser.error("expected `&`, `|` or the end")
    return found


class _Token(NamedTuple):
    text: str
    """"" at the end of the expression."""
    position: int


def _tokens(text: str) -> list[_Token]:
    found = [
        _Token(match["sign"] or match["word"], match.start(match.lastgroup or 0) + 1)
        for match in _TOKEN.finditer(text)
    ]
    return [*found, _Token("", len(text) + 1)]


class _Parser:
    """A recursive descent parser: one method a level of the grammar."""

    def __init__(self, text: str, tokens: list[_Token]) -> None:
        self.text, self.tokens, self.at = text, tokens, 0

    def peek(self) -> _Token:
        return self.tokens[self.at]

    def take(self, sign: str) -> bool:
        found = self.peek().text == sign
        self.at += found
        return found

    def error(self, expected: str) -> CatalogError:
        token = self.peek()
        got = f"{token.text!r}" if token.text else "the end"
        hint = {"and": "&", "or": "|", "not": "!"}.get(token.text.casefold())
        way_out = f"Write {hint} instead." if hint else "Join terms with ! & | and parentheses."
        return CatalogError(
            f"{self.text!r}: position {token.position}: {expected}, got {got}. {way_out}"
        )

    def union(self, depth: int) -> Expression:
        operands = [self.intersection(depth)]
        while self.take("|"):
            operands.append(self.intersection(depth))
        return operands[0] if len(operands) == 1 else Or(tuple(operands))

    def intersection(self, depth: int) -> Expression:
        operands = [self.operand(depth)]
        while self.take("&"):
            operands.append(self.operand(depth))
        return operands[0] if len(operands) == 1 else And(tuple(operands))

    def operand(self, depth: int) -> Expression:
        if depth > MAX_DEPTH:
            raise self.error(f"expected at most {MAX_DEPTH} nested signs")
        if self.take("!"):
            return Not(self.operand(depth + 1))
        if self.take("("):
            inner = self.union(depth + 1)
            if not self.take(")"):
                raise self.error("expected `)`")
            return inner
        token = self.peek()
        if not token.text or token.text in "()!&|" or token.text.casefold() in ("and", "or", "not"):
            raise self.error(_OPERANDS)
        self.at += 1
        return Term(token.text, token.position)
