"""Every architecture of the table: trained, packed or refused, saved, reloaded and merged."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from corpus.errors import TrainError
from corpus.settings import Home
from train.model import TOKENIZER_FILES, attention_option, load_base, refuse_vocabulary
from train.targets import TABLE, default_targets

ROOT = Path(__file__).parents[2]

COMMON = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 3,
}
HEADS = {**COMMON, "head_dim": 16}
WINDOW = {**HEADS, "sliding_window": 24}
OLD = {"hidden_size": 64, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 3}
SHORT = {**OLD, "num_hidden_layers": 2, "num_attention_heads": 4}


@dataclass(frozen=True)
class Shape:
    """A tiny model of an architecture, and what is different about it."""

    settings: dict[str, Any]
    kind: str = ""
    packs: bool = True
    slow: bool = True
    untouched: tuple[str, ...] = field(default=())
    """Parts that an adapter must leave alone."""


SHAPES = {
    "llama": Shape(COMMON),
    "mistral": Shape({**COMMON, "sliding_window": 24}),
    "mixtral": Shape(
        {**COMMON, "num_local_experts": 4, "num_experts_per_tok": 2},
        slow=False,
        untouched=("experts", "gate"),
    ),
    "qwen2": Shape(COMMON),
    "qwen3": Shape(HEADS),
    "gemma": Shape(HEADS),
    "gemma2": Shape({**WINDOW, "final_logit_softcapping": 3.0}, slow=False),
    "gemma3_text": Shape({**WINDOW, "layer_types": ["sliding_attention", "full_attention"]}),
    "bloom": Shape({**OLD, "n_layer": 2, "n_head": 4}, slow=False),
    "gpt2": Shape({**OLD, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 256}, slow=False),
    "gpt_neox": Shape(COMMON),
    "opt": Shape({**SHORT, "ffn_dim": 96, "word_embed_proj_dim": 64}, slow=False),
    "falcon": Shape(SHORT),
    "falcon with alibi": Shape(
        {**SHORT, "alibi": True, "new_decoder_architecture": False}, "falcon", packs=False
    ),
    "mpt": Shape({"d_model": 64, "n_layers": 2, "n_heads": 4, "max_seq_len": 256}),
    "glm": Shape(HEADS),
    "glm4": Shape(HEADS),
    "phi3": Shape(COMMON),
    "internlm3": Shape(COMMON),
}
REMOTE = {"chatglm", "moss", "baichuan", "internlm", "internlm2"}
"""They bring their code: tests/train/test_remote_code.py."""


@pytest.fixture(scope="session")
def make_model(
    base: Path, tokenizer: Any, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """Write a random model of a shape, with the shared tokenizer."""
    from transformers import AutoConfig, AutoModelForCausalLM

    from train.model import quiet_libraries

    def make(name: str) -> Path:
        folder = tmp_path_factory.getbasetemp() / f"model-{name.replace(' ', '-')}"
        if folder.exists():
            return folder
        shape = SHAPES[name]
        with torch.random.fork_rng(devices=[]), quiet_libraries():
            torch.manual_seed(0)
            rows = {"vocab_size": len(tokenizer)}
            config = AutoConfig.for_model(shape.kind or name, **rows, **shape.settings)
            model = AutoModelForCausalLM.from_config(config)
            for parameter in model.parameters():
                if parameter.ndim > 1:
                    parameter.data.normal_(0, 0.1)
            model.save_pretrained(str(folder))
        for file in TOKENIZER_FILES:
            if (base / file).is_file():
                shutil.copyfile(base / file, folder / file)
        return folder

    return make


def _cells() -> list[Any]:
    return [
        pytest.param(name, marks=[pytest.mark.slow] if shape.slow else [])
        for name, shape in SHAPES.items()
    ]


def _logits(model: Any, rows: list[list[int]]) -> torch.Tensor:
    model.eval()
    with torch.no_grad():
        found = [model(input_ids=torch.tensor([ids]), use_cache=False).logits[0] for ids in rows]
    return torch.cat(found).float()


def _plain_loss(model: Any, store: Any) -> float:
    """The mean loss of learned tokens, row by row through the model's own forward."""
    total, tokens = 0.0, 0
    model.eval()
    for number in range(len(store)):
        ids, learned = (torch.from_numpy(one.astype("int64")) for one in store.row(number))
        with torch.no_grad():
            logits = model(input_ids=ids[None], use_cache=False).logits[0, :-1].float()
        losses = torch.nn.functional.cross_entropy(logits, ids[1:], reduction="none")
        total += float(losses[learned[1:].bool()].sum())
        tokens += int(learned[1:].sum())
    return total / tokens


