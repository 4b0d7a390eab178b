"""Formatters of chains of thought: question, rationale and answer, worded by a template.

Tom has 3 apples and buys 4. How many?<TAB>7<TAB>He has 3 + 4 = 7 apples.
{"question": "...", "answer": "48/2 = <<48/2=24>>24 clips ...\\n#### 72"}
"""

from __future__ import annotations

import re

from formatters.registry import FORMATTERS
from formatters.row import (
    Formatter,
    Parts,
    RawRecord,
    RecordFormatter,
    Rejection,
    Row,
    text_of,
)
from formatters.template import choose, template_set

CALCULATION = re.compile(r"<<[^<>]*>>")
FINAL = "####"


@FORMATTERS.register("rationale")
def rationale(
    *,
    templates: str,
    question: str = "question",
    answer: str = "answer",
    rationale: str = "rationale",
    template_seed: int = 0,
    newline_escapes: bool = True,
) -> Formatter:
    """Read question, answer and rationale columns.

    Upstream: google-research/FLAN flan/v2/cot_data at e9e4ec6, three tab-separated columns.

    Args:
        newline_escapes: turn the two characters backslash and n into a line break.
    """
    wordings = template_set(templates)

    def format_rationale(record: RawRecord) -> Parts:
        texts = [text_of(record, name) for name in (question, answer, rationale)]
        if newline_escapes:
            texts = [text.replace("\\n", "\n") for text in texts]
        asked, answered, why = (text.strip() for text in texts)
        return [worded(asked, why, answered, wordings.name, template_seed)]

    return RecordFormatter(format_rationale, (question, answer, rationale), (templates,))


@FORMATTERS.register("worked_answer")
def worked_answer(
    *,
    question: str = "question",
    answer: str = "answer",
    templates: str = "cot_gsm8k",
    template_seed: int = 0,
) -> Formatter:
    """Read answers that are worked out step by step and end with `#### RESULT`.

    Upstream: openai/grade-school-math at 3101c7d, MIT. `<<48/2=24>>` marks are calculator calls
    and are left out; thousands separators are taken out of the result.
    """
    template_set(templates)

    def format_worked(record: RawRecord) -> Parts:
        asked, worked = text_of(record, question).strip(), text_of(record, answer)
        why, mark, result = worked.rpartition(FINAL)
        if not mark:
            raise Rejection("no_result", f"{answer!r} must end with '{FINAL} RESULT'")
        why = CALCULATION.sub("", why).strip()
        return [worded(asked, why, result.strip().replace(",", ""), templates, template_seed)]

    return RecordFormatter(format_worked, (question, answer), (templates,))


def worded(question: str, rationale: str, answer: str, templates: str, seed: int) -> Row:
    """Put a question, its rationale and its answer into words.

    Raises:
        Rejection: one of the three is empty.
    """
    for name, text in (("question", question), ("rationale", rationale), ("answer", answer)):
        if not text:
            raise Rejection("empty_field", f"the {name} is empty")
    options = template_set(templates).templates
    wording = choose(options, (question, rationale, answer), templates, seed)
    return Row(
        instruction=wording.instruction.format(question=question),
        output=wording.output.format(rationale=rationale, answer=answer),
        extra={"answer": answer, "template": f"{templates}/{options.index(wording)}"},
    )
