"""Training methods: one registry, one function each, which makes a base model trainable.

`train.run` builds by it and `train.compose` refuses by it what a method cannot do; the trainer asks
here for parameter groups, extra loss, and what a checkpoint must hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any

from corpus.errors import RecipeError, TrainError
from train.config import Method, Run
from train.targets import TRANSPOSED, Family, default_targets

Build = Callable[[Any, Method, int], Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """A method: how it is made, what it can do, and why not where it cannot."""

    build: Build
    """Function(base model, settings, optimizer steps of the run) -> the model to train."""
    trains: str
    """What it trains, in a few words."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """Settings of `method` that it uses besides `type` -> what peft calls them, where it is given
    them as they are."""
    family: Family | None = None
    """Whose default targets it has; None: it has no targets."""
    adapter: bool = True
    """Its output is an adapter beside the base; else a whole model."""
    merges: str = ""
    """Why it cannot become part of the base's weights; empty: it can."""
    packs: str = ""
    """Why rows cannot share a packed row; empty: they can."""
    quantises: str = ""
    """Why the base cannot be quantised; empty: it can."""


def refuse_unfit(
    run: Run, where: Mapping[tuple[str, ...], str] = MappingProxyType({}), name: str = "run"
) -> None:
    """Refuse settings that do not fit the run's method.

    Raises:
        RecipeError: all of them at once, one a line, each with its place, else with `name`.
    """
    lines = [
        f"{where.get(path, where.get(path[:1], name))}: {'.'.join(path)}: {reason}"
        for path, reason in unfit_settings(run)
    ]
    if lines:
        raise RecipeError("\n".join(lines))


def unfit_settings(run: Run) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the settings that do not fit the run's method, each with the reason."""
    method, name = run.method, run.method.type
    if name not in METHODS:
        yield ("method", "type"), f"got {name!r}, supported: {', '.join(METHODS)}"
        return
    kind = METHODS[name]
    for key, setting in Method.model_fields.items():
        if key not in ("type", *kind.keys) and getattr(method, key) != setting.default:
            used = ", ".join(kind.keys) or "none"
            yield ("method", key), f"{name} does not use it. Keys that it uses: {used}"
    if kind.packs and run.packing:
        yield ("packing",), f"method {name}: {kind.packs}. Set packing: false"
    if kind.quantises and run.quantize != "none":
        yield ("quantize",), f"method {name}: {kind.quantises}. Set quantize: none"
    if method.init == "pissa" and (method.dora or run.quantize != "none"):
        yield ("method", "init"), "pissa takes weights out of a full base, and goes without dora"
    if name == "adalora" and method.init_r <= method.r:
        yield ("method", "init_r"), f"must be above r, {method.r}, to which it is pruned"
    if name == "prefix" and run.activation_checkpointing:
        reason = "blocks computed again do not see the keys that prefix puts before a row"
        yield ("activation_checkpointing",), f"{reason}. Set it to 0"


def _targets(model: Any, method: Method) -> list[str] | str:
    """Return the layers to adapt: those named, or the architecture's default."""
    family = METHODS[method.type].family
    if isinstance(method.targets, str) and family is not None:
        return method.targets if method.targets != "default" else [*default_targets(model, family)]
    return list(method.targets)


def _refuse_absent(model: Any, method: Method) -> None:
    """Raise when `modules_to_save` names what the base does not have."""
    ends = {name.rpartition(".")[2] for name, _ in model.named_modules()}
    absent = [one for one in method.modules_to_save if one not in ends]
    if absent:
        raise TrainError(f"method.modules_to_save: the base has no {', '.join(absent)}")


def _adapt(config: str, model: Any, method: Method, steps: int, **options: Any) -> Any:
    """Put the layers or virtual tokens of one of peft's methods into a model."""
    import peft

    from train.adapters import keep_type

    kind = METHODS[method.type]
    options |= {theirs: getattr(method, ours) for ours, theirs in kind.keys.items() if theirs}
    if kind.family:
        _refuse_absent(model, method)
        options["target_modules"] = _targets(model, method)
        options["modules_to_save"] = list(method.modules_to_save) or None
        options["fan_in_fan_out"] = model.config.model_type in TRANSPOSED
    try:
        made = getattr(peft, config)(task_type="CAUSAL_LM", **options)
        return _keep_float32(keep_type(peft.get_peft_model(model, made)))
    except ValueError as error:
        key = "targets" if kind.family else "type"
        raise TrainError(f"method.{key}: {str(error).splitlines()[0]}") from error


