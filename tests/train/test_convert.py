"""Converted checkpoints: the same logits without foreign code, or one line that says why not."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer
from typer.testing import CliRunner

from corpus.errors import TrainError
from train.convert import convert_base
from train.model import load_base, load_tokenizer, quiet_libraries

IDS = torch.arange(3, 60).reshape(3, 19)


def _logits(folder: Path, trust: bool = False) -> torch.Tensor:
    with quiet_libraries(), torch.no_grad():
        model = load_base(folder, "float64", trust_remote_code=trust).eval()
        logits: torch.Tensor = model(IDS).logits
    return logits


def _with_bins(folder: Path, out: Path, shards: int = 1) -> Path:
    """Copy a model with its weights as .bin files, as its first release had them."""
    shutil.copytree(folder, out, ignore=shutil.ignore_patterns("*.safetensors"))
    weights = load_file(folder / "model.safetensors")
    if "lm_head.weight" in weights:
        weights["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(8)
    names: dict[str, str] = {}
    keys = sorted(weights)
    for number in range(shards):
        tail = f"-{number + 1:05}-of-{shards:05}" if shards > 1 else ""
        part = {key: weights[key] for key in keys[number::shards]}
        torch.save(part, out / f"pytorch_model{tail}.bin")
        names |= dict.fromkeys(part, f"pytorch_model{tail}.bin")
    if shards > 1:
        table = {"metadata": {}, "weight_map": names}
        (out / "pytorch_model.bin.index.json").write_text(json.dumps(table))
    return out


@pytest.mark.parametrize("name", ["baichuan", "internlm"])
@pytest.mark.parametrize("shards", [0, 1, 3], ids=["safetensors", "bin", "three bins"])
def test_a_converted_model_is_a_llama_of_the_same_logits(
    name: str, shards: int, foreign: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = foreign(name)
    source = _with_bins(folder, tmp_path / "old", shards) if shards else folder
    done = convert_base(source, tmp_path / "new")
    assert (done["kind"], done["tensors"]) == (name, 2 * (13 if name == "internlm" else 9) + 3)
    ours = _logits(tmp_path / "new")
    assert torch.allclose(ours, _logits(folder, trust=True), atol=1e-6, rtol=1e-6)
    assert float(ours.std()) > 0.1
    config = json.loads((tmp_path / "new" / "config.json").read_text())
    assert config["model_type"] == "llama"
    assert config["attention_bias"] is (name == "internlm")
    assert "auto_map" not in config
    assert len(list((tmp_path / "new").glob("model*.safetensors"))) == max(1, shards)
    assert not list((tmp_path / "new").glob("*.py"))


@pytest.mark.parametrize("spaced", [True, False], ids=["space before texts", "no space"])
def test_the_tokenizer_comes_along_as_llamas(
    spaced: bool, foreign: Callable[[str], Path], tmp_path: Path
) -> None:
    source = tmp_path / "old"
    shutil.copytree(foreign("baichuan"), source)
    config = {"add_bos_token": True, "tokenizer_class": "Own"}
    config["auto_map"] = {"AutoTokenizer": ["tokenization_own.Own", None]}
    (source / "tokenizer_config.json").write_text(json.dumps(config))
    (source / "tokenizer.json").unlink()
    model = _pieces(["Name three colours. Red, green.", "请写一首诗。你好"], spaced)
    (source / "tokenizer.model").write_bytes(model)
    convert_base(source, tmp_path / "new")
    ours, theirs = load_tokenizer(tmp_path / "new"), SentencePieceProcessor(model_proto=model)
    for text in ("Name three colours. 请写一首诗。", "你好\n\nRed"):
        assert ours(text).input_ids == [1, *theirs.encode(text)]
    assert (tmp_path / "new" / "tokenizer.model").read_bytes() == model


def _pieces(texts: list[str], spaced: bool) -> bytes:
    model = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(texts * 20),
        model_writer=model,
        model_type="bpe",
        vocab_size=400,
        hard_vocab_limit=False,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=spaced,
        minloglevel=2,
    )
    return model.getvalue()


def test_bin_files_of_any_model_become_safetensors(base: Path, tmp_path: Path) -> None:
    old = _with_bins(base, tmp_path / "old", 2)
    with pytest.raises(
        TrainError, match=r"expected model\*\.safetensors, got pytorch_model-0.*bin"
    ):
        load_base(old)
    done = convert_base(old, tmp_path / "new")
    assert done["kind"] == "llama"
    assert torch.equal(_logits(tmp_path / "new"), _logits(base))


def _changed(folder: Path, out: Path, **settings: Any) -> Path:
    shutil.copytree(folder, out)
    config = json.loads((out / "config.json").read_text())
    config |= settings
    kept = {key: value for key, value in config.items() if value is not None}
    (out / "config.json").write_text(json.dumps(kept))
    return out


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"max_position_embeddings": None}, "got Baichuan-13B, whose alibi"),
        ({"z_loss_weight": 0}, "got Baichuan2, whose head is normalised"),
        ({"num_hidden_layers": 3}, r"layers\.2\.input_layernorm.*got none: not the checkpoint"),
        ({"intermediate_size": 80}, r"mlp\.down_proj.*expected \(64, 80\), got \(64, 96\)"),
        ({"model_type": "llama"}, "got llama in safetensors, which needs no conversion"),
    ],
)
def test_another_checkpoint_is_refused(
    settings: dict[str, Any], told: str, foreign: Callable[[str], Path], tmp_path: Path
) -> None:
    old = _changed(foreign("baichuan"), tmp_path / "old", **settings)
    with pytest.raises(TrainError, match=told) as caught:
        convert_base(old, tmp_path / "new")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "new").exists()


def test_a_rotary_of_another_kind_is_refused(
    foreign: Callable[[str], Path], tmp_path: Path
) -> None:
    rotary = {"base": 10000, "type": "dynamic"}
    old = _changed(foreign("internlm"), tmp_path / "old", rotary=rotary)
    with pytest.raises(TrainError, match="got rotary type 'dynamic'"):
        convert_base(old, tmp_path / "new")


def test_damaged_files_are_told(foreign: Callable[[str], Path], tmp_path: Path) -> None:
    old = _with_bins(foreign("baichuan"), tmp_path / "old", 2)
    second = old / "pytorch_model-00002-of-00002.bin"
    whole = second.read_bytes()
    second.unlink()
    with pytest.raises(TrainError, match=r"00002-of-00002\.bin is missing, which pytorch_model"):
        convert_base(old, tmp_path / "new")
    second.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TrainError, match=r"00002-of-00002\.bin: not a whole file of weights"):
        convert_base(old, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_pickled_code_in_a_bin_file_never_runs(base: Path, tmp_path: Path) -> None:
    old = _with_bins(base, tmp_path / "old")

    class Evil:
        def __reduce__(self) -> Any:
            return (Path(tmp_path / "ran").touch, ())

    torch.save({"weight": Evil()}, old / "pytorch_model.bin")
    with pytest.raises(TrainError, match="not a whole file of weights"):
        convert_base(old, tmp_path / "new")
    assert not (tmp_path / "ran").exists()


def test_the_verb_converts_and_never_overwrites(
    foreign: Callable[[str], Path], tmp_path: Path
) -> None:
    from corpus.cli.main import app

    out = tmp_path / "new"
    words = ["--json", "convert-base", "--base", str(foreign("baichuan")), "--out", str(out)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {"path": str(out), "kind": "baichuan", "tensors": 21}
    before = (out / "model.safetensors").read_bytes()
    with pytest.raises(TrainError, match=r"exists already\. Give another --out"):
        convert_base(foreign("internlm"), out)
    assert (out / "model.safetensors").read_bytes() == before
    with pytest.raises(TrainError, match=r"expected a model folder with a config\.json"):
        convert_base(tmp_path / "nowhere", tmp_path / "other")


def test_truncated_safetensors_are_named(base: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(base, old)
    file = old / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(TrainError, match=r"model\.safetensors: not a whole safetensors file"):
        load_base(old)
    save_file({"a": torch.zeros(1)}, file)
    (old / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"b": "model-00002-of-00002.safetensors"}})
    )
    with pytest.raises(TrainError, match=r"model-00002-of-00002\.safetensors is missing"):
        load_base(old)
