"""Losses are exact: by token, by tag, packed or not, in one pass or in several."""

from __future__ import annotations

import copy
import inspect
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PrefixTuningConfig, PromptTuningConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from corpus.errors import TrainError
from corpus.settings import Home
from train import kernels
from train.data import Group, group_rows
from train.loss import TagSums, install_loss, probe_isolation, token_losses
from train.model import load_base
from train.pack import IGNORED
from train.run import read_metrics, run_training

TASK = "Below is an instruction that describes a task"
PAIRED = ", paired with an input that provides further context"
REQUEST = ". Write a response that appropriately completes the request.\n\n"


def token_losses_by_hand(model: Any, tokenizer: Any, row: dict[str, Any]) -> list[float]:
    """Render, mask and score one row with nothing of ours: one row, one plain forward pass."""

    def pieces(text: str) -> list[int]:
        # The pieces alone: this tokenizer would put a space before every text, but only the
        # first of a row begins with one.
        text = text.replace(" ", "▁")
        return [one.id for one in tokenizer.backend_tokenizer.model.tokenize(text)]

    earlier = [{**turn, "input": ""} for turn in row["history"]]
    lead = f" {row['system']}\n\n" if row["system"] else " "
    lead += TASK + (PAIRED if row["input"] else "") + REQUEST
    ids, learned = [tokenizer.bos_token_id], [False]
    for turn in [*earlier, row]:
        asked = f"### Instruction:\n{turn['instruction']}\n\n"
        asked += f"### Input:\n{turn['input']}\n\n" if turn["input"] else ""
        prompt = pieces(f"{lead}{asked}### Response:")
        reply = [*pieces(turn["output"]), tokenizer.eos_token_id]
        ids += prompt + reply
        learned += [False] * len(prompt) + [True] * len(reply)
        lead = "\n\n"
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0]
    scores = torch.log_softmax(logits.double(), -1)
    return [-float(scores[at - 1, ids[at]]) for at in range(len(ids)) if learned[at]]


def sums_by_hand(model: Any, tokenizer: Any, rows: Any) -> dict[str, dict[str, list[float]]]:
    columns = ("instruction", "input", "output", "history", "system")
    table = rows.rows(range(len(rows)), columns)
    sums: dict[str, dict[str, list[float]]] = {}
    for number in range(len(rows)):
        row = {name: values[number] for name, values in table.items()}
        losses = token_losses_by_hand(model, tokenizer, row)
        source = rows.sources[rows.index.source[number]]
        tags = {tag: getattr(source, tag) for tag in ("lang", "task", "gen")}
        tags |= {"source": source.name, "category": "train" if "/" in source.name else "-"}
        for tag, value in tags.items():
            sums.setdefault(tag, {}).setdefault(value, []).extend(losses)
    return sums


def assert_same(tags: Any, expected: dict[str, dict[str, list[float]]]) -> None:
    assert {tag: set(groups) for tag, groups in tags.items()} == {
        tag: set(groups) for tag, groups in expected.items()
    }
    for tag, groups in expected.items():
        for value, losses in groups.items():
            assert tags[tag][value]["tokens"] == len(losses)
            mean = sum(losses) / len(losses)
            assert tags[tag][value]["loss"] == pytest.approx(mean, abs=1e-5), (tag, value)


def test_train_loss_by_tag_equals_a_row_by_row_forward(
    home: Home, table: Any, base: Path, a_run: Callable[..., Any]
) -> None:
    # With learning rate 0 every step sees the base's weights; 4 forward passes make a step.
    run = a_run(
        steps=None,
        epochs=1,
        batch={"rows": 4, "micro": 1},
        optimizer={"lr": 0},
        sequence_length=512,
    )
    result = run_training(run, home, mixture=table)
    model = AutoModelForCausalLM.from_pretrained(base)
    expected = sums_by_hand(model, AutoTokenizer.from_pretrained(base), table)
    assert_same(result.tags["train"], expected)


