"""The two plots of a card, as PNG: rows by source and language, lengths of outputs by language."""

from __future__ import annotations

from pathlib import Path

from corpus.charts import Record, bars, png
from corpus.publish.markdown import shown
from corpus.publish.statistics import BINS, Statistics

SOURCES_PLOT, LENGTHS_PLOT = "plots/rows-by-source.png", "plots/output-lengths.png"

MOST_LANGUAGES = 6
"""Languages that get a colour of their own."""
OTHERS = "others"


def write_plots(folder: Path, statistics: Statistics) -> None:
    """Write both plots."""
    drawn = {
        SOURCES_PLOT: bars(
            _by_source(statistics),
            value="rows",
            label="source",
            color="language",
            title="Rows by source and language of the output",
        ),
        LENGTHS_PLOT: bars(
            _by_length(statistics),
            value="rows",
            label="characters",
            color="lang",
            title="Rows by characters of the output and tag of the source",
        ),
    }
    for name, svg in drawn.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png(svg))


def _by_source(statistics: Statistics) -> list[Record]:
    frequent = list(statistics.whole.summary["output_languages"])[:MOST_LANGUAGES]
    records = []
    for name, part in statistics.sources.items():
        counts = part.summary["output_languages"]
        own = {language: counts[language] for language in frequent if language in counts}
        own[OTHERS] = part.total - sum(own.values())
        records += [
            {"source": name, "language": language, "rows": rows}
            for language, rows in own.items()
            if rows
        ]
    return records


def _by_length(statistics: Statistics) -> list[Record]:
    totals = [sum(counts) for counts in zip(*statistics.bins.values(), strict=True)]
    filled = [place for place, count in enumerate(totals) if count]
    return [
        {"characters": _bin(place), "lang": lang, "rows": counts[place]}
        for place in range(filled[0], filled[-1] + 1)
        for lang, counts in statistics.bins.items()
    ]


def _bin(place: int) -> str:
    """Return the name of a bin: 64-127, or 32,768 and more."""
    if place == len(BINS) - 1:
        return f"{shown(BINS[place])} and more"
    first, last = BINS[place], BINS[place + 1] - 1
    return shown(first) if first == last else f"{shown(first)}–{shown(last)}"
