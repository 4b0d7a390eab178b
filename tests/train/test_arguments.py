"""A run's settings as the arguments of transformers.Trainer, value by value."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers.integrations.deepspeed import HfTrainerDeepSpeedConfig

from corpus.errors import TrainError
from train import arguments
from train.arguments import (
    OPTIMIZERS,
    deepspeed_config,
    optimizer_steps,
    refuse_here,
    total_packs,
    training_arguments,
)

Make = Callable[..., Any]


@pytest.fixture
def translate(a_run: Make, tmp_path: Path) -> Make:
    """Translate a run over 10 packed rows."""

    def make(evaluates: bool = False, **changes: Any) -> Any:
        return training_arguments(a_run(**changes), tmp_path, 10, evaluates=evaluates)

    return make


def test_every_number_arrives(translate: Make) -> None:
    found = translate(
        evaluates=True,
        batch={"rows": 12, "micro": 3},
        optimizer={
            "lr": 3e-4,
            "weight_decay": 0.1,
            "betas": (0.8, 0.95),
            "eps": 1e-6,
            "max_grad_norm": 0.5,
        },
        schedule={"name": "linear", "warmup": 2},
        log={"steps": 3},
        eval={"steps": 4},
        save={"steps": 5},
        seed=7,
    )
    expected = {
        "per_device_train_batch_size": 3,
        "gradient_accumulation_steps": 4,
        "num_train_epochs": 1,
        "learning_rate": 3e-4,
        "weight_decay": 0.1,
        "adam_beta1": 0.8,
        "adam_beta2": 0.95,
        "adam_epsilon": 1e-6,
        "max_grad_norm": 0.5,
        "lr_scheduler_type": "linear",
        "warmup_steps": 2,
        "logging_steps": 3,
        "eval_strategy": "steps",
        "eval_steps": 4,
        "save_strategy": "steps",
        "save_steps": 5,
        "optim": "adamw_torch_fused",
        "bf16": False,
        "activation_checkpointing": False,
        "torch_compile": False,
        "seed": 7,
        "use_cpu": True,
        "n_gpu": 0,
        "report_to": [],
        "fsdp": None,
        "deepspeed": None,
        "ddp_backend": None,
        "logging_nan_inf_filter": False,
    }
    assert {key: getattr(found, key) for key in expected} == expected


def test_nothing_is_evaluated_or_saved_unasked(translate: Make) -> None:
    found = translate(evaluates=False, eval={"steps": 4})
    assert (found.eval_strategy, found.save_strategy) == ("no", "no")


@pytest.mark.parametrize(
    ("warmup", "steps", "expected"), [(0.03, 6, 0), (0.5, 7, 3), (1, 6, 1), (4, 6, 4), (0, 6, 0)]
)
def test_a_share_of_warmup_is_rounded_down(
    translate: Make, warmup: float, steps: int, expected: int
) -> None:
    assert translate(steps=steps, schedule={"warmup": warmup}).warmup_steps == expected


def test_constant_keeps_its_warmup(translate: Make) -> None:
    found = translate(schedule={"name": "constant", "warmup": 2})
    assert (found.lr_scheduler_type, found.warmup_steps) == ("constant_with_warmup", 2)


@pytest.mark.parametrize(
    ("epochs", "packs", "steps"), [(1, 10, 3), (2, 20, 5), (0.5, 5, 2), (0.01, 1, 1)]
)
def test_epochs_become_packs_and_steps(a_run: Make, epochs: float, packs: int, steps: int) -> None:
    run = a_run(steps=None, epochs=epochs)
    assert (total_packs(run, 10), optimizer_steps(run, 10)) == (packs, steps)


@pytest.mark.parametrize(("world", "passes"), [(1, 8), (2, 4), (4, 2), (8, 1)])
def test_a_step_has_one_size_for_any_number_of_processes(
    translate: Make, monkeypatch: pytest.MonkeyPatch, world: int, passes: int
) -> None:
    monkeypatch.setattr(arguments, "world_size", lambda: world)
    found = translate(batch={"rows": 16, "micro": 2}, distributed="ddp" if world > 1 else "none")
    assert found.gradient_accumulation_steps == passes
    assert found.per_device_train_batch_size * passes * world == 16


@pytest.mark.parametrize(
    ("rows", "micro", "world", "near"),
    [(16, 1, 3, "15 or 18"), (16, 4, 3, "12 or 24"), (2, 2, 2, "4"), (6, 4, 1, "4 or 8")],
)
def test_a_size_that_cannot_be_split_names_the_nearest(
    a_run: Make, rows: int, micro: int, world: int, near: str
) -> None:
    with pytest.raises(ValueError, match=rf"{rows} packed rows .*Nearest: {near} \["):
        a_run(batch={"rows": rows, "micro": micro}, distributed="ddp", processes=world)


def test_processes_without_a_way_to_share_are_refused(a_run: Make) -> None:
    with pytest.raises(ValueError, match="processes 2 needs distributed: ddp"):
        a_run(processes=2)


def test_bfloat16_casts_operations_where_weights_are_float32(translate: Make) -> None:
    full = translate(dtype="bfloat16", method={"type": "full"})
    assert full.bf16
    assert full.mixed_precision == "bf16"
    # A frozen base is bfloat16 itself, and LoRA's weights stay float32.
    assert not translate(dtype="bfloat16").bf16


def test_the_first_evaluation_computes_like_the_last(a_run: Make, table: Any, home: Any) -> None:
    from train.run import run_training

    still = {"optimizer": {"lr": 0}, "steps": 1, "dtype": "bfloat16", "method": {"type": "full"}}
    ends = run_training(a_run(**still), home, mixture=table).eval
    assert ends["start"] == ends["end"], "nothing was learned in between"


def test_every_nth_block_is_computed_again(translate: Make, base: Path) -> None:
    from transformers import AutoModelForCausalLM

    found = translate(activation_checkpointing=2)
    assert found.activation_checkpointing
    assert found.activation_checkpointing_kwargs == {"every_n_layers": 2, "use_reentrant": False}
    model = AutoModelForCausalLM.from_pretrained(base)
    model.activation_checkpointing_enable(every_n_layers=2)
    blocks = [one.gradient_checkpointing for one in model.model.layers]
    assert blocks == [True, False]


def test_compiling_leaves_the_precision_alone(translate: Make) -> None:
    found = translate(compile=True)
    assert (found.torch_compile, found.torch_compile_backend) == (True, "inductor")
    assert found.tf32 is False


@pytest.mark.parametrize(
    ("name", "kind", "options"),
    [
        ("adamw", torch.optim.AdamW, {"fused": True}),
        ("adamw_8bit", None, {"optim_bits": 8, "is_paged": False}),
        ("paged_adamw", None, {"optim_bits": 32, "is_paged": True}),
        ("paged_adamw_8bit", None, {"optim_bits": 8, "is_paged": True}),
    ],
)
def test_optimizers_are_those_of_their_names(
    translate: Make, name: str, kind: Any, options: dict[str, Any]
) -> None:
    from bitsandbytes.optim import AdamW
    from transformers import Trainer

    found = translate(optimizer={"name": name, "lr": 1e-3, "betas": (0.8, 0.9), "eps": 1e-7})
    assert found.optim == OPTIMIZERS[name]
    made, keywords = Trainer.get_optimizer_cls_and_kwargs(found)
    assert made is (kind or AdamW)
    shared = {"lr": 1e-3, "betas": (0.8, 0.9), "eps": 1e-7}
    assert keywords == shared | options


def test_eight_bit_state_is_a_quarter_and_close(translate: Make) -> None:
    """On the CPU too: 8-bit AdamW moves the weights as AdamW does, to a hundredth of the way."""
    from transformers import Trainer

    def walk(name: str) -> tuple[torch.Tensor, torch.dtype]:
        made, keywords = Trainer.get_optimizer_cls_and_kwargs(translate(optimizer={"name": name}))
        weight = torch.nn.Parameter(torch.zeros(128, 64))  # Smaller ones keep their state whole.
        optimizer = made([weight], **{**keywords, "lr": 1e-2})
        chance = torch.Generator().manual_seed(0)
        for _ in range(10):
            weight.grad = torch.randn(weight.shape, generator=chance) + 0.5
            optimizer.step()
        state = next(iter(optimizer.state.values()))
        return weight.detach(), state["state1" if "8bit" in name else "exp_avg"].dtype

    exact, whole = walk("adamw")
    close, small = walk("adamw_8bit")
    assert (whole, small) == (torch.float32, torch.uint8)
    assert float((close - exact).norm() / exact.norm()) < 0.02
    assert torch.equal(walk("adamw_8bit")[0], close)
    assert torch.equal(walk("adamw")[0], exact)


def test_ddp_looks_for_no_unused_weights_and_sends_no_buffers(translate: Make) -> None:
    found = translate(distributed="ddp")
    assert found.ddp_find_unused_parameters is False
    assert found.ddp_broadcast_buffers is False


def test_fsdp_is_the_second_with_whole_weights_saved(translate: Make) -> None:
    found = translate(distributed="fsdp", activation_checkpointing=1, dtype="bfloat16")
    assert found.fsdp is True
    assert found.bf16
    assert not found.activation_checkpointing  # Its own does it, without a second gathering.
    expected = {
        "fsdp_version": 2,
        "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
        "cpu_ram_efficient_loading": False,
        "state_dict_type": "FULL_STATE_DICT",
        "activation_checkpointing": True,
        "reshard_after_forward": True,
    }
    assert found.fsdp_plugin_args == expected


class Accepted(HfTrainerDeepSpeedConfig):
    """transformers' reader of DeepSpeed settings, without the package that it asks for."""

    def __init__(self, config: dict[str, Any]) -> None:
        from accelerate.utils.deepspeed import HfDeepSpeedConfig

        HfDeepSpeedConfig.__init__(self, config)
        self._dtype, self.mismatches = None, []

    def __getattr__(self, name: str) -> Any:
        from accelerate.utils.deepspeed import HfDeepSpeedConfig

        return getattr(HfDeepSpeedConfig, name).__get__(self)


