"""Measure rendering against the tokenizer alone, packing, and opening rendered rows, in one run.

    python benchmarks/packing.py --rows 20000 --open-rows 1000000
    python benchmarks/packing.py --raw DIR --select 'alpaca_gpt4_zh | dolly'

Rendering is everything from stored rows to sealed tokens on the disk; its baseline is
`tokenizer(texts)` of the same rendered texts, in batches of the same size. Rows are real ones of
DIR, which is a folder for `build --raw`, or made of words of both scripts. The tokenizer is a
byte-level BPE of 32,000 pieces learned from the rows, or the one of `--tokenizer`. Packing is
compared with the same best fit row by row. One JSON object on stdout: medians of the repeats.
"""

from __future__ import annotations

import argparse
import bisect
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from corpus.mixture import Mixture
from corpus.schema import row_id
from corpus.settings import Home
from train.data import COLUMNS
from train.pack import plan_packs
from train.render import load_template, turns_of
from train.tokens import BATCH, Rendering, open_tokens

QUANTILES = (10, 38, 56, 79, 105, 138, 180, 232, 310, 460, 700, 1100, 2048)
"""Tokens of instruction rows at each twelfth of all rows, as public sets have them."""

BASELINE_ROWS = 100_000
"""Row by row, packing takes so long that fewer rows must do."""

SOURCE = SimpleNamespace(name="made", lang="EN/CN", task="MT", gen="MIX")


@dataclass
class Made:
    """A mixture in memory: rows of made-up words, each other one Chinese."""

    n_rows: int
    words: int
    digest: str
    name: str = "made"
    sources: Sequence[Any] = (SOURCE,)

    def __post_init__(self) -> None:
        draw = random.Random(11)
        letters = ("abcdefghiklmnoprstuvw", [chr(0x4E00 + 7 * n) for n in range(2500)])
        self.vocabulary = [
            [
                "".join(draw.choices(letters[chinese], k=draw.randrange(1, 9 - 5 * chinese)))
                for _ in range(8000)
            ]
            for chinese in (0, 1)
        ]
        self.index = SimpleNamespace(source=np.zeros(self.n_rows, np.int16))

    def __len__(self) -> int:
        return self.n_rows

    @property
    def holdout(self) -> Made:
        return Made(0, self.words, self.digest)

    def text(self, row: int, n_words: int) -> str:
        draw = random.Random(row)
        glue, vocabulary = ("", " ")[row % 2 == 0], self.vocabulary[row % 2]
        places = (int(len(vocabulary) * draw.random() ** 3) for _ in range(n_words))
        return glue.join(vocabulary[place] for place in places)

    def rows(self, indices: Any, columns: Sequence[str]) -> dict[str, list[Any]]:
        empty = {"input": "", "history": [], "system": None, "extra": None}
        found: dict[str, list[Any]] = {name: [] for name in columns}
        for row in map(int, indices):
            if "output" in columns:
                told = {"instruction": f"{row} {self.text(row, 12)}"}
                told["output"] = self.text(row + self.n_rows, self.words)
            one = empty | (told if "output" in columns else {})
            one["id"] = row_id(str(row), "", "", [], None)
            for name in columns:
                found[name].append(one[name])
        return found


class Held:
    """The first rows of a mixture under another digest; `ready` reads them into memory."""

    def __init__(self, rows: Any, n_rows: int, digest: str, *, ready: bool = False) -> None:
        self.inner, self.n_rows, self.digest, self.name = rows, n_rows, digest, rows.name
        self.sources = rows.sources
        self.index = SimpleNamespace(source=rows.index.source[:n_rows])
        columns = (*COLUMNS, "extra")
        self.ready = rows.rows(range(n_rows), columns) if ready else None

    def __len__(self) -> int:
        return self.n_rows

    @property
    def holdout(self) -> Held:
        return Held(self.inner, 0, self.digest)

    def rows(self, indices: Any, columns: Sequence[str]) -> dict[str, list[Any]]:
        if self.ready is None:
            found: dict[str, list[Any]] = self.inner.rows(indices, columns)
            return found
        return {name: [self.ready[name][row] for row in indices] for name in columns}


def built(home: Path, raw: Path, select: str) -> Mixture:
    """Build the datasets of a raw folder and mix all their rows."""
    program = str(Path(sys.executable).with_name("woolgather"))
    command = [program, "--home", str(home), "--quiet"]
    subprocess.run([*command, "build", select, "--raw", str(raw)], check=False, stdout=sys.stderr)
    mix = ["mix", "build", "--name", "real", "--select", select]
    subprocess.run([*command, *mix], check=True, stdout=sys.stderr)
    return Mixture.open("real", Home(home))


def make_tokenizer(texts: Sequence[str]) -> Any:
    """Learn a byte-level BPE of 32,000 pieces."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    learned = Tokenizer(models.BPE())
    learned.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    learned.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    options = {"special_tokens": ["<s>", "</s>"], "initial_alphabet": alphabet}
    trainer = trainers.BpeTrainer(vocab_size=32_000, show_progress=False, **options)
    learned.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=learned, bos_token="<s>", eos_token="</s>")


def seconds(act: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> float:
    started = clock()
    act()
    return clock() - started


def both(act: Callable[[], Any]) -> tuple[float, float]:
    """Return seconds by the wall's clock, and those of all cores, which others disturb less."""
    used = 0.0

    def counted() -> None:
        nonlocal used
        used = seconds(act, time.process_time)

    return seconds(counted), used


