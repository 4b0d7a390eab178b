"""The command line: `woolgather VERB`. Verbs are named as strings and imported when used."""

from __future__ import annotations

from corpus.cli.main import main

__all__ = ["main"]
