"""The verbs that talk: chat and predict.

Between the command line and `train.generate`; what is wrong with base, adapter, data or sampling is
told before torch is imported.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from corpus.errors import TrainError
from train.cli import with_options

if TYPE_CHECKING:
    from corpus.cli.session import Session

Base = Annotated[str | None, typer.Option(help="Folder or hub id; default: the adapter's")]
Preset = Annotated[
    str | None, typer.Option(help="alpaca_lora, alpaca_cot or chinese_alpaca; default none")
]
MaxNewTokens = Annotated[int | None, typer.Option(help="Longest answer in tokens; default 256")]
Temperature = Annotated[float | None, typer.Option(help="Default 0: always the likeliest token")]
TopP = Annotated[float | None, typer.Option(help="Draw within this probability; default 1")]
TopK = Annotated[int | None, typer.Option(help="Draw from this many tokens; default 0: all")]
NumBeams = Annotated[int | None, typer.Option(help="Answers followed at a time; default 1")]
Penalty = Annotated[float | None, typer.Option(help="Above 1: fewer repeats; default 1")]
NoRepeat = Annotated[int | None, typer.Option(help="No such run of tokens twice; default 0: any")]
Trigger = Annotated[str | None, typer.Option(help="Sentence after prompts; yes: by language")]
Trust = Annotated[bool, typer.Option(help="Run Python code of the base's folder; default no")]


@dataclass(frozen=True, slots=True)
class Speaking:
    """What is to answer, and how."""

    load: Callable[[], Any]
    sampling: Any
    told: dict[str, Any]
    """All of it as plain values."""


def speaking(
    base: Base = None,
    adapter: Annotated[Path | None, typer.Option(help="Adapter folder; default none")] = None,
    template: Annotated[str | None, typer.Option(help="Default: the one trained with")] = None,
    sampling: Preset = None,
    max_new_tokens: MaxNewTokens = None,
    temperature: Temperature = None,
    top_p: TopP = None,
    top_k: TopK = None,
    num_beams: NumBeams = None,
    repetition_penalty: Penalty = None,
    no_repeat_ngram_size: NoRepeat = None,
    seed: Annotated[int | None, typer.Option(help="Decides the draws; default 0")] = None,
    cot_trigger: Trigger = None,
    quantize: Annotated[str, typer.Option(help="none, nf4 or int8: of the base")] = "none",
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or auto")] = "float32",
    trust_remote_code: Trust = False,
    compare: Annotated[bool, typer.Option(help="Also without the adapter; default no")] = False,
) -> Speaking:
    """Tell what these options describe; what is wrong with them is told before torch is there."""
    given = dict(locals())
    from train.generate import TRIGGERS, Sampling, check_pair, load_speaker, sampling_of

    drawn = sampling_of(sampling, {key: given[key] for key in Sampling.__dataclass_fields__})
    found, _ = check_pair(base, adapter)
    if compare and adapter is None:
        raise TrainError("--compare: expected an adapter to leave out. Give --adapter")
    trigger = TRIGGERS if cot_trigger == "yes" else dict.fromkeys(("en", "zh"), cot_trigger)
    loading = {key: given[key] for key in ("template", "quantize", "dtype", "trust_remote_code")}
    told = {"base": str(found), "adapter": adapter, **loading, **asdict(drawn), "compare": compare}
    told["trigger"] = trigger if cot_trigger else None
    return Speaking(partial(load_speaker, found, adapter, device="auto", **loading), drawn, told)


speaks = partial(with_options, speaking)


@speaks
def chat(
    ctx: typer.Context,
    make: Callable[[], Speaking],
    instruction: Annotated[str | None, typer.Argument(help="Default: a dialogue")] = None,
    input: Annotated[str, typer.Option(help="Context of the instruction; default none")] = "",
    system: Annotated[str | None, typer.Option(help="System prompt; default none")] = None,
) -> None:
    """Answer instructions with a model and an optional adapter"""
    session: Session = ctx.obj
    asked = make()
    speaker = asked.load()
    if instruction is not None:
        _answer(session, speaker, asked, (instruction, input), system=system)
        return
    session.log("one instruction a line; Ctrl-C stops an answer, Ctrl-D ends")
    history: list[tuple[str, str]] = []
    for line in sys.stdin:
        try:
            if line.strip():
                told = (line.strip(), "")
                history += [_answer(session, speaker, asked, told, system=system, history=history)]
        except (KeyboardInterrupt, TrainError) as error:
            session.log(str(error) or "stopped")


def _answer(
    session: Session, speaker: Any, asked: Speaking, prompt: tuple[str, str], **more: Any
) -> tuple[str, str]:
    """Print the answer to an instruction and its input; return both as a turn."""
    from train.generate import triggered

    line, input = triggered(*prompt, asked.told["trigger"])
    said = speaker.answer(line, input, sampling=asked.sampling, **more)
    value = {"instruction": line, "answer": said, "template": speaker.template.name}
    text = said
    if asked.told["compare"]:
        without = speaker.answer(line, input, sampling=asked.sampling, adapter=False, **more)
        value["without_adapter"] = without
        text = f"with the adapter:    {said}\nwithout the adapter: {without}"
    session.result(value, text)
    return line, said


@speaks
def predict(
    ctx: typer.Context,
    make: Callable[[], Speaking],
    data: Annotated[str, typer.Option(help="JSONL, JSON, CSV or Parquet file, or mixture:NAME")],
    out: Annotated[Path, typer.Option(help="JSONL file; goes on where it was stopped")],
    limit: Annotated[int | None, typer.Option(help="Only the first rows; default all")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Rows answered at a time")] = 8,
) -> None:
    """Answer every row of a file or of a mixture's holdout"""
    from train.predict import predict as predict_rows
    from train.predict import read_rows

    session: Session = ctx.obj
    rows = read_rows(data, session.home, limit)
    asked = make()
    how: dict[str, Any] = {"sampling": asked.sampling, "order": {**asked.told, "batch": batch}}
    with session.progress("answering") as advance:
        new = predict_rows(rows, out, session.home, asked.load, advance=advance, **how)
    value = {"rows": len(rows), "new": new, "path": str(out)}
    session.result(value, f"answered {new} rows, {len(rows) - new} were there: {out}")
