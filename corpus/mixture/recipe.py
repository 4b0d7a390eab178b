"""Recipes: what a mixture shall hold, read from strict YAML or from a few options.

The first step of a mixture; `corpus.mixture.plan` turns a recipe into exact row counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from corpus.catalog.lines import Lined, LinedList, parse_yaml
from corpus.errors import CatalogError, RecipeError
from corpus.registry import suggest

Kind = Literal["share", "rest", "rows", "epochs"]

KEYS = ("name", "seed", "size", "sources", "dedup", "holdout")
LATER = {
    "": (
        "tokenizer",
        "temperature",
        "decontaminate",
        "filter",
        "convert",
        "cot_trigger",
        "license",
    ),
    "size.": ("tokens",),
    "sources.": ("file", "tokens"),
    "dedup.": ("near",),
}
"""Keys of recipes that this version does not know yet, by the mapping they stand in."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of `sources`: which datasets, and how much of them."""

    select: str
    kind: Kind
    amount: Fraction
    """A share of the size, a number of rows or of epochs; 0 for `rest`."""
    where: str = ""
    """File and line, for messages."""


@dataclass(frozen=True, slots=True)
class Dedup:
    """Which exact duplicates are removed."""

    exact: Literal[False, True, "prompt"] = False
    """Within a source: rows whose folded content is equal, or whose folded prompt is equal."""
    across: bool = False
    """Between sources: the same, keeping the source that `prefer`, then the recipe, names first."""
    prefer: tuple[str, ...] = ()

    @property
    def wanted(self) -> bool:
        """Tell whether any duplicates are to be removed."""
        return bool(self.exact) or self.across


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a mixture shall hold."""

    name: str
    lines: tuple[Line, ...]
    seed: int = 0
    size: int | None = None
    """Training rows; None for as many as the lines give."""
    dedup: Dedup = field(default_factory=Dedup)
    holdout: int = 0
    """Rows held out for evaluation, on top of the size."""
    where: str = "recipe"

    def as_json(self) -> dict[str, Any]:
        """Return the recipe in the keys of its YAML, every default written out."""
        return {
            "name": self.name,
            "seed": self.seed,
            "size": None if self.size is None else {"rows": self.size},
            "sources": [_line_json(line) for line in self.lines],
            "dedup": {
                "exact": self.dedup.exact,
                "across": self.dedup.across,
                "prefer": list(self.dedup.prefer),
            },
            "holdout": {"rows": self.holdout},
        }


def _line_json(line: Line) -> dict[str, Any]:
    if line.kind == "rest":
        return {"select": line.select, "share": "rest"}
    amount = int(line.amount) if line.amount.denominator == 1 else str(line.amount)
    return {"select": line.select, line.kind: amount}


def read_recipe(path: Path) -> Recipe:
    """Read a recipe from a YAML file.

    Raises:
        RecipeError: the file is absent or wrong; all errors at once, one a line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise RecipeError(f"{path}: expected a recipe, got: {reason}. Check the path.") from error
    return parse_recipe(text, path.name)


def parse_recipe(text: str, where: str = "recipe") -> Recipe:
    """Return the recipe that YAML text writes; `where` is how errors name the file."""
    try:
        found = parse_yaml(text, where)
    except CatalogError as error:
        raise RecipeError(str(error)) from error
    return check_recipe(found, where)


def check_recipe(found: Any, where: str = "recipe") -> Recipe:
    """Return the recipe that a decoded YAML or JSON document holds.

    Raises:
        RecipeError: all that is wrong, one a line.
    """
    checks = _Checks(where)
    top = checks.mapping(found, "", KEYS, None)
    if not isinstance(found, dict):
        checks.done()
    recipe = Recipe(
        name=checks.name(top),
        lines=checks.lines(top),
        seed=checks.integer(top, "seed", 0, default=0, most=2**64 - 1) or 0,
        size=checks.rows_of(top, "size", least=1),
        dedup=checks.dedup(top),
        holdout=checks.rows_of(top, "holdout", least=0) or 0,
        where=where,
    )
    checks.done()
    return recipe