def lora(model: Any, method: Method, steps: int) -> Any:
    """Add low-rank updates; PiSSA's start from the base's principal parts."""
    pissa = method.init == "pissa"
    both = (model.get_input_embeddings(), model.get_output_embeddings())
    ends = {name.rpartition(".")[2] for name, part in model.named_modules() if part in both}
    named = {*method.modules_to_save, *(() if isinstance(method.targets, str) else method.targets)}
    # A model without memory, of which only the shapes are asked, has no principal parts.
    init = "pissa" if pissa and model.device.type != "meta" else True
    ties = bool(model.config.tie_word_embeddings and ends & named)
    options = {"init_lora_weights": init, "ensure_weight_tying": ties}
    model = _adapt("LoraConfig", model, method, steps, **options)
    if pissa:
        start = model.named_parameters()
        model.pissa_start = {name: one.detach().clone() for name, one in start if ".lora_" in name}
    return model


def adalora(model: Any, method: Method, steps: int) -> Any:
    """Prune low-rank updates to a common budget of ranks.

    Raises:
        TrainError: the run is too short for its phases.
    """
    tinit = steps // 10 if method.tinit is None else method.tinit
    tfinal = steps // 2 if method.tfinal is None else method.tfinal
    if tinit + tfinal >= steps:
        raise TrainError(
            f"method.tinit, method.tfinal: {tinit} steps before pruning and {tfinal} after it leave"
            f" none of the run's {steps} steps to prune in"
        )
    phases = {"tinit": tinit, "tfinal": tfinal, "total_step": steps}
    model = _adapt("AdaLoraConfig", model, method, steps, **phases)
    for name, one in model.named_parameters():
        one.requires_grad_(one.requires_grad and ".ranknum." not in name)
    return model


def ia3(model: Any, method: Method, steps: int) -> Any:
    """Learn a factor for every unit of some layers."""
    inner = default_targets(model, "ia3_feedforward")
    inner = inner if method.targets == "default" else tuple({*inner} & {*method.targets})
    return _adapt("IA3Config", model, method, steps, feedforward_modules=list(inner))


def _bottleneck(place: str, model: Any, method: Method, steps: int) -> Any:
    """Put two small layers before, after or beside linear ones."""
    from train.adapters import insert_bottlenecks

    config: dict[str, Any] = {key: getattr(method, key) for key in BOTTLENECK}
    targets = _targets(model, method)
    config["targets"] = default_targets(model, "lora") if targets == "all-linear" else targets
    return insert_bottlenecks(model, {"place": place, **config})


def full(model: Any, method: Method, steps: int) -> Any:
    """Train all weights of the base."""
    return model.requires_grad_(True)


def embeddings(model: Any, method: Method, steps: int) -> Any:
    """Train the input embeddings, and modules beside them; a tied head is the same weight.

    Raises:
        TrainError: the base has no module of a name in modules_to_save.
    """
    _refuse_absent(model, method)
    model.requires_grad_(False)
    model.get_input_embeddings().requires_grad_(True)
    for name, module in model.named_modules():
        if name.rpartition(".")[2] in method.modules_to_save:
            module.requires_grad_(True)
    return _keep_float32(model)


def _keep_float32(model: Any) -> Any:
    """Hold trained weights in float32; a base's own modules among them give the base's type."""
    import torch

    for module in model.modules():
        trained = [one for one in module.parameters(recurse=False) if one.requires_grad]
        low = [one for one in trained if one.dtype in (torch.bfloat16, torch.float16)]
        for one in low:
            dtype, one.data = one.dtype, one.data.float()
        if low:
            module.register_forward_pre_hook(
                lambda _, inputs: tuple(x.float() if x.is_floating_point() else x for x in inputs)
            )
            module.register_forward_hook(lambda _, inputs, output, dtype=dtype: output.to(dtype))
    return model


LAYERS = {"targets": "", "modules_to_save": ""}
LOW_RANK = {"r": "r", "alpha": "lora_alpha", "dropout": "lora_dropout", **LAYERS}
LORA = LOW_RANK | {"rslora": "use_rslora", "dora": "use_dora", "init": "", "lora_plus": ""}
PHASES = {"init_r": "init_r", "tinit": "", "tfinal": "", "delta_t": "deltaT"}
ADALORA = LOW_RANK | {"r": "target_r", **PHASES}
OFT = {"block_size": "oft_block_size", "dropout": "module_dropout", **LAYERS}
VERA = {"r": "r", "dropout": "vera_dropout", **LAYERS}
TOKENS = {"virtual_tokens": "num_virtual_tokens"}
ENCODER = {**TOKENS, "encoder_hidden": "encoder_hidden_size"}
BOTTLENECK = dict.fromkeys(("targets", "bottleneck", "activation", "dropout"), "")

BENDS = "it bends what passes beside a layer, which no weight of the layer can"
VIRTUAL: dict[str, Any] = {
    "merges": "it adds virtual tokens, not weights",
    "packs": "its virtual tokens stand before the first row of a packed row only",
}
WHOLE: dict[str, Any] = {
    "adapter": False,
    "merges": "its output is a whole model already",
    "quantises": "it trains the base's own weights",
}