@pytest.mark.parametrize("stage", [2, 3])
def test_transformers_fills_in_deepspeeds_settings(
    translate: Make, a_run: Make, stage: int
) -> None:
    run = a_run(distributed=f"zero{stage}", dtype="bfloat16")
    filled = Accepted(deepspeed_config(run))
    given = translate()
    given.bf16, given.max_grad_norm = True, 0.7
    filled.trainer_config_process(given)
    filled.trainer_config_finalize(
        given, SimpleNamespace(config=SimpleNamespace(hidden_size=64)), 9
    )
    assert filled.mismatches == []
    assert "auto" not in str(filled.config)
    config = filled.config
    assert config["bf16"] == {"enabled": True}
    assert filled.dtype() is torch.bfloat16
    assert config["gradient_clipping"] == 0.7
    assert config["train_micro_batch_size_per_gpu"] == 2
    assert config["gradient_accumulation_steps"] == 2
    assert config["train_batch_size"] == 4
    zero = config["zero_optimization"]
    assert zero["stage"] == stage
    assert filled.is_zero3() == (stage == 3)
    if stage == 3:
        assert zero["stage3_gather_16bit_weights_on_model_save"] is True
        assert zero["reduce_bucket_size"] == 64 * 64
    else:
        assert zero["allgather_bucket_size"] == zero["reduce_bucket_size"] == 200_000_000


