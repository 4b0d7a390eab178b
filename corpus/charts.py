"""Charts as inline SVG, drawn when a page is written: no script runs and no address is asked.

`report` puts them into pages. altair describes them and vl-convert draws them (extra `report`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from corpus.bubbles import LINE, Picture, short
from corpus.errors import MissingExtraError

WIDTH = 640
BAR_HEIGHT = 20
PANEL_WIDTH = 250
LABEL_WIDTH = 210
CELL = 26
PALETTE = ("#4c6a92", "#c8803f", "#6f9a5d", "#a8576a", "#7d6ba0", "#5f9ea0", "#b09a3d", "#7a7a7a")

NAMESPACES = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
"""What an SVG must name where it does not stand in a page."""

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


def heat_map(records: Sequence[Record], *, x: str, y: str, value: str, title: str) -> str:
    """Draw a coloured cell for each pair of labels; the values are shares from 0 to 1."""
    alt = _altair()
    order = list(dict.fromkeys(str(one[y]) for one in records))
    shown = [{**one, "told": f"{100 * one[value]:.0f}" if one[value] else ""} for one in records]
    axes = {
        "x": alt.X(f"{x}:N", sort=order, title=x, axis=alt.Axis(labelAngle=-45, labelLimit=260)),
        "y": alt.Y(f"{y}:N", sort=order, title=y, axis=alt.Axis(labelLimit=260)),
    }
    base = alt.Chart(alt.Data(values=shown)).encode(**axes)
    color = alt.Color(
        f"{value}:Q",
        scale=alt.Scale(range=["#f4f4f4", "#1f4e8c"], type="sqrt", domain=[0, 1]),
        legend=alt.Legend(format="%", title=None),
    )
    white = alt.condition(f"datum.{value} > 0.5", alt.value("white"), alt.value("#333"))
    cells = base.mark_rect().encode(color=color)
    numbers = base.mark_text(fontSize=9).encode(text="told:N", color=white)
    side = CELL * max(2, len(order))
    return _svg((cells + numbers).properties(width=side, height=side, title=title))


def paired_bars(records: Sequence[Record], *, label: str, values: Sequence[str]) -> str:
    """Draw a panel of horizontal bars for each value, side by side, each bar with its number."""
    alt = _altair()
    order = [str(one[label]) for one in records]
    panels = []
    for place, value in enumerate(values):
        told = [{**one, "told": short(one[value])} for one in records]
        # All such charts of a page begin at the same place.
        kept = {
            "labelLimit": LABEL_WIDTH,
            "minExtent": LABEL_WIDTH,
            "domain": False,
            "ticks": False,
        }
        axis = alt.Axis(**kept) if place == 0 else None
        base = alt.Chart(alt.Data(values=told)).encode(
            x=alt.X(f"{value}:Q", title=value, axis=None),
            y=alt.Y(f"{label}:N", sort=order, title=None, axis=axis),
        )
        drawn = base.mark_bar(color=PALETTE[place])
        numbers = base.mark_text(align="left", dx=4).encode(text="told:N")
        layer = alt.layer(drawn, numbers)
        panels.append(
            layer.properties(width=PANEL_WIDTH, height=BAR_HEIGHT * len(order), title=value)
        )
    chart = alt.hconcat(*panels, spacing=60).configure_view(strokeWidth=0)
    chart = chart.configure_axis(labelFontSize=12).configure_text(fontSize=12)
    return _svg(chart.configure_title(anchor="start", frame="group"))


def bubbles(
    picture: Picture, groups: Sequence[str], colors: Mapping[str, str], *, title: str
) -> str:
    """Draw packed bubbles, each in the colour of its group, with the names that fit into them."""
    alt = _altair()
    circles = [
        {"x": one.x, "y": one.y, "size": (2 * one.radius) ** 2, "group": group}
        for one, group in zip(picture.bubbles, groups, strict=True)
    ]
    texts = [
        {"x": one.x, "y": one.y + (at - (len(one.lines) - 1) / 2) * one.font * LINE}
        | {"text": text, "font": one.font}
        for one in picture.bubbles
        for at, text in enumerate(one.lines)
    ]
    known = [group for group in colors if group in groups]
    scale = alt.Scale(domain=known, range=[colors[group] for group in known])
    place = {
        "x": alt.X("x:Q", axis=None, scale=alt.Scale(domain=[0, picture.width], nice=False)),
        "y": alt.Y("y:Q", axis=None, scale=alt.Scale(domain=[picture.height, 0], nice=False)),
    }
    drawn = (
        alt.Chart(alt.Data(values=circles))
        .mark_circle(opacity=1)
        .encode(
            **place,
            size=alt.Size("size:Q", scale=None, legend=None),
            color=alt.Color("group:N", scale=scale, title=None, legend=alt.Legend(orient="top")),
        )
    )
    written = (
        alt.Chart(alt.Data(values=texts))
        .mark_text(color="white", baseline="middle")
        .encode(**place, text="text:N", size=alt.Size("font:Q", scale=None, legend=None))
    )
    chart = alt.layer(drawn, written).resolve_scale(size="independent")
    chart = chart.properties(width=picture.width, height=picture.height, title=title)
    chart = chart.configure_title(anchor="start", fontSize=14, offset=8)
    chart = chart.configure_legend(labelFontSize=13, symbolSize=160)
    return _svg(chart.configure_view(strokeWidth=0))


def png(svg: str) -> bytes:
    """Return a chart as a picture of twice its size in pixels, for pages that show no SVG."""
    import vl_convert

    picture: bytes = vl_convert.svg_to_png(svg.replace("<svg", f"<svg {NAMESPACES}", 1), scale=2)
    return picture


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
