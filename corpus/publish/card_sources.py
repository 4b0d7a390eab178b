"""What the published rows are: sources, tags, languages, lengths, licences, as pieces of a card."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from corpus.license.classes import OBLIGATIONS, TERMS
from corpus.mixture.sources import SourceTags
from corpus.publish.content import TEST, TRAIN
from corpus.publish.licenses import LICENSE, hub_license
from corpus.publish.markdown import code, inline, link, table
from corpus.publish.plots import LENGTHS_PLOT, SOURCES_PLOT
from corpus.publish.statistics import Part
from corpus.publish.told import Told

Lines = list[str]
Cell = str | int | float

ALL_SOURCES = "**all**"


def sources(told: Told) -> Lines:
    """Return the table of sources: counts, tags, licence, home, citation."""
    rows = [
        (*_counts(told, code(one.name), told.statistics.sources[one.name]), *_tags(one))
        for one in told.content.sources
    ]
    rows.append((*_counts(told, ALL_SOURCES, told.statistics.whole), *("",) * 9))
    heads = (
        *("source", "train rows", "test rows", "different rows", "share %"),
        *("title", "lang", "task", "gen", "languages", "licence", "class", "home", "citation"),
    )
    picture = f"![Rows by source and language of the output]({SOURCES_PLOT})"
    return ["## Sources", "", *table(heads, rows), picture, ""]


def _counts(told: Told, name: str, part: Part) -> tuple[Cell, ...]:
    rows = (part.rows.get(TRAIN, 0), part.rows.get(TEST, 0))
    return name, *rows, part.distinct, told.share(part.total)


def _tags(one: SourceTags) -> tuple[Cell, ...]:
    terms = f" with {', '.join(code(term) for term in one.terms)}" if one.terms else ""
    return (
        inline(one.title),
        one.lang,
        one.task,
        one.gen,
        ", ".join(code(language) for language in one.languages) or "–",
        f"{code(one.license)}{terms}",
        one.licensed().kind.license_class,
        link("home", one.home),
        inline(one.citation) if one.citation else "–",
    )


def tags(told: Told) -> Lines:
    """Return the table of rows by tag."""
    kinds: dict[str, Callable[[SourceTags], str]] = {
        "lang": lambda one: one.lang,
        "task": lambda one: one.task,
        "gen": lambda one: one.gen,
        "license": lambda one: one.license,
    }
    rows: list[tuple[Cell, ...]] = []
    for kind, value in kinds.items():
        counts: Counter[str] = Counter()
        for one in told.content.sources:
            counts[value(one)] += told.statistics.sources[one.name].total
        rows += [(kind, code(tag), n, told.share(n)) for tag, n in counts.most_common()]
    return ["## Tags", "", *table(("column", "tag", "rows", "share %"), rows)]


def languages(told: Told) -> Lines:
    """Return what languages and scripts were measured."""
    return [
        "## Languages and scripts",
        "",
        "Measured by program on the beginning of each instruction and output, all splits together."
        f" {code('zh')} is Chinese that is written alike in Simplified and Traditional, or mixes"
        f" them; {code('und')} is code, formulas, names, or a language that could not be told.",
        "",
        *_measured(told, "language"),
        *_measured(told, "script"),
    ]


def _measured(told: Told, kind: str) -> Lines:
    summary = told.statistics.whole.summary
    asked, answered = summary[f"instruction_{kind}s"], summary[f"output_{kind}s"]
    rows = [
        (code(tag), asked.get(tag, 0), answered.get(tag, 0), told.share(answered.get(tag, 0)))
        for tag in dict.fromkeys([*answered, *asked])
    ]
    return table((kind, "instructions", "outputs", "share of outputs %"), rows)


def lengths(told: Told) -> Lines:
    """Return lengths in characters and turns, by source."""
    parts = {code(name): part for name, part in told.statistics.sources.items()}
    parts[ALL_SOURCES] = told.statistics.whole
    heads = (
        *("source", "instruction median", "high", "longest", "output median", "high", "longest"),
        *("characters", "turns mean", "most turns", "with input %", "with earlier turns %"),
    )
    return [
        "## Lengths and turns",
        "",
        "In characters; nineteen of twenty rows are no longer than what is called high. Characters"
        " are those of instruction, input and output together.",
        "",
        *table(heads, [_lengths(name, part) for name, part in parts.items()]),
        f"![Rows by characters of the output]({LENGTHS_PLOT})",
        "",
    ]


def _lengths(name: str, part: Part) -> tuple[Cell, ...]:
    chars, turns = part.summary["chars"], part.summary["turns"]
    spread = [chars[one][key] for one in ("instruction", "output") for key in ("p50", "p95", "max")]
    return (
        name,
        *spread,
        sum(one["sum"] for one in chars.values()),
        turns["mean"],
        turns["max"],
        round(100 * part.summary["share_with_input"], 1),
        round(100 * part.summary["share_with_history"], 1),
    )


def licensing(told: Told) -> Lines:
    """Return the verdict on the licences, what it obliges to, and who decides it."""
    verdict = told.content.verdict
    decisive = [
        one.name for one in verdict.sources if one.kind.license_class == verdict.license_class
    ]
    lines = [
        "## Licence",
        "",
        "The most restrictive source decides; what is unknown stays unknown.",
        "",
        f"- Class: **{verdict.license_class}**; allowed use: {', '.join(verdict.uses)}.",
        f"- Licence: {code(verdict.license)}"
        + "".join(f", {code(term)} ({_meaning(term)})" for term in verdict.terms)
        + ".",
        f"- Decided by {', '.join(code(name) for name in decisive)}.",
        *(f"- To do: {OBLIGATIONS[one]}." for one in verdict.obligations),
        *(f"- Contradiction: {code(one)}." for one in verdict.conflicts),
    ]
    if told.accepted:
        named = ", ".join(code(name) for name in told.accepted)
        lines.append(
            f"- Published although unknown or for research only, accepted by name: {named}."
        )
    text = (
        f" [{LICENSE}]({LICENSE}) has the whole." if "license_link" in hub_license(verdict) else ""
    )
    return [
        *lines,
        f"- [NOTICE](NOTICE) names every source, its licence and its terms.{text}",
        "",
    ]


def _meaning(term: str) -> str:
    return inline(TERMS[term][1]) if term in TERMS else "terms whose meaning is not known"