def test_holdout_loss_by_tag_equals_a_row_by_row_forward_of_the_adapter(
    trained: Any, table: Any, base: Path
) -> None:
    from peft import PeftModel

    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), trained.output)
    expected = sums_by_hand(model.eval(), AutoTokenizer.from_pretrained(base), table.holdout)
    assert_same(trained.tags["eval"], expected)


def test_tags_weighted_by_tokens_are_the_total_at_every_log_line(trained: Any) -> None:
    lines = read_metrics(Path(trained.path))
    assert [line["step"] for line in lines if line["kind"] == "train"] == list(range(1, 13))
    assert [line["step"] for line in lines if line["kind"] == "eval"] == [0, 5, 10, 12]
    for line in lines:
        for groups in line["tags"].values():
            tokens = sum(group["tokens"] for group in groups.values())
            assert tokens == line["tokens"]
            weighted = sum(group["loss"] * group["tokens"] for group in groups.values()) / tokens
            assert weighted == pytest.approx(line["loss"], rel=1e-12)


def test_accumulation_does_not_change_training(
    home: Home, table: Any, a_run: Callable[..., Any]
) -> None:
    def losses(name: str, micro: int) -> list[float]:
        run = a_run(name=name, batch={"rows": 8, "micro": micro}, optimizer={"lr": 1e-3})
        return run_training(run, home, mixture=table).losses

    assert losses("whole", 8) == pytest.approx(losses("pieces", 1), rel=1e-6)


def test_packing_does_not_change_the_loss_of_an_epoch(
    home: Home, table: Any, a_run: Callable[..., Any]
) -> None:
    def loss(name: str, packing: bool) -> float:
        run = a_run(name=name, packing=packing, steps=None, epochs=1, optimizer={"lr": 0})
        groups = run_training(run, home, mixture=table).tags["train"]["source"].values()
        return sum(one["sum"] for one in groups) / sum(one["tokens"] for one in groups)

    assert loss("packed", True) == pytest.approx(loss("padded", False), abs=1e-6)


def test_sums_by_tag_survive_a_checkpoint(table: Any) -> None:
    groups, _ = group_rows([table])
    sums = TagSums(groups)
    sums.add(torch.tensor([0.1, 0.2, 0.3]), torch.tensor([2, 0, 2]))
    other = TagSums(groups)
    other.restore(json.loads(json.dumps(sums.state())))
    total = other.take()
    assert total.sums == pytest.approx([0.2, 0, 0.4])
    assert total.counts == [1, 0, 2]
    assert sums.take().by_tag()["lang"]["EN"]["tokens"] == 3
    assert sums.take().tokens == 0


def test_packed_rows_do_not_see_each_other(base: Path) -> None:
    model = load_base(base)
    first, second = torch.arange(10, 40), torch.arange(50, 75)
    assert probe_isolation(model, first, second) < 1e-5


def test_a_model_that_mixes_packed_rows_is_refused(base: Path) -> None:
    model = load_base(base)

    def mixing(input_ids: torch.Tensor, position_ids: torch.Tensor, use_cache: bool) -> Any:
        # An all-ones mask is the trap: transformers then ignores where positions restart.
        mask = torch.ones_like(input_ids)
        return type(model).forward(
            model, input_ids, position_ids=position_ids, attention_mask=mask, use_cache=use_cache
        )

    model.forward = mixing
    with pytest.raises(TrainError, match=r"see each other in this model .* Set packing: false"):
        probe_isolation(model, torch.arange(10, 40), torch.arange(50, 75))


def small_model(kind: str = "llama", **settings: Any) -> Any:
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "head_dim": 16}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": 90}
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **{**sizes, **heads, "pad_token_id": 0, **settings})
    model = AutoModelForCausalLM.from_config(config)
    for weight in model.parameters():
        if weight.ndim > 1:
            torch.nn.init.normal_(weight, std=0.3)
    return model


def a_batch() -> dict[str, torch.Tensor]:
    """Two packed rows of ten places, of which seven predict something learned."""
    torch.manual_seed(1)
    targets = torch.randint(90, (2, 4))
    targets[1, 2] = IGNORED
    return {
        "input_ids": torch.randint(90, (2, 10)),
        "position_ids": torch.tensor([[0, 1, 2, 3, 0, 1, 2, 3, 4, 5], [*range(10)]]),
        "keep": torch.tensor([1, 2, 6, 8]),
        "targets": targets,
        "groups": torch.arange(8).reshape(2, 4),
    }


