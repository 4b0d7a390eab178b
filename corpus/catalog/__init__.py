"""The catalog: what is known of every dataset, and tag expressions that select from it."""

from __future__ import annotations

from corpus.catalog.entry import (
    Entry,
    ExpectedRejects,
    HubFile,
    RawFile,
    Selection,
    Subset,
)
from corpus.catalog.load import Catalog

__all__ = ["Catalog", "Entry", "ExpectedRejects", "HubFile", "RawFile", "Selection", "Subset"]
