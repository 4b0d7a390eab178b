"""Training methods: one registry, one function each, which makes a base model trainable.

`train.run` builds by it and `train.compose` refuses by it what a method cannot do; the trainer asks
here for parameter groups, extra loss, and what a checkpoint must hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
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
    keys: tuple[str, ...] = ()
    """Settings of `method` that it uses besides `type`."""
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


METHODS: dict[str, Kind] = {}
"""All methods by name."""


def _method(trains: str, *keys: str, **facts: Any) -> Callable[[Build], Build]:
    """Register the decorated function under its own name."""

    def add(build: Build) -> Build:
        assert build.__name__ not in METHODS
        METHODS[build.__name__] = Kind(build, trains, keys, **facts)
        return build

    return add


def refuse_unfit(run: Run) -> None:
    """Refuse settings that do not fit the run's method.

    Raises:
        RecipeError: all of them at once, one a line.
    """
    lines = [f"run: {'.'.join(path)}: {reason}" for path, reason in unfit_settings(run)]
    if lines:
        raise RecipeError("\n".join(lines))


def unfit_settings(run: Run) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the settings that do not fit the run's method, each with the reason."""
    method, name = run.method, run.method.type
    if name not in METHODS:
        yield ("method", "type"), f"got {name!r}, supported: {', '.join(METHODS)}"
        return
    kind = METHODS[name]
    for key, field in Method.model_fields.items():
        if key not in ("type", *kind.keys) and getattr(method, key) != field.default:
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


def targets_of(model: Any, method: Method, family: Family) -> list[str] | str:
    """Return the layers to adapt: those named, or the architecture's default."""
    if isinstance(method.targets, tuple):
        return list(method.targets)
    return "all-linear" if method.targets == "all-linear" else list(default_targets(model, family))


def _adapt(model: Any, method: Method, config: str, family: Family, **options: Any) -> Any:
    """Put the layers of one of peft's methods into a model."""
    import peft

    from train.adapters import keep_type

    ends = {name.rpartition(".")[2] for name, _ in model.named_modules()}
    absent = [one for one in method.modules_to_save if one not in ends]
    if absent:
        raise TrainError(f"method.modules_to_save: the base has no {', '.join(absent)}")
    try:
        made = getattr(peft, config)(
            target_modules=targets_of(model, method, family),
            modules_to_save=list(method.modules_to_save) or None,
            fan_in_fan_out=model.config.model_type in TRANSPOSED,
            task_type="CAUSAL_LM",
            **options,
        )
        return _keep_float32(keep_type(peft.get_peft_model(model, made)))
    except ValueError as error:
        raise TrainError(f"method.targets: {str(error).splitlines()[0]}") from error


LAYERS = ("targets", "modules_to_save")
LOW_RANK = ("r", "alpha", "dropout", *LAYERS)


@_method(
    "low-rank updates of layers", *LOW_RANK, "rslora", "dora", "init", "lora_plus", family="lora"
)
def lora(model: Any, method: Method, steps: int) -> Any:
    """Add low-rank updates (LoRA, arXiv 2106.09685)."""
    pissa = method.init == "pissa"
    both = (model.get_input_embeddings(), model.get_output_embeddings())
    ends = {name.rpartition(".")[2] for name, part in model.named_modules() if part in both}
    named = {*method.modules_to_save, *(() if isinstance(method.targets, str) else method.targets)}
    model = _adapt(
        model,
        method,
        "LoraConfig",
        "lora",
        r=method.r,
        lora_alpha=method.alpha,
        lora_dropout=method.dropout,
        use_rslora=method.rslora,
        use_dora=method.dora,
        # A model without memory, of which only the shapes are asked, has no principal parts.
        init_lora_weights="pissa" if pissa and model.device.type != "meta" else True,
        ensure_weight_tying=bool(model.config.tie_word_embeddings and ends & named),
    )
    if pissa:
        start = model.named_parameters()
        model.pissa_start = {name: one.detach().clone() for name, one in start if ".lora_" in name}
    return model


