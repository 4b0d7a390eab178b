"""Formatters: from a raw record of an upstream release to rows of the store."""

from __future__ import annotations

from formatters.registry import FORMATTERS, load_families

__all__ = ["FORMATTERS", "load_families"]

load_families()
