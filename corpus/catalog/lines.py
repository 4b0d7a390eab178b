"""YAML that keeps the line of every key and item, so that errors can name it.

The first step of loading a catalog file; `corpus.catalog.check` reads what it gives.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from corpus.errors import CatalogError


class Lined(dict[str, Any]):
    """A YAML mapping: `line` is its own first line, `lines` the line of each key."""

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line
        self.lines: dict[str, int] = {}
        self.repeated: list[tuple[str, int, int]] = []
        """Keys that stand twice: (key, first line, line of the repetition)."""


class LinedList(list[Any]):
    """A YAML sequence: `lines` holds the line of each item."""

    def __init__(self, lines: list[int]) -> None:
        super().__init__()
        self.lines = lines


# The C parser is about ten times faster; a PyYAML built without libyaml has only the other one.
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _LinedLoader(_Base):  # type: ignore[misc]
    """The safe loader, making `Lined` and `LinedList`."""


def _mapping(loader: Any, node: yaml.MappingNode) -> Lined:
    found = Lined(node.start_mark.line + 1)
    for key_node, value_node in node.value:
        # Keys stay as they are written: `on` and `12` are text here, and `<<` is no merge.
        if not isinstance(key_node, yaml.ScalarNode):
            raise yaml.constructor.ConstructorError(
                None, None, "expected a key of plain text", key_node.start_mark
            )
        key, line = str(key_node.value), key_node.start_mark.line + 1
        if key in found:
            found.repeated.append((key, found.lines[key], line))
            continue
        found[key] = loader.construct_object(value_node, deep=True)
        found.lines[key] = line
    return found


def _sequence(loader: Any, node: yaml.SequenceNode) -> LinedList:
    found = LinedList([item.start_mark.line + 1 for item in node.value])
    found.extend(loader.construct_object(item, deep=True) for item in node.value)
    return found


_LinedLoader.add_constructor("tag:yaml.org,2002:map", _mapping)
_LinedLoader.add_constructor("tag:yaml.org,2002:seq", _sequence)


def read_yaml(path: Path, shown: str) -> Any:
    """Return what a YAML file holds, mappings as `Lined`, sequences as `LinedList`.

    `shown` is how errors name the file.

    Raises:
        CatalogError: the file is absent, not UTF-8, or not one YAML document.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise CatalogError(
            f"{shown}: expected UTF-8 text, got byte {error.object[error.start]:#04x} at offset"
            f" {error.start}. Save it as UTF-8."
        ) from error
    except OSError as error:
        raise CatalogError(
            f"{path}: expected a catalog file, got: {error.strerror}. Check the path."
        ) from error
    return parse_yaml(text, shown)


def parse_yaml(text: str, shown: str) -> Any:
    """Return what YAML text holds; see `read_yaml`."""
    try:
        return yaml.load(text, Loader=_LinedLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        problem = " ".join(str(part) for part in (error.context, error.problem) if part)
        raise CatalogError(
            f"{shown}:{line}: expected YAML, got: {problem}. Check indentation, quotes and colons"
            " near that line."
        ) from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        problem = " ".join(str(error).split()) or "nesting that is too deep"
        raise CatalogError(f"{shown}: expected YAML, got: {problem}. Correct the file.") from error
