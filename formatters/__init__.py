"""Formatters: from a raw record of an upstream release to rows of the store."""