def rendered(rows: Any, template: Any) -> list[str]:
    block = rows.rows(range(len(rows)), COLUMNS)
    records = [dict(zip(block, one, strict=True)) for one in zip(*block.values(), strict=True)]
    parts = [template.parts(turns_of(one), one["system"]) for one in records]
    return ["".join(part.text for part in row) for row in parts]


def measure_rendering(rows: Any, tokenizer: Any, repeats: int) -> dict[str, Any]:
    """Time the tokenizer on the rendered texts, and everything on the rows, in turns."""
    template = load_template("alpaca", tokenizer)
    texts = rendered(rows, template)
    blocks = [texts[start : start + BATCH] for start in range(0, len(texts), BATCH)]
    rendering = Rendering(tokenizer, template, 1024)
    times: dict[str, list[tuple[float, float]]] = {"baseline": [], "ours": []}
    for _ in range(repeats):
        times["baseline"].append(
            both(lambda: [tokenizer(one, add_special_tokens=False).input_ids for one in blocks])
        )
        with tempfile.TemporaryDirectory() as folder:
            ours = partial(open_tokens, Home(Path(folder)), rows, rendering)
            times["ours"].append(both(ours))
            store, _ = ours()
    took = {name: statistics.median(wall for wall, _ in found) for name, found in times.items()}
    cpu = {name: statistics.median(used for _, used in found) for name, found in times.items()}
    return {
        "rows": len(rows),
        "tokens_a_row": round(store.facts["tokens"] / len(store), 1),
        "tokenizer_rows_per_second": round(len(rows) / took["baseline"]),
        "rendering_rows_per_second": round(len(rows) / took["ours"]),
        "rendering_against_tokenizer": round(took["baseline"] / took["ours"], 3),
        "the_same_in_core_seconds": round(cpu["baseline"] / cpu["ours"], 3),
    }


def measure_packing(n_rows: int, repeats: int) -> dict[str, Any]:
    """Time best fit decreasing over rows of real lengths, and the same row by row."""
    places = np.random.default_rng(0).random(n_rows) * (len(QUANTILES) - 1)
    lengths = np.interp(places, range(len(QUANTILES)), QUANTILES).astype(np.int64)
    took = statistics.median(seconds(lambda: plan_packs(lengths, 2048)) for _ in range(repeats))
    few = lengths[:BASELINE_ROWS]
    slow = seconds(lambda: row_by_row(few.tolist(), 2048))
    assert row_by_row(few.tolist(), 2048) == len(plan_packs(few, 2048))
    return {
        "rows": n_rows,
        "seconds": round(took, 3),
        "fill": round(float(lengths.sum()) / (len(plan_packs(lengths, 2048)) * 2048), 4),
        "times_row_by_row": round(slow / len(few) * n_rows / took, 1),
    }


def row_by_row(lengths: list[int], capacity: int) -> int:
    """Return the packs of best fit decreasing, done plainly."""
    rooms: list[int] = []
    n_packs = 0
    for size in sorted(lengths, reverse=True):
        at = bisect.bisect_left(rooms, size)
        n_packs += at == len(rooms)
        room = rooms.pop(at) if at < len(rooms) else capacity
        if room > size:
            bisect.insort(rooms, room - size)
    return n_packs


def measure_opening(n_rows: int, tokenizer: Any) -> dict[str, Any]:
    """Time opening many short rows: first, as another mixture of the same rows, and again."""
    rows = Made(n_rows, 6, "first")
    rendering = Rendering(tokenizer, load_template("alpaca", tokenizer), 1024)
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder))
        first = seconds(lambda: open_tokens(home, rows, rendering))
        other = Held(rows, n_rows, "other")
        index = seconds(lambda: open_tokens(home, other, rendering))
        reads = seconds(lambda: [other.rows(range(n_rows), [one]) for one in ("id", "extra")])
        again = seconds(lambda: open_tokens(home, other, rendering))
        store, _ = open_tokens(home, other, rendering)
    return {
        "rows": len(store),
        "tokens": store.facts["tokens"],
        "first_seconds": round(first, 2),
        "other_mixture_seconds": round(index - reads, 2),
        "again_seconds": round(again, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--raw", type=Path)
    parser.add_argument("--select", default="*")
    parser.add_argument("--tokenizer", help="folder of a tokenizer")
    parser.add_argument("--pack-rows", type=int, default=1_000_000)
    parser.add_argument("--open-rows", type=int, default=200_000)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found: Any = (
            built(Path(folder), given.raw, given.select)
            if given.raw
            else Made(given.rows, 110, "made")
        )
        rows = Held(found, min(given.rows, len(found)), "rows", ready=not given.raw)
        if given.tokenizer:
            from train.model import load_tokenizer

            tokenizer = load_tokenizer(given.tokenizer)
        else:
            block = rows.rows(range(min(5000, len(rows))), ("instruction", "output"))
            tokenizer = make_tokenizer([text for texts in block.values() for text in texts])
        result = {
            "rendering": {
                "real": bool(given.raw),
                **measure_rendering(rows, tokenizer, given.repeats),
            },
            "packing": measure_packing(given.pack_rows, given.repeats),
            "opening": measure_opening(given.open_rows, tokenizer) if given.open_rows else None,
            "machine": {"cores": os.cpu_count(), "python": platform.python_version()},
        }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