def losses_from_logits(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    given = {name: batch[name] for name in ("input_ids", "position_ids")}
    logits = model(**given, use_cache=False).logits[:, -10:][:, batch["keep"]]
    learned = batch["targets"] != IGNORED
    return torch.nn.functional.cross_entropy(
        logits[learned], batch["targets"][learned], reduction="none"
    )


def adapted(**changes: Any) -> Any:
    config = LoraConfig(target_modules=["q_proj"], task_type="CAUSAL_LM", r=2)
    for name, value in changes.items():
        setattr(config, name, value)
    model = get_peft_model(small_model(), config)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.3)
    return model


def frozen_but_one(model: Any) -> Any:
    """Train one block, below the head."""
    model.requires_grad_(False).base_model.layers[0].requires_grad_(True)
    return model


MODELS = {
    "all weights": small_model,
    "tied head": lambda: small_model(tie_word_embeddings=True),
    "frozen head": lambda: frozen_but_one(small_model()),
    "lora": adapted,
    "lora on the head": lambda: adapted(target_modules=["q_proj", "lm_head"]),
    "head trained whole": lambda: adapted(modules_to_save=["lm_head"]),
    "capped": lambda: small_model("gemma2", final_logit_softcapping=1.5),
    "divided": lambda: frozen_but_one(small_model("granite", logits_scaling=4.0)),
    "multiplied": lambda: small_model("cohere", logit_scale=0.25),
}


@pytest.mark.parametrize("name", MODELS)
def test_token_losses_and_gradients_equal_those_of_plain_logits(
    name: str, a_run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("train.kernels.ROWS", 3)
    monkeypatch.setitem(kernels.CHUNK, "cpu", 0)
    model, batch = MODELS[name](), a_batch()
    weights = [one for one in model.parameters() if one.requires_grad]
    expected = losses_from_logits(model, batch)
    factors = torch.rand(7)
    slopes = torch.autograd.grad((expected * factors).sum(), weights)
    assert install_loss(model, a_run()) == "chunked"
    losses, groups = token_losses(model, batch)
    assert groups.tolist() == [0, 1, 2, 3, 4, 5, 7]
    assert float((losses - expected).detach().abs().max()) < 1e-5
    found = torch.autograd.grad((losses * factors).sum(), weights)
    for ours, theirs in zip(found, slopes, strict=True):
        assert float((ours - theirs).abs().max()) < 1e-5 * max(1, float(theirs.abs().max()))
    # Without targets it answers as before.
    assert torch.equal(losses_from_logits(model, batch), expected)
    assert "input_ids" in inspect.signature(model.forward).parameters


@pytest.mark.parametrize("kind", ["prompt", "prefix"])
def test_virtual_tokens_move_no_place(kind: str, a_run: Callable[..., Any]) -> None:
    shape = {"num_virtual_tokens": 3, "task_type": "CAUSAL_LM"}
    config = PromptTuningConfig(**shape) if kind == "prompt" else PrefixTuningConfig(**shape)
    model, batch = get_peft_model(small_model(), config), a_batch()
    batch["position_ids"] = torch.arange(10).repeat(2, 1)
    with torch.no_grad():
        logits = model(batch["input_ids"], use_cache=False).logits[:, -10:][:, batch["keep"]]
    learned = batch["targets"] != IGNORED
    scores = torch.log_softmax(logits[learned], -1)
    assert install_loss(model, a_run()) == "chunked"
    losses, _ = token_losses(model, batch)
    expected = -scores.gather(1, batch["targets"][learned][:, None])[:, 0]
    assert float((losses - expected).detach().abs().max()) < 1e-5
    (gradient,) = torch.autograd.grad(
        losses.sum(), next(p for p in model.parameters() if p.requires_grad)
    )
    assert gradient.any()


def train_weights(model: Any, batch: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    """Return token losses and the gradients that a backward pass leaves."""
    model.zero_grad()
    losses, _ = token_losses(model, batch)
    losses.sum().backward()
    gradients = [one.grad for one in model.parameters() if one.requires_grad]
    return [losses.detach(), *(one.clone() for one in gradients if one is not None)]


def assert_equal(found: list[torch.Tensor], expected: list[torch.Tensor]) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)


def test_token_losses_come_through_ddp_and_checkpointing(
    a_run: Callable[..., Any], tmp_path: Path
) -> None:
    model, batch = adapted(), a_batch()
    install_loss(model, a_run())
    expected = train_weights(model, batch)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'meet'}", rank=0, world_size=1
    )
    try:
        ddp = torch.nn.parallel.DistributedDataParallel(model)
        assert_equal(train_weights(ddp, batch), expected)
    finally:
        torch.distributed.destroy_process_group()
    model.activation_checkpointing_enable({"use_reentrant": False})
    assert_equal(train_weights(model.train(), batch), expected)


