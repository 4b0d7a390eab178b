"""Derive: sources made of stored ones by changing their texts, stored like any other.

A recipe's `convert`, `mirror` and `cot_trigger` ask for them. `<id>+zh-Hant` holds the rows of
`<id>` with new ids; a row that was changed names the row that it was made of in `extra.parent`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash

from corpus.annotate.script import CLASS, class_table
from corpus.atomic import new_folder, remove_unfinished, sole_writer
from corpus.engine import Advance, Engine
from corpus.errors import StoreError
from corpus.fingerprint import digest_of
from corpus.schema import RECORD, row_id
from corpus.settings import Home
from corpus.shard import write_shard
from corpus.store import (
    REJECT_SCHEMA,
    REJECTS,
    Build,
    ShardInfo,
    Store,
    open_build,
    write_manifest,
)

Row = dict[str, Any]
VERSION = 1

CONFIGS = {"zh-Hans": "t2s", "zh-Hant": "s2tw"}
"""OpenCC's conversions to each script, without regional words. Its plain `s2t` would write 羣 and
喫, which hardly any text in Traditional Chinese does; Taiwan's standard has 群 and 吃."""

OTHER = {"zh-Hans": "zh-Hant", "zh-Hant": "zh-Hans"}


@dataclass(frozen=True, slots=True)
class Step:
    """One change of a source's texts."""

    kind: str
    """convert, mirror or cot_trigger."""
    argument: tuple[tuple[str, str], ...] = ()
    """convert: the script; cot_trigger: languages and their sentences."""

    @property
    def name(self) -> str:
        """Return what is added to the source's id."""
        if self.kind == "convert":
            return self.argument[0][1]
        if self.kind == "mirror":
            return "mirror"
        digest = xxhash.xxh3_64_hexdigest(json.dumps(self.argument, ensure_ascii=False).encode())
        return f"trigger-{digest[:8]}"


def derived_id(id: str, step: Step) -> str:
    """Return the id of a derived source."""
    return f"{id}+{step.name}"


def derive(
    home: Home,
    parent: Build,
    step: Step,
    *,
    engine: Engine,
    advance: Advance = lambda done, total: None,
    say: Callable[[str], None] = lambda line: None,
) -> Build:
    """Return the derived build of a stored one; make it when it is not there, and current.

    Raises:
        StoreError: the step leaves no row.
    """
    id = derived_id(parent.id, step)
    fingerprint = digest_of(
        {
            "parent": parent.rows_digest,
            "step": [step.kind, step.argument],
            "version": VERSION,
            "opencc": version("opencc"),
        }
    )
    store = Store(home)
    path = store.folder(id) / fingerprint
    with sole_writer(home.locks, f"store-{id}", say=say):
        remove_unfinished(store.folder(id))
        build = open_build(path) if path.exists() else None
        if build is None or build.damage():
            with new_folder(path) as folder:
                _write(folder, parent, step, id, fingerprint, engine, advance)
            build = open_build(path)
        store.make_current(build)
    return build


def _write(
    folder: Path,
    parent: Build,
    step: Step,
    id: str,
    fingerprint: str,
    engine: Engine,
    advance: Advance,
) -> None:
    digest, shards, done = hashlib.sha256(), [], 0
    names: dict[str, tuple[int, int]] = {}
    rows = 0
    results = engine.map_shards(
        "corpus.derive:derive_shard", parent.shards, parent.path, folder, id, step
    )
    for (_, count), result in results:
        shard, ids, sources = result
        digest.update(ids)
        shards += [shard] if shard else []
        for source, number in sources:
            subset = source.partition("/")[2]
            first = names.get(subset, (rows, rows))[0]
            rows += number
            names[subset] = (first, rows)
        done += count
        advance(done, parent.rows)
    if not rows:
        raise StoreError(
            f"{id}: expected rows to change, got none: {parent.id} has none for {step.kind}."
            f" Leave it out of the line."
        )
    pa.ipc.new_file(str(folder / REJECTS), REJECT_SCHEMA).close()
    manifest = replace(
        parent.manifest,
        id=id,
        fingerprint=fingerprint,
        rows_digest=digest.hexdigest(),
        rows=rows,
        records=parent.rows,
        rejected=0,
        dropped_parts=0,
        subsets={name: names[name] for name in parent.subsets if name in names},
        shards=tuple(shards),
        reasons={},
    )
    write_manifest(folder, manifest)


