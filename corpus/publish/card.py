"""The card of a published dataset: README.md, every number of it computed from what is published.

Its pieces are in order here; `card_sources` tells what the rows are, `card_made` how they came to
be, `metadata` what the Hub reads at its head.
"""

from __future__ import annotations

from corpus.publish.bibtex import bibtex
from corpus.publish.card_made import known_limits, made, separation
from corpus.publish.card_sources import languages, lengths, licensing, sources, tags
from corpus.publish.content import ALL, TEST, TRAIN
from corpus.publish.examples import examples
from corpus.publish.markdown import code, fence, inline, shown, table
from corpus.publish.metadata import front_matter
from corpus.publish.told import Told

COLUMNS = (
    ("id", "string", "digest of the row's content: equal content has one id"),
    ("instruction", "string", "what is asked"),
    ("input", "string", "what it is asked about; empty where there is nothing"),
    ("output", "string", "the answer"),
    ("history", "list of {instruction, output}", "earlier turns, the oldest first"),
    ("system", "string or null", "the system prompt, where upstream has one"),
    ("source", "string", "the dataset, or its part, that the row is of"),
    ("origin", "{file, record, part}", "the raw file, the record in it, the row of that record"),
    ("lang", "string", "language tag of the source"),
    ("task", "string", "task tag of the source: many tasks (MT) or a few (TS)"),
    ("gen", "string", "who wrote it: people (HG), a model (SI), both (MIX), a collection (COL)"),
    ("license", "string", "licence of the source: SPDX, or unknown"),
    ("extra", "string or null", "JSON of what else upstream says of the record"),
)


def card_text(told: Told) -> str:
    """Return the card."""
    head = front_matter(told.content, told.statistics, told.files, told.title)
    pieces = (
        _introduction,
        _loading,
        _columns,
        sources,
        tags,
        languages,
        lengths,
        licensing,
        made,
        separation,
        known_limits,
        examples,
        _citation,
    )
    lines = [line for piece in pieces for line in piece(told)]
    return head + "\n" + "\n".join(lines).rstrip("\n") + "\n"


def _introduction(told: Told) -> list[str]:
    whole = told.statistics.whole
    named = len(told.statistics.sources)
    counts = f"{shown(whole.rows.get(TRAIN, 0))} rows to learn from"
    if TEST in whole.rows:
        counts += f" and {shown(whole.rows[TEST])} rows to evaluate with"
    verdict = told.content.verdict
    return [
        f"# {inline(told.title)}",
        "",
        f"{counts}, of {shown(named)} source{'s' if named > 1 else ''}: instructions and answers,"
        " with earlier turns and system prompts where there are any. Each row says which source it"
        " is of, where in that source's raw files it stood, and under which licence that source"
        " is.",
        "",
        f"Licence class of all together: **{verdict.license_class}**; allowed use:"
        f" {', '.join(verdict.uses)}. See [Licence](#licence).",
        "",
    ]


def _loading(told: Told) -> list[str]:
    content = told.content
    default = content.configs[0].name
    pattern = told.files[default, next(iter(content.configs[0].splits))].pattern
    program = [
        "from datasets import load_dataset",
        "",
        f'load_dataset("{told.repo}")  # {_default_means(told)}',
        *(f'load_dataset("{told.repo}", "{one.name}")' for one in content.configs),
        "",
        "import polars",
        "",
        f'polars.read_parquet("hf://datasets/{told.repo}/{pattern}")',
    ]
    rows = [
        (code(config), code(split), one.rows, one.shards, one.bytes, one.uncompressed)
        for (config, split), one in told.files.items()
    ]
    heads = ("config", "split", "rows", "files", "bytes", "bytes before compression")
    return ["## Load it", "", *fence("\n".join(program), "python"), "", *table(heads, rows)]


def _default_means(told: Told) -> str:
    if told.content.default == ALL and len(told.content.configs) > 1:
        return "all sources together"
    return f"the config {told.content.default}"


def _columns(told: Told) -> list[str]:
    rows = [(code(name), code(kind), meaning) for name, kind, meaning in COLUMNS]
    return ["## Columns", "", *table(("column", "type", "meaning"), rows)]


def _citation(told: Told) -> list[str]:
    return ["## Citation", "", *fence(bibtex(told), "bibtex"), ""]
