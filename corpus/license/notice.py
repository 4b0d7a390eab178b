"""NOTICE: the text that names every source of a mixture, its licence and what is owed to it."""

from __future__ import annotations

from corpus.license.classes import OBLIGATIONS, TERMS, UNKNOWN
from corpus.license.verdict import Licensed, Verdict


def notice_text(
    name: str, verdict: Verdict, *, holds: str = "It holds rows of these sources:"
) -> str:
    """Return the NOTICE of what is published under a name: plain text, ends with a line break."""
    uses = ", ".join(verdict.uses)
    lines = [
        f"NOTICE for {name}",
        "",
        f"Licence class: {verdict.license_class} (use: {uses}). Licence: {verdict.license}.",
    ]
    lines += [f"- {OBLIGATIONS[one]}" for one in verdict.obligations]
    if verdict.conflicts:
        lines += ["", "Contradictions:"]
        lines += [f"- {conflict}" for conflict in verdict.conflicts]
    lines += ["", holds]
    for source in verdict.sources:
        lines += ["", *_of_source(source)]
    return "\n".join(lines) + "\n"


def _of_source(source: Licensed) -> list[str]:
    title = f" ({source.title})" if source.title and source.title != source.name else ""
    license = "no licence is stated" if source.license == UNKNOWN else source.license
    lines = [f"{source.name}{title}", f"  Licence: {license}"]
    if source.license_url:
        lines.append(f"  Licence text: {source.license_url}")
    if source.home:
        lines.append(f"  Home: {source.home}")
    lines += [f"  Terms: {term}: {TERMS[term][1]}" for term in source.terms if term in TERMS]
    if source.citation:
        lines.append("  Citation: " + " ".join(source.citation.split()))
    lines.append(
        "  Changes: rows were selected, cleaned of outer white space and put into one form"
    )
    return lines
