"""Loading what a run starts from: the base model, its tokenizer, or only its shape.

Used by training, planning, merging and answering; nothing here trains.
"""

from __future__ import annotations

import contextlib
import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from corpus.errors import TrainError

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
)

PASSPORT = "woolgather.json"
"""File in an adapter or model folder that says template, mixture and run."""


def model_folder(name: str | Path) -> Path:
    """Return the folder of a model: a local one, or the hub's cached or downloaded snapshot.

    Raises:
        TrainError: there is none.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if path.is_absolute() or str(name).startswith((".", "~")) or str(name).count("/") != 1:
        raise TrainError(f"model {str(name)!r}: expected a folder or a hub id ORG/NAME")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    wanted = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
    try:
        return Path(snapshot_download(str(name), allow_patterns=wanted))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise TrainError(
            f"model {str(name)!r}: no such folder, and the hub says: {reason}"
        ) from error


def load_tokenizer(name: str | Path) -> Any:
    """Load a tokenizer, and refuse one that does not tokenize."""
    from transformers import AutoTokenizer

    with _plain_errors(f"tokenizer {str(name)!r}"):
        tokenizer = AutoTokenizer.from_pretrained(str(model_folder(name)))
    if not tokenizer("a", add_special_tokens=False).input_ids:
        raise TrainError(
            f"tokenizer {str(name)!r}: it encodes text to nothing; its files are broken"
        )
    return tokenizer


def load_base(name: str | Path, dtype: str = "float32") -> Any:
    """Load a causal language model for training or answering, on the CPU.

    Raises:
        TrainError: it is absent, quantised, or of a kind that transformers does not ship.
    """
    from transformers import AutoModelForCausalLM

    folder = model_folder(name)
    refuse_quantised(folder)
    with _plain_errors(f"model {str(name)!r}"):
        model = AutoModelForCausalLM.from_pretrained(str(folder), dtype=dtype)
    # peft writes this name into adapters: keep what the user gave.
    model.name_or_path = model.config._name_or_path = str(name)
    return model


def load_shape(name: str | Path) -> Any:
    """Build a model on the meta device: names and shapes of all weights, and no memory."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    folder = model_folder(name)
    auto: Any = AutoModelForCausalLM
    with _plain_errors(f"model {str(name)!r}"), torch.device("meta"):
        return auto.from_config(AutoConfig.from_pretrained(str(folder)))


def base_config(folder: Path) -> dict[str, Any]:
    """Read a model's config.json."""
    try:
        loaded = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainError(f"{folder}: expected a model folder with a config.json") from error
    assert isinstance(loaded, dict)
    return loaded


def refuse_quantised(folder: Path) -> None:
    """Raise when a base model's weights are quantised."""
    config = base_config(folder)
    if "quantization_config" in config:
        kind = config["quantization_config"].get("quant_method", "unknown")
        raise TrainError(
            f"{folder}: the base model is quantised ({kind}), expected full weights."
            " Give the original model instead."
        )


def passport(folder: Path) -> dict[str, Any]:
    """Return what training wrote beside an adapter or model; empty for a stranger's."""
    file = folder / PASSPORT
    if not file.is_file():
        return {}
    loaded = json.loads(file.read_text(encoding="utf-8"))
    assert isinstance(loaded, dict)
    return loaded


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keep third-party notices and progress bars off the terminal while the block runs."""
    import transformers.utils.logging

    noise: Any = transformers.utils.logging

    before, bars = noise.get_verbosity(), noise.is_progress_bar_enabled()
    noise.set_verbosity_error()
    noise.disable_progress_bar()
    peft = logging.getLogger("peft")
    level = peft.level
    peft.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        noise.set_verbosity(before)
        if bars:
            noise.enable_progress_bar()
        peft.setLevel(level)


@contextlib.contextmanager
def _plain_errors(what: str) -> Iterator[None]:
    """Turn a library's loading error into one line of ours."""
    try:
        yield
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        if isinstance(error, TrainError):
            raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise TrainError(f"{what}: cannot be loaded: {reason}") from error
