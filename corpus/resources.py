"""The data files that ship with the code: the catalog, recipes and samples.

In a wheel they lie in `corpus/_packed/`; in a checkout they lie at the root.
"""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def packed(name: str) -> Path:
    """Return the path of a shipped file or folder: `catalog.yaml`, `recipes` or `samples`."""
    installed = PACKAGE / "_packed" / name
    return installed if installed.exists() else PACKAGE.parent / name
