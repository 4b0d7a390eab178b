"""Composing a run: preset, file, options and `a.b=c` settings, each above the one before.

Between the command line and `train.config`: every wrong setting is told with its file and line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from corpus.catalog.lines import Lined, parse_yaml
from corpus.errors import CatalogError, RecipeError
from corpus.resources import packed
from train.config import Run

Path_ = tuple[str, ...]


def load_run(
    file: Path | None = None,
    *,
    preset: str | None = None,
    given: Mapping[str, Any] | None = None,
    sets: Sequence[str] = (),
) -> Run:
    """Compose a run: preset, then file, then the given keys, then `a.b=c` settings; later wins.

    Raises:
        RecipeError: all errors at once, one a line, with file and line where there is one.
    """
    values: dict[str, Any] = {}
    where: dict[Path_, str] = {}
    for source in ([preset_file(preset)] if preset else []) + ([file] if file else []):
        layer, places = read_layer(source)
        _overlay(values, layer)
        where |= places
    for key, value in (given or {}).items():
        if value is not None:
            _put(values, where, key, value, f"--{key.replace('_', '-')}")
    for text in sets:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise RecipeError(f"--set: expected KEY.KEY=VALUE, got {text!r}")
        _put(values, where, key.strip(), parse_yaml(value, "--set"), "--set")
    return validate(values, where, file.name if file else "run")


def validate(values: Mapping[str, Any], where: Mapping[Path_, str], name: str) -> Run:
    """Check values against the schema and the registry of methods.

    Raises:
        RecipeError: all errors at once.
    """
    from train.methods import refuse_unfit

    try:
        run = Run.model_validate(values)
    except ValidationError as error:
        lines = [_line(one, where, name) for one in error.errors()]
        raise RecipeError("\n".join(lines)) from None
    refuse_unfit(run, where, name)
    return run


def preset_file(name: str) -> Path:
    """Return the file of a shipped preset.

    Raises:
        RecipeError: there is none of that name.
    """
    folder = packed("recipes") / "runs"
    file = folder / f"{name}.yaml"
    if not file.is_file():
        known = ", ".join(sorted(one.stem for one in folder.glob("*.yaml")))
        raise RecipeError(f"--preset: {name!r} is unknown. Known: {known}.")
    return file


def read_layer(file: Path) -> tuple[dict[str, Any], dict[Path_, str]]:
    """Return a file's keys and values, and where each key stands.

    Raises:
        RecipeError: the file is absent, not YAML, not a mapping, or has a key twice.
    """
    try:
        found = parse_yaml(file.read_text(encoding="utf-8-sig"), file.name)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise RecipeError(f"{file}: cannot be read: {reason}") from error
    except CatalogError as error:
        raise RecipeError(str(error)) from error
    if not isinstance(found, Lined):
        raise RecipeError(f"{file.name}:1: expected keys and values, got {type(found).__name__}")
    return found, dict(_places(found, (), file.name))


def _places(found: Lined, inside: Path_, name: str) -> Iterator[tuple[Path_, str]]:
    for key, first, again in found.repeated:
        shown = ".".join((*inside, key))
        raise RecipeError(f"{name}:{again}: {shown} is given twice, first in line {first}")
    for key, value in found.items():
        yield (*inside, key), f"{name}:{found.lines[key]}"
        if isinstance(value, Lined):
            yield from _places(value, (*inside, key), name)


RIVALS = {"steps": "epochs", "epochs": "steps", "rows": "tokens", "tokens": "rows"}
"""Keys of which only one can be given: a later layer's replaces the other of an earlier one."""


def _overlay(below: dict[str, Any], above: Mapping[str, Any]) -> None:
    for key, value in above.items():
        if key in RIVALS and RIVALS[key] not in above:
            below.pop(RIVALS[key], None)
        if isinstance(value, dict) and isinstance(below.get(key), dict):
            _overlay(below[key], value)
        else:
            below[key] = value


def _put(values: dict[str, Any], where: dict[Path_, str], key: str, value: Any, by: str) -> None:
    path = tuple(key.split("."))
    for one in reversed(path):
        value = {one: value}
    _overlay(values, value)
    where[path] = by


def _line(error: Any, where: Mapping[Path_, str], name: str) -> str:
    """Return one validation error as one line."""
    path = tuple(str(part) for part in error["loc"])
    known = next((path[:n] for n in range(len(path), 0, -1) if path[:n] in where), ())
    place = where.get(known, name)
    kind, got = error["type"], error["input"]
    # Union members add their own parts to the location: show only what the user wrote.
    shown = ".".join(known if known and kind != "missing" else path)
    if kind == "missing":
        option = {"base_model": ". Give --base MODEL", "mixture": ". Give --mixture NAME"}
        return f"{place}: {shown} is missing{option.get(shown, '')}"
    if kind == "extra_forbidden":
        return f"{place}: {'.'.join(path)} is unknown"
    if kind == "literal_error":
        return f"{place}: {shown}: got {got!r}, supported: {error['ctx']['expected']}"
    if kind == "value_error":
        return f"{place}: {shown + ': ' if shown else ''}{error['ctx']['error']}"
    message = error["msg"][0].lower() + error["msg"][1:]
    return f"{place}: {shown}: {message}, got {got!r}"
