"""Templates: data files of wordings, chosen by the row's own content.

A choice is the xxh3-64 of the untemplated fields, the set's name and a seed: the same on every
machine, whatever the order of the records.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

import xxhash
import yaml

from corpus.errors import CatalogError
from corpus.registry import suggest

FOLDER = Path(__file__).resolve().parent / "templates"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Wording:
    """One wording of a chain-of-thought set: what is asked, and how it is answered."""

    instruction: str
    output: str


@dataclass(frozen=True, slots=True)
class TemplateSet:
    """A named set of wordings: for chains of thought, or instructions by task."""

    name: str
    lang: str
    templates: tuple[Wording, ...] = ()
    tasks: dict[str, tuple[str, ...]] | None = None


@cache
def template_set(name: str) -> TemplateSet:
    """Load a template set by name.

    Raises:
        CatalogError: there is no such set, or its file has other keys than it should.
    """
    path = FOLDER / f"{name}.yaml"
    if not path.is_file():
        known = [one.stem for one in FOLDER.glob("*.yaml")]
        raise CatalogError(f"template set {name!r} is unknown.{suggest(name, known)}")
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    try:
        templates = tuple(Wording(**one) for one in content.pop("templates", ()))
        tasks = content.pop("tasks", None)
        tasks = {key: tuple(texts) for key, texts in tasks.items()} if tasks else None
        return TemplateSet(templates=templates, tasks=tasks, **content)
    except (TypeError, AttributeError) as error:
        raise CatalogError(f"{path.name}: not a template set ({error}).") from error


def choose(options: Sequence[T], fields: Sequence[str], name: str, seed: int) -> T:
    """Choose one option by the content of a row."""
    key = "\x1f".join((*fields, name, str(seed)))
    return options[xxhash.xxh3_64_intdigest(key.encode()) % len(options)]
