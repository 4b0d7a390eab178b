"""A small ChatGLM of either kind, which tests copy into a model folder as its own code.

The first reads a prompt both ways and counts positions twice (place, and place within the answer);
the second is causal and shares keys and values between groups of heads. Both put the sequence
first, (width, batch, size), and pack queries, keys and values into query_key_value: the first head
by head, the second one kind after the other.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput, CausalLMOutput


class Config(PreTrainedConfig):
    model_type = "chatglm"

    def __init__(self, hidden_size: int = 64, num_layers: int = 2, **others: Any) -> None:
        self.hidden_size, self.num_layers = hidden_size, num_layers
        self.num_attention_heads = others.pop("num_attention_heads", 4)
        self.groups = others.pop("multi_query_group_num", 2)
        self.inner = others.pop("inner_hidden_size", 96)
        super().__init__(**others)


def turn(x: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Turn (width, batch, heads, size) by the positions (batch, width)."""
    half = x.shape[-1] // 2
    speeds = 10000.0 ** (-torch.arange(half, dtype=torch.float32) / half)
    angles = positions.T[:, :, None, None].float() * speeds
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * angles.cos() - b * angles.sin(), b * angles.cos() + a * angles.sin()], -1)


class Attention(nn.Module):
    def __init__(self, config: Any) -> None:
        super().__init__()
        self.twice = bool(getattr(config, "position_encoding_2d", False))
        self.heads, self.size = (
            config.num_attention_heads,
            config.hidden_size // config.num_attention_heads,
        )
        self.groups = self.heads if self.twice else config.groups
        packed = (self.heads + 2 * self.groups) * self.size
        self.query_key_value = nn.Linear(config.hidden_size, packed)
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def parts(self, hidden: torch.Tensor) -> list[torch.Tensor]:
        packed = self.query_key_value(hidden)
        if self.twice:
            return list(packed.unflatten(-1, (self.heads, 3 * self.size)).chunk(3, -1))
        sizes = [self.heads * self.size, *[self.groups * self.size] * 2]
        return [one.unflatten(-1, (-1, self.size)) for one in packed.split(sizes, -1)]

    def forward(self, hidden: torch.Tensor, positions: Any, mask: torch.Tensor) -> torch.Tensor:
        q, k, v = self.parts(hidden)
        if self.twice:
            where = positions.unbind(1)
            halves = [zip(one.chunk(2, -1), where, strict=True) for one in (q, k)]
            q, k = (torch.cat([turn(part, place) for part, place in one], -1) for one in halves)
        else:
            q, k = turn(q, positions), turn(k, positions)
            k, v = (one.repeat_interleave(self.heads // self.groups, 2) for one in (k, v))
        q, k, v = (one.permute(1, 2, 0, 3) for one in (q, k, v))
        scores = (q @ k.transpose(-1, -2) / self.size**0.5).masked_fill(mask, -10000.0)
        mixed = scores.softmax(-1) @ v
        return self.dense(mixed.permute(2, 0, 1, 3).flatten(2))


class Layer(nn.Module):
    def __init__(self, config: Any) -> None:
        super().__init__()
        self.input_layernorm = nn.LayerNorm(config.hidden_size)
        self.attention = Attention(config)
        self.post_attention_layernorm = nn.LayerNorm(config.hidden_size)
        self.mlp = nn.Module()
        self.mlp.dense_h_to_4h = nn.Linear(config.hidden_size, config.inner)
        self.mlp.dense_4h_to_h = nn.Linear(config.inner, config.hidden_size)

    def forward(self, hidden: torch.Tensor, positions: Any, mask: torch.Tensor) -> torch.Tensor:
        hidden = hidden + self.attention(self.input_layernorm(hidden), positions, mask)
        wide = self.mlp.dense_h_to_4h(self.post_attention_layernorm(hidden))
        return hidden + self.mlp.dense_4h_to_h(nn.functional.gelu(wide))


class Model(PreTrainedModel):
    config_class = Config
    base_model_prefix = "transformer"

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        rows = getattr(config, "padded_vocab_size", None) or config.vocab_size
        self.word_embeddings = nn.Embedding(rows, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_layers))
        self.final_layernorm = nn.LayerNorm(config.hidden_size)
        self.post_init()

    def masks_and_positions(self, input_ids: torch.Tensor) -> tuple[Any, Any]:
        """What the first kind makes of unpadded rows where it is given neither."""
        n_rows, width = input_ids.shape
        masks = torch.ones(n_rows, 1, width, width, dtype=torch.bool).triu(1)
        positions = torch.zeros(n_rows, 2, width, dtype=torch.long)
        for row, ids in enumerate(input_ids.tolist()):
            start = ids.index(self.config.bos_token_id)
            mark = self.config.gmask_token_id
            mark = mark if mark in ids else self.config.mask_token_id
            masks[row, :, :, :start] = False
            positions[row, 0, :start] = torch.arange(start)
            positions[row, 0, start:] = ids.index(mark)
            positions[row, 1, start:] = torch.arange(1, width - start + 1)
        return masks, positions

    def forward(
        self,
        input_ids: torch.Tensor,
        position_ids: Any = None,
        attention_mask: Any = None,
        past_key_values: Any = None,
        use_cache: Any = None,
    ) -> BaseModelOutput:
        width = input_ids.shape[1]
        if getattr(self.config, "position_encoding_2d", False):
            made = self.masks_and_positions(input_ids) if position_ids is None else (None, None)
            attention_mask = made[0] if attention_mask is None else attention_mask
            position_ids = made[1] if position_ids is None else position_ids
        else:
            hidden = torch.zeros_like(input_ids) if attention_mask is None else 1 - attention_mask
            causal = torch.ones(width, width, dtype=torch.bool).triu(1)
            attention_mask = causal | hidden[:, None, None, :].bool()
            position_ids = torch.arange(width)[None] if position_ids is None else position_ids
        hidden = self.word_embeddings(input_ids).transpose(0, 1)
        for layer in self.layers:
            hidden = layer(hidden, position_ids, attention_mask)
        return BaseModelOutput(last_hidden_state=self.final_layernorm(hidden))


class ForConditionalGeneration(PreTrainedModel):
    config_class = Config
    base_model_prefix = "transformer"

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.transformer = Model(config)
        rows = self.transformer.word_embeddings.num_embeddings
        self.lm_head = nn.Linear(config.hidden_size, rows, bias=False)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.transformer.word_embeddings

    def get_output_embeddings(self) -> nn.Module:
        return self.lm_head

    def prepare_inputs_for_generation(self, input_ids: Any, **others: Any) -> dict[str, Any]:
        return {"input_ids": input_ids}

    def forward(
        self,
        input_ids: torch.Tensor,
        position_ids: Any = None,
        attention_mask: Any = None,
        past_key_values: Any = None,
        use_cache: Any = None,
    ) -> CausalLMOutput:
        hidden = self.transformer(
            input_ids, position_ids=position_ids, attention_mask=attention_mask
        )[0]
        return CausalLMOutput(logits=self.lm_head(hidden).transpose(0, 1))
