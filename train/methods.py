"""Training methods: one registry, one function each, which makes a base model trainable.

`train.run` looks the method of a run up here; adding one is adding a function.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from corpus.registry import Registry
from train.config import Method, Run

METHODS: Registry[Callable[[Any, Method], Any]] = Registry("method")
"""Name -> function(base model, settings) -> the model to train."""


@METHODS.register("lora")
def lora(model: Any, method: Method) -> Any:
    """Freeze the base and add low-rank updates (LoRA, arXiv 2106.09685).

    Raises:
        TrainError: the base has no layer of the named targets.
    """
    from peft import LoraConfig, get_peft_model

    from corpus.errors import TrainError

    every = method.targets in ("all-linear", "default")
    config = LoraConfig(
        r=method.r,
        lora_alpha=method.alpha,
        lora_dropout=method.dropout,
        target_modules="all-linear" if every else list(method.targets),
        modules_to_save=list(method.modules_to_save) or None,
        bias="none",
        task_type="CAUSAL_LM",
    )
    try:
        return get_peft_model(model, config)
    except ValueError as error:
        raise TrainError(f"method.targets: {str(error).splitlines()[0]}") from error


@METHODS.register("full")
def full(model: Any, method: Method) -> Any:
    """Train all weights of the base."""
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    return model


def is_adapter(model: Any) -> bool:
    """Tell whether a trained model is an adapter beside its base."""
    return hasattr(model, "peft_config")


def parameter_counts(model: Any) -> tuple[int, int]:
    """Return the trainable and all parameters; a tied weight counts once."""
    numbers = [(one.numel(), one.requires_grad) for one in model.parameters()]
    return sum(n for n, trains in numbers if trains), sum(n for n, _ in numbers)


def after_step(model: Any, step: int) -> None:
    """Let a method act after the optimizer's step, while the gradients are still there."""


def extra_loss(model: Any) -> Any | None:
    """Return what a method adds to the loss of a step, None where it adds nothing."""
    return None


def parameter_groups(model: Any, run: Run) -> list[dict[str, Any]]:
    """Return the optimizer's groups; weights of one dimension (biases, norms) never decay."""
    trained = [one for one in model.parameters() if one.requires_grad]
    decay = run.optimizer.weight_decay
    groups = [
        {"params": [one for one in trained if one.ndim > 1], "weight_decay": decay},
        {"params": [one for one in trained if one.ndim <= 1], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
