"""Default targets: which layers of an architecture a method adapts when the run names none.

Names were read from the architectures' own modules; the methods ask here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from corpus.errors import TrainError

Family = Literal["lora", "ia3", "ia3_feedforward", "sadapter_h", "sadapter_p", "padapter"]


@dataclass(frozen=True, slots=True)
class Linears:
    """The linear layers of an architecture's block, by what they do; names are suffixes."""

    attention: tuple[str, ...] = ("q_proj", "k_proj", "v_proj")
    """What makes queries, keys and values; IA3 scales the last two, or a fused one whole."""
    output: str = "o_proj"
    """Where attention ends."""
    up: tuple[str, ...] = ("gate_proj", "up_proj")
    """Into the feed-forward part."""
    down: str = "down_proj"
    """Out of it."""

    def of(self, family: Family) -> tuple[str, ...]:
        """Return the layers of a family of methods."""
        down = (self.down,) if self.down else ()
        scaled = self.attention[1:] or self.attention
        return {
            "lora": (*self.attention, self.output, *self.up, *down),
            "ia3": (*scaled, *down),
            "ia3_feedforward": down,
            "sadapter_h": (*self.up, *down),
            "sadapter_p": down,
            "padapter": self.attention,
        }[family]


LLAMA = Linears()
FUSED = Linears(("query_key_value",), "dense", ("dense_h_to_4h",), "dense_4h_to_h")
GLM = Linears(up=("gate_up_proj",))
EXPERTS = Linears(up=(), down="")
"""Mixtures of experts: these are fused 3-D weights, frozen like the router that chooses them."""

TABLE = {
    "llama": LLAMA,
    "mistral": LLAMA,
    "mixtral": EXPERTS,
    "qwen2": LLAMA,
    "qwen3": LLAMA,
    "gemma": LLAMA,
    "gemma2": LLAMA,
    "gemma3_text": LLAMA,
    "internlm3": LLAMA,
    "glm": GLM,
    "glm4": GLM,
    "phi3": Linears(("qkv_proj",), up=("gate_up_proj",)),
    "bloom": FUSED,
    "falcon": FUSED,
    "gpt_neox": FUSED,
    "gpt2": Linears(("c_attn",), "attn.c_proj", ("c_fc",), "mlp.c_proj"),
    "opt": Linears(output="out_proj", up=("fc1",), down="fc2"),
    "mpt": Linears(("Wqkv",), "out_proj", ("up_proj",)),
    "chatglm": FUSED,
    "moss": Linears(("qkv_proj",), "out_proj", ("fc_in",), "fc_out"),
    "baichuan": Linears(("W_pack",)),
    "internlm": LLAMA,
    "internlm2": Linears(("wqkv",), "wo", ("w1", "w3"), "w2"),
}
"""model_type -> its linear layers; chatglm, moss, baichuan, internlm and internlm2 bring code."""

TRANSPOSED = frozenset({"gpt2"})
"""Architectures that store linear weights (in, out): peft's fan_in_fan_out."""

ROUTERS = frozenset({"gate", "router", "shared_expert_gate"})
"""Linear layers by name that choose experts: adapting them shifts the balance of experts."""


def default_targets(model: Any, family: Family) -> tuple[str, ...]:
    """Return the names of the layers that a family of methods adapts in a model.

    `model` may also be a config or a model_type. In a model of an unknown architecture lora takes
    all linear layers but the head and routers.

    Raises:
        TrainError: nothing is known of this architecture, or it has no such layer.
    """
    config = getattr(model, "config", model)
    kind = config if isinstance(config, str) else config.model_type
    known = TABLE.get(kind)
    names = known.of(family) if known else ()
    if not known and family == "lora" and hasattr(model, "named_modules"):
        names = _every_linear(model)
    if not names and not (known and family == "ia3_feedforward"):
        why = "its experts are not linear layers" if known else "an architecture not in the table"
        raise TrainError(
            f"method.targets: no default of {family} for {kind}: {why}."
            " Name the layers: --set 'method.targets=[...]'"
        )
    return names


def _every_linear(model: Any) -> tuple[str, ...]:
    import torch
    from transformers.pytorch_utils import Conv1D

    head = model.get_output_embeddings()
    linears = [
        name.rpartition(".")[2]
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear | Conv1D) and module is not head
    ]
    return tuple(sorted(set(linears) - ROUTERS))
