"""Answering: a model, with or without an adapter, replies through the template it was trained with.

Used by `woolgather chat` and `predict`, the demo, and the check of a merged model. Whatever can be
said about base and adapter without torch is said before it is imported.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corpus.errors import TrainError
from corpus.registry import suggest
from train.model import (
    base_config,
    load_base,
    load_tokenizer,
    model_folder,
    passport,
    quiet_libraries,
)
from train.render import CHAT, Template, Turn, encode_prompt, load_template

if TYPE_CHECKING:
    from torch import Tensor

TRIGGERS = {"en": "Let's think step by step.", "zh": "先思考，再决定", "zh-Hant": "先思考，再決定"}
"""Sentence after a prompt that asks for a chain of thought, by language (arXiv 2310.07328)."""


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
    num_beams: int = 1
    """Answers followed at a time, of which the likeliest is kept; higher: slower."""
    repetition_penalty: float = 1.0
    """Above 1: tokens that stand in the prompt or the answer become less likely."""
    no_repeat_ngram_size: int = 0
    """No run of so many tokens comes twice; 0: it may."""

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1 or self.num_beams < 1:
            raise TrainError("sampling: max_new_tokens and num_beams must be at least 1")
        if min(self.temperature, self.top_k, self.no_repeat_ngram_size) < 0:
            raise TrainError(
                "sampling: temperature, top_k and no_repeat_ngram_size must be at least 0"
            )
        if not 0 < self.top_p <= 1:
            raise TrainError(f"sampling: top_p must be above 0 and at most 1, got {self.top_p}")
        if self.repetition_penalty <= 0:
            raise TrainError("sampling: repetition_penalty must be above 0")
        if self.temperature == 0 and (self.top_p < 1 or self.top_k):
            raise TrainError("sampling: top_p and top_k need a temperature above 0")

    def options(self) -> dict[str, Any]:
        """Return what transformers calls these."""
        options = asdict(self) | {"do_sample": self.temperature > 0}
        unused = {"seed"} if self.temperature > 0 else {"seed", "temperature", "top_p", "top_k"}
        return {key: value for key, value in options.items() if key not in unused}


PRESETS = {
    "alpaca_lora": Sampling(128, 0.1, 0.75, 40, num_beams=4),
    "alpaca_cot": Sampling(
        512, 1.0, 0.9, 40, num_beams=4, repetition_penalty=1.8, no_repeat_ngram_size=6
    ),
    "chinese_alpaca": Sampling(400, 0.2, 0.9, 40, repetition_penalty=1.1),
}
"""Published settings of other projects."""


def sampling_of(preset: str | None, given: Mapping[str, Any]) -> Sampling:
    """Return a preset's sampling, or the default, changed by what is given and not None."""
    if preset is not None and preset not in PRESETS:
        raise TrainError(f"--sampling: {preset!r} is unknown.{suggest(preset, list(PRESETS))}")
    chosen = {key: value for key, value in given.items() if value is not None}
    return replace(PRESETS[preset] if preset else Sampling(), **chosen)


def triggered(instruction: str, input: str, sentences: Mapping[str, str] | None) -> tuple[str, str]:
    """Return a prompt with its language's sentence at its end, as a mixture's cot_trigger has it.

    `sentences` go by language, such as TRIGGERS; None leaves the prompt as it is.
    """
    if not sentences:
        return instruction, input
    from corpus.derive import with_trigger

    return with_trigger(instruction, input, dict(sentences))


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
        turns = [*(Turn(asked, said) for asked, said in history), Turn(instruction, None, input)]
        prompt = encode_prompt(self.tokenizer, self.template, turns, system)
        return self.reply([prompt], sampling or Sampling(), adapter=adapter)[0]

    def reply(
        self, prompts: Sequence[list[int]], sampling: Sampling, *, adapter: bool = True
    ) -> list[str]:
        """Answer encoded prompts as one batch; greedily, each as it would be answered alone.

        Raises:
            TrainError: a prompt and its answer pass the positions of the model.
        """
        import torch
        import transformers

        ids, mask = self._batch(prompts, sampling.max_new_tokens)
        ends = self.end_tokens()
        options = {**sampling.options(), "eos_token_id": ends, "pad_token_id": ends[0]}
        off = self.has_adapter and not adapter
        devices = [self.model.device] if self.model.device.type == "cuda" else []
        with torch.no_grad(), quiet_libraries(), torch.random.fork_rng(devices=devices):
            transformers.set_seed(sampling.seed)
            with self.model.disable_adapter() if off else nullcontext():
                made = self.model.generate(
                    input_ids=ids,
                    attention_mask=mask,
                    generation_config=generation_config(**options),
                )
        texts = self.tokenizer.batch_decode(made[:, ids.shape[1] :], skip_special_tokens=True)
        return [text.strip() for text in texts]

    def _batch(self, prompts: Sequence[list[int]], room: int) -> tuple[Tensor, Tensor]:
        """Return prompts padded at the left, and where they are: (prompts, longest) int64."""
        import torch

        longest = max(map(len, prompts))
        limit = getattr(self.model.config, "max_position_embeddings", None)
        if limit and longest + room > limit:
            raise TrainError(
                f"a prompt of {longest} tokens and an answer of {room} pass the {limit} positions"
                " of the model. Shorten the prompt, or give a smaller --max-new-tokens"
            )
        # Each is padded with its own first token: penalties of repetition look at padding too.
        padded = [[one[0]] * (longest - len(one)) + one for one in prompts]
        seen = [[0] * (longest - len(one)) + [1] * len(one) for one in prompts]
        device = self.model.device
        return torch.tensor(padded, device=device), torch.tensor(seen, device=device)

    def end_tokens(self) -> list[int]:
        """Return the tokens that end an answer: the template's end of turn, and end of sequence."""
        parts = self.template.parts([Turn("?", "!")], None)
        last = [one.text for one in parts if one.learned and one.special][-1]
        ends = [self.tokenizer.convert_tokens_to_ids(last), self.tokenizer.eos_token_id]
        return list(dict.fromkeys(one for one in ends if one is not None))


