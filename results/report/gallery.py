"""Which plots a page has: of each table its spread, profiles, information and losses; of pretraining its curves."""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from results.records import Run
from results.render.parts import UNITS, visible
from results.report.charts import Curve, Point, Spread, draw_curves, draw_plane, draw_profile, draw_spread
from results.report.curves import DETECTION, PRETRAINING, read_curve
from results.report.evidence import Pretraining
from results.report.plots import Plot
from results.table import Cell, Column, Table
from superinfo.artifacts import Metric

SPREADS = 6
"""Columns of a table whose spread is drawn, at most."""
SPREAD_ROWS, ROWS, CATEGORIES, CURVES = 24, 6, 40, 24
"""Drawn at most: rows of a spread, rows of other plots, their categories, and curves."""
NAME = 100
"""Letters of a plot's name, at most."""
PROFILES = {
    r"box/AP-(.+)": "Box AP of each class",
    r"box/AP50-(.+)": "Box AP50 of each class",
    r"mask/AP-(.+)": "Mask AP of each class",
    r"keypoints/AP-(.+)": "Keypoint AP of each class",
    r"view/(.+)/R2": "What features keep of their own view",
    r"image/(.+)/R2": "What features keep of their image",
}
"""By the metrics that they show."""
LOGGED = {
    "loss": "Loss",
    "knn": "Online kNN accuracy",
    "effective_rank": "Effective rank of features",
    "alignment": "Alignment of views",
    "uniformity": "Uniformity of features",
}
"""What pretraining logs and the page shows."""
Rows = dict[str, list[Run]]
"""Runs of each row."""
Drawn = tuple[str, str, Figure]
"""Title, caption, figure."""


def plots_of_table(table: Table, taken: set[str]) -> list[Plot]:
    """Draw all there is to draw of a table's measured rows; `taken` are the names of the page's other plots."""
    drawn = [*_spreads(table)]
    for group in dict.fromkeys(column.group for column in table.columns):
        rows = _runs(table, group)
        drawn += [*_profiles(rows, group), *_planes(rows, group), *_losses(rows, group)]
    return _named(table.name, drawn, taken)


def plots_of_pretraining(pretrainings: Iterable[Pretraining], taken: set[str]) -> dict[str, list[Plot]]:
    """Draw the curves of pretraining, by what was pretrained on what; `taken` as above."""
    groups: dict[str, list[Pretraining]] = {}
    for one in sorted(pretrainings, key=lambda one: _row_of(one).partition("_")[0].split("+")):
        groups.setdefault(_pretrained_on(one), []).append(one)
    plots = {}
    for group, members in sorted(groups.items()):
        drawn: list[Drawn] = []
        for key, title in LOGGED.items():
            curves = _read(((_row_of(one), one.folder) for one in members), PRETRAINING, "epoch", key)
            drawn += _curves(title, "", curves, "epoch", title.lower())
        if drawn:
            plots[visible(group)] = _named(f"pretraining {group}", drawn, taken)
    return plots


def _named(stem: str, drawn: Sequence[Drawn], taken: set[str]) -> list[Plot]:
    """Name plots by what they show, each name once in a page."""
    plots = []
    for title, text, figure in drawn:
        name = first = re.sub(r"[^a-z0-9]+", "-", f"{stem} {title}".lower()).strip("-")[:NAME]
        number = 1
        while name in taken:
            number += 1
            name = f"{first}-{number}"
        taken.add(name)
        plots.append(Plot(name, visible(title), text, figure))
    return plots


def _spreads(table: Table) -> Iterator[Drawn]:
    for place, column in list(_leading(table.columns).items())[:SPREADS]:
        rows = [_spread(line.label, line.cells[place]) for line in table.lines if line.cells[place].values]
        kept = rows[:SPREAD_ROWS]
        if kept:
            title = f"Spread of {_heading(column)}"
            bars = any(row.mean is not None and len(row.values) > 1 for row in kept)
            text = f"Each dot is a seed{', each bar the mean of a row' if bars else ''}."
            if any(row.remark for row in kept):
                text += " A row that lacks runs has no mean."
            text += _cut(len(rows), SPREAD_ROWS, "rows")
            yield (
                title,
                text,
                draw_spread(kept, f"{column.header} ({UNITS.get(column.unit, column.unit)}) {column.arrow}"),
            )


def _spread(label: str, cell: Cell) -> Spread:
    lacks = f"{cell.runs} of {cell.expected} runs" if cell.mean is None else ""
    return Spread(label, cell.values, cell.mean, lacks)


