"""Formatters of labelled tasks: a task token, a text and its target, with instructions as data.

to title<TAB>ABSTRACT<TAB>TITLE
"""

from __future__ import annotations

from collections.abc import Sequence

from formatters.registry import FORMATTERS
from formatters.row import (
    Formatter,
    Parts,
    RawRecord,
    RecordFormatter,
    Rejection,
    Row,
    extra_of,
    text_of,
)
from formatters.template import choose, template_set


@FORMATTERS.register("labelled_task")
def labelled_task(
    *,
    templates: str,
    task: str = "task",
    input: str = "input",
    output: str = "output",
    template_seed: int = 0,
    extra: Sequence[str] = (),
) -> Formatter:
    """Read a task token, an input and an output; the template set gives the instruction.

    Upstream of the first user (CSL): ydli-ai/CSL at 0f1ac06, Apache-2.0.
    """
    tasks = template_set(templates).tasks or {}

    def format_task(record: RawRecord) -> Parts:
        token = text_of(record, task).strip()
        if token not in tasks:
            raise Rejection("unknown_task", f"{token!r}, known: {', '.join(tasks)}")
        given, target = text_of(record, input).strip(), text_of(record, output).strip()
        instruction = choose(tasks[token], (token, given, target), templates, template_seed)
        kept = {"task": token, **(extra_of(record, extra) or {})}
        return [Row(instruction, target, given, extra=kept)]

    return RecordFormatter(format_task, (task, input, output), (templates,))
