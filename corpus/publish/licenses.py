"""Licences of publications: what must be accepted by name, and what the Hub is told.

The verdict itself is made by `corpus.license`.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from corpus.errors import PublishError
from corpus.license import Licensed, Verdict
from corpus.license.classes import OBLIGATIONS, TERMS, UNKNOWN

TO_ACCEPT = ("research-only", UNKNOWN)
"""Classes of licences whose rows are published only where their source is named."""

LICENSE = "LICENSE"
SEVERAL = "several-licenses"
MAX_NAME = 96

_SAME = """
Apache-2.0 BSD-2-Clause BSD-3-Clause CC-BY-2.0 CC-BY-2.5 CC-BY-3.0 CC-BY-4.0 CC-BY-NC-2.0
CC-BY-NC-3.0 CC-BY-NC-4.0 CC-BY-NC-ND-3.0 CC-BY-NC-ND-4.0 CC-BY-NC-SA-2.0 CC-BY-NC-SA-3.0
CC-BY-NC-SA-4.0 CC-BY-ND-4.0 CC-BY-SA-3.0 CC-BY-SA-4.0 CC0-1.0 CDLA-Permissive-1.0
CDLA-Permissive-2.0 CDLA-Sharing-1.0 ISC MIT Unlicense Zlib
"""
_FAMILIES = {
    "GFDL-1.3": "gfdl",
    "ODC-By-1.0": "odc-by",
    "ODbL-1.0": "odbl",
    "PDDL-1.0": "pddl",
    **{f"AGPL-3.0{end}": "agpl-3.0" for end in ("", "-only", "-or-later")},
    **{f"GPL-2.0{end}": "gpl-2.0" for end in ("", "-only", "-or-later")},
    **{f"GPL-3.0{end}": "gpl-3.0" for end in ("", "-only", "-or-later")},
    **{f"LGPL-3.0{end}": "lgpl-3.0" for end in ("", "-only", "-or-later")},
}
HUB_LICENSES = {**{id: id.lower() for id in _SAME.split()}, **_FAMILIES, UNKNOWN: UNKNOWN}
"""SPDX ids to the identifiers of https://huggingface.co/docs/hub/repositories-licenses."""


def check_accepted(verdict: Verdict, accepted: Collection[str]) -> list[str]:
    """Return the sources that are published although their licence is unknown or research-only.

    Args:
        accepted: ids, or ids of subsets, that the user has named.

    Raises:
        PublishError: a source is not accepted, or what is named needs no accepting.
    """
    offenders = [one for one in verdict.sources if one.kind.license_class in TO_ACCEPT]
    needless = [name for name in accepted if not any(name in _names(one.name) for one in offenders)]
    if needless:
        known = ", ".join(one.name for one in offenders) or "none"
        raise PublishError(
            f"--accept-license {', '.join(needless)}: expected a source here whose licence is"
            f" unknown or research-only ({known}). Leave it out."
        )
    refused = [one for one in offenders if not _names(one.name) & set(accepted)]
    if refused:
        told = ", ".join(f"{one.name} ({_reason(one)})" for one in refused)
        options = " ".join(f"--accept-license {one.name}" for one in refused)
        raise PublishError(
            f"expected licences that allow publishing, got: {told}. Leave these sources out, or"
            f" take it on yourself: {options}"
        )
    return [one.name for one in offenders]


def hub_license(verdict: Verdict) -> dict[str, str]:
    """Return the card's metadata of a verdict: an identifier of the Hub, or a name for `other`."""
    if verdict.license in HUB_LICENSES and not verdict.terms:
        return {"license": HUB_LICENSES[verdict.license]}
    if verdict.license == UNKNOWN:
        return {"license": UNKNOWN}
    words = " with ".join([verdict.license, *(f"{term} terms" for term in verdict.terms)])
    name = re.sub(r"[^a-z0-9.]+", "-", words.lower()).strip("-.")
    return {
        "license": "other",
        "license_name": name if len(name) <= MAX_NAME else SEVERAL,
        "license_link": LICENSE,
    }


def license_text(name: str, verdict: Verdict) -> str:
    """Return the LICENSE of rows that no single licence of the Hub's list covers."""
    lines = [
        f"The rows of {name} are not under one licence. All of these hold together:",
        "",
        f"  {verdict.license}",
        *(f"  {term}: {_meaning(term)}" for term in verdict.terms),
        "",
        f"Class: {verdict.license_class}. Allowed use: {', '.join(verdict.uses)}.",
        *(f"- {OBLIGATIONS[one]}" for one in verdict.obligations),
        "",
        "Each row's column `license` has the licence of its source. NOTICE names every source,",
        "its licence and its terms.",
    ]
    return "\n".join(lines) + "\n"


def _meaning(term: str) -> str:
    return TERMS[term][1] if term in TERMS else "terms whose meaning is not known"


def _names(name: str) -> set[str]:
    """Return the names by which a source may be accepted: its own, its dataset's, its parent's."""
    id = name.partition("/")[0]
    return {name, id, id.partition("+")[0]}


def _reason(one: Licensed) -> str:
    terms = f" with {', '.join(one.terms)}" if one.terms else ""
    return f"{one.license}{terms}: {one.kind.license_class}"


def as_json(verdict: Verdict, accepted: Collection[str]) -> dict[str, Any]:
    """Return verdict and acceptance for `--json`."""
    return {**verdict.as_json(), "accepted": list(accepted), "hub": hub_license(verdict)}
