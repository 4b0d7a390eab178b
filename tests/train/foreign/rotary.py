"""A small decoder with rotary positions whose projections are packed as three families pack them.

Tests copy it into a model folder as that model's own code: Baichuan (W_pack: queries, keys and
values one below the other), InternLM (apart, with biases) and InternLM2 (wqkv: for each group of
heads its queries, then a key and a value).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput, CausalLMOutput


class Config(PreTrainedConfig):
    model_type = "baichuan"

    def __init__(self, hidden_size: int = 64, vocab_size: int = 100, **others: Any) -> None:
        self.hidden_size, self.vocab_size = hidden_size, vocab_size
        self.num_attention_heads = others.pop("num_attention_heads", 4)
        self.num_key_value_heads = others.pop("num_key_value_heads", 4)
        self.num_hidden_layers = others.pop("num_hidden_layers", 2)
        self.intermediate_size = others.pop("intermediate_size", 96)
        self.rms_norm_eps = others.pop("rms_norm_eps", 1e-6)
        super().__init__(**others)


class InternConfig(Config):
    model_type = "internlm"

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)


class Intern2Config(Config):
    model_type = "internlm2"

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)


class Norm(nn.Module):
    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(size)), eps

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return hidden * torch.rsqrt(hidden.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight


def rotate(x: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Turn (batch, heads, width, size) by the positions (batch, width)."""
    half = x.shape[-1] // 2
    speeds = 10000.0 ** (-torch.arange(half, dtype=torch.float32) / half)
    angles = positions[:, None, :, None].float() * speeds
    a, b = x[..., :half], x[..., half:]
    cos, sin = angles.cos(), angles.sin()
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


class Attention(nn.Module):
    def __init__(self, config: Any) -> None:
        super().__init__()
        self.kind, size = config.model_type, config.hidden_size
        self.heads, self.size = config.num_attention_heads, size // config.num_attention_heads
        self.groups = config.num_key_value_heads
        bias = self.kind == "internlm"
        if self.kind == "baichuan":
            self.W_pack = nn.Linear(size, 3 * size, bias=False)
        elif self.kind == "internlm2":
            self.wqkv = nn.Linear(size, (self.heads + 2 * self.groups) * self.size, bias=False)
        else:
            self.q_proj = nn.Linear(size, size, bias=True)
            self.k_proj = nn.Linear(size, size, bias=True)
            self.v_proj = nn.Linear(size, size, bias=True)
        output = nn.Linear(size, size, bias=bias)
        setattr(self, "wo" if self.kind == "internlm2" else "o_proj", output)

    def parts(self, hidden: torch.Tensor) -> list[torch.Tensor]:
        """Return queries, keys and values: (batch, width, heads, size) each."""
        if self.kind == "baichuan":
            found = self.W_pack(hidden).unflatten(-1, (3, self.heads, self.size)).unbind(2)
            return list(found)
        if self.kind == "internlm2":
            each = self.heads // self.groups
            packed = self.wqkv(hidden).unflatten(-1, (self.groups, each + 2, self.size))
            queries = packed[..., :each, :].flatten(2, 3)
            both = [packed[..., place, :].repeat_interleave(each, 2) for place in (-2, -1)]
            return [queries, *both]
        apart = (self.q_proj(hidden), self.k_proj(hidden), self.v_proj(hidden))
        return [one.unflatten(-1, (self.heads, self.size)) for one in apart]

    def forward(
        self, hidden: torch.Tensor, positions: torch.Tensor, sees: torch.Tensor
    ) -> torch.Tensor:
        q, k, v = (one.transpose(1, 2) for one in self.parts(hidden))
        q, k = rotate(q, positions), rotate(k, positions)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=sees)
        output = self.wo if self.kind == "internlm2" else self.o_proj
        return output(mixed.transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    def __init__(self, config: Any) -> None:
        super().__init__()
        small, large = config.hidden_size, config.intermediate_size
        second = config.model_type == "internlm2"
        self.names = ("w1", "w3", "w2") if second else ("gate_proj", "up_proj", "down_proj")
        for name, sizes in zip(self.names, [(small, large)] * 2 + [(large, small)], strict=True):
            setattr(self, name, nn.Linear(*sizes, bias=False))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        gate, up, down = (getattr(self, name) for name in self.names)
        return down(nn.functional.silu(gate(hidden)) * up(hidden))


class Layer(nn.Module):
    def __init__(self, config: Any) -> None:
        super().__init__()
        self.input_layernorm = Norm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = Norm(config.hidden_size, config.rms_norm_eps)
        self.mlp = Mlp(config)

    def forward(
        self, hidden: torch.Tensor, positions: torch.Tensor, sees: torch.Tensor
    ) -> torch.Tensor:
        hidden = hidden + self.self_attn(self.input_layernorm(hidden), positions, sees)
        return hidden + self.mlp(self.post_attention_layernorm(hidden))


class Model(PreTrainedModel):
    config_class = Config
    base_model_prefix = "model"

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.norm = Norm(config.hidden_size, config.rms_norm_eps)
        self.post_init()

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: Any = None,
        position_ids: Any = None,
        past_key_values: Any = None,
        use_cache: Any = None,
    ) -> BaseModelOutput:
        # Like the families' own code, positions may be given, but the mask is causal over all.
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        sees = mask[:, None, None, :].bool().expand(-1, -1, mask.shape[1], -1).tril()
        if position_ids is None:
            position_ids = torch.arange(input_ids.shape[1])[None]
        hidden = self.embed_tokens(input_ids)
        for layer in self.layers:
            hidden = layer(hidden, position_ids, sees)
        return BaseModelOutput(last_hidden_state=self.norm(hidden))


class ForCausalLM(PreTrainedModel):
    config_class = Config
    base_model_prefix = "model"

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.model = Model(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.model.embed_tokens

    def get_output_embeddings(self) -> nn.Module:
        return self.lm_head

    def prepare_inputs_for_generation(self, input_ids: Any, **others: Any) -> dict[str, Any]:
        return {"input_ids": input_ids}

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: Any = None,
        position_ids: Any = None,
        past_key_values: Any = None,
        use_cache: Any = None,
    ) -> CausalLMOutput:
        hidden = self.model(input_ids, attention_mask, position_ids)[0]
        return CausalLMOutput(logits=self.lm_head(hidden))


class InternForCausalLM(ForCausalLM):
    config_class = InternConfig


class Intern2ForCausalLM(ForCausalLM):
    config_class = Intern2Config
