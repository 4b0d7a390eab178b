"""Rendering: a row becomes parts of text, each learned or not, as its template says.

The same template object renders for training and for generation; `train.encode` makes tokens of
the parts. Only the template's own text may contain special tokens; data stays text.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from corpus.errors import RecipeError, TrainError
from corpus.registry import suggest
from train.encode import Part, encode, encode_plain

FOLDER = Path(__file__).with_name("templates")
CHAT = "chat"
"""Name of the template that the tokenizer brings itself."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One exchange; `output` is None where the model is to speak."""

    instruction: str
    output: str | None = None
    input: str = ""


@dataclass(frozen=True, slots=True)
class TextTemplate:
    """A template of train/templates. In its shapes {bos} and {eos} are the tokenizer's tokens,
    {begin} the one that it begins texts with, if any; {round} and {before} number a turn.
    """

    name: str
    turn: str
    """The prompt of a turn: {instruction}."""
    turn_input: str = ""
    """The same with {input}; left out: the instruction and its input `joined`."""
    joined: str = "{instruction}\n\n{input}"
    earlier: str = ""
    """An earlier turn whole with its {output}, where a model cannot learn more than one reply."""
    opening: str = "{begin}{system}"
    opening_input: str = ""
    """The opening when the last turn has an input; left out: the same."""
    system: str = "{system}\n\n"
    """How a row's system prompt is put, if it has one."""
    default_system: str = ""
    reply: str = "{output}"
    end: str = "{eos}"
    between: str = ""
    """Before every turn but the first."""
    tokens: tuple[str, ...] = ()
    """What in the shapes is one token of its own."""
    dialogue: TextTemplate | None = None
    """Renders rows of several turns instead."""
    marks: tuple[tuple[str, str], ...] = (("{begin}", ""), ("{bos}", ""), ("{eos}", ""))
    risky: tuple[str, ...] = ()
    """Of the tokens those that this tokenizer sees even in text that is to stay text."""
    last_only: bool = False
    """Learn only the last reply and its end."""

    @property
    def identity(self) -> str:
        """Hash the template and the tokenizer's begin and end tokens."""
        return hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()

    def parts(self, turns: Sequence[Turn], system: str | None) -> list[Part]:
        """Render turns; the last one is a prompt when it has no output."""
        if self.dialogue and len(turns) > 1:
            return self.dialogue.parts(turns, system)
        system = system or self.default_system
        lead = self._put(self.system, {"system": system}) if system else []
        opening = (turns[-1].input and self.opening_input) or self.opening
        parts = self._put(opening, {"system": lead})
        for number, turn in enumerate(turns):
            parts += self._put(self.between, {}) if number else []
            if self.earlier and number < len(turns) - 1:
                parts += self._asked(self.earlier, turn, number)
                continue
            parts += self._asked((turn.input and self.turn_input) or self.turn, turn, number)
            if turn.output is not None:
                parts += self._put(self.reply, {"output": turn.output}, learned=True)
                parts += self._put(self.end, {}, learned=True)
        return only_last(parts) if self.last_only else parts

    def _asked(self, shape: str, turn: Turn, number: int) -> list[Part]:
        asked = {"instruction": turn.instruction, "input": turn.input}
        if turn.input and "{input}" not in shape:
            asked["instruction"] = self.joined.format(**asked)
        count = {"round": str(number + 1), "before": str(number)}
        return self._put(shape, {**asked, **count, "output": turn.output or ""})

    def _put(
        self, shape: str, values: Mapping[str, str | list[Part]], learned: bool = False
    ) -> list[Part]:
        """Return a shape as parts; values stay text, whatever they hold."""
        marks = dict(self.marks)
        parts: list[Part] = []
        for place, text in enumerate(split_shape(shape, self.tokens)):
            value = values.get(text[1:-1]) if place % 2 else None
            if isinstance(value, list):
                parts += value
            elif value is None:
                parts.append(Part(marks.get(text, text), learned, special=place % 2 == 1))
            else:
                parts += self._data(value, learned)
        return [one for one in parts if one.text]

    def _data(self, text: str, learned: bool) -> list[Part]:
        """Return text in parts, none of which holds a token that the tokenizer would see in it."""
        if not self.risky:
            return [Part(text, learned)]
        marks = "|".join(f"(?<={re.escape(one[0])})(?={re.escape(one[1:])})" for one in self.risky)
        pieces = enumerate(re.split(marks, text))
        return [Part(one, learned, apart=place > 0) for place, one in pieces]


