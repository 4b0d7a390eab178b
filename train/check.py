"""Before a run: whether it would learn what it should.

`woolgather train check` prints what this returns; it does not train.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np
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
FEW = 0.02
"""Share of rows or tokens up to which something is worth a look, and above which it is wrong."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    check: str
    ok: bool
    note: str
    way_out: str = ""
    """What to do about it; also given where nothing is wrong but something is worth a look."""

    def line(self) -> str:
        """Return the finding as one line."""
        state = "BAD " if not self.ok else "LOOK" if self.way_out else "ok  "
        return f"{state}  {self.check}: {self.note}" + (f". {self.way_out}" if self.way_out else "")


@dataclass(frozen=True, slots=True)
class Shown:
    """One row as the model sees it: pieces of text, each learned or not."""

    source: str
    pieces: list[tuple[str, bool]]


def check_run(
    run: Run, home: Home, mixture: Mixed | None = None
) -> tuple[list[Finding], list[Shown]]:
    """Look at the first rows, masks, template, vocabulary, weights, packing and accumulation."""
    prepared = prepare(run, home, mixture)
    with quiet_libraries():
        model = build_model(run, optimizer_steps(run, len(prepared.train)))
        findings = [
            _refused(prepared),
            _turn_ends(prepared),
            _prompts_agree(prepared),
            _vocabulary(prepared, model),
            _weights(run, model),
            _isolation(run, prepared, model),
            *_losses(run, prepared, model),
        ]
    shown = range(min(SHOWN, len(prepared.train.store)))
    return findings, [show_row(prepared, row) for row in shown]


def show_row(prepared: Prepared, row: int) -> Shown:
    """Decode a row of the token store piece by piece."""
    store = prepared.train.store
    marked = groupby(zip(*store.row(row), strict=True), lambda one: bool(one[1]))
    decode = prepared.tokenizer.decode
    pieces = [(decode([int(token) for token, _ in group]), learned) for learned, group in marked]
    return Shown(store.groups[int(store.group[row])].source, pieces)


def _refused(prepared: Prepared) -> Finding:
    store = prepared.train.store
    counts, cut = store.facts["refused"], store.facts["cut_rows"]
    first = next(store.refused(), None)
    notes = [f"{n:,} rows: {reason}" for reason, n in counts.items()]
    notes += [f"first is {first['id']} of {first['source']}"] if first else []
    notes += [f"{cut:,} rows cut at sequence_length"] if cut else []
    bad = sum(counts.values()) > FEW * (len(store) + sum(counts.values()))
    way_out = "They are left out; see them: woolgather trace ID" if counts else ""
    if cut > FEW * len(store):
        way_out = (way_out + ". " if way_out else "") + "Raise sequence_length to learn whole rows"
    return Finding("rows have something to learn", not bad, "; ".join(notes) or "all", way_out)


def _turn_ends(prepared: Prepared) -> Finding:
    """Every row that is not cut must end its learning with the end of turn."""
    store = prepared.train.store
    bad = 0
    for row in range(min(LOOKED_AT, len(store))):
        ids, learned = store.row(row)
        whole = len(ids) < prepared.rendering.max_tokens
        last = int(ids[learned.nonzero()[0][-1]])
        bad += whole and last not in prepared.tokenizer.all_special_ids
    way_out = "The model would not learn to stop: choose another template" if bad else ""
    note = f"{bad} of the first {min(LOOKED_AT, len(store))} rows do not end"
    return Finding("the end of a turn is learned", not bad, note, way_out)


def _prompts_agree(prepared: Prepared) -> Finding:
    """The prompt that generation makes must be what training saw before the reply."""
    store, rendering = prepared.train.store, prepared.rendering
    block = prepared.rows.rows(store.position[:LOOKED_AT], COLUMNS)
    bad = 0
    for number, values in enumerate(zip(*block.values(), strict=True)):
        row = dict(zip(block, values, strict=True))
        prompt = encode_prompt(prepared.tokenizer, rendering.template, turns_of(row), row["system"])
        ids, _ = store.row(number)
        bad += ids[: len(prompt)].tolist() != prompt[: len(ids)]
    way_out = "Answers would miss what was trained: choose another template" if bad else ""
    note = f"{bad} prompts differ"
    return Finding("generation sees the prompt of training", not bad, note, way_out)


def _vocabulary(prepared: Prepared, model: Any) -> Finding:
    """Every token has an embedding (else the run does not start), and few are unknown."""
    tokenizer, store = prepared.tokenizer, prepared.train.store
    rows = model.get_input_embeddings().weight.shape[0]
    ids = np.concatenate([store.row(row)[0] for row in range(min(LOOKED_AT, len(store)))])
    unknown = tokenizer.unk_token_id
    share = float((ids == unknown).mean()) if unknown is not None else 0.0
    pad = tokenizer.pad_token or "none, padding is masked"
    note = f"{len(tokenizer):,} tokens, {rows:,} embeddings, {share:.1%} unknown, pad: {pad}"
    way_out = "This tokenizer cannot spell these rows: take another base" if share > FEW else ""
    return Finding("the vocabulary spells the rows", share <= FEW, note, way_out)


def _weights(run: Run, model: Any) -> Finding:
    """What trains is float32; a frozen base has the run's type; none is broken."""
    trained = [one for one in model.parameters() if one.requires_grad]
    frozen = {str(one.dtype)[6:] for one in model.parameters() if not one.requires_grad}
    floats = ((name, one) for name, one in model.named_parameters() if one.is_floating_point())
    broken = [name for name, one in floats if not bool(torch.isfinite(one).all())]
    sound = bool(trained) and all(one.dtype == torch.float32 for one in trained) and not broken
    held = ", ".join(sorted(frozen)) or "-"
    note = f"{len(trained)} tensors train in float32, the base is {held}"
    note += f"; {broken[0]} is not finite" if broken else ""
    way_out = "" if sound else "Take a sound base model, and a method that trains something"
    return Finding("weights are sound", sound, note + f", quantize: {run.quantize}", way_out)


def _isolation(run: Run, prepared: Prepared, model: Any) -> Finding:
    name = "packed rows do not see each other"
    if not run.packing:
        return Finding(name, True, "packing is off")
    try:
        moved = probe_rows(model, prepared.train.store)
    except TrainError as error:
        return Finding(name, False, str(error))
    return Finding(name, True, f"logits move by {moved:.1e}")


def _losses(run: Run, prepared: Prepared, model: Any) -> Iterator[Finding]:
    """One forward pass or several give the same loss, and it is no worse than guessing."""
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
    exact = run.dtype == "float32" and run.quantize == "none"
    note = f"they differ by {gap:.1e}"
    equal = gap <= (1e-5 if exact else 1e-2)
    way_out = "" if equal else "This model mixes the rows of a batch: set batch.micro=1"
    yield Finding("accumulation does not change the loss", equal, note, way_out)
    guessing = math.log(model.config.get_text_config().vocab_size)
    note = f"{means[1]:.2f} nats a token, guessing gives {guessing:.2f}"
    way_out = "" if means[1] <= 1.2 * guessing else "Is this the tokenizer of this base?"
    yield Finding("the base is no worse than guessing", math.isfinite(means[1]), note, way_out)
