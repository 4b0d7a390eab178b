"""Charts as inline SVG, drawn when a page is written: no script runs and no address is asked.

`report` puts them into pages. altair describes them and vl-convert draws them (extra `report`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from corpus.errors import MissingExtraError

WIDTH = 640
BAR_HEIGHT = 20
PALETTE = ("#4c6a92", "#c8803f", "#6f9a5d", "#a8576a", "#7d6ba0", "#5f9ea0", "#b09a3d", "#7a7a7a")

Record = dict[str, Any]


def bars(
    records: Sequence[Record], *, value: str, label: str, color: str | None = None, title: str
) -> str:
    """Draw horizontal bars, one a label in the order given, stacked by `color`."""
    alt = _altair()
    order = list(dict.fromkeys(str(one[label]) for one in records))
    chart = alt.Chart(alt.Data(values=list(records))).mark_bar()
    encodings = {
        "x": alt.X(f"{value}:Q", title=value),
        "y": alt.Y(f"{label}:N", sort=order, title=None, axis=alt.Axis(labelLimit=260)),
    }
    if color is not None:
        encodings["color"] = _color(alt, color)
    height = BAR_HEIGHT * max(1, len(order))
    return _svg(chart.encode(**encodings).properties(width=WIDTH, height=height, title=title))


def lines(records: Sequence[Record], *, x: str, y: str, color: str | None, title: str) -> str:
    """Draw a line for each colour over a numeric axis; the y axis does not start at zero."""
    alt = _altair()
    chart = alt.Chart(alt.Data(values=list(records))).mark_line(strokeWidth=1.6)
    encodings = {
        "x": alt.X(f"{x}:Q", title=x),
        "y": alt.Y(f"{y}:Q", title=y, scale=alt.Scale(zero=False)),
    }
    if color is not None:
        encodings["color"] = _color(alt, color)
    return _svg(chart.encode(**encodings).properties(width=WIDTH, height=240, title=title))


def _color(alt: Any, field: str) -> Any:
    return alt.Color(f"{field}:N", title=field, scale=alt.Scale(range=list(PALETTE)))


def _altair() -> Any:
    try:
        import altair
    except ImportError as error:
        raise MissingExtraError("a report with charts", "altair", "report") from error
    return altair


def _svg(chart: Any) -> str:
    try:
        import vl_convert
    except ImportError as error:
        raise MissingExtraError("a report with charts", "vl-convert-python", "report") from error
    svg: str = vl_convert.vegalite_to_svg(chart.to_dict())
    # Inline SVG needs no namespaces, and without them the page holds no address at all.
    return re.sub(r'\sxmlns(:xlink)?="[^"]*"', "", svg)
