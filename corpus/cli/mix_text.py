"""What `mix plan`, `mix build` and `mix show` print of a mixture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from corpus.cli.text import columns
from corpus.mixture.quota import repeats

if TYPE_CHECKING:
    from corpus.mixture import Mixture, Plan

HEADS = ("source", "stored", "removed", "held out", "unique", "rows", "share", "epochs")


def plan_json(plan: Plan) -> dict[str, Any]:
    """Return a plan for `--json`."""
    return {
        "name": plan.recipe.name,
        "rows": plan.rows,
        "holdout": plan.holdout,
        "sources": [
            {
                "id": one.source.name,
                "rows": one.quota,
                "unique": one.unique,
                "tokens": None,
                "epochs": round(one.epochs, 4),
                "stored": one.source.rows,
                "holdout": len(one.held),
                "removed": one.removed,
                "repeated_prompts": one.repeated_prompts,
                "line": one.tags.line,
                "languages": list(one.tags.languages),
                "license": one.tags.license,
            }
            for one in plan.sources
        ],
        "languages": _by(("/".join(one.tags.languages), one.quota) for one in plan.sources),
        "licenses": _by((one.tags.license, one.quota) for one in plan.sources),
        "warnings": list(plan.warnings),
    }


def plan_text(plan: Plan) -> str:
    """Return a plan for people."""
    found = plan_json(plan)
    lines = [
        f"{plan.recipe.name}: {plan.rows:,} rows"
        + (f" and {plan.holdout:,} held out" if plan.holdout else ""),
        _table(found["sources"], plan.rows),
    ]
    for one in found["sources"]:
        lines += _notes(one)
    lines.append(f"languages: {_shares(found['languages'], plan.rows)}")
    lines.append(f"licenses: {_shares(found['licenses'], plan.rows)}")
    return "\n".join([*lines, *(f"warning: {text}" for text in plan.warnings)])


def _table(sources: list[dict[str, Any]], rows: int) -> str:
    cells = [
        (
            one["id"],
            f"{one['stored']:,}",
            f"{sum(one['removed'].values()):,}",
            f"{one['holdout']:,}",
            f"{one['unique']:,}",
            f"{one['rows']:,}",
            _percent(one["rows"], rows),
            f"{one['epochs']:.2f}",
        )
        for one in sources
    ]
    return columns(HEADS, cells, right=HEADS[1:])


def _notes(one: dict[str, Any]) -> list[str]:
    """Return what a row of the table does not say: why rows left, what repeats."""
    notes = [f"removed {count:,}: {reason}" for reason, count in one["removed"].items()]
    if one["repeated_prompts"]:
        notes.append(f"kept {one['repeated_prompts']:,} rows with a prompt that stood before")
    whole, more = repeats(one["rows"], one["unique"])
    if one["rows"] > one["unique"]:
        further = f", {more:,} rows once more" if more else ""
        notes.append(f"repeats: every row {whole} times{further}")
    return [f"{one['id']}: {note}" for note in notes]


def lock_text(mixture: Mixture) -> str:
    """Return a built mixture for people."""
    lock = mixture.lock
    cells = [
        (
            one["name"],
            f"{one['unique']:,}",
            f"{one['rows']:,}",
            f"{one['holdout']:,}",
            one["lang"],
            one["task"],
            one["gen"],
            one["license"],
            one["rows_digest"][:12],
        )
        for one in lock["sources"]
    ]
    heads = ("source", "unique", "rows", "held out", "lang", "task", "gen", "license", "rows are")
    return "\n".join(
        (
            f"{mixture.name}: {len(mixture):,} rows, {len(mixture.holdout):,} held out",
            f"digest {mixture.digest}",
            f"seed {lock['recipe']['seed']}, written by woolgather {lock['woolgather']}",
            columns(heads, cells, right=heads[1:4]),
            str(mixture.path),
        )
    )


def _by(pairs: Iterable[tuple[str, int]]) -> dict[str, int]:
    sums: Counter[str] = Counter()
    for name, rows in pairs:
        sums[name] += rows
    return dict(sums.most_common())


def _shares(rows_by: dict[str, int], rows: int) -> str:
    return ", ".join(f"{name} {_percent(count, rows)}" for name, count in rows_by.items())


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %"
