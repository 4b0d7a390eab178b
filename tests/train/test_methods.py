"""Every method trains, saves, reloads and resumes, on a full base and on a quantised one."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from corpus.errors import RecipeError, TrainError
from train.adapters import WEIGHTS, adapter_weights, load_state, rank_allocator, save_state
from train.compose import load_run
from train.config import Method, Run
from train.generate import attach
from train.loss import install_loss, token_losses
from train.methods import (
    METHODS,
    after_step,
    extra_loss,
    is_adapter,
    parameter_counts,
    parameter_groups,
    refuse_unfit,
)
from train.model import load_base, load_shape, quiet_libraries
from train.output import save_weights
from train.pack import IGNORED
from train.targets import default_targets

pytestmark = pytest.mark.filterwarnings(
    # peft takes the ranks of its own AdaLoRA for LoRA's, and uses them all the same.
    "ignore:The following rank_pattern keys"
)

ALL = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
WIDTH, INNER, KEYS, LAYERS = 64, 160, 32, 2
SIZES = {  # (in, out) of the linear layers of the base
    **dict.fromkeys(("q_proj", "o_proj"), (WIDTH, WIDTH)),
    **dict.fromkeys(("k_proj", "v_proj"), (WIDTH, KEYS)),
    **dict.fromkeys(("gate_proj", "up_proj"), (WIDTH, INNER)),
    "down_proj": (INNER, WIDTH),
}
STEPS = 6


def low_rank(r: int, names: tuple[str, ...] = ALL, extra: int = 0) -> int:
    """A is (r, in), B is (out, r), and `extra` weights an adapted layer."""
    return LAYERS * sum(r * (n_in + n_out) + extra for n_in, n_out in map(SIZES.get, names))  # type: ignore[misc]


@dataclass(frozen=True)
class Case:
    """A method with settings, and how many weights it trains: by formula, of the vocabulary."""

    method: str
    settings: dict[str, Any]
    trains: Callable[[int], int]


BOTH = ("embed_tokens", "lm_head")
CASES = {
    "lora": Case("lora", {"dropout": 0.1}, lambda v: low_rank(8)),
    "rslora": Case("lora", {"rslora": True, "targets": ["q_proj"]}, lambda v: low_rank(8, ALL[:1])),
    # A magnitude for every output.
    "dora": Case(
        "lora", {"dora": True}, lambda v: low_rank(8) + LAYERS * (3 * WIDTH + 2 * KEYS + 2 * INNER)
    ),
    "pissa": Case("lora", {"init": "pissa"}, lambda v: low_rank(8)),
    "lora_plus": Case("lora", {"lora_plus": 16.0, "r": 4}, lambda v: low_rank(4)),
    "lora_ends": Case(
        "lora",
        {"targets": ["q_proj", *BOTH]},
        lambda v: low_rank(8, ALL[:1]) + 2 * 8 * (v + WIDTH),
    ),
    "lora_saved": Case(
        "lora",
        {"targets": ["q_proj"], "modules_to_save": list(BOTH)},
        lambda v: low_rank(8, ALL[:1]) + 2 * v * WIDTH,
    ),
    # Of every layer r singular values beside both factors.
    "adalora": Case("adalora", {"r": 4, "init_r": 6, "delta_t": 1}, lambda v: low_rank(6, extra=6)),
    # A factor for every output of keys and values, and for every input of down.
    "ia3": Case("ia3", {}, lambda v: LAYERS * (2 * KEYS + INNER)),
    # A skew-symmetric matrix for every block of 16 inputs.
    "oft": Case(
        "oft", {"block_size": 16}, lambda v: LAYERS * (6 * WIDTH + INNER) // 16 * (16 * 15 // 2)
    ),
    # A scale of every output and of every rank.
    "vera": Case("vera", {}, lambda v: LAYERS * (7 * 8 + 3 * WIDTH + 2 * KEYS + 2 * INNER)),
    "prompt": Case("prompt", {"virtual_tokens": 5}, lambda v: 5 * WIDTH),
    # Embeddings, then three linear layers with biases.
    "p_tuning": Case(
        "p_tuning",
        {"encoder_hidden": 32},
        lambda v: 20 * WIDTH + (WIDTH + 1) * 32 + 33 * 32 + 33 * WIDTH,
    ),
    # Embeddings as wide as keys, then two linear layers with biases, to a key and a value a layer.
    "prefix": Case(
        "prefix",
        {"encoder_hidden": 32},
        lambda v: 20 * KEYS + (KEYS + 1) * 32 + 33 * LAYERS * 2 * KEYS,
    ),
    "sadapter_h": Case("sadapter_h", {"bottleneck": 8}, lambda v: LAYERS * 3 * 2 * 8 * WIDTH),
    "sadapter_p": Case("sadapter_p", {"dropout": 0.1}, lambda v: LAYERS * 2 * 256 * WIDTH),
    "padapter": Case(
        "padapter",
        {"activation": "gelu", "bottleneck": 8},
        lambda v: LAYERS * 8 * (4 * WIDTH + 2 * KEYS),
    ),
    "full": Case("full", {}, lambda v: v * 2 * WIDTH + FROZEN),
    "embeddings": Case("embeddings", {}, lambda v: v * WIDTH),
    "embeddings_head": Case(
        "embeddings", {"modules_to_save": ["lm_head"]}, lambda v: v * 2 * WIDTH
    ),
}
FROZEN = LAYERS * (sum(a * b for a, b in SIZES.values()) + 2 * WIDTH) + WIDTH
"""All weights but embeddings and head: linear layers and norms."""

BASES = ("none", "nf4", "int8")
IMPOSSIBLE = {
    (name, kind): "it trains the base's own weights"
    for name in ("full", "embeddings", "embeddings_head")
    for kind in BASES[1:]
} | {("pissa", kind): "pissa takes weights out of a full base" for kind in BASES[1:]}
"""Cells of the table that cannot exist, with the reason that the code gives."""

CELLS = [(name, kind) for name in CASES for kind in BASES if (name, kind) not in IMPOSSIBLE]


@pytest.fixture(scope="module", autouse=True)
def quiet() -> Iterator[None]:
    with quiet_libraries():
        yield


def run_of(base: Path, name: str, quantize: str = "none", **changes: Any) -> Run:
    case = CASES[name]
    values = {
        "base_model": str(base),
        "mixture": "none",
        "method": {"type": case.method, **case.settings},
        "quantize": quantize,
        "packing": not METHODS[case.method].packs,
        "optimizer": {"lr": 1e-2},
        **changes,
    }
    return Run.model_validate(values)


def build(run: Run) -> Any:
    refuse_unfit(run)
    dtype = "float32" if run.method.type == "full" else run.dtype
    base = load_base(run.base_model, dtype, quantize=run.quantize)
    torch.manual_seed(0)
    model = METHODS[run.method.type].build(base, run.method, STEPS)
    install_loss(model, run)
    return model


@functools.cache
def batch() -> dict[str, torch.Tensor]:
    """Two rows, the second padded at its end."""
    ids = torch.randint(4, 600, (2, 24), generator=torch.Generator().manual_seed(1))
    ids[1, 18:] = 0
    places = torch.arange(24).repeat(2, 1)
    places[1, 18:] = 0
    targets = ids[:, 6:].clone()
    targets[1, 12:] = IGNORED
    return {
        "input_ids": ids,
        "position_ids": places,
        "keep": torch.arange(5, 23),
        "targets": targets,
        "groups": torch.zeros_like(targets),
    }


def logits(model: Any) -> torch.Tensor:
    was_training = model.training
    model.eval()
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=batch()["input_ids"], use_cache=False).logits
    model.train(was_training)
    return found.float()[:, -24:]  # Without virtual tokens.


def train(model: Any, run: Run, optimizer: Any, steps: range) -> None:
    model.train()
    for step in steps:
        torch.manual_seed(step)
        loss = token_losses(model, batch())[0].mean()
        extra = extra_loss(model)
        (loss if extra is None else loss + extra).backward()
        optimizer.step()
        after_step(model, step + 1)
        optimizer.zero_grad()


@dataclass
class Trained:
    run: Run
    model: Any
    first: torch.Tensor
    half: Path
    optimizer: dict[str, Any]
    """As it was at the half."""


@pytest.fixture(scope="module")
def trained(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Trained]:
    @functools.cache
    def make(name: str, quantize: str) -> Trained:
        run = run_of(base, name, quantize)
        model = build(run)
        first = logits(model)
        optimizer = torch.optim.AdamW(parameter_groups(model, run))
        train(model, run, optimizer, range(STEPS // 2))
        half = tmp_path_factory.mktemp("half")
        if is_adapter(model):
            save_state(model, half)
        else:
            save_weights(model, half)
        state = copy.deepcopy(optimizer.state_dict())
        train(model, run, optimizer, range(STEPS // 2, STEPS))
        return Trained(run, model, first, half, state)

    return make


@pytest.mark.parametrize(("name", "quantize"), CELLS)
def test_training_moves_what_it_should(
    trained: Callable[..., Trained], base: Path, name: str, quantize: str
) -> None:
    one = trained(name, quantize)
    vocabulary = one.model.config.vocab_size
    trains, total = parameter_counts(one.model)
    assert trains == CASES[name].trains(vocabulary)
    assert total == 2 * vocabulary * WIDTH + FROZEN + added(name, trains, vocabulary)
    assert (logits(one.model) - one.first).abs().max() > 1e-4
    virtual = METHODS[CASES[name].method].packs
    untrained = logits(load_base(base, quantize=quantize))
    # Every other method starts as the base: what it adds is nothing at first.
    assert bool((one.first - untrained).abs().max() > 1e-3) == bool(virtual)
    gap = (one.first - untrained).abs().max()
    assert virtual or gap < (1e-4 if name == "pissa" else 1e-6)
    assert all(
        weight.dtype == torch.float32 for weight in one.model.parameters() if weight.requires_grad
    )


def added(name: str, trains: int, vocabulary: int) -> int:
    """Return what an adapter adds to all weights: what it trains whole was there before."""
    if not METHODS[CASES[name].method].adapter:
        return 0
    whole = 2 * vocabulary * WIDTH if name == "lora_saved" else 0
    rank_numbers = LAYERS * len(ALL) if name == "adalora" else 0
    return trains - whole + rank_numbers


@pytest.mark.parametrize(("name", "quantize"), CELLS)
def test_what_is_saved_is_not_empty_and_reloads_as_it_was(
    trained: Callable[..., Trained], base: Path, tmp_path: Path, name: str, quantize: str
) -> None:
    one = trained(name, quantize)
    save_weights(one.model, tmp_path)
    if is_adapter(one.model):
        saved = load_file(tmp_path / WEIGHTS)
        assert saved
        # AdaLoRA may leave a layer without any rank.
        assert all(bool(weight.any()) for weight in saved.values() if weight.numel())
        again = attach(load_base(base, quantize=quantize), tmp_path)
    else:
        again = load_base(tmp_path)
    assert (logits(again) - logits(one.model)).abs().max() < 1e-6


@pytest.mark.parametrize(("name", "quantize"), CELLS)
def test_a_resumed_training_is_bit_equal(
    trained: Callable[..., Trained], base: Path, name: str, quantize: str
) -> None:
    one = trained(name, quantize)
    model = build(one.run if is_adapter(one.model) else resumed_base(one))
    if is_adapter(model):
        load_state(model, one.half)
    optimizer = torch.optim.AdamW(parameter_groups(model, one.run))
    optimizer.load_state_dict(one.optimizer)
    train(model, one.run, optimizer, range(STEPS // 2, STEPS))
    ours, theirs = dict(one.model.named_parameters()), dict(model.named_parameters())
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def resumed_base(one: Trained) -> Run:
    return one.run.model_copy(update={"base_model": str(one.half)})


@pytest.mark.parametrize(("name", "quantize"), IMPOSSIBLE)
def test_cells_that_cannot_exist_are_refused_with_the_reason(
    base: Path, name: str, quantize: str
) -> None:
    with pytest.raises(RecipeError, match=IMPOSSIBLE[name, quantize]):
        refuse_unfit(run_of(base, name, quantize))


def test_every_method_is_in_the_table_and_is_planned_without_memory(base: Path) -> None:
    assert {case.method for case in CASES.values()} == set(METHODS)
    for name, case in CASES.items():
        run = run_of(base, name)
        shape = METHODS[case.method].build(load_shape(base), run.method, STEPS)
        trains, total = parameter_counts(shape)
        vocabulary = shape.config.vocab_size
        assert trains == case.trains(vocabulary), name
        assert total == 2 * vocabulary * WIDTH + FROZEN + added(name, trains, vocabulary), name


def test_adalora_prunes_ranks_to_its_budget(trained: Callable[..., Trained]) -> None:
    model = trained("adalora", "none").model
    layers = LAYERS * len(ALL)
    values = [weight for name, weight in model.named_parameters() if ".lora_E." in name]
    assert sum(len(value) for value in values) == 6 * layers
    assert sum(int(value.count_nonzero()) for value in values) == 4 * layers
    # What is pruned is not saved either.
    weights = adapter_weights(model)
    assert sum(len(one) for name, one in weights.items() if name.endswith("lora_E")) == 4 * layers


def test_adaloras_extra_loss_is_that_of_peft(base: Path) -> None:
    model = build(run_of(base, "adalora"))
    assert extra_loss(build(run_of(base, "lora"))) is None
    ids = batch()["input_ids"]
    with torch.no_grad():
        plain = model.get_base_model()(input_ids=ids, labels=ids, use_cache=False).loss
        theirs = float(model(input_ids=ids, labels=ids, use_cache=False).loss - plain)
        ours: Any = extra_loss(model)
    assert theirs > 0.1
    assert float(ours) == pytest.approx(theirs, rel=1e-5)


def test_adalora_saved_while_it_prunes_reloads_as_it_was(base: Path, tmp_path: Path) -> None:
    run = run_of(base, "adalora")
    model = build(run)
    config = model.peft_config["default"]
    config.deltaT, config.tinit, config.tfinal = 2, 0, 1
    optimizer = torch.optim.AdamW(parameter_groups(model, run))
    train(model, run, optimizer, range(3))
    assert config.rank_pattern is not None  # Pruned at step 2; at step 3 pruned ranks grew again.
    save_weights(model, tmp_path)
    again = attach(load_base(base), tmp_path)
    assert (logits(again) - logits(model)).abs().max() < 1e-6


def test_adalora_needs_steps_to_prune_in_and_a_lower_target(base: Path) -> None:
    method = Method(type="adalora", tinit=3, tfinal=3)
    with pytest.raises(TrainError, match=r"3 steps before .* and 3 after it leave none of .* 6"):
        METHODS["adalora"].build(load_shape(base), method, STEPS)
    with pytest.raises(RecipeError, match=r"method\.init_r: must be above r, 16"):
        refuse_unfit(Run(base_model="b", mixture="m", method={"type": "adalora", "r": 16}))
    assert rank_allocator(build(run_of(base, "lora"))) is None


def test_pissa_is_saved_as_a_plain_lora_of_twice_the_rank(
    trained: Callable[..., Trained], base: Path, tmp_path: Path
) -> None:
    from peft import PeftModel

    model = trained("pissa", "none").model
    save_weights(model, tmp_path)
    again = PeftModel.from_pretrained(load_base(base), str(tmp_path))
    config = again.peft_config["default"]
    assert (config.r, config.lora_alpha, config.init_lora_weights) == (16, 32, True)
    assert (logits(again) - logits(model)).abs().max() < 1e-6
    residual = model.get_base_model().model.layers[0].self_attn.q_proj.base_layer.weight
    original = again.get_base_model().model.layers[0].self_attn.q_proj.base_layer.weight
    assert (residual - original).abs().max() > 1e-2


def test_lora_plus_has_b_learn_faster_and_vectors_do_not_decay(base: Path) -> None:
    run = run_of(base, "lora_plus", optimizer={"lr": 1e-3, "weight_decay": 0.1})
    slow, fast = parameter_groups(build(run), run)
    assert (slow["lr"], fast["lr"]) == (1e-3, pytest.approx(16e-3))
    assert {len(one) for one in slow["params"]} == {4}  # A is (r, in).
    run = run_of(base, "dora", optimizer={"weight_decay": 0.1})
    decays = {one["weight_decay"]: len(one["params"]) for one in parameter_groups(build(run), run)}
    assert decays == {0.1: 2 * 7 * LAYERS, 0.0: 7 * LAYERS}  # Magnitudes are vectors.


@pytest.mark.parametrize("name", ["prompt", "p_tuning", "prefix"])
def test_losses_behind_virtual_tokens_are_those_of_a_forward_by_hand(
    trained: Callable[..., Trained], base: Path, name: str
) -> None:
    model = trained(name, "none").model
    plain = load_base(base)
    rows = []
    with torch.no_grad():
        ours, _ = token_losses(model, batch())
        learned = model.get_prompt(batch_size=1)
        for row, length in ((0, 24), (1, 18)):
            ids = batch()["input_ids"][row : row + 1, :length]
            if name == "prefix":
                found = plain(input_ids=ids, past_key_values=copy.deepcopy(learned)).logits[0]
            else:
                embedded = torch.cat([learned, plain.get_input_embeddings()(ids)], 1)
                found = plain(inputs_embeds=embedded).logits[0, learned.shape[1] :]
            scores = torch.log_softmax(found[5:-1], -1)
            rows.append(-scores.gather(1, ids[0, 6:, None])[:, 0])
    assert torch.allclose(ours, torch.cat(rows), atol=1e-5)


@pytest.mark.filterwarnings("ignore:Position ids are not supported")
@pytest.mark.parametrize("name", ["prompt", "p_tuning", "prefix"])
def test_virtual_tokens_do_not_keep_packed_rows_apart(
    trained: Callable[..., Trained], base: Path, name: str
) -> None:
    model = trained(name, "none").model.eval()
    ids = batch()["input_ids"][0]
    places = torch.arange(12).repeat(2)
    with torch.no_grad():
        packed = model(input_ids=ids[None], position_ids=places[None], use_cache=False).logits
        alone = model(input_ids=ids[None, 12:], use_cache=False).logits
    assert (packed[0, -12:] - alone[0, -12:]).abs().max() > 1e-3
    with pytest.raises(RecipeError, match=r"packing: method .*its virtual tokens stand before"):
        refuse_unfit(run_of(base, name, packing=True))


LOW = [*((name, "none") for name in ("lora", "lora_saved", "sadapter_h", "embeddings_head"))]
LOW += [(name, kind) for name in ("lora", "ia3", "adalora", "padapter") for kind in BASES[1:]]


@pytest.mark.parametrize(("name", "quantize"), LOW)
def test_on_a_bfloat16_base_what_is_trained_stays_float32(
    base: Path, tmp_path: Path, name: str, quantize: str
) -> None:
    run = run_of(base, name, quantize, dtype="bfloat16")
    model = build(run)
    weights = {key: one for key, one in model.named_parameters() if one.is_floating_point()}
    kinds = {one.requires_grad: one.dtype for key, one in weights.items() if ".ranknum." not in key}
    assert kinds == {True: torch.float32, False: torch.bfloat16}
    before = {key: one.detach().clone() for key, one in weights.items()}
    train(model, run, torch.optim.AdamW(parameter_groups(model, run)), range(2))
    moved = {key for key, one in weights.items() if not torch.equal(one.detach(), before[key])}
    assert moved == {key for key, one in weights.items() if one.requires_grad}
    if is_adapter(model):
        save_weights(model, tmp_path)
        again = attach(load_base(base, "bfloat16", quantize=quantize), tmp_path)
        assert (logits(again) - logits(model)).abs().max() < 0.02


@pytest.mark.parametrize("name", ["lora", "p_tuning", "sadapter_h"])
def test_blocks_computed_again_give_the_same_gradients(base: Path, name: str) -> None:
    found = []
    for again in (False, True):
        model = build(run_of(base, name, "nf4"))
        if again:
            lm = model.get_base_model() if hasattr(model, "get_base_model") else model
            lm.activation_checkpointing_enable({"use_reentrant": False})
        torch.manual_seed(0)
        loss: Any = token_losses(model.train(), batch())[0].mean()
        loss.backward()
        found.append([one.grad for one in model.parameters() if one.requires_grad])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    assert any(bool(one.any()) for one in found[1])


@pytest.mark.parametrize(
    "method",
    [
        {"type": "embeddings"},
        {"type": "lora", "targets": ["q_proj"], "modules_to_save": ["embed_tokens"]},
    ],
)
def test_tied_embeddings_stay_tied(tmp_path: Path, method: dict[str, Any]) -> None:
    from train.tiny import TinyShape, make_llama

    make_llama(tmp_path, 300, TinyShape(layers=1, width=32, positions=64, tied=True))
    run = Run(base_model=str(tmp_path), mixture="m", method=method, optimizer={"lr": 0.1})
    model = build(run)
    ids = {"input_ids": batch()["input_ids"] % 300, "targets": batch()["targets"] % 300}
    token_losses(model, {**batch(), **ids})[0].mean().backward()
    torch.optim.AdamW(parameter_groups(model, run)).step()
    lm = model.get_base_model() if hasattr(model, "get_base_model") else model
    embeddings, head = lm.get_input_embeddings(), lm.get_output_embeddings()
    if hasattr(embeddings, "modules_to_save"):
        embeddings, head = (one.modules_to_save["default"] for one in (embeddings, head))
    assert embeddings.weight.data_ptr() == head.weight.data_ptr()
    extra = 2 * 8 * 32 if method["type"] == "lora" else 0
    assert parameter_counts(model)[0] == 300 * 32 + extra


def test_settings_of_another_method_are_refused_where_they_stand(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(
        "base_model: b\nmixture: m\nmethod:\n  type: ia3\n  r: 16\n  dora: true\n", encoding="utf-8"
    )
    with pytest.raises(RecipeError) as error:
        load_run(file)
    assert str(error.value).splitlines() == [
        "run.yaml:5: method.r: ia3 does not use it. Keys that it uses: targets, modules_to_save",
        "run.yaml:6: method.dora: ia3 does not use it. Keys that it uses: targets, modules_to_save",
    ]


def test_names_that_the_base_does_not_have_are_told(base: Path) -> None:
    for name, method in (
        ("wrong", {"type": "lora", "targets": ["wrong"]}),
        ("wte", {"type": "lora", "modules_to_save": ["wte"]}),
        ("wte", {"type": "embeddings", "modules_to_save": ["wte"]}),
    ):
        with pytest.raises(TrainError, match=rf"^method\.(targets|modules_to_save): .*{name}"):
            METHODS[method["type"]].build(load_shape(base), Method(**method), STEPS)


def test_a_missing_bitsandbytes_is_told(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("train.quantise.find_spec", lambda name: None)
    with pytest.raises(TrainError, match=r"nf4 needs bitsandbytes. Install it: pip install 'wool"):
        load_base(base, quantize="nf4")


def test_evaluating_does_not_change_an_nf4_base(base: Path) -> None:
    model = load_base(base, quantize="nf4")
    layer = model.model.layers[0].mlp.up_proj
    before = layer.weight.clone(), layer.weight.quant_state.absmax.clone()
    logits(model)
    assert torch.equal(layer.weight, before[0])
    assert torch.equal(layer.weight.quant_state.absmax, before[1])
    assert layer.weight.quant_state.nested


def test_the_documented_methods_are_these(request: pytest.FixtureRequest) -> None:
    text = (request.config.rootpath / "docs" / "training.md").read_text(encoding="utf-8")
    section = text.partition("## Methods\n")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line[:3] == "| `"]
    says = {True: "yes", False: "no"}
    expected = [
        [
            f"`{name}`",
            kind.trains,
            ", ".join(f"`{key}`" for key in kind.keys) or "none",
            "whole model" if not kind.adapter else says[not kind.merges],
            says[not kind.packs],
            says[not kind.quantises],
            ", ".join(default_targets("llama", kind.family)) if kind.family else "none",
        ]
        for name, kind in METHODS.items()
    ]
    assert rows == expected