prompt, p_tuning = partial(_adapt, "PromptTuningConfig"), partial(_adapt, "PromptEncoderConfig")
prefix = partial(_adapt, "PrefixTuningConfig", prefix_projection=True)
oft, vera = partial(_adapt, "OFTConfig", r=0), partial(_adapt, "VeraConfig")
in_way, after = partial(_bottleneck, "sequential"), partial(_bottleneck, "after")
beside = partial(_bottleneck, "beside")

METHODS = {
    # arXiv 2106.09685
    "lora": Kind(lora, "low-rank updates of layers", LORA, "lora"),
    # arXiv 2303.10512
    "adalora": Kind(adalora, "low-rank updates, more rank where it matters", ADALORA, "lora"),
    # arXiv 2205.05638
    "ia3": Kind(ia3, "factors of keys, values and feed-forward units", LAYERS, "ia3"),
    # arXiv 2306.07280
    "oft": Kind(oft, "rotations of layers' inputs", OFT, "lora"),
    # arXiv 2310.11454
    "vera": Kind(vera, "scales of frozen random updates", VERA, "lora"),
    # arXiv 2104.08691
    "prompt": Kind(prompt, "embeddings of virtual tokens", TOKENS, **VIRTUAL),
    # arXiv 2103.10385
    "p_tuning": Kind(p_tuning, "a network that makes virtual tokens", ENCODER, **VIRTUAL),
    # arXiv 2101.00190
    "prefix": Kind(prefix, "a network that makes keys and values", ENCODER, **VIRTUAL),
    # arXiv 1902.00751, 2110.04366, 2304.01933
    "sadapter_h": Kind(
        in_way, "bottlenecks before gate and up, after down", BOTTLENECK, "sadapter_h", merges=BENDS
    ),
    "sadapter_p": Kind(after, "bottlenecks after down", BOTTLENECK, "sadapter_p", merges=BENDS),
    "padapter": Kind(
        beside, "bottlenecks beside queries, keys, values", BOTTLENECK, "padapter", merges=BENDS
    ),
    "full": Kind(full, "all weights", **WHOLE),
    "embeddings": Kind(
        embeddings, "input embeddings, and modules_to_save", {"modules_to_save": ""}, **WHOLE
    ),
}
"""All methods by name."""


def is_adapter(model: Any) -> bool:
    """Tell whether a trained model is an adapter beside its base."""
    return hasattr(model, "peft_config") or hasattr(model, "bottleneck")


def weight_counts(model: Any) -> Iterator[tuple[Any, int]]:
    """Yield weights and their numbers; a tied weight, and one trained whole, come once."""
    for name, one in model.named_parameters():
        if ".original_module." not in name:  # The first state of a module that trains whole.
            packed = getattr(one, "quant_state", None)  # nf4 keeps two weights in a byte.
            yield one, one.numel() if packed is None else packed.shape.numel()


def parameter_counts(model: Any) -> tuple[int, int]:
    """Return the trainable and all parameters."""
    counts = list(weight_counts(model))
    return sum(n for one, n in counts if one.requires_grad), sum(n for _, n in counts)


def parameter_groups(model: Any, run: Run) -> list[dict[str, Any]]:
    """Return the optimizer's groups: LoRA+ has B learn faster; vectors never decay."""
    rate, decay = run.optimizer.lr, run.optimizer.weight_decay
    groups: dict[tuple[float, float], list[Any]] = {}
    for name, one in model.named_parameters():
        if one.requires_grad:
            faster = run.method.lora_plus if ".lora_B." in name else 1.0
            is_vector = one.numel() == max(one.shape, default=1)
            groups.setdefault((rate * faster, 0.0 if is_vector else decay), []).append(one)
    return [
        {"params": params, "lr": lr, "weight_decay": decays}
        for (lr, decays), params in groups.items()
    ]


def after_step(model: Any, step: int) -> None:
    """Let AdaLoRA prune, after the optimizer's step (from 1) and before gradients are cleared."""
    from train.adapters import rank_allocator

    if rank_allocator(model) is not None:
        model.base_model.update_and_allocate(step)


def extra_loss(model: Any) -> Any | None:
    """Return what a method adds to the loss of a step: AdaLoRA keeps its directions orthogonal."""
    import torch

    from train.adapters import rank_allocator

    if rank_allocator(model) is None:
        return None
    gaps = []
    for name, one in model.named_parameters():
        if ".lora_A." in name or ".lora_B." in name:
            square = one @ one.T if ".lora_A." in name else one.T @ one
            gaps.append(torch.linalg.norm(square - torch.eye(len(square), device=one.device)))
    return model.peft_config["default"].orth_reg_weight * torch.stack(gaps).mean()
