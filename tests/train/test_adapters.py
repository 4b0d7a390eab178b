"""Bottleneck adapters: where they stand, what they count, how they reload; published counts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from corpus.errors import TrainError
from corpus.settings import Home
from train.adapters import PEFT_TYPE, WEIGHTS, load_adapter, save_adapter
from train.config import Method
from train.generate import attach
from train.methods import METHODS, is_adapter, parameter_counts
from train.model import load_base, quiet_libraries

MEBI = 2**20
IDS = torch.arange(4, 20)[None]


@pytest.fixture(scope="module", autouse=True)
def quiet() -> Iterator[None]:
    with quiet_libraries():
        yield


def shape_of(config: Any) -> Any:
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


def bloom_7b1() -> Any:
    from transformers import BloomConfig

    return shape_of(BloomConfig(hidden_size=4096, n_layer=30, n_head=32, vocab_size=250880))


def llama_7b(vocabulary: int) -> Any:
    from transformers import LlamaConfig

    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=4096,
        intermediate_size=11008,
        num_hidden_layers=32,
        num_attention_heads=32,
    )
    return shape_of(config)


@pytest.mark.parametrize(
    ("settings", "printed"),
    [
        ({"type": "adalora", "init_r": 12, "targets": ["query_key_value"]}, "5.6"),
        ({"type": "lora", "r": 32, "targets": ["query_key_value"]}, "15.0"),
        ({"type": "prompt"}, "0.08"),
        ({"type": "p_tuning"}, "1.10"),
        ({"type": "prefix"}, "30.8"),
        ({"type": "sadapter_p", "bottleneck": 32}, "7.5"),
        ({"type": "sadapter_h", "bottleneck": 32}, "15"),
        ({"type": "padapter", "bottleneck": 32}, "15"),
        ({"type": "sadapter_p"}, "60"),
        ({"type": "sadapter_h"}, "120"),
        ({"type": "padapter"}, "120"),
    ],
    ids=lambda one: one if isinstance(one, str) else one["type"],
)
def test_the_studys_parameter_counts_on_bloom_7b1(settings: dict[str, Any], printed: str) -> None:
    method = Method(**settings)
    trains, _ = parameter_counts(METHODS[method.type].build(bloom_7b1(), method, 1000))
    digits = len(printed.partition(".")[2])
    assert f"{trains / MEBI:.{digits}f}" == printed


HEAD_TOO = ("embed_tokens", "lm_head")
ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")


@pytest.mark.parametrize(
    ("vocabulary", "method", "share"),
    [
        (49953, Method(type="embeddings"), "2.97"),
        (49953, Method(r=8, targets=ATTENTION, modules_to_save=HEAD_TOO), "6.06"),
        (49954, Method(r=8, modules_to_save=HEAD_TOO), "6.22"),
    ],
)
def test_the_trained_shares_of_chinese_llama(vocabulary: int, method: Method, share: str) -> None:
    model = METHODS[method.type].build(llama_7b(vocabulary), method, 1000)
    trains, total = parameter_counts(model)
    assert f"{100 * trains / total:.2f}" == share


def adapted(base: Path, kind: str, **settings: Any) -> Any:
    """Put adapters with random weights on the base: as made they change nothing."""
    torch.manual_seed(0)
    method = Method(type=kind, bottleneck=8, **settings)
    model = METHODS[kind].build(load_base(base), method, 1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(".up.weight"):
                weight.normal_()
    return model.eval()


def layer_inputs(model: Any, names: dict[str, Any]) -> None:
    """Note what goes into the layers of the first block."""
    for name, module in model.model.layers[0].named_modules():
        module.register_forward_hook(
            lambda _, inputs, output, name=name: names.update({name: (inputs, output)})
        )


@pytest.mark.parametrize(
    ("kind", "layer", "place"),
    [
        ("sadapter_h", "mlp.up_proj", "before"),
        ("sadapter_h", "mlp.down_proj", "after"),
        ("sadapter_p", "mlp.down_proj", "after"),
        ("padapter", "self_attn.k_proj", "beside"),
    ],
)
@pytest.mark.parametrize("activation", ["tanh", "relu", "gelu", "silu"])
def test_an_adapter_stands_where_the_study_put_it(
    base: Path, kind: str, layer: str, place: str, activation: str
) -> None:
    model = adapted(base, kind, activation=activation)
    seen: dict[str, Any] = {}
    layer_inputs(model, seen)
    with torch.no_grad():
        model(IDS, use_cache=False)
        module = model.model.layers[0].get_submodule(layer)
        (x,), y = seen[layer]
        bend = getattr(torch.nn.functional, activation)

        def share(given: torch.Tensor) -> torch.Tensor:
            return bend(given @ module.down.weight.T) @ module.up.weight.T

        weight = module.base.weight
        expected = {
            "before": lambda: (x + share(x)) @ weight.T,
            "after": lambda: x @ weight.T + share(x @ weight.T),
            "beside": lambda: x @ weight.T + share(x),
        }[place]()
    assert torch.allclose(y, expected, atol=1e-4)
    assert not torch.allclose(y, x @ weight.T, atol=1e-2)


def test_adapters_stand_at_gpt2s_transposed_layers_and_can_be_left_out(tmp_path: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=100, n_embd=16, n_layer=1, n_head=2, n_positions=32)
    GPT2LMHeadModel(config).save_pretrained(tmp_path / "base")
    plain = load_base(tmp_path / "base").eval()
    model = adapted(tmp_path / "base", "sadapter_h")
    inner = model.transformer.h[0].mlp
    assert (inner.c_fc.place, inner.c_proj.place) == ("before", "after")
    assert (inner.c_fc.up.out_features, inner.c_proj.down.in_features) == (16, 16)
    with torch.no_grad():
        assert not torch.allclose(model(IDS).logits, plain(IDS).logits, atol=1e-3)
        with model.disable_adapter():
            assert torch.equal(model(IDS).logits, plain(IDS).logits)
        assert not torch.allclose(model(IDS).logits, plain(IDS).logits, atol=1e-3)


def test_a_folder_says_that_it_is_ours_and_reloads(base: Path, tmp_path: Path) -> None:
    model = adapted(base, "padapter", targets=["q_proj"], activation="relu")
    assert is_adapter(model)
    save_adapter(model, tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text(encoding="utf-8"))
    assert config == {
        "peft_type": PEFT_TYPE,
        "base_model_name_or_path": str(base),
        "place": "beside",
        "targets": ["q_proj"],
        "bottleneck": 8,
        "activation": "relu",
        "dropout": 0.0,
    }
    again = load_adapter(load_base(base), tmp_path).eval()
    with torch.no_grad():
        assert torch.equal(again(IDS).logits, model(IDS).logits)
    assert not any(weight.requires_grad for weight in again.parameters())


def test_what_does_not_fit_is_told(base: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    with pytest.raises(TrainError, match=r"method\.targets: the base has no linear layer named q"):
        adapted(base, "padapter", targets=["qq"])
    save_adapter(adapted(base, "padapter"), tmp_path)
    weights = load_file(tmp_path / WEIGHTS)
    del weights["model.layers.1.self_attn.q_proj.up.weight"]
    save_file(weights, tmp_path / WEIGHTS)
    with pytest.raises(TrainError, match=r"does not fit .*: model\.layers\.1\S+q_proj\.up\S+ is"):
        attach(load_base(base), tmp_path)


def test_all_linear_means_every_layer_of_a_block(base: Path) -> None:
    model = adapted(base, "padapter", targets="all-linear")
    assert len(model.bottleneck["targets"]) == 7


def test_a_run_with_bottlenecks_reads_back_and_answers(
    a_run: Callable[..., Any], table: Any, home: Home
) -> None:
    from train.generate import load_speaker
    from train.run import run_training

    method = {"type": "sadapter_h", "bottleneck": 8}
    result = run_training(a_run(method=method, quantize="nf4", steps=3), home, mixture=table)
    assert result.losses[-1] < result.losses[0]
    speaker = load_speaker(None, result.output)
    with torch.no_grad():
        ours = speaker.model(IDS).logits
        with speaker.model.disable_adapter():
            assert not torch.allclose(ours, speaker.model(IDS).logits, atol=1e-3)
    assert isinstance(speaker.answer("Name 3 colours."), str)
