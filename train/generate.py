"""Answering: a model, with or without an adapter, replies through the template it was trained with.

Used by `woolgather chat`, the demo, and the check of a merged model.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from corpus.errors import TrainError
from train.model import load_base, load_tokenizer, passport, quiet_libraries
from train.render import CHAT, Template, Turn, encode_prompt, load_template


@dataclass(frozen=True, slots=True)
class Sampling:
    """How an answer is drawn from the model."""

    max_new_tokens: int = 256
    """Longest answer in tokens."""
    temperature: float = 0.0
    """0: always the likeliest token; higher: more varied."""
    top_p: float = 1.0
    """Draw only from the likeliest tokens that make up this probability."""
    top_k: int = 0
    """Draw only from this many likeliest tokens; 0: from all."""
    seed: int = 0
    """Decides the draws."""

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1 or self.temperature < 0 or self.top_k < 0:
            raise TrainError("chat: max_new_tokens must be at least 1, temperature and top_k 0")
        if not 0 < self.top_p <= 1:
            raise TrainError(f"chat: top_p must be above 0 and at most 1, got {self.top_p}")


@dataclass(frozen=True, slots=True)
class Speaker:
    """A loaded model that answers."""

    model: Any
    tokenizer: Any
    template: Template
    has_adapter: bool

    def answer(
        self,
        instruction: str,
        input: str = "",
        *,
        history: Sequence[tuple[str, str]] = (),
        system: str | None = None,
        sampling: Sampling | None = None,
        adapter: bool = True,
    ) -> str:
        """Answer an instruction; `adapter=False` asks the base model beneath the adapter."""
        sampling = sampling or Sampling()
        turns = [*(Turn(asked, said) for asked, said in history), Turn(instruction, None, input)]
        prompt = encode_prompt(self.tokenizer, self.template, turns, system)
        return self._generate(prompt, sampling, adapter)

    def _generate(self, prompt: list[int], sampling: Sampling, adapter: bool) -> str:
        ids = torch.tensor([prompt], device=self.model.device)  # (1, prompt) int64
        draws = {
            "do_sample": True,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k,
        }
        ends = self.end_tokens()
        off = self.has_adapter and not adapter
        with torch.no_grad(), quiet_libraries(), torch.random.fork_rng(devices=[]):
            transformers.set_seed(sampling.seed)
            with self.model.disable_adapter() if off else nullcontext():
                made = self.model.generate(
                    input_ids=ids,
                    attention_mask=torch.ones_like(ids),
                    max_new_tokens=sampling.max_new_tokens,
                    eos_token_id=ends,
                    pad_token_id=ends[0],
                    **(draws if sampling.temperature > 0 else {"do_sample": False}),
                )
        text: str = self.tokenizer.decode(made[0, len(prompt) :], skip_special_tokens=True)
        return text.strip()

    def end_tokens(self) -> list[int]:
        """Return the tokens that end an answer: the template's end of turn, and end of sequence."""
        parts = self.template.parts([Turn("?", "!")], None)
        last = [one.text for one in parts if one.learned and one.special][-1]
        ends = [self.tokenizer.convert_tokens_to_ids(last), self.tokenizer.eos_token_id]
        return list(dict.fromkeys(one for one in ends if one is not None))


def load_speaker(
    base: str | Path | None,
    adapter: str | Path | None = None,
    *,
    template: str | None = None,
    dtype: str = "float32",
) -> Speaker:
    """Load a model for answering, with the adapter's own tokenizer and template.

    `base` may be left out beside an adapter, which names its own.

    Raises:
        TrainError: base or adapter is absent or does not fit.
    """
    facts = adapter_facts(Path(adapter)) if adapter else {}
    base = base or facts.get("base_model")
    if base is None:
        raise TrainError("chat: expected a base model or an adapter. Give --base or --adapter")
    home = Path(adapter) if adapter else Path(base)
    own_tokenizer = (home / "tokenizer_config.json").is_file()
    facts = facts or passport(Path(base))
    with quiet_libraries():
        model = load_base(base, dtype)
        tokenizer = load_tokenizer(home if own_tokenizer else base)
        if adapter:
            model = attach(model, Path(adapter))
    name = template or facts.get("template") or (CHAT if tokenizer.chat_template else "alpaca")
    model.eval()
    return Speaker(model, tokenizer, load_template(name, tokenizer), bool(adapter))


def adapter_facts(adapter: Path) -> dict[str, Any]:
    """Return what is known of an adapter: our passport, or at least the base that peft names.

    Raises:
        TrainError: the folder is no adapter.
    """
    import json

    file = adapter / "adapter_config.json"
    if not file.is_file():
        raise TrainError(f"{adapter}: expected an adapter folder with an adapter_config.json")
    named = json.loads(file.read_text(encoding="utf-8")).get("base_model_name_or_path")
    return {"base_model": named, **passport(adapter)}


def attach(model: Any, adapter: Path) -> Any:
    """Put an adapter on its base model.

    Raises:
        TrainError: the two do not fit.
    """
    from train.adapters import load_adapter

    try:
        return load_adapter(model, adapter)
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()
        raise TrainError(
            f"{adapter}: the adapter does not fit {model.name_or_path}: {reason[-1].strip()}"
        ) from error
