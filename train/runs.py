"""Finished runs side by side: what differed between them, and which tag gained by it.

Reads what runs left in the home; `woolgather runs` prints it. No torch here.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from corpus.errors import TrainError
from corpus.registry import suggest
from corpus.settings import Home
from train.data import TAGS

POINTS = 60
"""Points of a curve in the plot; each is the mean of the log lines between two of them."""

CURVES = 8
"""Values of a tag in one chart."""

LISTED = ("method", "mixture", "steps", "loss", "eval", "output")


@dataclass(frozen=True, slots=True)
class Past:
    """A finished run: its settings, its result, its log."""

    name: str
    settings: dict[str, Any]
    result: dict[str, Any]
    log: list[dict[str, Any]]

    def losses(self, kind: str) -> dict[tuple[str, str], float]:
        """Return (tag, value) -> loss: of the last evaluation, or over the whole training."""
        tags = self.result["tags"][kind]
        found = ((tag, value, one) for tag in TAGS for value, one in tags.get(tag, {}).items())
        return {(tag, value): one["loss"] for tag, value, one in found}


def list_runs(home: Home) -> list[dict[str, Any]]:
    """Return every run of the home, finished or not, by name."""
    found = []
    for folder in sorted(one for one in home.runs.glob("*") if one.is_dir()):
        file = folder / "result.json"
        result = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        state = {"run": folder.name, "path": str(folder), "finished": bool(result)}
        found.append(state | {key: result.get(key) for key in LISTED})
    return found


def open_run(home: Home, name: str) -> Past:
    """Read a finished run.

    Raises:
        TrainError: it is not there, or not finished.
    """
    folder = home.runs / name
    if not (folder / "run.yaml").is_file():
        known = [one.name for one in home.runs.glob("*") if one.is_dir()]
        raise TrainError(f"run {name!r} is not in {home.runs}.{suggest(name, known)}")
    if not (folder / "result.json").is_file():
        raise TrainError(
            f"run {name!r} is not finished. Go on: woolgather train run --resume {name}"
        )
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return Past(
        name,
        yaml.safe_load((folder / "run.yaml").read_text(encoding="utf-8")),
        json.loads((folder / "result.json").read_text(encoding="utf-8")),
        [json.loads(line) for line in lines],
    )


def differences(runs: Sequence[Past]) -> dict[str, list[Any]]:
    """Return the settings that are not the same in all runs, and the mixture's digest."""
    flat = [dict(_flat(one.settings)) for one in runs]
    for one, run in zip(flat, runs, strict=True):
        one["mixture digest"] = run.result["mixture_digest"][:12]
    keys = dict.fromkeys(key for one in flat for key in one if key != "name")
    table = {key: [one.get(key) for one in flat] for key in keys}
    return {key: values for key, values in table.items() if any(one != values[0] for one in values)}


