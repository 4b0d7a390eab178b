"""Prompts: the records of any file as instruction, input, history and system prompt.

What `woolgather predict` answers; unlike formatters, every field of a record is kept beside them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from corpus.errors import RawDataError
from corpus.readers.cut import cut
from corpus.readers.decode import CountMismatch, decode_records
from corpus.readers.source import RawSource, sources_in
from corpus.readers.units import Distrust

Row = dict[str, Any]


def read_records(path: Path, limit: int | None = None) -> list[Any]:
    """Return the records of a JSONL, JSON, CSV or Parquet file, plain or packed, or the first ones.

    Raises:
        RawDataError: there is no such file, or it is damaged.
    """
    if not path.is_file():
        raise RawDataError(f"{path}: expected a file of records, got no such file")
    records: list[Any] = []
    for source in sources_in(path, path.name):
        room = None if limit is None else max(0, limit - len(records))
        records += _records(source, room)
    return records


def _records(source: RawSource, limit: int | None) -> list[Any]:
    distrusted = Distrust()
    while True:
        records: list[Any] = []
        try:
            for span in cut(source, {}, distrusted=distrusted):
                records += decode_records(span)
                if limit is not None and len(records) >= limit:
                    break
            return records[:limit]
        except CountMismatch as mismatch:
            distrusted.offsets.add(mismatch.span.offset)


def prompt_of(record: Any, where: str) -> Row:
    """Return instruction, input, history and system prompt of a record; its output is left open.

    Raises:
        RawDataError: it has neither an instruction nor messages that a user ends.
    """
    try:
        asked = _of_messages(record["messages"]) if "messages" in record else _of_fields(record)
        texts = [asked["instruction"], asked["input"], asked["system"] or ""]
        texts += [text for turn in asked["history"] for text in turn.values()]
        if all(isinstance(one, str) for one in texts) and asked["instruction"].strip():
            return asked | {"output": None}
    except (AttributeError, KeyError, TypeError, ValueError, IndexError):
        pass  # Told below, as what has the fields but no text in them.
    shown = json.dumps(record, ensure_ascii=False, default=str)
    raise RawDataError(
        f"{where}: expected an instruction (with input, history, system) or messages that a user"
        f" ends, got {shown[:80]}"
    )


def _of_fields(record: Mapping[str, Any]) -> Row:
    turns = [
        (one["instruction"], one["output"]) if isinstance(one, dict) else one
        for one in record.get("history") or []
    ]
    return {
        "instruction": record["instruction"],
        "input": record.get("input") or "",
        "history": [{"instruction": asked, "output": said} for asked, said in turns],
        "system": record.get("system") or None,
    }


def _of_messages(messages: Sequence[Mapping[str, str]]) -> Row:
    said = [(one["role"], one["content"]) for one in messages]
    system = said.pop(0)[1] if said[0][0] == "system" else None
    if said[-1][0] == "assistant":
        said.pop()
    roles = [role for role, _ in said]
    if roles != ["user", "assistant"] * (len(roles) // 2) + ["user"]:
        raise ValueError(roles)
    texts = [text for _, text in said]
    pairs = zip(texts[::2], texts[1::2], strict=False)
    history = [{"instruction": asked, "output": said} for asked, said in pairs]
    return {"instruction": texts[-1], "input": "", "history": history, "system": system}
