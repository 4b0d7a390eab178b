"""Predicting: the rows of a file or of a holdout get a model's answers, in order and in batches.

Written line by line as they come, so that a prediction that was killed goes on where it was.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

from corpus.atomic import sole_writer, write_text
from corpus.errors import TrainError
from corpus.prompts import prompt_of, read_records
from corpus.settings import Home
from train import data
from train.generate import Sampling, Speaker, triggered
from train.render import encode_prompt, turns_of

Row = dict[str, Any]
ANSWERS = ("prediction", "without_adapter")
MADE_OF = ".made_of.json"
"""Ends the name of the file beside the predictions that holds what decides them."""
WINDOW = 8
"""Batches that are sorted by length together: what a kill can lose."""


def read_rows(name: str, home: Home, limit: int | None = None) -> list[Row]:
    """Return the records of a file, or the holdout of `mixture:NAME`.

    Raises:
        RawDataError: there is no such file, or a record has nothing to answer.
    """
    is_mixture = name.startswith("mixture:")
    found = _held_out(name[8:], home, limit) if is_mixture else read_records(Path(name), limit)
    if not found:
        raise TrainError(f"{name}: expected rows to answer, got none")
    for number, row in enumerate(found):
        prompt_of(row, f"{name}: record {number}")
        if taken := [one for one in ANSWERS if one in row]:
            raise TrainError(f"{name}: record {number}: has a field {taken[0]!r}. Rename it")
    return [json.loads(json.dumps(row, default=str)) for row in found]


def _held_out(name: str, home: Home, limit: int | None) -> list[Row]:
    held = data.open_mixture(name, home).holdout
    columns = (*data.COLUMNS, "source", "origin", "extra")
    values = held.rows(range(len(held))[:limit], columns)
    return [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]


def predict(
    rows: Sequence[Row],
    out: Path,
    home: Home,
    load: Callable[[], Speaker],
    *,
    sampling: Sampling,
    order: dict[str, Any],
    advance: Callable[..., None] = lambda completed, total: None,
) -> int:
    """Append to a file the rows that it lacks, each with its answer; return how many.

    `order` has batch, compare, trigger and whatever else decides the answers; a file that was begun
    with another is refused. The model is loaded only when there is something to answer.

    Raises:
        TrainError: the file is there and is not a beginning of this.
        BusyError: another process writes it.
    """
    with sole_writer(home.locks, f"predict-{out.resolve()}".replace("/", "+")[-200:], wait=False):
        done, size = _done(rows, out, order), WINDOW * order["batch"]
        if done == len(rows):
            return 0
        speaker = load()
        with out.open("a", encoding="utf-8") as file:
            # Windows begin where they would without a stop, so that the draws are the same.
            for start in range(done // size * size, len(rows), size):
                window = rows[start : start + size]
                answers = _answers(window, speaker, sampling, order, start)
                for place, row in enumerate(window, start):
                    if place >= done:
                        line = {**row, **answers[place - start]}
                        file.write(json.dumps(line, ensure_ascii=False) + "\n")
                file.flush()
                advance(start + len(window), len(rows))
    return len(rows) - done


def _done(rows: Sequence[Row], out: Path, order: dict[str, Any]) -> int:
    """Return how many rows a file has already; a line that a kill cut short is cut off."""
    made_of = out.with_name(out.name + MADE_OF)
    told = json.dumps(order, ensure_ascii=False, indent=1, default=str)
    if not out.exists():
        write_text(made_of, told)
        return 0
    another = "Choose another --out, or remove it"
    if not made_of.is_file():
        raise TrainError(f"{out}: expected predictions, got a file of another kind. {another}")
    before, now = json.loads(made_of.read_text(encoding="utf-8")), json.loads(told)
    changed = [key for key in now if before.get(key) != now[key]]
    if changed:
        raise TrainError(f"{out}: it was begun with another {', '.join(changed)}. {another}")
    whole = out.read_bytes().rpartition(b"\n")[0]
    lines = whole.decode("utf-8").split("\n") if whole else []
    for number, (line, row) in enumerate(zip_longest(lines, rows[: len(lines)])):
        if not _answers_row(line, row):
            raise TrainError(f"{out}:{number + 1}: expected record {number} of the data. {another}")
    with out.open("rb+") as file:
        file.truncate(len(whole) + bool(whole))
    return len(lines)


def _answers_row(line: str, row: Row | None) -> bool:
    """Tell whether a line is a row and its answers, and nothing else."""
    try:
        found = json.loads(line)
    except ValueError:
        return False
    return {key: value for key, value in found.items() if key not in ANSWERS} == row


def _answers(
    rows: Sequence[Row], speaker: Speaker, sampling: Sampling, order: dict[str, Any], start: int
) -> list[dict[str, str]]:
    """Answer a window of rows in batches of like length; each batch draws by its own seed."""
    prompts = []
    for row in rows:
        asked = prompt_of(row, "row")
        texts = triggered(asked["instruction"], asked["input"], order["trigger"])
        turns = turns_of(asked | dict(zip(("instruction", "input"), texts, strict=True)))
        prompts.append(encode_prompt(speaker.tokenizer, speaker.template, turns, asked["system"]))
    places = sorted(range(len(rows)), key=lambda place: len(prompts[place]))
    answers: list[dict[str, str]] = [{} for _ in rows]
    for first in range(0, len(rows), order["batch"]):
        batch = places[first : first + order["batch"]]
        drawn = replace(sampling, seed=(sampling.seed + start + first) % 2**32)
        for name, adapter in zip(ANSWERS, (True, False), strict=True):
            if adapter or order["compare"]:
                found = speaker.reply([prompts[place] for place in batch], drawn, adapter=adapter)
                for place, text in zip(batch, found, strict=True):
                    answers[place][name] = text
    return answers
