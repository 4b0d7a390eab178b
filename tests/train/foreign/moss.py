"""A small MOSS, which tests copy into a model folder as its own code.

Attention and feed-forward part stand side by side; qkv_proj holds four blocks of queries, values
and keys, as the model was cut over four devices; the forward takes neither positions nor
logits_to_keep.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput, CausalLMOutput


class Config(PreTrainedConfig):
    model_type = "moss"

    def __init__(self, n_embd: int = 64, n_layer: int = 2, n_head: int = 4, **others: Any) -> None:
        self.n_embd, self.n_layer, self.n_head = n_embd, n_layer, n_head
        self.hidden_size = n_embd
        super().__init__(**others)


class Attention(nn.Module):
    def __init__(self, config: Any) -> None:
        super().__init__()
        self.heads, self.size = config.n_head, config.n_embd // config.n_head
        self.qkv_proj = nn.Linear(config.n_embd, 3 * config.n_embd, bias=False)
        self.out_proj = nn.Linear(config.n_embd, config.n_embd, bias=False)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        blocks = self.qkv_proj(hidden).unflatten(-1, (4, -1))
        q, v, k = (
            one.unflatten(-1, (-1, self.size)).flatten(2, 3).transpose(1, 2)
            for one in blocks.chunk(3, -1)
        )
        places = torch.arange(hidden.shape[1])
        far = (places[None, :] - places[:, None]) * 0.1
        mask = far.masked_fill(far > 0, float("-inf")).to(q.dtype)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))


class Block(nn.Module):
    def __init__(self, config: Any) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd)
        self.attn = Attention(config)
        self.mlp = nn.Module()
        self.mlp.fc_in = nn.Linear(config.n_embd, 2 * config.n_embd)
        self.mlp.fc_out = nn.Linear(2 * config.n_embd, config.n_embd)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        normed = self.ln_1(hidden)
        wide = nn.functional.gelu(self.mlp.fc_in(normed))
        return hidden + self.attn(normed) + self.mlp.fc_out(wide)


class Model(PreTrainedModel):
    config_class = Config
    base_model_prefix = "transformer"

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.h = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd)
        self.post_init()

    def forward(self, input_ids: torch.Tensor, use_cache: Any = None) -> BaseModelOutput:
        hidden = self.wte(input_ids)
        for block in self.h:
            hidden = block(hidden)
        return BaseModelOutput(last_hidden_state=self.ln_f(hidden))


class ForCausalLM(PreTrainedModel):
    config_class = Config
    base_model_prefix = "transformer"

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.transformer = Model(config)
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.transformer.wte

    def get_output_embeddings(self) -> nn.Module:
        return self.lm_head

    def prepare_inputs_for_generation(self, input_ids: Any, **others: Any) -> dict[str, Any]:
        return {"input_ids": input_ids}

    def forward(self, input_ids: torch.Tensor, use_cache: Any = None) -> CausalLMOutput:
        return CausalLMOutput(logits=self.lm_head(self.transformer(input_ids)[0]))
