"""The `keys` annotation: two 64-bit keys a row, equal where prompts or whole rows are duplicates.

Mixtures remove duplicates and held-out rows by these keys.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from corpus.annotate.door import ANNOTATIONS, Annotation
from corpus.annotate.fold import MARK, SEVERAL, FoldTables, fold, fold_tables

Codes = npt.NDArray[Any]
"""Bytes of ASCII text, or code points as 32-bit numbers."""

SCHEMA = pa.schema(
    [
        pa.field("prompt_key", pa.uint64(), nullable=False),
        pa.field("row_key", pa.uint64(), nullable=False),
    ]
)

SLICE_ROWS = 1000
"""Rows folded at a time: their code points stay in the processor's cache."""

MAX_FINAL = 64
"""A text that ends with more sentence punctuation than this is folded by itself."""


@ANNOTATIONS.register("keys")
def keys() -> Annotation:
    """Describe the duplicate keys: xxh3-64 of the folded prompt, and of the whole folded row."""
    return Annotation(
        name="keys",
        version=1,
        schema=SCHEMA,
        reads=("instruction", "input", "output", "history", "system"),
        compute=row_keys,
    )


def row_keys(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return the prompt key and the row key of each row of a record batch.

    Hashed are the folded system prompt, each earlier turn, instruction and input, each followed by
    NUL; for the row key also the output. No system prompt and an empty one are the same.
    """
    rows, n_cells = _joined(batch)
    prompt_keys = np.empty(batch.num_rows, dtype=np.uint64)
    row_keys = np.empty(batch.num_rows, dtype=np.uint64)
    is_ascii = pc.string_is_ascii(rows).to_numpy(zero_copy_only=False)
    # ASCII is folded a byte at a time, other text four: neither waits for the other.
    for places in (np.flatnonzero(is_ascii), np.flatnonzero(~is_ascii)):
        for start in range(0, len(places), SLICE_ROWS):
            part = places[start : start + SLICE_ROWS]
            found = _slice_keys(_content(rows.take(pa.array(part))), np.cumsum(n_cells[part]))
            prompt_keys[part], row_keys[part] = found
    return pa.record_batch([pa.array(prompt_keys), pa.array(row_keys)], schema=SCHEMA)


def _slice_keys(rows: bytes, last_cells: npt.NDArray[np.int64]) -> tuple[list[int], list[int]]:
    folded, slow_cells = _fold_cells(rows)
    ends = np.flatnonzero(np.frombuffer(folded, dtype=np.uint8) == 0)
    row_ends = (ends[last_cells - 1] + 1).tolist()
    prompt_ends = (ends[last_cells - 2] + 1).tolist()
    prompt_keys, row_keys, start = [], [], 0
    for prompt_end, row_end in zip(prompt_ends, row_ends, strict=True):
        prompt_keys.append(xxhash.xxh3_64_intdigest(folded[start:prompt_end]))
        row_keys.append(xxhash.xxh3_64_intdigest(folded[start:row_end]))
        start = row_end
    for row in np.unique(np.searchsorted(last_cells, slow_cells, side="right")).tolist():
        prompt_keys[row], row_keys[row] = _keys_of(rows, last_cells, row)
    return prompt_keys, row_keys


def _keys_of(rows: bytes, last_cells: npt.NDArray[np.int64], row: int) -> tuple[int, int]:
    """Return the keys of one row, by the definition."""
    first = int(last_cells[row - 1]) if row else 0
    cells = rows.split(b"\0")[first : int(last_cells[row])]
    folded = [fold(cell.decode()).encode() + b"\0" for cell in cells]
    prompt = b"".join(folded[:-1])
    return xxhash.xxh3_64_intdigest(prompt), xxhash.xxh3_64_intdigest(prompt + folded[-1])


def _joined(batch: pa.RecordBatch) -> tuple[pa.StringArray, npt.NDArray[np.int64]]:
    """Return one string a row, its texts each followed by NUL, and their number."""
    system = pc.fill_null(batch.column("system"), "")
    columns = [system, *(batch.column(name) for name in ("instruction", "input", "output"))]
    system, instruction, input, output = (_without_nul(column) for column in columns)
    history = batch.column("history")
    n_turns = pc.list_value_length(history).to_numpy(zero_copy_only=False).astype(np.int64)
    turns = history.flatten()
    earlier = (
        pa.array([""] * batch.num_rows, pa.string()) if len(turns) == 0 else _turns(turns, n_turns)
    )
    rows = pc.binary_join_element_wise(
        system, "\0", earlier, instruction, "\0", input, "\0", output, "\0", ""
    )
    return rows, 4 + 2 * n_turns


def _turns(turns: pa.StructArray, n_turns: npt.NDArray[np.int64]) -> pa.StringArray:
    """Return one string a row: its turns' texts, each followed by NUL."""
    said, answered = (_without_nul(pc.fill_null(column, "")) for column in turns.flatten())
    joined = pc.binary_join_element_wise(said, "\0", answered, "\0", "")
    offsets = np.concatenate([[0], np.cumsum(n_turns)]).astype(np.int32)
    return pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets), joined), "")


