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

    wanted = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja", "*.py"]
    try:
        return Path(snapshot_download(str(name), allow_patterns=wanted))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise TrainError(
            f"model {str(name)!r}: no such folder, and the hub says: {reason}"
        ) from error


def load_tokenizer(name: str | Path, trust_remote_code: bool = False) -> Any:
    """Load a tokenizer, and refuse one that does not tokenize."""
    from transformers import AutoTokenizer

    folder = model_folder(name)
    with _plain_errors(f"tokenizer {str(name)!r}"):
        try:
            tokenizer = AutoTokenizer.from_pretrained(
                str(folder), trust_remote_code=trust_remote_code
            )
        except ValueError as error:
            if "custom code" in str(error):
                runs_code(folder / "tokenizer_config.json", trust_remote_code, shipped=False)
            raise
    if not tokenizer("a", add_special_tokens=False).input_ids:
        raise TrainError(
            f"tokenizer {str(name)!r}: it encodes text to nothing; its files are broken"
        )
    return tokenizer


def load_base(
    name: str | Path,
    dtype: str = "float32",
    *,
    quantize: str = "none",
    attention: str = "auto",
    trust_remote_code: bool = False,
    prequantised: bool = False,
) -> Any:
    """Load a causal language model for training or answering, on the CPU.

    `prequantised` also takes a folder of quantised weights, which answers and cannot be trained.

    Raises:
        TrainError: it is absent, damaged, quantised, of a kind that transformers does not ship
            and whose code may not run, or cannot have the asked attention.
    """
    from train.inputs import accept_batches
    from train.quantise import placed, quantisation_config, refuse_unreached, steady
    from train.tensors import weight_files

    folder = model_folder(name)
    if not prequantised or quantize != "none":
        refuse_quantised(folder)
    weight_files(folder)
    options: dict[str, Any] = {"dtype": dtype, **attention_option(attention, dtype)}
    if quantize != "none":
        options |= {"quantization_config": quantisation_config(quantize, dtype), **placed()}
    with _plain_errors(f"model {str(name)!r}"):
        auto, code = _auto_class(folder, trust_remote_code)
        model = auto.from_pretrained(str(folder), trust_remote_code=code, **options)
        if attention == "auto" and not why_no_flash(dtype):
            # A model that cannot keeps what it has.
            with contextlib.suppress(ValueError, ImportError):
                model.set_attn_implementation("flash_attention_2")
    if quantize != "none":
        refuse_unreached(model, quantize)
    # peft writes this name into adapters: keep what the user gave.
    model.name_or_path = model.config._name_or_path = str(name)
    accept_batches(model)
    return steady(model)


def load_shape(name: str | Path, trust_remote_code: bool = False) -> Any:
    """Build a model on the meta device: names and shapes of all weights, and no memory."""
    import torch
    from transformers import AutoConfig

    folder = model_folder(name)
    with _plain_errors(f"model {str(name)!r}"), torch.device("meta"):
        auto, code = _auto_class(folder, trust_remote_code)
        config = AutoConfig.from_pretrained(str(folder), trust_remote_code=code)
        return auto.from_config(config, trust_remote_code=code)


def _auto_class(folder: Path, trust_remote_code: bool) -> tuple[Any, bool]:
    """Return the class that loads a folder's model, and whether the folder's own code runs."""
    from transformers import AutoModel, AutoModelForCausalLM
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    config = base_config(folder)
    shipped = config.get("model_type") in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    code = runs_code(folder / "config.json", trust_remote_code, shipped=shipped)
    # ChatGLM-6B names its language model AutoModel.
    plain = not code or "AutoModelForCausalLM" in config["auto_map"]
    return AutoModelForCausalLM if plain else AutoModel, code


def runs_code(config: Path, allowed: bool, *, shipped: bool) -> bool:
    """Tell whether Python code that a model's folder brings will run.

    Raises:
        TrainError: it would have to, and may not.
    """
    loaded = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
    named = [one if isinstance(one, str) else one[0] for one in loaded.get("auto_map", {}).values()]
    if named and not allowed and not shipped:
        files = sorted({one.rpartition("--")[2].rpartition(".")[0] + ".py" for one in named})
        raise TrainError(
            f"{config.parent}: this model needs code that it brings itself ({', '.join(files)})."
            " Read it; then allow it to run: --set trust_remote_code=true in a run,"
            " --trust-remote-code elsewhere"
        )
    return bool(named) and allowed


def why_no_flash(dtype: str) -> str:
    """Return what flash-attention lacks here; empty when it can be used."""
    import torch
    from transformers.utils.import_utils import is_flash_attn_2_available

    if not torch.cuda.is_available():
        return "a CUDA GPU"
    if not is_flash_attn_2_available():
        return "the package flash-attn"
    return "" if dtype in ("bfloat16", "float16") else "dtype: bfloat16"


def attention_option(attention: str, dtype: str) -> dict[str, str]:
    """Return a model's loading option for an attention kernel; none for auto.

    Raises:
        TrainError: flash-attention is asked for where it cannot run.
    """
    lacking = why_no_flash(dtype) if attention == "flash" else ""
    if lacking:
        raise TrainError(f"attention: flash needs {lacking}. Set attention: auto")
    names = {"flash": "flash_attention_2", "flex": "flex_attention"}
    return {} if attention == "auto" else {"attn_implementation": names.get(attention, attention)}


def refuse_vocabulary(tokenizer: Any, base: str | Path) -> None:
    """Raise when a tokenizer makes tokens that a base model has no embedding for."""
    config = base_config(model_folder(base))
    config = config.get("text_config", config)
    rows = config.get("padded_vocab_size") or config.get("vocab_size")
    largest = max(tokenizer.get_vocab().values())
    if rows is not None and largest >= rows:
        raise TrainError(
            f"tokenizer: its ids go up to {largest}, but {base} has {rows} embeddings. Give the"
            " tokenizer that belongs to the base"
        )


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
    loggers = [logging.getLogger(name) for name in ("peft", "bitsandbytes")]
    levels = [one.level for one in loggers]
    for one in loggers:
        one.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        noise.set_verbosity(before)
        if bars:
            noise.enable_progress_bar()
        for one, level in zip(loggers, levels, strict=True):
            one.setLevel(level)


@contextlib.contextmanager
def _plain_errors(what: str) -> Iterator[None]:
    """Turn a library's loading error into one line of ours."""
    try:
        yield
    except TrainError:
        raise
    # A model's own code, written for another transformers, fails in any way.
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise TrainError(f"{what}: cannot be loaded: {reason}") from error
