"""The registry of formatters: the names that catalog entries use.

A formatter is registered as a function of keyword arguments that returns the function from a raw
record to rows. The catalog binds an entry's arguments to its signature when it loads.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable

from corpus.registry import Registry
from formatters.row import Formatter

FORMATTERS: Registry[Callable[..., Formatter]] = Registry("formatter")

FAMILIES = ("columns", "messages", "transcript", "answers", "tasks")
"""Modules of this package that register formatters."""


def load_families() -> Registry[Callable[..., Formatter]]:
    """Import every family module and return the full registry."""
    for family in FAMILIES:
        importlib.import_module(f"formatters.{family}")
    return FORMATTERS
