"""Binds the arguments that an entry gives its formatter to the formatter's signature.

Part of checking a catalog; formatters come as a registry, so that the catalog imports none.
"""

from __future__ import annotations

import importlib
import inspect
import types
import typing
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Protocol, Union, get_args, get_origin

from corpus.catalog.fields import closest, show


class Formatters(Protocol):
    """What the catalog needs of a registry of formatters."""

    def __contains__(self, name: object, /) -> bool: ...

    def __iter__(self) -> Iterator[str]: ...

    def __getitem__(self, name: str, /) -> Callable[..., object]: ...


def load_formatters() -> Formatters:
    """Return the registry of all formatters, importing their modules."""
    # Named as a string: the ground floor imports no workshop.
    found: Formatters = importlib.import_module("formatters.registry").load_families()
    return found


def argument_problems(function: Callable[..., object], args: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a formatter's arguments, all of it, one message each."""
    parameters = inspect.signature(function).parameters
    hints = typing.get_type_hints(function)
    problems = [
        f"expected an argument that it knows, got {name!r}. {closest(name, sorted(parameters))}"
        for name in args
        if name not in parameters
    ]
    problems += [
        f"expected the argument {name!r}, got none. Add `{name}: ...`."
        for name, parameter in parameters.items()
        if name not in args and parameter.default is inspect.Parameter.empty
    ]
    problems += [
        f"expected {name!r} to be {describe(hints[name])}, got {show(value)}. Correct the value."
        for name, value in args.items()
        if name in hints and not is_of_type(value, hints[name])
    ]
    return problems or _refusal(function, args)


def _refusal(function: Callable[..., object], args: Mapping[str, Any]) -> list[str]:
    """Return what the formatter itself says against arguments of the right names and types."""
    try:
        function(**args)
    except (TypeError, ValueError) as error:
        return [f"{' '.join(str(error).split())}"]
    return []


def is_of_type(value: Any, hint: Any) -> bool:
    """Tell whether a value that YAML gave is of an annotated type."""
    if hint is Any or hint is object:
        return True
    if hint is None or hint is type(None):
        return value is None
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(is_of_type(value, one) for one in inner)
    if origin is typing.Literal:
        return value in inner
    kind = origin or hint
    if kind is float:
        return type(value) in (int, float)
    if kind in (str, bool, int):
        return type(value) is kind
    if _is_kind_of(kind, Mapping):
        return isinstance(value, dict) and all(
            is_of_type(part, one)
            for pair in value.items()
            for part, one in zip(pair, inner, strict=False)
        )
    if _is_kind_of(kind, Collection):
        of = inner[0] if inner else Any
        return isinstance(value, list) and all(is_of_type(item, of) for item in value)
    return True


def describe(hint: Any) -> str:
    """Return an annotated type in words."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(describe(one) for one in inner)
    if origin is typing.Literal:
        return " or ".join(repr(one) for one in inner)
    names = {str: "a text", bool: "true or false", int: "a whole number", float: "a number"}
    kind = origin or hint
    if kind in names:
        return names[kind]
    if hint is None or hint is type(None):
        return "null"
    if _is_kind_of(kind, Mapping):
        return "a mapping of texts" if inner[1:] == (str,) else "a mapping"
    if _is_kind_of(kind, Collection):
        return "a list of texts" if inner[:1] == (str,) else "a list"
    return str(hint)


def _is_kind_of(kind: Any, base: type) -> bool:
    return isinstance(kind, type) and issubclass(kind, base)