def _flat(settings: Mapping[str, Any], inside: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{inside}{key}.")
        else:
            yield inside + key, value


def compare(runs: Sequence[Past]) -> dict[str, Any]:
    """Hold runs against each other: settings that differ, and the final loss of every tag's value.

    Holdout losses when every run measured the same holdout, else training losses, and `note` says
    so: losses on different rows cannot be compared.
    """
    same = len({one.result["measured_on"] for one in runs}) == 1
    kind = "eval" if same and all(one.result["tags"]["eval"] for one in runs) else "train"
    columns = [one.losses(kind) for one in runs]
    keys = dict.fromkeys(key for one in columns for key in one)
    total = [one.result["eval"]["end"] if kind == "eval" else _mean(one.log) for one in runs]
    columns = [{("total", ""): of} | column for of, column in zip(total, columns, strict=True)]
    order = sorted(keys, key=lambda key: (TAGS.index(key[0]), key[1]))
    note = (
        "loss of the same held-out rows at the end of each run"
        if kind == "eval"
        else "mean training loss of each run, on different rows: set eval.mixture to one mixture"
        " in all runs to compare them on the same held-out rows"
    )
    return {
        "runs": [one.name for one in runs],
        "measured": kind,
        "note": note,
        "differences": differences(runs),
        "losses": [
            {"tag": tag, "value": value, "losses": [one.get((tag, value)) for one in columns]}
            for tag, value in [("total", ""), *order]
        ],
    }


def _mean(log: Sequence[dict[str, Any]]) -> float:
    sums, tokens = zip(
        *(_sum(one, "total", "") for one in log if one["kind"] == "train"), strict=True
    )
    return float(sum(sums) / sum(tokens))


def comparison_lines(found: Mapping[str, Any]) -> list[str]:
    """Return a comparison as lines of text; the second column on, differences to the first run."""
    width = max(len(f"{row['tag']} {row['value']}") for row in found["losses"]) + 2
    differ = found["differences"].items()
    lines = [f"{key}: {' | '.join(map(str, values))}" for key, values in differ]
    lines += ["", found["note"], " " * width + "  ".join(f"{one:>20}" for one in found["runs"])]
    for row in found["losses"]:
        first, *others = row["losses"]
        cells = [f"{_shown(first, None):>20}", *(f"{_shown(one, first):>20}" for one in others)]
        lines.append(f"{row['tag']} {row['value']}".ljust(width) + "  ".join(cells))
    return lines


def _shown(loss: float | None, first: float | None) -> str:
    if loss is None:
        return "-"
    return f"{loss:.4f}" if first is None else f"{loss:.4f} ({loss - first:+.4f})"


def write_comparison(runs: Sequence[Past], found: Mapping[str, Any], path: Path) -> None:
    """Write a comparison as one page: settings, losses, and the curves of all runs overlaid."""
    from corpus.charts import lines
    from corpus.report import Page

    page = Page("Training runs: " + ", ".join(found["runs"]))
    page.heading("What differs")
    differ = [(key, *map(str, values)) for key, values in found["differences"].items()]
    page.table(("setting", *found["runs"]), differ)
    page.heading("Losses at the end")
    page.text(found["note"][0].upper() + found["note"][1:] + ".")
    ends = [(row["tag"], row["value"], *row["losses"]) for row in found["losses"]]
    page.table(("tag", "value", *found["runs"]), ends)
    page.heading("Losses over the run")
    kind = found["measured"]
    for row in found["losses"]:
        points = [p for run in runs for p in _curve(run, kind, row["tag"], row["value"])]
        title = f"{row['tag']} {row['value']}".strip()
        if len(points) > len(runs):
            page.chart(lines(points, x="step", y="loss", color="run", title=title))
    page.write(path)


def write_losses(run: Past) -> Path:
    """Write the curves of one run, in all and by tag, as `losses.html` into its folder."""
    from corpus.charts import lines
    from corpus.report import Page

    page = Page(f"Losses of {run.name}")
    for kind in ("train", "eval"):
        log = [one for one in run.log if one["kind"] == kind]
        if len(log) < 2:
            continue
        page.heading("Training" if kind == "train" else "Holdout")
        for tag in ("total", *TAGS):
            values = _most_frequent(log, tag)
            curves = [(value, _curve(run, kind, tag, value)) for value in values]
            points = [{**point, tag: value} for value, curve in curves for point in curve]
            # One value is the total over again.
            if tag == "total" or len(values) > 1:
                color = tag if len(values) > 1 else None
                page.chart(lines(points, x="step", y="loss", color=color, title=tag))
    file = Path(run.result["path"]) / "losses.html"
    page.write(file)
    return file


def _most_frequent(log: Sequence[dict[str, Any]], tag: str) -> list[str]:
    """Return the values of a tag with the most tokens, as many as a chart has colours for."""
    counts: Counter[str] = Counter()
    for line in log:
        counts.update({value: one["tokens"] for value, one in line["tags"].get(tag, {}).items()})
    return [value for value, _ in counts.most_common(CURVES)] or [""]


def _curve(run: Past, kind: str, tag: str, value: str) -> Iterator[dict[str, Any]]:
    """Yield the points of one run's curve, each the mean over several lines, by their tokens."""
    log = [one for one in run.log if one["kind"] == kind]
    size = -(-len(log) // POINTS) if log else 1
    for start in range(0, len(log), size):
        group = log[start : start + size]
        sums = [_sum(one, tag, value) for one in group]
        tokens = sum(n for _, n in sums)
        if tokens:
            loss = sum(total for total, _ in sums) / tokens
            yield {"run": run.name, "step": group[-1]["step"], "loss": loss}


def _sum(line: Mapping[str, Any], tag: str, value: str) -> tuple[float, int]:
    if tag == "total":
        return line["loss"] * line["tokens"], line["tokens"]
    one = line["tags"].get(tag, {}).get(value)
    return (one["sum"], one["tokens"]) if one else (0.0, 0)