def derive_shard(
    shard: tuple[str, int], parent: Path, folder: Path, id: str, step: Step
) -> tuple[ShardInfo | None, bytes, list[tuple[str, int]]]:
    """Write the derived rows of one shard; return it, its ids, and its rows by source in order."""
    batches, ids = [], []
    sources: list[tuple[str, int]] = []
    for rows in _batches(parent / shard[0]):
        derived = [row for row in map(_changer(step), rows) if row is not None]
        for row in derived:
            row["source"] = id + row["source"].removeprefix(row["source"].partition("/")[0])
            ids.append(bytes.fromhex(row["id"]))
            if sources and sources[-1][0] == row["source"]:
                sources[-1] = (row["source"], sources[-1][1] + 1)
            else:
                sources.append((row["source"], 1))
        batches.append(pa.RecordBatch.from_pylist(derived, schema=RECORD))
    if not ids:
        return None, b"", []
    size, digest = write_shard(batches, folder / shard[0])
    return ShardInfo(shard[0], len(ids), size, digest), b"".join(ids), sources


def _batches(path: Path) -> Iterator[list[Row]]:
    with pa.memory_map(str(path)) as mapped, pa.ipc.open_stream(mapped) as stream:
        for batch in stream:
            yield batch.to_pylist()


def _changer(step: Step) -> Callable[[Row], Row | None]:
    """Return the function that makes the derived row of a stored one, None for no row."""
    if step.kind == "convert":
        return lambda row: _converted(row, step.argument[0][1]) or row
    if step.kind == "mirror":
        return _mirrored
    sentences = dict(step.argument)
    return lambda row: _triggered(row, sentences)


def _converted(row: Row, script: str) -> Row | None:
    """Return a row in a script, None where it has no character of the other one."""
    if not _has_script(_texts(row), OTHER[script]):
        return None
    convert = _converter(CONFIGS[script]).convert
    return _child(
        row,
        instruction=convert(row["instruction"]),
        input=convert(row["input"]),
        output=convert(row["output"]),
        system=None if row["system"] is None else convert(row["system"]),
        history=[
            {"instruction": convert(turn["instruction"]), "output": convert(turn["output"])}
            for turn in row["history"]
        ],
    )


def _mirrored(row: Row) -> Row | None:
    """Return a row in the other script, None where it has neither, or both."""
    texts = _texts(row)
    found = [script for script in CONFIGS if _has_script(texts, script)]
    return _converted(row, OTHER[found[0]]) if len(found) == 1 else None


def _triggered(row: Row, sentences: dict[str, str]) -> Row:
    """Return a row with a chain of thought with the sentence of its language after its prompt."""
    template = json.loads(row["extra"] or "{}").get("template")
    if not str(template).startswith("cot_"):
        return row
    instruction, input = with_trigger(row["instruction"], row["input"], sentences)
    return _child(row, instruction=instruction, input=input)


def with_trigger(instruction: str, input: str, sentences: dict[str, str]) -> tuple[str, str]:
    """Return a prompt with the sentence of its language at its end, on a line of its own."""
    sentence = sentences.get(_language(instruction, sentences))
    if sentence is None or instruction.endswith(sentence) or input.endswith(sentence):
        return instruction, input
    if input:
        return instruction, f"{input}\n{sentence}"
    return f"{instruction}\n{sentence}", input


def _language(text: str, sentences: dict[str, str]) -> str:
    """Return the key of the sentence for a text: its script's, else that of Chinese, else en."""
    for script in ("zh-Hans", "zh-Hant"):
        if script in sentences and _has_script([text], script):
            return script
    return "zh" if _has_script([text], None) else "en"


def _child(row: Row, **changed: Any) -> Row:
    """Return a row with changed texts, a new id, and its parent's."""
    found = {**row, **changed}
    turns = [(turn["instruction"], turn["output"]) for turn in found["history"]]
    found["id"] = row_id(
        found["instruction"], found["input"], found["output"], turns, found["system"]
    )
    if found["id"] == row["id"]:
        return row
    extra = {**json.loads(row["extra"] or "{}"), "parent": row["id"]}
    found["extra"] = json.dumps(extra, ensure_ascii=False, separators=(",", ":"))
    return found


def _texts(row: Row) -> list[str]:
    turns = [text for turn in row["history"] for text in (turn["instruction"], turn["output"])]
    return [row["instruction"], row["input"], row["output"], row["system"] or "", *turns]


SCRIPT_CLASSES = {"zh-Hans": ("hans",), "zh-Hant": ("hant",), None: ("han", "hans", "hant")}


def _has_script(texts: Sequence[str], script: str | None) -> bool:
    """Tell whether texts have a character of one script only, or any Han character."""
    return any(one in _characters(script) for text in texts for one in text)


@cache
def _characters(script: str | None) -> frozenset[str]:
    wanted = {CLASS[name] for name in SCRIPT_CLASSES[script]}
    table = class_table()
    return frozenset(map(chr, np.flatnonzero(np.isin(table, list(wanted))).tolist()))


@cache
def _converter(config: str) -> Any:
    import opencc

    return opencc.OpenCC(config)
