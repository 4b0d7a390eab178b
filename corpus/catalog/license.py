"""Which licences and terms allow what: a small table that fails closed.

Tag expressions ask it for `license:commercial`, `license:research` and `license:any`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

UNKNOWN = "unknown"

CLASSES = ("commercial", "research", "any")
"""Uses that `license:CLASS` names: each allows at least what the one before it allows."""

COMMERCIAL = frozenset(
    {
        # No conditions, or a notice only.
        *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "CC-PDDC"),
        *("ISC", "MIT", "MIT-0", "PDDL-1.0", "Unlicense", "Zlib"),
        # Attribution.
        *("CC-BY-2.0", "CC-BY-2.5", "CC-BY-3.0", "CC-BY-4.0", "CDLA-Permissive-1.0"),
        *("CDLA-Permissive-2.0", "ODC-By-1.0"),
        # Share alike: commercial use is allowed, what is made of it keeps the licence.
        *("CC-BY-SA-2.0", "CC-BY-SA-2.5", "CC-BY-SA-3.0", "CC-BY-SA-4.0", "CDLA-Sharing-1.0"),
        *("GFDL-1.3", "GPL-2.0", "GPL-2.0-only", "GPL-2.0-or-later", "GPL-3.0", "GPL-3.0-only"),
        *("GPL-3.0-or-later", "ODbL-1.0"),
    }
)
"""SPDX ids that allow commercial use. What is not listed here does not."""

NON_COMMERCIAL = frozenset(
    f"CC-BY-{kind}-{version}" for kind in ("NC", "NC-SA") for version in ("2.0", "3.0", "4.0")
)
"""SPDX ids that allow research, but no commercial use."""

TERMS = {
    "openai-output": "outputs of OpenAI models; their terms bar training competing models",
    "research-only": "upstream asks for research use only, whatever the licence says",
}
"""Terms beside the licence. Each of them bars commercial use."""

_ID = r"[A-Za-z0-9][A-Za-z0-9.+-]*"
_EXPRESSION = re.compile(rf"{_ID}(?: (?:AND|OR) {_ID})*")


def is_license(text: str) -> bool:
    """Tell whether a text is `unknown` or has the form of an SPDX expression (AND, OR)."""
    return _EXPRESSION.fullmatch(text) is not None


def license_ids(text: str) -> tuple[str, ...]:
    """Return the SPDX ids of a licence expression, as written."""
    return tuple(word for word in text.split(" ") if word not in ("AND", "OR"))


def combined(licenses: Iterable[str]) -> str:
    """Return the licence of rows under several licences: all of them hold, each named once."""
    parts = [f"({one})" if " OR " in one else one for one in dict.fromkeys(licenses)]
    if len(parts) == 1:
        return parts[0].strip("()")
    return " AND ".join(dict.fromkeys(id for part in parts for id in part.split(" AND ")))


def allows(use: str, license: str, terms: Iterable[str] = ()) -> bool:
    """Tell whether rows under a licence and terms may be put to a use of `CLASSES`.

    AND binds tighter than OR: rows under `A AND B` must satisfy both, under `A OR B` either.
    """
    if use == "any":
        return True
    if use == "commercial" and any(True for _ in terms):
        return False
    return any(
        all(_one_allows(use, id) for id in part.split(" AND ")) for part in license.split(" OR ")
    )


def _one_allows(use: str, id: str) -> bool:
    return id in COMMERCIAL or (use == "research" and id in NON_COMMERCIAL)
