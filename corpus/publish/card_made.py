"""How published rows came to be, what was kept apart, and what is known to be wrong with them.

Pieces of a card. Counts of rows that are not published come from `mixture.lock` beside it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from corpus.membership import contains
from corpus.mixture.lock import LOCK
from corpus.mixture.recipe_read import check_recipe
from corpus.publish.content import TEST, TRAIN
from corpus.publish.markdown import code, fence, shown, table
from corpus.publish.statistics import distinct
from corpus.publish.told import Told

Lines = list[str]

MODEL_WRITTEN = ("SI", "MIX")


def made(told: Told) -> Lines:
    """Return how the rows were selected, with which versions, and how to do it again."""
    lines = ["## How it was made", ""]
    lines += _of_recipe(told.lock) if told.lock else _of_stored()
    versions = [(code(name), code(version)) for name, version in told.versions.items()]
    lines += [*table(("written with", "version"), versions), *_again(told)]
    return lines


def _of_stored() -> Lines:
    return [
        "Rows as they are stored, in the order of the raw files; none was removed, changed or put"
        " elsewhere. [sources.json](sources.json) names the raw files and their sums.",
        "",
    ]


def _of_recipe(lock: dict[str, Any]) -> Lines:
    settings = [(code(key), code(value)) for key, value in flat(recipe_of(lock))]
    heads = ("source", "left to draw from", "removed before", "drawn", "held out", "epochs")
    rows = [
        (
            code(one["name"]),
            one["unique"],
            sum(one["removed"].values()),
            one["rows"],
            one["holdout"],
            round(one["rows"] / one["unique"], 2) if one["unique"] else 0.0,
        )
        for one in lock["sources"]
    ]
    removed: Counter[str] = Counter()
    for one in lock["sources"]:
        removed.update(one["removed"])
    reasons = [(code(reason), count) for reason, count in removed.most_common()]
    return [
        f"The mixture {code(lock['recipe']['name'])} of woolgather, digest {code(lock['digest'])}:"
        " [recipe.yaml](recipe.yaml) is what was asked for, [mixture.lock](mixture.lock) what came"
        " of it, [sources.json](sources.json) which raw files it was made of.",
        "",
        *table(("setting", "value"), settings),
        *table(heads, rows),
        *(table(("removed before because", "rows"), reasons) if reasons else []),
    ]


def recipe_of(lock: dict[str, Any]) -> dict[str, Any]:
    """Return the recipe of a lock in the order in which recipes are written, for people."""
    recipe = check_recipe(lock["recipe"], LOCK).as_json()
    return {key: value for key, value in recipe.items() if value is not None}


def flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield each setting of a recipe as its path and its value."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from flat(inner, f"{path}.{key}" if path else key)
    elif path == "sources":
        for number, line in enumerate(value):
            yield f"{path}.{number}", ", ".join(f"{key}: {inner}" for key, inner in line.items())
    else:
        yield path, json.dumps(value, ensure_ascii=False)


def _again(told: Told) -> Lines:
    mixture, ids = told.content.mixture, told.content.sources
    datasets = " | ".join(dict.fromkeys(one.id.partition("+")[0] for one in ids))
    commands = [f"woolgather build '{datasets}' --raw DIR"]
    if mixture:
        commands += [
            "woolgather mix build --lock mixture.lock",
            f"woolgather mix verify {mixture.name}",
        ]
    lines = [
        "From the same raw files, the same rows again:",
        "",
        *fence("\n".join(commands), "sh"),
        "",
    ]
    if told.content.own:
        named = ", ".join(code(id) for id in told.content.own)
        lines += [f"First add the entries that woolgather's own catalog has not: {named}.", ""]
    return lines


def separation(told: Told) -> Lines:
    """Return how training rows were kept apart from those to evaluate with."""
    recipe = told.lock["recipe"] if told.lock else {}
    lines = ["## Holdout and decontamination", ""]
    if TEST not in told.statistics.whole.rows:
        lines.append("- There is no split to evaluate with.")
    elif told.lock:
        lines.append(
            f"- The split {code(TEST)} was drawn before the training rows, from rows that occur"
            " once; wherever else one of them stood, folded for case, width, white space and"
            " Chinese script, it left the training rows."
        )
    else:
        lines.append(f"- The split {code(TEST)} holds what upstream publishes to evaluate with.")
    if {TRAIN, TEST} <= set(told.statistics.whole.rows):
        lines.append(f"- Different rows that stand in both splits: {shown(_in_both(told))}.")
    if told.lock and recipe.get("decontaminate"):
        named = ", ".join(code(one) for one in recipe["decontaminate"])
        gone = sum(one["removed"].get("contaminated", 0) for one in told.lock["sources"])
        lines.append(f"- Rows that hold questions of {named} were removed: {shown(gone)}.")
    else:
        lines.append(
            "- No decontamination was done: questions of benchmarks may be among the rows."
        )
    return [*lines, ""]


def _in_both(told: Told) -> int:
    keys = {
        name: np.concatenate([one.keys for (_, split), one in told.files.items() if split == name])
        for name in (TRAIN, TEST)
    }
    return distinct(keys[TRAIN][contains(keys[TEST], keys[TRAIN])])


def known_limits(told: Told) -> Lines:
    """Return what is known to be wrong with the rows, counted, and what nobody knows."""
    whole, content = told.statistics.whole, told.content
    by_model = sum(
        told.statistics.sources[one.name].total
        for one in content.sources
        if one.gen in MODEL_WRITTEN
    )
    unclear = whole.summary["output_languages"].get("und", 0)
    lines = [
        "## Known limits",
        "",
        f"- Rows that repeat another one exactly: {shown(whole.total - whole.distinct)}.",
        f"- Rows of sources that a model wrote, wholly or partly: {shown(by_model)}.",
        f"- Outputs whose language could not be told: {shown(unclear)}.",
        *_gaps(told),
        "- Languages, scripts and flags are measured by rules and a small model, which err.",
        "- Nobody has read all rows: they may hold false statements, personal data, bias, and"
        " instructions that should not be followed.",
        "",
    ]
    flags = [(code(name), rows, told.share(rows)) for name, rows in whole.flags.items()]
    if flags:
        lines += ["Rows that a quality rule has flagged, and that are here all the same:", ""]
        lines += table(("flag", "rows", "share %"), flags)
    return lines


def _gaps(told: Told) -> Lines:
    """Return what the recipe did not do, or had to do without."""
    content = told.content
    limited = dict.fromkeys(build.id for build in content.builds if build.limit is not None)
    lines = [f"- {code(id)} was built from its first records alone." for id in limited]
    lock = told.lock
    if lock is None:
        return lines
    lines += [f"- {code(one)} was asked for and was not there." for one in lock["missing"]]
    dedup = lock["recipe"]["dedup"]
    if not dedup["exact"]:
        lines.append("- Exact duplicates within a source were not removed.")
    if not dedup["across"]:
        lines.append("- Duplicates between sources were not removed.")
    if "near" not in dedup:
        lines.append("- Near-duplicates were not removed.")
    return lines
