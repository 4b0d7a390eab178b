"""Encoding: parts of text become tokens with the learned ones marked.

Between rendering and the token store. What is learned is encoded apart from what is not, so that
training and generation see the same prompt tokens.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a rendered row."""

    text: str
    learned: bool = False
    special: bool = False
    """The text is one special token of the tokenizer, not text to be split."""
    apart: bool = False
    """Encoded apart from the text before it."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """The tokens of one row, and which of them are learned."""

    ids: list[int]
    learned: list[bool]


GLUE = "\ue0f2"
"""Put before text that goes on where other text ended, and cut off again: many tokenizers would
begin it with a space that is not there. A private-use character, which merges with nothing."""


def encode(tokenizer: Any, rendered: Iterable[list[Part]]) -> list[Encoded]:
    """Encode rendered rows with one call of the tokenizer; the tokens decode to the parts' bytes.

    Neighbouring parts of text that are all learned or all not are encoded as one text. No special
    token is added, and none is recognised inside text.
    """
    rows = [_runs(parts) for parts in rendered]
    glue, n_glue, after_special = _glue(tokenizer)
    texts, cuts = [], []
    for runs in rows:
        for before, run in pairwise([None, *runs]):
            if run is None or run.special:
                continue
            # A text begins, spaces and all, where a row does or after a token for the beginning.
            begins = before is None or (before.special and before.text == tokenizer.bos_token)
            goes_on = not begins and (after_special or not (before and before.special))
            texts.append(glue + run.text if goes_on else run.text)
            cuts.append(n_glue if goes_on else 0)
    found = zip(encode_plain(tokenizer, texts), cuts, strict=True)
    ids = (one[cut:] if cut else one for one, cut in found)
    number_of = cache(tokenizer.convert_tokens_to_ids)
    result = []
    for runs in rows:
        row = Encoded([], [])
        for run in runs:
            new = [number_of(run.text)] if run.special else next(ids)
            row.ids.extend(new)
            row.learned.extend([run.learned] * len(new))
        result.append(row)
    return result


def encode_plain(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    """Encode texts as text: no special token is added, and none recognised."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        options = {"add_special_tokens": False, "split_special_tokens": True}
        return list(tokenizer(texts, **options).input_ids) if texts else []
    # Straight to the Rust library: the wrapper around it takes as long again.
    backend.encode_special_tokens = True
    backend.no_truncation()
    backend.no_padding()
    return [one.ids for one in backend.encode_batch_fast(texts, add_special_tokens=False)]


def _glue(tokenizer: Any) -> tuple[str, int, bool]:
    """Return what to put before text that goes on, its tokens, and whether also after a special."""
    alone, glue, glued = encode_plain(tokenizer, ["a", GLUE, f"{GLUE}a"])
    goes_on = glued[len(glue) :]
    if goes_on == alone or glued[: len(glue)] != glue:
        return "", 0, False
    end = tokenizer.eos_token
    behind = tokenizer(f"{end}a", add_special_tokens=False).input_ids[1:] if end else alone
    return GLUE, len(glue), behind == goes_on


def _runs(parts: Iterable[Part]) -> list[Part]:
    runs: list[Part] = []
    for part in parts:
        last = runs[-1] if runs and not part.apart else None
        if last and not last.special and not part.special and last.learned == part.learned:
            runs[-1] = Part(last.text + part.text, last.learned, apart=last.apart)
        elif part.text:
            runs.append(part)
    return runs