@pytest.mark.parametrize("name", _cells())
def test_an_architecture_trains_packs_saves_reloads_and_merges(
    name: str,
    make_model: Callable[[str], Path],
    a_run: Callable[..., Any],
    table: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from peft import PeftModel
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    import train.run
    from train.model import quiet_libraries

    shape, folder = SHAPES[name], make_model(name)
    seen: list[Any] = []
    save = train.run.save_output

    def spy(model: Any, prepared: Any, *args: Any, **options: Any) -> Path:
        seen.extend([model, prepared])
        return save(model, prepared, *args, **options)

    monkeypatch.setattr(train.run, "save_output", spy)
    run = a_run(base_model=str(folder), steps=3, packing=shape.packs)
    if not shape.packs:
        with pytest.raises(TrainError, match=r"see each other.*Set packing: false"):
            train.run.run_training(
                run.model_copy(update={"packing": True, "name": "packed"}),
                Home(tmp_path),
                mixture=table,
            )
    result = train.run.run_training(run, Home(tmp_path), mixture=table)
    live, prepared = seen
    assert live.loss_kernel == "chunked"
    with quiet_libraries():
        strange = AutoModelForCausalLM.from_pretrained(folder)
        assert result.eval["start"] == pytest.approx(
            _plain_loss(strange, prepared.holdout.store), rel=1e-5
        )
        rows = [prepared.train.store.row(number)[0].tolist() for number in (0, 1, 2)]
        before, after = _logits(strange, rows), _logits(live, rows)
        assert (after - before).abs().max() > 1e-4
        assert result.eval["end"] < result.eval["start"]

        weights = load_file(Path(result.output) / "adapter_model.safetensors")
        assert all(bool(one.any()) for key, one in weights.items() if "lora_B" in key)
        assert _adapted(weights) == set(TABLE[shape.kind or name].of("lora"))
        assert not [key for key in weights for part in shape.untouched if f".{part}." in key]

        again = PeftModel.from_pretrained(strange, result.output)
        assert torch.allclose(_logits(again, rows), after, atol=1e-6, rtol=1e-6)
        merged = again.merge_and_unload()
        scale = float(after.abs().max())
        assert float((_logits(merged, rows) - after).abs().max()) <= 1e-5 * scale


def _adapted(weights: dict[str, Any]) -> set[str]:
    """The adapted layers by the shortest names that the table knows them by."""
    names = {key.split(".lora_")[0] for key in weights}
    wanted = {one for linears in TABLE.values() for one in linears.of("lora")}
    return {max((one for one in wanted if name.endswith("." + one)), key=len) for name in names}


def test_the_table_of_architectures_is_whole() -> None:
    assert {shape.kind or name for name, shape in SHAPES.items()} | REMOTE == set(TABLE)


def test_the_documented_models_are_those_of_the_table() -> None:
    text = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    section = text.split("## Models")[1].split("\n## ")[0]
    packs: dict[str, str] = {}
    for line in re.findall(r"^\| (`.*) \|$", section, re.MULTILINE):
        kinds, names, packed = line.split(" | ")
        for kind in re.findall(r"`(\w+)`", kinds):
            if kind != "model_type":
                assert tuple(re.findall(r"`([\w.]+)`", names)) == TABLE[kind].of("lora")
                packs[kind] = packed.split(", ")[0]
    assert set(packs) == set(TABLE)
    for name, shape in SHAPES.items():
        assert (packs[name] == "yes") is shape.packs if not shape.kind else not shape.packs
    assert {kind for kind in packs if packs[kind] == "no; own code"} == REMOTE


def test_experts_and_routers_are_left_alone(make_model: Callable[[str], Path]) -> None:
    assert default_targets("mixtral", "lora") == ("q_proj", "k_proj", "v_proj", "o_proj")
    assert default_targets("mixtral", "ia3_feedforward") == ()
    for family in ("sadapter_h", "sadapter_p"):
        with pytest.raises(TrainError, match=r"no default of sadapter_. for mixtral: its experts"):
            default_targets("mixtral", family)  # type: ignore[arg-type]


def test_an_unknown_architecture_gets_all_linear_layers_but_head_and_routers() -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes = {**COMMON, "vocab_size": 50, "moe_intermediate_size": 32, "num_experts": 4}
    sizes |= {"shared_expert_intermediate_size": 32, "num_experts_per_tok": 2}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model("qwen2_moe", **sizes))
    named = {name.rpartition(".")[2] for name, _ in model.named_modules()}
    assert {"gate", "shared_expert_gate", "lm_head"} <= named
    assert default_targets(model, "lora") == (
        *("down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"),
    )
    with pytest.raises(TrainError, match=r"no default of ia3 for qwen2_moe.*method\.targets="):
        default_targets(model, "ia3")


