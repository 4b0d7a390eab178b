"""What training needs of a mixture: rows by position, a source for each row, a holdout.

`corpus.mixture.Mixture` has this shape; anything else of this shape trains as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from corpus.settings import Home

COLUMNS = ("id", "instruction", "input", "output", "history", "system")
"""The columns that rendering reads."""

TAGS = ("source", "lang", "task", "gen")
"""The tags by which losses are summed."""


class Tagged(Protocol):
    """The tags of one source."""

    @property
    def name(self) -> str: ...
    @property
    def lang(self) -> str: ...
    @property
    def task(self) -> str: ...
    @property
    def gen(self) -> str: ...


class Index(Protocol):
    """The columns of the mixture that say where each row comes from."""

    @property
    def source(self) -> npt.NDArray[np.int16]: ...


class Rows(Protocol):
    """Training or holdout rows in their order."""

    def __len__(self) -> int: ...
    @property
    def index(self) -> Index: ...
    @property
    def sources(self) -> Sequence[Tagged]: ...
    def rows(self, indices: Any, columns: Sequence[str]) -> dict[str, list[Any]]: ...


class Mixed(Rows, Protocol):
    """A mixture: training rows and a holdout, known by a digest."""

    @property
    def name(self) -> str: ...
    @property
    def digest(self) -> str: ...
    @property
    def holdout(self) -> Rows: ...


def tag_values(sources: Sequence[Tagged]) -> dict[str, list[str]]:
    """Return, for each tag, its value for every source in the order of their codes."""
    return {
        tag: [str(getattr(one, "name" if tag == "source" else tag)) for one in sources]
        for tag in TAGS
    }


def open_mixture(name: str, home: Home) -> Mixed:
    """Open a built mixture by its name or folder."""
    from corpus.mixture import Mixture

    opened: Mixed = Mixture.open(name, home)
    return opened
