"""Readers: raw files to spans of bytes that end at record ends, and spans to raw records.

The parent cuts (`cut`), workers decode (`decode`); both agree on record numbers by content alone,
so the rows do not depend on the number of workers.
"""
