"""Before a run: whether it would learn what it should.

`woolgather train check` prints what this returns; it does not train.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import torch

from corpus.errors import TrainError
from corpus.settings import Home
from train.arguments import optimizer_steps
from train.config import Run
from train.data import COLUMNS, Mixed
from train.loss import token_losses
from train.model import quiet_libraries
from train.pack import IGNORED, micro_batches
from train.render import encode_prompt, turns_of
from train.run import Prepared, build_model, prepare, probe_rows

SHOWN = 3
LOOKED_AT = 200


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    check: str
    ok: bool
    note: str


@dataclass(frozen=True, slots=True)
class Shown:
    """One row as the model sees it: pieces of text, each learned or not."""

    source: str
    pieces: list[tuple[str, bool]]


def check_run(
    run: Run, home: Home, mixture: Mixed | None = None
) -> tuple[list[Finding], list[Shown]]:
    """Look at the first rows, the masks, the template, packing and accumulation."""
    prepared = prepare(run, home, mixture)
    with quiet_libraries():
        model = build_model(run, optimizer_steps(run, len(prepared.train)))
        findings = [
            _refused(prepared),
            _turn_ends(prepared),
            _prompts_agree(prepared),
            _isolation(run, prepared, model),
            _accumulation(prepared, model),
        ]
    return findings, [
        show_row(prepared, row) for row in range(min(SHOWN, len(prepared.train.store)))
    ]


def show_row(prepared: Prepared, row: int) -> Shown:
    """Decode a row of the token store piece by piece."""
    store = prepared.train.store
    ids, learned = store.row(row)
    pieces = []
    for mark, group in groupby(
        zip(ids.tolist(), learned.tolist(), strict=True), lambda one: one[1]
    ):
        tokens = [token for token, _ in group]
        pieces.append((prepared.tokenizer.decode(tokens), bool(mark)))
    return Shown(store.groups[int(store.group[row])].source, pieces)


def _refused(prepared: Prepared) -> Finding:
    store = prepared.train.store
    counts = store.facts["refused"]
    first = next(store.refused(), None)
    note = ", ".join(f"{n} rows: {reason}" for reason, n in counts.items())
    note += f"; first is {first['id']} of {first['source']}" if first else ""
    cut = f"; {store.facts['cut_rows']} rows cut at sequence_length"
    return Finding("rows have something to learn", not counts, (note or "all of them") + cut)


def _turn_ends(prepared: Prepared) -> Finding:
    """Every row that is not cut must end its learning with the end of turn."""
    store = prepared.train.store
    bad = 0
    for row in range(min(LOOKED_AT, len(store))):
        ids, learned = store.row(row)
        whole = len(ids) < prepared.rendering.max_tokens
        last = int(ids[learned.nonzero()[0][-1]])
        bad += whole and last not in prepared.tokenizer.all_special_ids
    return Finding("the end of a turn is learned", not bad, f"{bad} of the first rows do not end")


def _prompts_agree(prepared: Prepared) -> Finding:
    """The prompt that generation makes must be what training saw before the reply."""
    store, rendering = prepared.train.store, prepared.rendering
    positions = store.position[:LOOKED_AT]
    block = prepared.rows.rows(positions, COLUMNS)
    bad = 0
    for number in range(len(positions)):
        row = {name: values[number] for name, values in block.items()}
        prompt = encode_prompt(prepared.tokenizer, rendering.template, turns_of(row), row["system"])
        ids, _ = store.row(number)
        bad += ids[: len(prompt)].tolist() != prompt[: len(ids)]
    return Finding("generation sees the prompt of training", not bad, f"{bad} prompts differ")


def _isolation(run: Run, prepared: Prepared, model: Any) -> Finding:
    name = "packed rows do not see each other"
    if not run.packing:
        return Finding(name, True, "packing is off")
    try:
        moved = probe_rows(model, prepared.train.store)
    except TrainError as error:
        return Finding(name, False, str(error))
    return Finding(name, True, f"logits move by {moved:.1e}")


def _accumulation(prepared: Prepared, model: Any) -> Finding:
    """The same packed rows in one forward pass or in several must give the same loss."""
    model.eval()
    data = prepared.train
    few = replace(data, packs=replace(data.packs, starts=data.packs.starts[:5]))
    means = []
    for micro in (len(few), 1):
        batches = list(micro_batches(few, micro))
        count = sum(int((one["targets"] != IGNORED).sum()) for one in batches)
        with torch.no_grad():
            means.append(sum(float(token_losses(model, one)[0].sum()) for one in batches) / count)
    gap = abs(means[0] - means[1]) / abs(means[1])
    limit = 1e-5 if next(model.parameters()).dtype == torch.float32 else 1e-2
    return Finding(
        "accumulation does not change the loss", gap <= limit, f"they differ by {gap:.1e}"
    )