def _without_nul(texts: pa.StringArray) -> pa.StringArray:
    """Replace NUL, which ends a text here, by what `fold` replaces it by."""
    if b"\0" in _content(texts):
        return pc.replace_substring(texts, "\0", "\ufffd")
    return texts


def _content(texts: pa.StringArray) -> bytes:
    """Return the bytes of all texts, one after the other."""
    _, offsets, data = texts.buffers()
    if data is None:
        return b""
    first, last = np.frombuffer(offsets, dtype=np.int32)[[texts.offset, texts.offset + len(texts)]]
    content: bytes = data[int(first) : int(last)].to_pybytes()
    return content


def _fold_cells(rows: bytes) -> tuple[bytes, npt.NDArray[np.int64]]:
    """Fold texts that each end with NUL; also return the positions of those to be folded singly."""
    tables = fold_tables()
    if rows.isascii():
        codes: Codes = tables.single[:128].astype(np.uint8)[np.frombuffer(b"\0" + rows, np.uint8)]
        folded, slow = _fold_codes(codes, tables)
        return folded[1:].tobytes(), slow
    raw = np.frombuffer(("\0" + rows.decode()).encode("utf-32-le"), dtype=np.uint32)
    codes = tables.single[raw]
    marked = np.flatnonzero(codes >= MARK)
    contexts = np.empty(0, dtype=np.int64)
    if len(marked):
        is_several = codes[marked] == SEVERAL
        contexts = np.searchsorted(np.flatnonzero(raw == 0), marked[~is_several]) - 1
        codes[marked[~is_several]] = ord("\ufffd")
        codes = _grown(codes, marked[is_several], raw, tables)
    folded, slow = _fold_codes(codes, tables)
    slow = np.union1d(slow, contexts)
    return folded[1:].tobytes().decode("utf-32-le").encode(), slow


def _grown(
    codes: npt.NDArray[np.uint32],
    places: npt.NDArray[np.int64],
    raw: npt.NDArray[np.uint32],
    tables: FoldTables,
) -> npt.NDArray[np.uint32]:
    """Put the code points of those that become several in their places."""
    forms = [tables.several[code] for code in raw[places].tolist()]
    lengths = np.array([len(form) for form in forms], dtype=np.int64)
    sizes = np.ones(len(raw), dtype=np.int64)
    sizes[places] = lengths
    grown = np.repeat(codes, sizes)
    firsts = places + np.cumsum(lengths - 1) - (lengths - 1)
    within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    content = "".join(forms).encode("utf-32-le")
    grown[np.repeat(firsts, lengths) + within] = np.frombuffer(content, dtype=np.uint32)
    return grown


def _fold_codes(codes: Codes, tables: FoldTables) -> tuple[Codes, npt.NDArray[np.int64]]:
    """Fold white space and final punctuation of texts that each stand between two NULs."""
    spaces = np.flatnonzero(codes == 32)
    repeated = codes[spaces - 1] == 32
    if repeated.any():
        codes = np.delete(codes, spaces[repeated])
        spaces = np.flatnonzero(codes == 32)
    before, after = codes[spaces - 1], codes[spaces + 1]
    drop = (before == 0) | (after == 0) | tables.is_cjk[before] | tables.is_cjk[after]
    if drop.any():
        codes = np.delete(codes, spaces[drop])
    bounds = np.flatnonzero(codes == 0)
    final, slow = _final_places(codes, bounds, tables)
    return np.delete(codes, final), slow


def _final_places(
    codes: Codes, bounds: npt.NDArray[np.int64], tables: FoldTables
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the places of final punctuation to strip, and the texts left for `fold` itself."""
    starts, places = bounds[:-1], bounds[1:] - 1
    texts = np.arange(len(places))
    found = []
    for _ in range(MAX_FINAL):
        going = (places > starts[texts]) & tables.is_final[codes[places]]
        texts, places = texts[going], places[going]
        if len(texts) == 0:
            break
        found.append((texts, places))
        places = places - 1
    if not found:
        return np.empty(0, dtype=np.int64), texts
    all_texts = np.concatenate([one for one, _ in found])
    all_places = np.concatenate([one for _, one in found])
    # Texts of nothing but punctuation keep it: theirs is a place right after the bound.
    emptied = all_texts[all_places == starts[all_texts] + 1]
    return all_places[~np.isin(all_texts, emptied)], texts
