"""The tiny tokenizer is sentencepiece's, and the tiny model is the same for the same seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sentencepiece
import torch
from safetensors.torch import load_file

from train.tiny import TinyShape, make_llama


def test_the_tokenizer_encodes_as_sentencepiece_does(
    base: Path, tokenizer: Any, table: Any
) -> None:
    original = sentencepiece.SentencePieceProcessor(model_file=str(base / "tokenizer.model"))
    texts = table.rows(range(len(table)), ["output"])["output"] + ["龘 unseen €", "tab\tand 12"]
    for text in texts:
        assert tokenizer(text, add_special_tokens=False).input_ids == original.encode(text)
        assert tokenizer.decode(original.encode(text)) == text


def test_the_tokenizer_begins_texts_and_can_pad(tokenizer: Any) -> None:
    ids = tokenizer(["a", "a b c d e f"], padding=True)
    assert [row[0] for row in ids.input_ids] == [tokenizer.bos_token_id] * 2
    assert ids.input_ids[0][-1] == tokenizer.pad_token_id == 3
    assert len({tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id, 3}) == 4


def test_a_seed_decides_the_weights(tmp_path: Path) -> None:
    shape = TinyShape(layers=1, width=32)
    before = torch.random.get_rng_state()
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        make_llama(tmp_path / name, 300, shape, seed=seed)
    a, b, c = (load_file(tmp_path / one / "model.safetensors") for one in "abc")
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert any(not torch.equal(a[name], c[name]) for name in a)
    assert torch.equal(torch.random.get_rng_state(), before)