@_method(
    "low-rank updates, more rank where it matters",
    *LOW_RANK,
    *("init_r", "tinit", "tfinal", "delta_t"),
    family="lora",
)
def adalora(model: Any, method: Method, steps: int) -> Any:
    """Prune low-rank updates to a common budget of ranks (AdaLoRA, arXiv 2303.10512).

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
    model = _adapt(
        model,
        method,
        "AdaLoraConfig",
        "lora",
        init_r=method.init_r,
        target_r=method.r,
        lora_alpha=method.alpha,
        lora_dropout=method.dropout,
        tinit=tinit,
        tfinal=tfinal,
        deltaT=method.delta_t,
        total_step=steps,
    )
    for name, one in model.named_parameters():
        one.requires_grad_(one.requires_grad and ".ranknum." not in name)
    return model


@_method("factors of keys, values and feed-forward units", *LAYERS, family="ia3")
def ia3(model: Any, method: Method, steps: int) -> Any:
    """Learn a factor for every unit of some layers (IA3, arXiv 2205.05638)."""
    inner = default_targets(model, "ia3_feedforward")
    inner = inner if method.targets == "default" else tuple({*inner} & {*method.targets})
    return _adapt(model, method, "IA3Config", "ia3", feedforward_modules=list(inner))


@_method("rotations of layers' inputs", "block_size", "dropout", *LAYERS, family="lora")
def oft(model: Any, method: Method, steps: int) -> Any:
    """Rotate what goes into layers, block by block (OFT, arXiv 2306.07280)."""
    options = {"oft_block_size": method.block_size, "module_dropout": method.dropout}
    return _adapt(model, method, "OFTConfig", "lora", r=0, **options)


@_method("scales of frozen random updates", "r", "dropout", *LAYERS, family="lora")
def vera(model: Any, method: Method, steps: int) -> Any:
    """Scale random low-rank updates that all layers share (VeRA, arXiv 2310.11454)."""
    return _adapt(model, method, "VeraConfig", "lora", r=method.r, vera_dropout=method.dropout)


VIRTUAL: dict[str, Any] = {
    "merges": "it adds virtual tokens, not weights",
    "packs": "its virtual tokens stand before the first row of a packed row only",
}


def _virtual(model: Any, method: Method, config: str, **options: Any) -> Any:
    """Put virtual tokens before every row."""
    import peft

    made = getattr(peft, config)(
        num_virtual_tokens=method.virtual_tokens, task_type="CAUSAL_LM", **options
    )
    return peft.get_peft_model(model, made)


@_method("embeddings of virtual tokens", "virtual_tokens", **VIRTUAL)
def prompt(model: Any, method: Method, steps: int) -> Any:
    """Learn virtual tokens (prompt tuning, arXiv 2104.08691)."""
    return _virtual(model, method, "PromptTuningConfig")


@_method("a network that makes virtual tokens", "virtual_tokens", "encoder_hidden", **VIRTUAL)
def p_tuning(model: Any, method: Method, steps: int) -> Any:
    """Learn virtual tokens through a network (p-tuning, arXiv 2103.10385)."""
    hidden = method.encoder_hidden
    return _virtual(model, method, "PromptEncoderConfig", encoder_hidden_size=hidden)


@_method("a network that makes keys and values", "virtual_tokens", "encoder_hidden", **VIRTUAL)
def prefix(model: Any, method: Method, steps: int) -> Any:
    """Learn keys and values of virtual tokens in every layer (arXiv 2101.00190)."""
    options = {"encoder_hidden_size": method.encoder_hidden, "prefix_projection": True}
    return _virtual(model, method, "PrefixTuningConfig", **options)


BOTTLENECK = ("targets", "bottleneck", "activation", "dropout")
BENDS = "it bends what passes beside a layer, which no weight of the layer can"


def _bottleneck(model: Any, method: Method, family: Family, place: str) -> Any:
    from train.adapters import insert_bottlenecks

    config: dict[str, Any] = {key: getattr(method, key) for key in BOTTLENECK}
    targets = targets_of(model, method, family)
    config["targets"] = default_targets(model, "lora") if targets == "all-linear" else targets
    return insert_bottlenecks(model, {"place": place, **config})


@_method(
    "bottlenecks before gate and up, after down", *BOTTLENECK, family="sadapter_h", merges=BENDS
)
def sadapter_h(model: Any, method: Method, steps: int) -> Any:
    """Put adapters in the way of the whole feed-forward part."""
    return _bottleneck(model, method, "sadapter_h", "sequential")


@_method("bottlenecks after down", *BOTTLENECK, family="sadapter_p", merges=BENDS)
def sadapter_p(model: Any, method: Method, steps: int) -> Any:
    """Put adapters after the feed-forward part."""
    return _bottleneck(model, method, "sadapter_p", "after")


@_method("bottlenecks beside queries, keys, values", *BOTTLENECK, family="padapter", merges=BENDS)
def padapter(model: Any, method: Method, steps: int) -> Any:
    """Put adapters beside the layers of attention."""
    return _bottleneck(model, method, "padapter", "beside")


WHOLE: dict[str, Any] = {
    "adapter": False,
    "merges": "its output is a whole model already",
    "quantises": "it trains the base's own weights",
}


@_method("all weights", **WHOLE)
def full(model: Any, method: Method, steps: int) -> Any:
    """Train all weights of the base."""
    return model.requires_grad_(True)


@_method("input embeddings, and modules_to_save", "modules_to_save", **WHOLE)
def embeddings(model: Any, method: Method, steps: int) -> Any:
    """Train the input embeddings, and modules beside them; a tied head is the same weight.

    Raises:
        TrainError: the base has no module of a name in modules_to_save.
    """
    model.requires_grad_(False)
    model.get_input_embeddings().requires_grad_(True)
    for one in method.modules_to_save:
        found = [part for name, part in model.named_modules() if name.rpartition(".")[2] == one]
        if not found:
            raise TrainError(f"method.modules_to_save: the base has no {one}")
        for part in found:
            part.requires_grad_(True)
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


def is_adapter(model: Any) -> bool:
    """Tell whether a trained model is an adapter beside its base."""
    return hasattr(model, "peft_config") or hasattr(model, "bottleneck")


def parameter_counts(model: Any) -> tuple[int, int]:
    """Return the trainable and all parameters; a tied weight, and one trained whole, count once."""
    trains = total = 0
    for name, one in model.named_parameters():
        if ".original_module." in name:  # The first state of a module that trains whole.
            continue
        packed = getattr(one, "quant_state", None)  # nf4 keeps two weights in a byte.
        count = one.numel() if packed is None else packed.shape.numel()
        total += count
        trains += count if one.requires_grad else 0
    return trains, total


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