def generation_config(**options: Any) -> Any:
    """Return transformers' settings of generation."""
    import transformers

    made: Any = transformers.GenerationConfig
    return made(**options)


def load_speaker(
    base: str | Path | None,
    adapter: str | Path | None = None,
    *,
    template: str | None = None,
    device: str = "cpu",
    **loading: Any,
) -> Speaker:
    """Load a model for answering, with the adapter's own tokenizer and template.

    `base` may be left out beside an adapter, which names its own; `loading` is for `load_base`.

    Raises:
        TrainError: base or adapter is absent or does not fit.
    """
    base, facts = check_pair(base, adapter)
    home = Path(adapter) if adapter else model_folder(base)
    own_tokenizer = (home / "tokenizer_config.json").is_file()
    with quiet_libraries():
        code = bool(loading.get("trust_remote_code"))
        tokenizer = load_tokenizer(home if own_tokenizer else base, code)
        name = template or facts.get("template") or (CHAT if tokenizer.chat_template else "alpaca")
        bound = load_template(name, tokenizer)
        model = load_base(base, prequantised=True, **loading)
        # What is not asked for is not done: folders bring sampling settings of their own.
        model.generation_config = generation_config()
        if adapter:
            model = attach(model, Path(adapter))
        if device == "auto":
            import torch

            model.to("cuda" if torch.cuda.is_available() else "cpu")
    model.eval()
    return Speaker(model, tokenizer, bound, bool(adapter))


def check_pair(
    base: str | Path | None, adapter: str | Path | None
) -> tuple[str | Path, dict[str, Any]]:
    """Return the base, which an adapter may name, and what is known of what will answer.

    Raises:
        TrainError: one of them is absent, or the adapter was trained on another base.
    """
    facts = adapter_facts(Path(adapter)) if adapter else {}
    base = base or facts.get("base_model")
    if base is None:
        raise TrainError("expected a base model or an adapter. Give --base or --adapter")
    folder = model_folder(base)
    room = base_config(folder).get("vocab_size")
    if adapter is None:
        return base, passport(folder)
    if room and facts.get("vocabulary", 0) > room:
        raise TrainError(
            f"{adapter}: expected a base model of at least {facts['vocabulary']} tokens, as the"
            f" adapter's tokenizer has, got {room}: {base}"
        )
    _refuse_other_base(Path(adapter), folder, facts)
    return base, facts


def _refuse_other_base(adapter: Path, folder: Path, facts: Mapping[str, Any]) -> None:
    """Raise when low-rank updates do not fit the layers of the base that they name."""
    from train.tensors import names_in

    base, saved = (
        {
            name: shape
            for file in one.glob("*.safetensors")
            for name, (_, shape) in names_in(file).items()
        }
        for one in (folder, adapter)
    )
    # Checkpoints may leave out the name of the body, so names are met from both sides.
    bare = {name.partition(".")[2]: shape for name, shape in base.items()}
    layers = base | bare | {f"transformer.{name}": shape for name, shape in base.items()}
    updates = {
        name.partition(".lora_A.")[0].removeprefix("base_model.model."): shape
        for name, shape in saved.items()
        if ".lora_A." in name
    }
    found = {name: layers.get(f"{name}.weight") for name in updates}
    for name, shape in found.items() if any(found.values()) else ():
        if shape is None or updates[name][-1] not in shape:
            got = f"no {name}" if shape is None else f"{name} of {' x '.join(map(str, shape))}"
            raise TrainError(
                f"{adapter}: expected the base model that the adapter was trained on"
                f" ({facts.get('base_model')}), got {folder} with {got}. Give --base"
            )


def adapter_facts(adapter: Path) -> dict[str, Any]:
    """Return what is known of an adapter: our passport, or at least the base that peft names.

    Raises:
        TrainError: the folder is no adapter.
    """
    file = adapter / "adapter_config.json"
    if not file.is_file():
        raise TrainError(f"{adapter}: expected an adapter folder with an adapter_config.json")
    named = json.loads(file.read_text(encoding="utf-8")).get("base_model_name_or_path")
    return {"base_model": named, **passport(adapter)}


def attach(model: Any, adapter: Path, **options: Any) -> Any:
    """Put an adapter on its base model; the options are for peft.

    Raises:
        TrainError: the two do not fit.
    """
    from train.adapters import load_adapter

    try:
        return load_adapter(model, adapter, **options)
    except TrainError:
        raise
    except (RuntimeError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[-1].strip().rstrip(".")
        raise TrainError(
            f"{adapter}: the adapter does not fit {model.name_or_path}: {reason}."
            " The adapter belongs to another base or vocabulary"
        ) from error
