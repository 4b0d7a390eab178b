"""Rendering: a row becomes parts of text, and parts become tokens with the learned ones marked.

The same template object renders for training (`encode`) and for generation (`encode_prompt`): the
prompt is encoded up to the reply, the reply apart from it, so both see the same prompt tokens.
Only the template's own text may contain special tokens; data is always encoded as plain text.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import yaml

from corpus.errors import RecipeError, TrainError
from corpus.registry import suggest

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
class Part:
    """A piece of a rendered row."""

    text: str
    learned: bool = False
    special: bool = False
    """The text is one special token of the tokenizer, not text to be split."""


class Template(Protocol):
    """Renders turns as parts; every reply and its end of turn are learned."""

    @property
    def name(self) -> str: ...
    @property
    def identity(self) -> str:
        """Changes whenever the rendering could change."""
        ...

    def parts(self, turns: Sequence[Turn], system: str | None) -> list[Part]: ...


@dataclass(frozen=True, slots=True)
class TextTemplate:
    """A template of plain text, read from train/templates."""

    name: str
    opening: str
    opening_input: str
    system: str
    turn: str
    turn_input: str
    between: str
    begin: str
    end: str

    @property
    def identity(self) -> str:
        """Hash the template and the tokenizer's begin and end tokens."""
        fields = [getattr(self, one) for one in self.__slots__]
        return hashlib.sha256(json.dumps(fields).encode()).hexdigest()

    def parts(self, turns: Sequence[Turn], system: str | None) -> list[Part]:
        """Render turns; the last one is a prompt when it has no output."""
        begin = [Part(self.begin, special=True)] if self.begin else []
        opening = self.opening_input if turns[-1].input else self.opening
        lead = fill(opening, system=fill(self.system, system=system) if system else "")
        parts = begin
        for turn in turns:
            shape = self.turn_input if turn.input else self.turn
            asked = fill(shape, instruction=turn.instruction, input=turn.input)
            parts = [*parts, Part(lead + asked)]
            lead = self.between
            if turn.output is not None:
                parts += [Part(turn.output, learned=True), Part(self.end, True, special=True)]
        return parts


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """The tokenizer's own chat template, applied to placeholders that the data then replaces."""

    tokenizer: Any
    specials: tuple[str, ...]
    name: str = CHAT

    @property
    def identity(self) -> str:
        """Hash the chat template."""
        return hashlib.sha256(str(self.tokenizer.chat_template).encode()).hexdigest()

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
            if number % 2 == 0:
                reply_before = number > 0 and data[number // 2 - 1][1]
                parts += self._scaffold(piece, reply_before)
                continue
            value, is_reply = data[number // 2]
            if is_reply and value is None:
                return parts
            parts.append(Part(value or "", learned=is_reply))
        return parts

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
    messages: list[dict[str, str]] = []
    data: list[tuple[str | None, bool]] = []

    def add(role: str, value: str | None) -> None:
        messages.append({"role": role, "content": mark(len(data))})
        data.append((value, role == "assistant"))

    if system:
        add("system", system)
    for turn in turns:
        asked = f"{turn.instruction}\n\n{turn.input}" if turn.input else turn.instruction
        add("user", asked)
        add("assistant", turn.output)
    return messages, data


def fill(shape: str, **values: str | None) -> str:
    """Replace {name} by its value, once and at the same time: braces inside data stay text."""
    return re.sub(r"\{(\w+)\}", lambda found: values[found[1]] or "", shape)


def turns_of(row: Mapping[str, Any]) -> list[Turn]:
    """Return the turns of a record, the oldest first."""
    earlier = [Turn(one["instruction"], one["output"]) for one in row["history"] or []]
    return [*earlier, Turn(row["instruction"], row["output"], row["input"] or "")]


def load_template(name: str, tokenizer: Any) -> Template:
    """Return the template of a name, bound to a tokenizer.

    Raises:
        RecipeError: there is none of that name.
        TrainError: the tokenizer lacks what the template needs.
    """
    if name == CHAT:
        if not tokenizer.chat_template:
            raise TrainError(
                "template chat: the tokenizer has no chat template. Choose another: template:"
                f" {', '.join(template_names())}"
            )
        return ChatTemplate(tokenizer, tuple(tokenizer.all_special_tokens))
    if name not in template_names():
        raise RecipeError(
            f"template {name!r} is unknown.{suggest(name, [*template_names(), CHAT])}"
        )
    if tokenizer.eos_token is None:
        raise TrainError(f"template {name}: the tokenizer has no end-of-sequence token")
    return text_template(name, _begin(tokenizer), tokenizer.eos_token)


def text_template(name: str, begin: str = "", end: str = "") -> TextTemplate:
    """Read a template of train/templates; without begin and end it renders plain text."""
    fields = yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    return TextTemplate(**fields, begin=begin, end=end)


def template_names() -> list[str]:
    """Return the names of the templates in train/templates."""
    return sorted(file.stem for file in FOLDER.glob("*.yaml"))


def _begin(tokenizer: Any) -> str:
    """Return the token with which this tokenizer begins every text, or nothing."""
    bos = tokenizer.bos_token
    starts = bos is not None and tokenizer("a").input_ids[:1] == [tokenizer.bos_token_id]
    return str(bos) if starts else ""


@dataclass(frozen=True, slots=True)
class Encoded:
    """The tokens of one row, and which of them are learned."""

    ids: list[int]
    learned: list[bool]


def encode(tokenizer: Any, rendered: Iterable[list[Part]]) -> list[Encoded]:
    """Encode rendered rows with one call of the tokenizer.

    Neighbouring parts of text that are all learned or all not are encoded as one text. No special
    token is added, and none is recognised inside text.
    """
    rows = [_runs(parts) for parts in rendered]
    texts = [run.text for runs in rows for run in runs if not run.special]
    options = {"add_special_tokens": False, "split_special_tokens": True}
    ids = iter(tokenizer(texts, **options).input_ids if texts else [])
    result = []
    for runs in rows:
        row = Encoded([], [])
        for run in runs:
            new = [tokenizer.convert_tokens_to_ids(run.text)] if run.special else next(ids)
            row.ids.extend(new)
            row.learned.extend([run.learned] * len(new))
        result.append(row)
    return result


def encode_prompt(
    tokenizer: Any, template: Template, turns: Sequence[Turn], system: str | None = None
) -> list[int]:
    """Return the tokens after which the model is to answer the last turn."""
    asked = [*turns[:-1], Turn(turns[-1].instruction, None, turns[-1].input)]
    return encode(tokenizer, [template.parts(asked, system)])[0].ids


def _runs(parts: Iterable[Part]) -> list[Part]:
    runs: list[Part] = []
    for part in parts:
        last = runs[-1] if runs else None
        if last and not last.special and not part.special and last.learned == part.learned:
            runs[-1] = Part(last.text + part.text, part.learned)
        elif part.text:
            runs.append(part)
    return runs