@pytest.mark.parametrize("family", ["ia3", "sadapter_h", "sadapter_p", "padapter"])
def test_families_take_the_layers_of_their_papers(family: Any) -> None:
    expected = {
        "ia3": (("k_proj", "v_proj", "down_proj"), ("query_key_value", "dense_4h_to_h")),
        "sadapter_h": (("gate_proj", "up_proj", "down_proj"), ("dense_h_to_4h", "dense_4h_to_h")),
        "sadapter_p": (("down_proj",), ("dense_4h_to_h",)),
        "padapter": (("q_proj", "k_proj", "v_proj"), ("query_key_value",)),
    }
    found = tuple(default_targets(kind, family) for kind in ("llama", "bloom"))
    assert found == expected[family]


def test_attention_kernels_are_taken_or_refused(base: Path) -> None:
    assert load_base(base).config._attn_implementation == "sdpa"
    assert load_base(base, attention="eager").config._attn_implementation == "eager"
    assert attention_option("flex", "float32") == {"attn_implementation": "flex_attention"}
    if not torch.cuda.is_available():
        with pytest.raises(TrainError, match=r"flash needs a CUDA GPU\. Set attention: auto"):
            load_base(base, attention="flash")


def test_flash_attention_asks_for_its_package_and_for_half_precision(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    with pytest.raises(TrainError, match="flash needs the package flash-attn"):
        attention_option("flash", "bfloat16")
    monkeypatch.setattr("transformers.utils.import_utils.is_flash_attn_2_available", lambda: True)
    with pytest.raises(TrainError, match="flash needs dtype: bfloat16"):
        attention_option("flash", "float32")
    taken = {"attn_implementation": "flash_attention_2"}
    assert attention_option("flash", "bfloat16") == taken


@pytest.mark.parametrize(
    ("name", "reached"), [("falcon", "0%"), ("mixtral", r"\d\d?%"), ("gpt2", ""), ("bloom", "")]
)
def test_quantisation_that_reaches_little_is_refused(
    name: str, reached: str, make_model: Callable[[str], Path]
) -> None:
    if not reached:
        blocks = load_base(make_model(name), quantize="nf4").transformer.h
        kinds = {type(one).__name__ for one in blocks.modules() if hasattr(one, "in_features")}
        assert kinds == {"Linear4bit"}
        return
    told = rf"quantize: nf4 reaches only {reached} of the weights of a {name}.*Set quantize: none"
    with pytest.raises(TrainError, match=told):
        load_base(make_model(name), quantize="nf4")


def test_attention_that_an_architecture_lacks_is_refused_in_one_line(
    make_model: Callable[[str], Path],
) -> None:
    with pytest.raises(TrainError, match=r"cannot be loaded: BloomForCausalLM does not support"):
        load_base(make_model("bloom"), attention="sdpa")


def test_a_tokenizer_with_more_ids_than_embeddings_is_refused_before_training(
    base: Path, tokenizer: Any, a_run: Callable[..., Any], table: Any, tmp_path: Path
) -> None:
    from train.model import load_tokenizer
    from train.run import run_training

    refuse_vocabulary(tokenizer, base)
    larger = load_tokenizer(base)
    larger.add_tokens(["[extra]"])
    larger.save_pretrained(str(tmp_path / "larger"))
    run = a_run(tokenizer=str(tmp_path / "larger"))
    told = rf"ids go up to {len(tokenizer)}, but .* has {len(tokenizer)} embeddings"
    with pytest.raises(TrainError, match=told):
        run_training(run, Home(tmp_path), mixture=table)
    assert not list((tmp_path / "runs" / "r").glob("metrics*"))


def test_a_folder_that_is_no_model_is_told_in_one_line(base: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainError, match="expected a folder or a hub id ORG/NAME"):
        load_base(tmp_path / "nowhere")
    with pytest.raises(TrainError, match=r"expected a model folder with a config\.json"):
        load_base(tmp_path)
    strange = tmp_path / "strange"
    shutil.copytree(base, strange)
    (strange / "config.json").write_text('{"model_type": "nosuch"}')
    with pytest.raises(TrainError, match=r"cannot be loaded: .*nosuch") as caught:
        load_base(strange)
    assert "\n" not in str(caught.value)