SHARD = {"distributed": "fsdp"}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (SHARD, "distributed: fsdp needs a GPU, this machine has none. Use ddp"),
        ({"distributed": "zero2"}, "distributed: zero2 needs a GPU"),
        ({"distributed": "zero3"}, "zero3 needs deepspeed. Install it: pip install deepspeed"),
        ({"distributed": "ddp"}, "distributed: ddp needs processes. Start them: woolgather"),
        (SHARD | {"quantize": "nf4"}, "fsdp cannot shard a base of quantize: nf4. Use ddp"),
        (SHARD | {"optimizer": {"name": "adamw_8bit"}}, "fsdp shards no adamw_8bit"),
        (SHARD | {"method": {"type": "adalora"}}, "fsdp hides the gradients that adalora"),
        (SHARD | {"activation_checkpointing": 2}, "fsdp takes every block or none, expected 0 or"),
        ({"optimizer": {"name": "paged_adamw"}}, "paged_adamw needs a CUDA GPU. Use adamw or"),
        ({"optimizer": {"name": "paged_adamw_8bit"}}, "paged_adamw_8bit needs a CUDA GPU"),
    ],
)
def test_what_cannot_take_effect_here_is_refused(
    a_run: Make, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], told: str
) -> None:
    monkeypatch.setitem(sys.modules, "deepspeed", None)
    with pytest.raises(TrainError) as error:
        refuse_here(a_run(**changes))
    assert any(told in line for line in str(error.value).splitlines())


def test_what_takes_effect_here_is_not_refused(a_run: Make) -> None:
    refuse_here(a_run(optimizer={"name": "adamw_8bit"}, dtype="bfloat16"))


@pytest.mark.parametrize(
    ("changes", "env", "told"),
    [
        ({}, {"LOCAL_RANK": "0"}, "distributed: none, but torchrun started 1 processes"),
        (
            {},
            {"WORLD_SIZE": "2"},
            "distributed: none, but torchrun started 2 processes. Set it to ddp",
        ),
        (
            {"distributed": "ddp", "processes": 2},
            {"WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "4"},
            "processes: expected 2 on this machine, got 4 from torchrun",
        ),
        (
            {"distributed": "ddp"},
            {"WORLD_SIZE": "3"},
            "4 packed rows a step are no multiple of micro 2 x 3 processes. Nearest: 6",
        ),
    ],
)
def test_what_torchrun_started_must_fit_the_run(
    a_run: Make,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    env: dict[str, str],
    told: str,
) -> None:
    monkeypatch.setattr(arguments, "is_joined", lambda: True)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(TrainError) as error:
        refuse_here(a_run(**changes))
    assert told in str(error.value)


def test_compiling_needs_a_compiler_or_a_gpu(a_run: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(TrainError, match=r"compile: needs g\+\+ or clang\+\+ on the CPU"):
        refuse_here(a_run(compile=True))
    monkeypatch.setattr(
        torch.accelerator, "current_accelerator", lambda: SimpleNamespace(type="mps")
    )
    with pytest.raises(TrainError, match="compile: works on CUDA GPUs and on the CPU, got mps"):
        refuse_here(a_run(compile=True))


def test_a_gpu_without_bfloat16_or_with_too_few_is_refused(
    a_run: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = SimpleNamespace(type="cuda")
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda emulated: False)
    with pytest.raises(TrainError, match="dtype: this GPU has no bfloat16"):
        refuse_here(a_run(dtype="bfloat16"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(arguments, "is_joined", lambda: True)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(TrainError, match="processes: expected one a GPU, at most 1, got 2"):
        refuse_here(a_run(distributed="ddp"))
