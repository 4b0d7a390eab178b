"""Registries: functions by name, through a decorator; unknown and taken names are refused."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from corpus.errors import CatalogError

T = TypeVar("T", bound=Callable[..., object])


class Registry(Generic[T]):
    """Functions by name, for one kind of thing such as formatters or training methods."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Register the decorated function under `name`.

        Raises:
            CatalogError: the name is taken.
        """

        def add(function: T) -> T:
            if name in self._entries:
                raise CatalogError(
                    f"{self.kind} {name!r} is registered twice: by {_where(self._entries[name])}"
                    f" and by {_where(function)}. Rename one."
                )
            self._entries[name] = function
            return function

        return add

    def __getitem__(self, name: str) -> T:
        if name not in self._entries:
            raise CatalogError(f"{self.kind} {name!r} is unknown.{suggest(name, self._entries)}")
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._entries))

    def __len__(self) -> int:
        return len(self._entries)


def suggest(name: str, known: Iterable[object]) -> str:
    """Return ` Did you mean ...? Known: ...`, the end of an unknown-name message."""
    names = sorted(str(one) for one in known)
    close = difflib.get_close_matches(name, names, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"{hint} Known: {', '.join(names) or 'none'}."


def _where(function: Callable[..., object]) -> str:
    return f"{function.__module__}.{function.__qualname__}"