@pytest.mark.slow
def test_token_losses_come_through_compile(a_run: Callable[..., Any]) -> None:
    model, batch = adapted(), a_batch()
    install_loss(model, a_run())
    expected = train_weights(model, batch)
    assert_equal(train_weights(torch.compile(model, backend="aot_eager"), batch), expected)


class Sharper(LlamaForCausalLM):
    """An architecture that does more to its logits than its configuration says."""

    def forward(self, *args: Any, **inputs: Any) -> Any:
        output = super().forward(*args, **inputs)
        output.logits = output.logits * 3
        return output


def test_an_unknown_architecture_falls_back_to_plain_logits_and_says_why(
    a_run: Callable[..., Any],
) -> None:
    model, batch = Sharper(small_model().config), a_batch()
    expected = losses_from_logits(model, batch)
    name = install_loss(model, a_run())
    assert re.fullmatch(r"plain: chunked losses of this model are off by \d.*", name)
    losses, _ = token_losses(model, batch)
    assert torch.allclose(losses, expected, atol=1e-6)
    with pytest.raises(TrainError, match=r"^loss: chunked: .* are off by .*\. Set loss: plain\.$"):
        install_loss(model, a_run(loss="chunked"))
    # A model that cannot be taken apart.
    model = small_model()
    model.base_model_prefix = ""
    assert install_loss(model, a_run()).startswith("plain: this model does not tell its head")
    assert torch.allclose(token_losses(model, batch)[0], losses_from_logits(model, batch))


def test_plain_losses_by_name_equal_chunked_ones(a_run: Callable[..., Any]) -> None:
    model, batch = adapted(), a_batch()
    install_loss(model, a_run())
    expected, _ = token_losses(model, batch)
    model = adapted()
    assert install_loss(model, a_run(loss="plain")) == "plain"
    losses, _ = token_losses(model, batch)
    assert torch.allclose(losses, expected, atol=1e-6)


def test_installing_leaves_mode_and_random_state(a_run: Callable[..., Any]) -> None:
    model = adapted().train()
    before = torch.get_rng_state()
    install_loss(model, a_run())
    assert model.training
    assert torch.equal(torch.get_rng_state(), before)


def test_a_copy_of_a_model_asks_itself(a_run: Callable[..., Any]) -> None:
    model, batch = small_model(), a_batch()
    install_loss(model, a_run())
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for weight in twin.parameters():
            weight.zero_()
    losses, _ = token_losses(twin, batch)
    assert losses.tolist() == pytest.approx([math.log(90)] * 7)
    assert not twin(batch["input_ids"]).logits.any()


def test_sums_of_several_micro_batches_are_exact() -> None:
    # A million losses: float32 sums would be off in the fifth digit.
    groups = [Group(name, "EN", "MT", "SI", "-") for name in "ab"]
    sums = TagSums(groups)
    losses = torch.full((1000,), 0.1)
    for _ in range(1000):
        sums.add(losses, torch.arange(1000) % 2)
    totals = sums.take()
    assert totals.counts == [500_000, 500_000]
    assert totals.loss == pytest.approx(float(losses[0]), rel=1e-12)
