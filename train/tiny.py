"""A small tokenizer and a small random Llama, made on the spot from texts.

The demo and the tests train on them where no downloaded model is at hand.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sentencepiece
import torch
from transformers import LlamaConfig, LlamaForCausalLM, LlamaTokenizer

from corpus.errors import TrainError
from train.data import COLUMNS, Rows
from train.model import quiet_libraries
from train.render import text_template, turns_of

UNKNOWN, BEGIN, END, PAD = range(4)


@dataclass(frozen=True, slots=True)
class TinyShape:
    """The size of a tiny Llama."""

    vocabulary: int = 2000
    """Pieces at most, of which 256 are bytes; higher: fewer tokens a text, larger head."""
    layers: int = 4
    """Transformer blocks."""
    width: int = 128
    """Hidden size; heads are 32 wide."""
    positions: int = 1024
    """Longest row in tokens."""
    tied: bool = False
    """Share the input embeddings with the head."""


def rendered_texts(rows: Rows, template: str = "alpaca") -> Iterator[str]:
    """Yield rows as the template renders them, so that a tokenizer also knows the prompt."""
    shape = text_template(template)
    for start in range(0, len(rows), 1000):
        block = rows.rows(range(start, min(start + 1000, len(rows))), COLUMNS)
        for values in zip(*block.values(), strict=True):
            row = dict(zip(block, values, strict=True))
            yield "".join(part.text for part in shape.parts(turns_of(row), row["system"]))


def make_tiny(
    folder: Path, texts: Iterable[str], shape: TinyShape | None = None, *, seed: int = 0
) -> Path:
    """Write a tokenizer learned from the texts and a random Llama of that vocabulary."""
    shape = shape or TinyShape()
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = make_tokenizer(folder, texts, shape.vocabulary)
    make_llama(folder, len(tokenizer), shape, seed=seed)
    return folder


def make_tokenizer(folder: Path, texts: Iterable[str], vocabulary: int) -> Any:
    """Learn a sentencepiece BPE with byte fallback, and save it as a Llama tokenizer.

    Raises:
        TrainError: the texts have more characters than the vocabulary, or the saved tokenizer
            does not encode as sentencepiece does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        model = _learn_pieces(texts, vocabulary)
    except RuntimeError as error:
        reason = str(error).rpartition("] ")[2]
        raise TrainError(f"tokenizer of {vocabulary} pieces: {reason}") from error
    (folder / "tokenizer.model").write_bytes(model)
    # Only from_pretrained on a folder reads a sentencepiece file right; the constructor with
    # vocab_file makes a vocabulary of three without a word. BOS is off there unless asked for.
    tokenizer = LlamaTokenizer.from_pretrained(
        str(folder), add_bos_token=True, pad_token="<pad>", padding_side="right"
    )
    tokenizer.save_pretrained(str(folder))
    _check(tokenizer, sentencepiece.SentencePieceProcessor(model_proto=model))
    return tokenizer


def _learn_pieces(texts: Iterable[str], vocabulary: int) -> bytes:
    model = io.BytesIO()
    specials = {"unk_id": UNKNOWN, "bos_id": BEGIN, "eos_id": END, "pad_id": PAD}
    whole = {"normalization_rule_name": "identity", "remove_extra_whitespaces": False}
    coverage = {"byte_fallback": True, "character_coverage": 0.9995, "split_digits": True}
    limits = {"vocab_size": vocabulary, "hard_vocab_limit": False, "max_sentence_length": 1 << 20}
    options: dict[str, Any] = specials | whole | coverage | limits
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=model,
        model_type="bpe",
        num_threads=1,
        minloglevel=2,
        **options,
    )
    return model.getvalue()


def _check(tokenizer: Any, original: Any) -> None:
    for text in ("Name three colours.\nRed.", "请写一首诗。", "請寫一首詩。"):
        if tokenizer(text).input_ids != [BEGIN, *original.encode(text)]:
            raise TrainError(f"the tokenizer of transformers encodes {text!r} unlike sentencepiece")


def make_llama(folder: Path, vocabulary: int, shape: TinyShape, *, seed: int = 0) -> None:
    """Save a Llama with random weights, which the seed decides."""
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=shape.width,
        intermediate_size=shape.width * 8 // 3 // 32 * 32,
        num_hidden_layers=shape.layers,
        num_attention_heads=max(1, shape.width // 32),
        num_key_value_heads=max(1, shape.width // 64),
        max_position_embeddings=shape.positions,
        bos_token_id=BEGIN,
        eos_token_id=END,
        pad_token_id=PAD,
        tie_word_embeddings=shape.tied,
    )
    with torch.random.fork_rng(devices=[]), quiet_libraries():
        torch.manual_seed(seed)
        LlamaForCausalLM(config).save_pretrained(str(folder))
