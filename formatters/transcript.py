"""The `transcript` formatter: dialogues written as one text with speaker marks.

{"chosen": "\\n\\nHuman: What is wool?\\n\\nAssistant: Hair of sheep.", "rejected": "..."}
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from formatters.registry import FORMATTERS
from formatters.row import (
    Formatter,
    Parts,
    RawRecord,
    RecordFormatter,
    Rejection,
    extra_of,
    optional_text_of,
    text_of,
)
from formatters.turns import ASSISTANT, USER, row_from_turns


@FORMATTERS.register("transcript")
def transcript(
    *,
    text: str,
    user: str = "\n\nHuman:",
    assistant: str = "\n\nAssistant:",
    worse: str | None = None,
    extra: Sequence[str] = (),
) -> Formatter:
    """Split a transcript at its speaker marks.

    Args:
        worse: column of a transcript with the same prompt and a worse last answer, which is kept
            in `extra` as `rejected` and never becomes an output.
    """
    marks = re.compile(f"({re.escape(user)}|{re.escape(assistant)})")

    def format_transcript(record: RawRecord) -> Parts:
        whole = text_of(record, text)
        turns = split_turns(whole, marks, user)
        kept: dict[str, Any] = extra_of(record, extra) or {}
        other = optional_text_of(record, worse)
        if other is not None:
            kept["rejected"] = other.rpartition(assistant)[2].strip()
        return row_from_turns(turns, extra=kept or None)

    return RecordFormatter(format_transcript, (text,))


def split_turns(whole: str, marks: re.Pattern[str], user: str) -> list[tuple[str, str]]:
    """Return the turns of a transcript in order; the first mark may lack its leading newlines.

    Raises:
        Rejection: the text does not begin with a speaker mark.
    """
    lead, *pieces = marks.split(whole)
    if lead.strip():
        lead, *pieces = marks.split("\n\n" + whole.lstrip())
    if lead.strip() or not pieces:
        raise Rejection("no_speaker_mark", f"expected {user.strip()!r} first, got {lead[:40]!r}")
    return [
        (USER if mark == user else ASSISTANT, said.strip())
        for mark, said in zip(pieces[::2], pieces[1::2], strict=True)
    ]
