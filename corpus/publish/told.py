"""What a card tells of: the content, its files, its statistics, and the few words beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from corpus.publish.content import Content
from corpus.publish.metadata import Files
from corpus.publish.statistics import Statistics


@dataclass(frozen=True, slots=True)
class Told:
    """All that the pieces of a card are computed from."""

    content: Content
    files: Files
    statistics: Statistics
    repo: str
    """`ORG/NAME` on the Hub."""
    accepted: tuple[str, ...]
    """Sources that are published although their licence is unknown or research-only."""
    versions: dict[str, str]
    """What wrote the publication: package to version."""

    lock: dict[str, Any] | None = None
    """The lock of the mixture, as it is published."""

    @property
    def title(self) -> str:
        """Return the name of the repository."""
        return self.repo.rpartition("/")[2]

    def share(self, rows: int) -> float:
        """Return how many of all rows these are, in percent."""
        return round(100 * rows / self.statistics.whole.total, 1)