def _leading(columns: Sequence[Column]) -> dict[int, Column]:
    """Return the first column of each group and kind of metric, `box/AP` but not `box/AP50`, by its place."""
    firsts: dict[tuple[str, str], int] = {}
    for place, column in enumerate(columns):
        kind, _, name = column.key.rpartition("/")
        firsts.setdefault((column.group, kind or name), place)
    return {place: columns[place] for place in firsts.values()}


def _heading(column: Column) -> str:
    return f"{column.header}, {column.group}" if column.group else column.header


def _runs(table: Table, group: str) -> Rows:
    """Return the runs behind the cells of the columns of a group, each once."""
    places = [place for place, column in enumerate(table.columns) if column.group == group]
    rows = {
        line.label: list({run.folder: run for place in places for run in line.cells[place].records}.values())
        for line in table.lines
    }
    return {label: runs for label, runs in rows.items() if runs}


def _profiles(rows: Rows, group: str) -> Iterator[Drawn]:
    for pattern, title in PROFILES.items():
        values: dict[str, dict[str, list[float]]] = {}
        first: Metric | None = None
        for label, runs in rows.items():
            for run in runs:
                for name, metric in run.metrics.items():
                    if (found := re.fullmatch(pattern, name)) and metric.value is not None:
                        first = first or metric
                        values.setdefault(label, {}).setdefault(found[1], []).append(metric.value)
        if first is None:
            continue
        categories = list(dict.fromkeys(category for figures in values.values() for category in figures))
        kept = dict(list(values.items())[:ROWS])
        text = "Each dot is a run." + _cut(len(values), ROWS, "rows") + _cut(len(categories), CATEGORIES, "categories")
        yield (
            _titled(title, group),
            text,
            draw_profile(categories[:CATEGORIES], kept, UNITS.get(first.unit, first.unit)),
        )


def _planes(rows: Rows, group: str) -> Iterator[Drawn]:
    points, limits = [], set()
    for label, runs in list(rows.items())[:ROWS]:
        for run in runs:
            x, y = (_value(run, name) for name in ("superfluous", "predictive"))
            if x is not None and y is not None:
                errors = [_value(run, f"{name}_standard_error") or 0.0 for name in ("superfluous", "predictive")]
                points.append(Point(label, x, y, errors[0], errors[1]))
                limits.add(_value(run, "predictive_limit"))
    if points:
        text = (
            "Upper bound of what features keep of their own view alone, against the lower bound of what they tell of "
            "the other view; each dot is a run with its standard errors, the dashed line the most that can be told."
        ) + _cut(len(rows), ROWS, "rows")
        limit = limits.pop() if len(limits) == 1 else None
        figure = draw_plane(points, "superfluous (nats) ↓", "predictive (nats) ↑", limit)
        yield _titled("Information in features", group), text, figure


def _losses(rows: Rows, group: str) -> Iterator[Drawn]:
    kept = list(rows.items())[:ROWS]
    folders = ((label, run.folder) for label, runs in kept for run in runs)
    curves = _read(folders, DETECTION, "iteration", "total_loss")
    yield from _curves("Loss of the detector", group, curves, "iteration", "loss")


def _read(folders: Iterable[tuple[str, Path]], file: str, x: str, y: str) -> list[Curve]:
    found = (read_curve(label, folder / file, x, y) for label, folder in folders)
    return [curve for curve in found if curve is not None]


def _curves(title: str, group: str, curves: Sequence[Curve], label_x: str, label_y: str) -> Iterator[Drawn]:
    if curves:
        text = "Each line is a run." + _cut(len(curves), CURVES, "runs")
        yield _titled(title, group), text, draw_curves(curves[:CURVES], label_x, label_y)


def _value(run: Run, name: str) -> float | None:
    return run.metrics[name].value if name in run.metrics else None


def _titled(title: str, group: str) -> str:
    return f"{title}, {group}" if group else title


def _cut(count: int, most: int, what: str) -> str:
    return f" Of {count:,} {what} the first {most} are drawn." if count > most else ""


def _row_of(pretraining: Pretraining) -> str:
    return str(pretraining.manifest.recipe.get("name"))


def _pretrained_on(pretraining: Pretraining) -> str:
    recipe = pretraining.manifest.recipe
    data, encoder = recipe.get("data", {}), recipe.get("encoder", {})
    split, count = data.get("split"), data.get("count")
    images = (data.get("name") or data.get("kind"), split and f"{split} split", count and f"{count:,} images")
    named = ", ".join(str(part) for part in images if part)
    return f"{encoder.get('arch')} x{encoder.get('width', 1):g} on {named}"