@cache
def split_shape(shape: str, tokens: tuple[str, ...]) -> list[str]:
    """Split a shape; names in braces and tokens have the odd places."""
    return re.split("(" + "|".join([r"\{\w+\}", *map(re.escape, tokens)]) + ")", shape)


def only_last(parts: list[Part]) -> list[Part]:
    """Return the parts with only the last reply and its end learned."""
    end = max((place for place, one in enumerate(parts) if one.learned), default=-1)
    start = end
    while start > 0 and parts[start - 1].learned:
        start -= 1
    return [replace(one, learned=False) for one in parts[:start]] + parts[start:]


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """The tokenizer's own chat template, applied to placeholders that the data then replaces."""

    tokenizer: Any
    specials: tuple[str, ...]
    name: str = CHAT
    last_only: bool = False

    @property
    def identity(self) -> str:
        """Hash the chat template."""
        made_of = f"{self.tokenizer.chat_template}{self.last_only}"
        return hashlib.sha256(made_of.encode()).hexdigest()

    def parts(self, turns: Sequence[Turn], system: str | None) -> list[Part]:
        """Render turns; the last one is a prompt when it has no output."""
        messages, data = _messages(turns, system)
        try:
            text = self.tokenizer.apply_chat_template(messages, tokenize=False)
        except Exception as error:  # The template is a program of the model's author.
            raise TrainError(
                f"template chat: the tokenizer's chat template failed: {error}"
            ) from error
        split = re.split(f"({OPEN}[0-9]+{CLOSE})", text)
        if list(split[1::2]) != [mark(n) for n in range(len(data))]:
            raise TrainError(
                "template chat: the tokenizer's chat template drops, repeats or reorders messages"
                f" ({len(data)} given). Choose a template by name."
            )
        parts: list[Part] = []
        for number, piece in enumerate(split):
            value, is_reply = data[number // 2] if number < len(split) - 1 else ("", False)
            if number % 2:
                parts.append(Part(value or "", learned=is_reply))
                continue
            # The space before a reply is the model's to say: generation prompts end without.
            cut = piece.rstrip(" ") if is_reply else piece
            parts += self._scaffold(cut, number > 0 and data[number // 2 - 1][1])
            if is_reply and value is None:
                break
            parts.append(Part(piece[len(cut) :], learned=True))
        parts = [one for one in parts if one.text]
        return only_last(parts) if self.last_only else parts

    def _scaffold(self, text: str, after_reply: bool) -> list[Part]:
        """Split the template's own text at special tokens; learn up to the first after a reply."""
        pattern = "|".join(re.escape(one) for one in sorted(self.specials, key=len, reverse=True))
        pieces = re.split(f"({pattern})", text) if pattern else [text]
        if after_reply and len(pieces) == 1:
            raise TrainError(
                "template chat: the tokenizer's chat template ends a reply with no special token,"
                " so a model could not learn to stop. Choose a template by name."
            )
        return [
            Part(piece, learned=after_reply and number <= 1, special=number % 2 == 1)
            for number, piece in enumerate(pieces)
            if piece
        ]


OPEN, CLOSE = "\ue0f0", "\ue0f1"


def mark(number: int) -> str:
    """Return the placeholder of a message: private-use characters that no template looks at."""
    return f"{OPEN}{number}{CLOSE}"


def _messages(
    turns: Sequence[Turn], system: str | None
) -> tuple[list[dict[str, str]], list[tuple[str | None, bool]]]:
    """Return chat messages with placeholders, and for each the data and whether it is a reply."""
    said: list[tuple[str, str | None]] = [("system", system)] if system else []
    for turn in turns:
        asked = f"{turn.instruction}\n\n{turn.input}" if turn.input else turn.instruction
        said += [("user", asked), ("assistant", turn.output)]
    messages = [{"role": role, "content": mark(place)} for place, (role, _) in enumerate(said)]
    return messages, [(value, role == "assistant") for role, value in said]


def turns_of(row: Mapping[str, Any]) -> list[Turn]:
    """Return the turns of a record, the oldest first."""
    earlier = [Turn(one["instruction"], one["output"]) for one in row["history"] or []]
    return [*earlier, Turn(row["instruction"], row["output"], row["input"] or "")]


Template = TextTemplate | ChatTemplate
"""Renders turns as parts; every reply and its end of turn are learned."""


def load_template(name: str, tokenizer: Any, *, learn_turns: str = "all") -> Template:
    """Return the template of a name, bound to a tokenizer; it marks all replies, or the last one.

    Raises:
        RecipeError: there is none of that name.
        TrainError: the tokenizer lacks what the template needs.
    """
    last_only = learn_turns == "last"
    if name == CHAT:
        if not tokenizer.chat_template:
            raise TrainError(
                "template chat: the tokenizer has no chat template. Choose another: template:"
                f" {', '.join(template_names())}"
            )
        return ChatTemplate(tokenizer, tuple(tokenizer.all_special_tokens), last_only=last_only)
    if name not in template_names():
        raise RecipeError(
            f"template {name!r} is unknown.{suggest(name, [*template_names(), CHAT])}"
        )
    bos, eos = tokenizer.bos_token or "", tokenizer.eos_token or ""
    begins = bos and tokenizer("a").input_ids[:1] == [tokenizer.bos_token_id]
    marks = (("{begin}", bos if begins else ""), ("{bos}", bos), ("{eos}", eos))
    template = text_template(name, marks=marks, last_only=last_only)
    _refuse_unknown(template, tokenizer)
    ours = (*template.tokens, *dict(marks).values())
    risky = tuple(one for one in ours if one and _shows(tokenizer, one))
    return text_template(name, marks=marks, last_only=last_only, risky=risky)


def _shows(tokenizer: Any, token: str) -> bool:
    """Tell whether a tokenizer makes a token out of text that happens to spell it."""
    return tokenizer.convert_tokens_to_ids(token) in encode_plain(tokenizer, [f"a{token}a"])[0]


def text_template(name: str, **bound: Any) -> TextTemplate:
    """Read a template of train/templates; bound to no tokenizer it renders plain text."""
    fields = yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    fields |= bound | {"tokens": tuple(fields.get("tokens", ()))}
    changed = fields.pop("dialogue", None)
    dialogue = TextTemplate(**fields | changed) if changed else None
    return TextTemplate(**fields, dialogue=dialogue)


def _refuse_unknown(template: TextTemplate, tokenizer: Any) -> None:
    """Raise when a tokenizer does not know what a template is made of."""
    values = [*asdict(template).values(), *asdict(template.dialogue or template).values()]
    shapes = "".join(one for one in values if isinstance(one, str))
    absent = [one for one in ("{bos}", "{eos}") if one in shapes and not dict(template.marks)[one]]
    unknown = (None, tokenizer.unk_token_id)
    absent += [one for one in template.tokens if tokenizer.convert_tokens_to_ids(one) in unknown]
    if absent:
        words = {"{bos}": "a token for the beginning", "{eos}": "an end-of-sequence token"}
        raise TrainError(
            f"template {template.name}: expected a tokenizer with"
            f" {', '.join(words.get(one, one) for one in absent)}, got one without."
            " Choose another template, or a base model of the template's family."
        )


def template_names() -> list[str]:
    """Return the names of the templates in train/templates."""
    return sorted(file.stem for file in FOLDER.glob("*.yaml"))


def encode_prompt(
    tokenizer: Any, template: Template, turns: Sequence[Turn], system: str | None = None
) -> list[int]:
    """Return the tokens after which the model is to answer the last turn."""
    asked = [*turns[:-1], replace(turns[-1], output=None)]
    return encode(tokenizer, [template.parts(asked, system)])[0].ids
