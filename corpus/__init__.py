"""woolgather's ground floor: catalog, readers, store, annotations, mixtures, command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from corpus.catalog import Catalog
    from corpus.mixture import Mixture
    from corpus.store import Store

__all__ = ["Catalog", "Mixture", "Store"]

_HOMES = {"Catalog": "corpus.catalog", "Mixture": "corpus.mixture", "Store": "corpus.store"}


def __getattr__(name: str) -> Any:
    """Import the public classes when they are first asked for: the command line starts quickly."""
    if name not in _HOMES:
        raise AttributeError(f"module 'corpus' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
