"""What is merged is what was trained: for plain, tied, transposed, sharded and bfloat16 bases."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel

from corpus.errors import TrainError
from train.certificate import verify_merged
from train.merge import merge
from train.tiny import TinyShape, make_llama

BOTH_ENDS = ["embed_tokens", "lm_head"]
TIED_TOGETHER = {"modules_to_save": ["embed_tokens"], "ensure_weight_tying": True}
IDS = torch.arange(4, 60)[None]

pytestmark = pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`")


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.eval()(IDS).logits.float()
    return found


def load(folder: Path | str) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype="auto")


def an_adapter(base: Path, folder: Path, **options: Any) -> Path:
    """Save an adapter of plain peft whose every weight is random."""
    torch.manual_seed(1)
    model = get_peft_model(load(base), LoraConfig(task_type="CAUSAL_LM", **options))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.05)
    model.save_pretrained(folder, save_embedding_layers=False)
    return folder


def a_base(base: Path, folder: Path, **options: Any) -> Path:
    """Save another random Llama beside the same tokenizer."""
    for file in base.glob("tokenizer*"):
        folder.mkdir(exist_ok=True)
        shutil.copyfile(file, folder / file.name)
    vocabulary = len(AutoTokenizer.from_pretrained(base))
    make_llama(folder, vocabulary, TinyShape(layers=2, width=64, **options))
    return folder


def test_a_merged_model_equals_the_live_adapter(trained: Any, base: Path, tmp_path: Path) -> None:
    done = merge(Path(trained.output), tmp_path / "out")
    live = PeftModel.from_pretrained(load(base), trained.output)
    ours = load(tmp_path / "out")
    assert torch.allclose(logits(ours), logits(live), atol=1e-5)
    assert not torch.allclose(logits(ours), logits(load(base)), atol=1e-3)
    theirs = live.merge_and_unload().state_dict()
    for name, tensor in ours.state_dict().items():
        assert torch.allclose(tensor, theirs[name], atol=1e-6), name
    assert done["check"] is not None
    assert (done["check"]["kl"] < 1e-6, done["check"]["top1"], done["untied"]) == (True, 1.0, False)
    assert AutoTokenizer.from_pretrained(tmp_path / "out")("a").input_ids[0] == 1


def test_weights_that_the_adapter_leaves_alone_stay_byte_for_byte(
    trained: Any, base: Path, tmp_path: Path
) -> None:
    merge(Path(trained.output), tmp_path / "out", check=False)
    before, after = (load_file(one / "model.safetensors") for one in (base, tmp_path / "out"))
    assert list(before) == list(after)
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert same == {name for name in before if "_proj" not in name}


def test_the_certificate_says_what_was_measured(trained: Any, tmp_path: Path) -> None:
    done = merge(Path(trained.output), tmp_path / "out")
    certificate = json.loads((tmp_path / "out" / "merge.json").read_text())
    assert certificate["check"] == done["check"]
    assert certificate["mixture"]["digest"] == trained.mixture_digest
    assert len(certificate["sha256"]) == done["tensors"]
    assert verify_merged(tmp_path / "out")["tensors"] == done["tensors"]


def test_verify_finds_a_changed_tensor(trained: Any, tmp_path: Path) -> None:
    merge(Path(trained.output), tmp_path / "out", check=False)
    file = tmp_path / "out" / "model.safetensors"
    tensors = load_file(file)
    tensors["model.norm.weight"][0] += 1
    save_file(tensors, file)
    with pytest.raises(TrainError, match=r"1 tensors differ .* first model\.norm\.weight"):
        verify_merged(tmp_path / "out")


def test_verify_wants_a_certificate(base: Path) -> None:
    with pytest.raises(TrainError, match=r"expected a merge\.json, which woolgather merge writes"):
        verify_merged(base)


@pytest.mark.parametrize(
    ("tied", "options", "untied"),
    [
        (False, {"target_modules": ["q_proj", "down_proj"], "use_rslora": True}, False),
        (False, {"target_modules": ["q_proj", "v_proj"], "alpha_pattern": {"v_proj": 64}}, False),
        (False, {"target_modules": ["q_proj"], "modules_to_save": ["lm_head", "norm"]}, False),
        (False, {"target_modules": BOTH_ENDS}, False),
        (True, {"target_modules": ["q_proj"]}, False),
        (True, {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"]}, True),
        (
            True,
            {"target_modules": ["q_proj"], "modules_to_save": BOTH_ENDS},
            True,
        ),
        (True, {**TIED_TOGETHER, "target_modules": ["q_proj"]}, False),
        (True, {"target_modules": ["embed_tokens"]}, True),
    ],
    ids=[
        "rslora",
        "alpha",
        "saved",
        "both-ends",
        "tied",
        "tied-saved",
        "tied-saved-both",
        "tied-together",
        "tied-embedding-lora",
    ],
)
def test_every_shape_of_lora_merges(
    base: Path, tmp_path: Path, tied: bool, options: dict[str, Any], untied: bool
) -> None:
    folder = a_base(base, tmp_path / "base", tied=tied)
    adapter = an_adapter(folder, tmp_path / "adapter", **options)
    done = merge(adapter, tmp_path / "out")
    live = PeftModel.from_pretrained(load(folder), adapter)
    assert torch.allclose(logits(load(tmp_path / "out")), logits(live), atol=1e-5)
    assert done["untied"] == untied


def test_layers_stored_transposed_merge(base: Path, tmp_path: Path) -> None:
    folder = a_base(base, tmp_path / "base")
    vocabulary = len(AutoTokenizer.from_pretrained(base))
    config = GPT2Config(vocab_size=vocabulary, n_embd=32, n_layer=2, n_head=2, n_positions=512)
    torch.manual_seed(0)
    GPT2LMHeadModel(config).save_pretrained(folder)
    options = {"target_modules": ["c_attn"], "fan_in_fan_out": True}
    adapter = an_adapter(folder, tmp_path / "adapter", **options)
    merge(adapter, tmp_path / "out")
    live = PeftModel.from_pretrained(load(folder), adapter)
    assert torch.allclose(logits(load(tmp_path / "out")), logits(live), atol=1e-5)


def test_a_sharded_bfloat16_base_keeps_its_shards_and_type(base: Path, tmp_path: Path) -> None:
    folder = a_base(base, tmp_path / "base", tied=True)
    model = load(folder).to(torch.bfloat16)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="100KB")
    options = {"target_modules": ["q_proj", "embed_tokens"]}
    adapter = an_adapter(folder, tmp_path / "adapter", **options)
    done = merge(adapter, tmp_path / "out")
    shards = [sorted(one.glob("*.safetensors")) for one in (folder, tmp_path / "out")]
    assert len(shards[0]) > 1
    assert [one.name for one in shards[0]] == [one.name for one in shards[1]]
    merged = load(tmp_path / "out")
    assert merged.dtype == torch.bfloat16
    assert done["untied"]
    live = PeftModel.from_pretrained(load(folder), adapter)
    assert torch.allclose(logits(merged), logits(live), atol=0.05)


def test_a_quantised_base_is_refused(trained: Any, base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "quantised"
    shutil.copytree(base, folder)
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes"}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(TrainError, match=r"the base model is quantised \(bitsandbytes\)"):
        merge(Path(trained.output), tmp_path / "out", folder)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"use_dora": True}, r"the file lacks .*lora_magnitude_vector"),
        ({"target_modules": ["q_proj"]}, r"the base has no place for .*(k_proj|down_proj)"),
        ({"bias": "all"}, "trained with bias: all, expected none"),
    ],
)
def test_an_adapter_whose_file_and_config_differ_is_refused(
    trained: Any, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    folder = tmp_path / "adapter"
    shutil.copytree(trained.output, folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(TrainError, match=message):
        merge(folder, tmp_path / "out")


def test_an_adapter_of_another_base_is_refused(trained: Any, base: Path, tmp_path: Path) -> None:
    vocabulary = len(AutoTokenizer.from_pretrained(base))
    make_llama(tmp_path / "wide", vocabulary, TinyShape(layers=2, width=128))
    with pytest.raises(TrainError, match="The adapter belongs to another base or vocabulary"):
        merge(Path(trained.output), tmp_path / "out", tmp_path / "wide")
    make_llama(tmp_path / "flat", vocabulary, TinyShape(layers=1, width=64))
    with pytest.raises(TrainError, match=r"the base has no place for .*layers\.1\."):
        merge(Path(trained.output), tmp_path / "out", tmp_path / "flat")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["flat", "wide"]


def test_a_merge_that_went_wrong_is_not_published(
    trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("train.changes.Changes.apply", lambda changes, name, read: read(name) * 2)
    with pytest.raises(TrainError, match=r"not what was trained: KL .* nothing was written"):
        merge(Path(trained.output), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_not_overwritten(trained: Any, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(TrainError, match=r"exists already\. Give another --out"):
        merge(Path(trained.output), tmp_path)