class _Checks:
    """Reads a document key by key and keeps everything that is wrong with it."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.errors: list[tuple[int, str]] = []

    def done(self) -> None:
        """Raise all errors, in the order of the file."""
        if self.errors:
            lines = [f"{self.place(line)}: {text}" for line, text in sorted(self.errors)]
            raise RecipeError("\n".join(lines))

    def place(self, line: int) -> str:
        return f"{self.where}:{line}" if line else self.where

    def wrong(self, line: int, text: str) -> None:
        self.errors.append((line, text))

    def mapping(
        self, found: Any, inside: str, known: Sequence[str], line: int | None
    ) -> Mapping[str, Any]:
        """Return a mapping with known keys only; {} when it is something else."""
        title = inside.rstrip(".") or "a recipe"
        if not isinstance(found, dict):
            got = "nothing" if found is None else repr(found)
            self.wrong(line or 0, f"{title}: expected a mapping of {', '.join(known)}, got {got}.")
            return {}
        for key in found:
            if key in LATER.get(inside, ()):
                self.wrong(
                    _line(found, key),
                    f"{inside}{key} is not supported by this version. Supported here:"
                    f" {', '.join(known)}.",
                )
            elif key not in known:
                self.wrong(
                    _line(found, key), f"{inside}{key} is unknown.{suggest(str(key), known)}"
                )
        for key, first, again in getattr(found, "repeated", ()):
            self.wrong(again, f"{inside}{key} stands twice, first in line {first}. Remove one.")
        return found

    def name(self, top: Mapping[str, Any]) -> str:
        name = top.get("name")
        if isinstance(name, str) and NAME.fullmatch(name):
            return name
        got = "nothing" if name is None else repr(name)
        expected = "ASCII letters, digits and . _ - (at most 100, the first no sign)"
        self.wrong(_line(top, "name"), f"name: expected {expected}, got {got}.")
        return ""

    def integer(
        self,
        found: Mapping[str, Any],
        key: str,
        least: int,
        *,
        inside: str = "",
        default: int | None = None,
        most: int = 2**32,
    ) -> int | None:
        value = found.get(key, default)
        if value is None and key not in found:
            return None
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
            return value
        self.wrong(
            _line(found, key),
            f"{inside}{key}: expected a whole number from {least} to {most}, got {value!r}.",
        )
        return None

    def rows_of(self, top: Mapping[str, Any], key: str, least: int) -> int | None:
        """Return the number in `{rows: N}`."""
        if top.get(key) is None:
            return None
        found = self.mapping(top[key], f"{key}.", ("rows",), _line(top, key))
        if "rows" not in found and isinstance(top[key], dict):
            self.wrong(_line(top, key), f"{key}: expected rows, got none. Write {{rows: N}}.")
        return self.integer(found, "rows", least, inside=f"{key}.")

    def lines(self, top: Mapping[str, Any]) -> tuple[Line, ...]:
        sources = top.get("sources")
        if not isinstance(sources, list) or not sources:
            self.wrong(
                _line(top, "sources"),
                "sources: expected a list of lines such as {select: alpaca, rows: 1000}, got"
                f" {sources!r}.",
            )
            return ()
        numbers = sources.lines if isinstance(sources, LinedList) else [0] * len(sources)
        lines = [self.line(found, line) for found, line in zip(sources, numbers, strict=True)]
        rests = [line for line in lines if line and line.kind == "rest"]
        if len(rests) > 1:
            self.wrong(0, f"sources: expected `share: rest` once at most, got {len(rests)} times.")
        shares = sum((line.amount for line in lines if line and line.kind == "share"), Fraction(0))
        if shares > 1:
            self.wrong(0, f"sources: expected shares of 1 together at most, got {shown(shares)}.")
        return tuple(line for line in lines if line)

    def line(self, found: Any, number: int) -> Line | None:
        known = ("select", "share", "rows", "epochs")
        mapping = self.mapping(found, "sources.", known, number)
        if not isinstance(found, dict):
            return None
        select = mapping.get("select")
        if not isinstance(select, str) or not select.strip():
            if not any(key in mapping for key in LATER["sources."]):
                self.wrong(number, f"sources.select: expected a tag expression, got {select!r}.")
            select = ""
        amounts = [key for key in known[1:] if key in mapping]
        if len(amounts) != 1:
            if not any(key in mapping for key in LATER["sources."]):
                got = " and ".join(amounts) or "none"
                self.wrong(
                    number, f"sources: expected one of share, rows, epochs in a line, got {got}."
                )
            return None
        return self.amount(select, amounts[0], mapping, number)

    def amount(self, select: str, key: str, mapping: Mapping[str, Any], number: int) -> Line | None:
        value, where = mapping[key], self.place(number)
        if key == "share" and value == "rest":
            return Line(select, "rest", Fraction(0), where)
        amount = exact(value)
        fits, expected = AMOUNTS[key]
        if amount is None or not fits(amount):
            self.wrong(_line(mapping, key), f"sources.{key}: expected {expected}, got {value!r}.")
            return None
        kind: Kind = "share" if key == "share" else "rows" if key == "rows" else "epochs"
        return Line(select, kind, amount, where)

    def dedup(self, top: Mapping[str, Any]) -> Dedup:
        if top.get("dedup") is None:
            return Dedup()
        known = ("exact", "across", "prefer")
        found = self.mapping(top["dedup"], "dedup.", known, _line(top, "dedup"))
        exact_, across = found.get("exact", False), found.get("across", False)
        if not isinstance(exact_, bool) and exact_ != "prompt":
            self.wrong(
                _line(found, "exact"),
                f"dedup.exact: expected true, false or prompt, got {exact_!r}.",
            )
        if not isinstance(across, bool):
            self.wrong(
                _line(found, "across"), f"dedup.across: expected true or false, got {across!r}."
            )
        prefer = found.get("prefer") or []
        if not isinstance(prefer, list) or not all(isinstance(one, str) for one in prefer):
            self.wrong(
                _line(found, "prefer"), f"dedup.prefer: expected a list of ids, got {prefer!r}."
            )
            prefer = []
        return Dedup(exact=exact_, across=across, prefer=tuple(prefer))


AMOUNTS: dict[str, tuple[Callable[[Fraction], bool], str]] = {
    "share": (lambda one: 0 < one <= 1, "a fraction above 0 and up to 1, or `rest`"),
    "rows": (lambda one: one > 0 and one.denominator == 1, "a whole number of rows above 0"),
    "epochs": (lambda one: 0 < one <= 65535, "a number of epochs above 0, such as 2 or 0.5"),
}


def exact(value: Any) -> Fraction | None:
    """Return a number as it was written: 0.1 is a tenth, `1/3` a third; None if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return Fraction(value if isinstance(value, str) else repr(value))
    except (ValueError, ZeroDivisionError):
        return None


def shown(amount: Fraction) -> str:
    """Write a fraction for people: 0.25, 1/3, 12,000."""
    if amount.denominator == 1:
        return f"{amount.numerator:,}"
    decimal = f"{float(amount):.6g}"
    return decimal if Fraction(decimal) == amount else str(amount)


def _line(found: Mapping[str, Any], key: str) -> int:
    """Return the line of a key, of its mapping where the key is absent, 0 where none is known."""
    if isinstance(found, Lined):
        return found.lines.get(key, found.line)
    return 0
