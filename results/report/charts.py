"""The kinds of plots: spread over runs, profiles over classes or factors, the information plane, curves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from results.render.style import LIGHT
from results.report.plots import (
    MARKERS,
    SERIES,
    add_legend,
    legend_height,
    panel,
    shown,
    some,
)

DOTS = 200
"""Runs of a row, and points of a curve, that are drawn at most."""
CATEGORY = 24
"""Letters of a category that are shown."""
ROW = 48
"""Letters of a row's name and of its remark that fit above its dots."""
Values = Mapping[str, Sequence[float]]
"""Of the runs of each row."""


@dataclass(frozen=True, slots=True)
class Spread:
    """The figures of one row."""

    row: str
    values: Sequence[float]
    mean: float | None
    """None where the row lacks a run or a figure."""
    remark: str
    """What it lacks; empty if nothing."""


@dataclass(frozen=True, slots=True)
class Curve:
    """What one run logged."""

    row: str
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True, slots=True)
class Point:
    """One run in a plane, with its standard errors."""

    row: str
    x: float
    y: float
    x_error: float
    y_error: float


def draw_spread(rows: Sequence[Spread], label: str) -> Figure:
    """Draw each figure of each row as a dot, and a mean over several as a bar."""
    figure, axes = panel(0.5 * len(rows), top=0.1)
    across = axes.get_yaxis_transform()
    for place, row in enumerate(rows):
        name = shown(row.row, ROW - len(row.remark))
        axes.text(0, place - 0.22, name, va="center", transform=across)
        axes.text(1, place - 0.22, row.remark, va="center", ha="right", color=LIGHT.muted, transform=across)
        axes.axhline(place + 0.12, color=LIGHT.rule, lw=0.8)
        dots = some(row.values, DOTS)
        axes.plot(dots, [place + 0.12] * len(dots), **_mark(0), ms=6.5, ls="none")
        if row.mean is not None and len(row.values) > 1:
            ends = [place - 0.06, place + 0.3]
            axes.plot([row.mean] * 2, ends, color=LIGHT.text, lw=1.8, solid_capstyle="butt")
    axes.set_ylim(len(rows) - 0.6, -0.5)
    axes.set_yticks([])
    axes.set_xlabel(shown(label))
    axes.margins(x=0.08)
    return figure


def draw_profile(categories: Sequence[str], rows: Mapping[str, Values], label: str) -> Figure:
    """Draw each run's figure for each category, a colour and a marker for each row."""
    step = 0.16 + 0.06 * len(rows)
    names = [shown(category, CATEGORY) for category in categories]
    left = 0.3 + 0.075 * max(map(len, names))
    figure, axes = panel(step * len(categories), left=left, top=legend_height(len(rows)))
    for number, (row, figures) in enumerate(rows.items()):
        offset = (number - (len(rows) - 1) / 2) * 0.6 / max(len(rows), 1)
        dots = [
            (value, place + offset)
            for place, category in enumerate(categories)
            for value in some(figures.get(category, ()), DOTS)
        ]
        axes.plot(
            [value for value, _ in dots],
            [place for _, place in dots],
            **_mark(number),
            ms=5,
            ls="none",
            label=shown(row),
        )
    axes.set_ylim(len(categories) - 0.5, -0.5)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel(shown(label))
    add_legend(axes)
    return figure


def draw_plane(points: Sequence[Point], label_x: str, label_y: str, limit: float | None) -> Figure:
    """Draw each run at its two figures, with their standard errors, and the limit of the second as a line."""
    rows = list(dict.fromkeys(point.row for point in points))
    figure, axes = panel(2.6, left=0.6, top=legend_height(len(rows)))
    for number, row in enumerate(rows):
        mine = [point for point in points if point.row == row]
        x, y = [point.x for point in mine], [point.y for point in mine]
        axes.errorbar(
            x,
            y,
            xerr=[point.x_error for point in mine],
            yerr=[point.y_error for point in mine],
            **_mark(number),
            ms=6.5,
            ls="none",
            elinewidth=1.2,
            label=shown(row),
        )
    if limit is not None:
        axes.axhline(limit, color=LIGHT.muted, lw=1, ls=(0, (4, 3)))
        axes.annotate(
            "limit", (1, limit), xycoords=axes.get_yaxis_transform(), ha="right", va="bottom", color=LIGHT.muted
        )
    _name_axes(axes, label_x, label_y)
    add_legend(axes)
    return figure


def draw_curves(curves: Sequence[Curve], label_x: str, label_y: str) -> Figure:
    """Draw a line for each run, in the colour of its row."""
    rows = list(dict.fromkeys(curve.row for curve in curves))
    figure, axes = panel(2.2, left=0.6, top=legend_height(len(rows)))
    named: set[str] = set()
    for curve in curves:
        number = rows.index(curve.row)
        name = shown(curve.row) if curve.row not in named else None
        named.add(curve.row)
        dashes = "solid" if number < len(SERIES) else "dashed"
        colour = SERIES[number % len(SERIES)]
        axes.plot(some(curve.x, DOTS), some(curve.y, DOTS), color=colour, lw=1.4, ls=dashes, label=name)
    _name_axes(axes, label_x, label_y)
    add_legend(axes)
    return figure


def _name_axes(axes: Axes, label_x: str, label_y: str) -> None:
    axes.set_xlabel(shown(label_x))
    axes.set_ylabel(shown(label_y))
    axes.tick_params(labelcolor=LIGHT.muted)


def _mark(number: int) -> dict[str, Any]:
    return {
        "color": SERIES[number % len(SERIES)],
        "marker": MARKERS[number % len(MARKERS)],
        "alpha": 0.8,
        "markeredgewidth": 0,
    }
