"""Datasets: a mixture or stored sources as a publication."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from corpus.catalog import Catalog
from corpus.engine import Advance
from corpus.publish.folder import Publication
from corpus.settings import Home


def build_dataset_folder(
    what: str,
    out: Path,
    home: Home,
    catalog: Catalog,
    *,
    repo: str,
    accepted: Collection[str] = (),
    replace: bool = False,
    workers: int | None = None,
    advance: Advance = lambda done, total: None,
    say: Callable[[str], None] = lambda line: None,
) -> Publication:
    """Write the folder of a mixture, or of the stored sources that an expression matches.

    Args:
        what: the name, name/digest or folder of a mixture; else a tag expression.
        repo: `ORG/NAME` on the Hub: the card says how to load it from there.
        accepted: sources of unknown or research-only licence that are published all the same.
        replace: whether another publication at `out` gives way.

    Raises:
        PublishError: a licence is not accepted, or something else is at `out`.
        StoreError: rows are not in the store.
        CatalogError: it is no mixture, and no expression that matches anything.
    """
    raise NotImplementedError
