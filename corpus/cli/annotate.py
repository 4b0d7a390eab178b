"""The verb `annotate`: compute the row-aligned columns of datasets before a mixture needs them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from corpus.cli.session import Session
from corpus.cli.text import columns

if TYPE_CHECKING:
    from corpus.engine import Engine
    from corpus.store import Build


def annotate(
    ctx: typer.Context,
    expr: Annotated[
        str, typer.Argument(metavar="EXPR", help="Tag expression, such as 'lang:CN & gen:SI'")
    ],
    only: Annotated[str, typer.Option(help="Name of the annotation")] = "keys",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; default one for each core")
    ] = None,
) -> None:
    """Compute the row-aligned columns of datasets"""
    from corpus.engine import Engine
    from corpus.errors import StoreError
    from corpus.store import Store

    session: Session = ctx.obj
    store = Store(session.home)
    ids = [entry.id for entry in session.catalog().select_entries(expr)]
    built = [id for id in ids if store.has(id)]
    skipped = [{"id": id, "reason": "not built"} for id in ids if id not in built]
    if not built:
        raise StoreError(
            f"{expr!r}: expected built datasets, got none. Build them: woolgather build '{expr}'"
        )
    with Engine("processes", workers) as engine:
        annotated = [_annotate_one(session, store.current(id), only, engine) for id in built]
    lines = [[str(one[key]) for key in ("id", "name", "rows", "seconds")] for one in annotated]
    session.result(
        {"annotated": annotated, "skipped": skipped},
        columns(("id", "annotation", "rows", "seconds"), lines, right=("rows", "seconds")),
    )
    for one in skipped:
        session.log(f"skipped {one['id']}: {one['reason']}")


def _annotate_one(session: Session, build: Build, name: str, engine: Engine) -> dict[str, Any]:
    from corpus.annotate import ANNOTATIONS, annotation, annotation_path, has_annotation

    started = time.perf_counter()
    reused = has_annotation(session.home, build, name)
    with session.progress(f"{name} of {build.id}") as advance:
        table = annotation(
            session.home, build, name, engine=engine, advance=advance, say=session.log
        )
    kind = ANNOTATIONS[name]()
    return {
        "id": build.id,
        "name": name,
        "version": kind.version,
        "rows": table.num_rows,
        "path": str(annotation_path(session.home, build, kind)),
        "seconds": round(time.perf_counter() - started, 3),
        "reused": reused,
    }
