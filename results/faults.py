"""What is wrong with records, and with a table: each fault a sentence that says where.

What a table shows is worked out again here from its cells' values and records, by scipy's own tests.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence

from scipy import stats

from results.metrics import SUMMARY
from results.protocols import Protocol, describe_difference
from results.records import Run, Store
from results.remarks import MIXED, OTHERWISE
from results.replicates import Replicates, pretraining
from results.rows import pretraining_recipe
from results.statistics import ALPHA, FEWEST, ROUNDING
from results.table import Cell, Column, Line, State, Table
from superinfo.artifacts import Metric

FRACTION = 1.0
"""The largest one; percents that are all below look like fractions where others are a hundred times as large."""
BOUNDS = ("box", "mask", "keypoints")
"""Kinds whose AP is the mean of AP at ten thresholds, AP50 and AP75 among them."""


def find_faults(store: Store) -> list[str]:
    """Return what is wrong with the records below a folder."""
    return [
        *(f"{one.path}: unreadable: {one.reason}" for one in store.unreadable),
        *_without_manifest(store),
        *_duplicates(store.runs),
        *(fault for run in store.runs for fault in _odd_figures(run)),
        *_like_fractions(store.runs),
    ]


def find_table_faults(table: Table) -> list[str]:
    """Return what is wrong with a table, whoever built it."""
    faults = []
    telling = {note.mark for note in table.notes if note.text.startswith((MIXED, OTHERWISE))}
    for index, column in enumerate(table.columns):
        where = f"table {table.name}, column {column.key}"
        cells = [(line, line.cells[index]) for line in table.lines]
        faults += [f"{where}: {fault}" for fault in _column_faults(column, cells, telling)]
    for lines, foreign in ((table.lines, State.PUBLISHED), (table.published, State.MEASURED)):
        faults += [
            f"table {table.name}: {line.label!r} stands among rows of the other kind, with a {foreign.value} figure"
            for line in lines
            if any(cell.state is foreign for cell in line.cells)
        ]
    faults += [
        f"table {table.name}: {line.label!r} quotes a figure without its source"
        for line in table.published
        if any(cell.state is State.PUBLISHED and not cell.source for cell in line.cells)
    ]
    return faults


def _without_manifest(store: Store) -> Iterator[str]:
    """Random initialisation and files from elsewhere have none, and say so: no recipe's hash of ours."""
    for run in store.runs:
        if run.who.recipe_hash is not None and (run.who.tensors_sha256 or "") not in store.manifests.by_tensors:
            yield (
                f"{run.folder}: no manifest below {store.folder} vouches for its checkpoint "
                f"{(run.who.tensors_sha256 or 'without a hash')[:12]}; publish the pretraining run too"
            )


def _duplicates(runs: tuple[Run, ...]) -> Iterator[str]:
    found: defaultdict[Hashable, list[Run]] = defaultdict(list)
    for run in runs:
        found[pretraining_recipe(run), pretraining(run), run.seed, Protocol.of(run)].append(run)
    for first, *others in found.values():
        for other in others:
            yield f"{other.folder}: duplicate of seed {other.seed}: {first.folder} measured the same; remove one"


def _odd_figures(run: Run) -> Iterator[str]:
    """Yield figures that are no numbers, or cannot all be right."""
    values = {name: metric.value for name, metric in run.metrics.items() if metric.value is not None}
    if not values:
        yield f"{run.folder}: no metric has a value"
    for name, value in values.items():
        if not math.isfinite(value):
            yield f"{run.folder}: {name} is {value}, no number"
        if run.metrics[name].unit == "percent" and not 0 <= value <= 100:
            yield f"{run.folder}: {name} is {value:g} percent"
        low, high = values.get(f"{name}_low"), values.get(f"{name}_high")
        if low is not None and high is not None and not low <= value <= high and high - low > 0:
            yield f"{run.folder}: {name} {value:g} lies outside its own interval {low:g} to {high:g}; a fraction?"
    for kind in BOUNDS:
        ap, ap50, ap75 = (values.get(f"{kind}/{name}") for name in ("AP", "AP50", "AP75"))
        if ap is not None and ap50 is not None and ap75 is not None and 20 * ap < ap50 + 5 * ap75:
            yield f"{run.folder}: {kind}/AP {ap:g} is too small beside AP50 {ap50:g} and AP75 {ap75:g}; a fraction?"


def _like_fractions(runs: tuple[Run, ...]) -> Iterator[str]:
    """Yield records that hold fractions by the look of others.

    All their percents by the look of their protocol's, or what sums them up by the look of their row's other seeds.
    """
    whole: defaultdict[Hashable, list[tuple[Run, float]]] = defaultdict(list)
    single: defaultdict[tuple[Hashable, Protocol, str], list[tuple[Run, float]]] = defaultdict(list)
    for run in runs:
        protocol = Protocol.of(run)
        if percents := _percents(run.metrics):
            whole[protocol].append((run, max(percents)))
        for name in SUMMARY:
            metric = run.metrics.get(name)
            if metric is not None and metric.unit == "percent" and metric.value:
                single[pretraining_recipe(run), protocol, name].append((run, metric.value))
    found = {run.folder: (most, large) for members in whole.values() for run, most, large in _hundredths(members)}
    for folder, (most, large) in found.items():
        yield (
            f"{folder}: all percents are at most {most:g}, where others of its protocol reach {large:g}: "
            "fractions among percents"
        )
    for (*_, name), members in single.items():
        for run, value, large in _hundredths(members):
            if run.folder not in found:
                yield (
                    f"{run.folder}: {name} is {value:g}, where other seeds of its row reach {large:g}: "
                    "a fraction among percents"
                )


def _hundredths(members: Sequence[tuple[Run, float]]) -> Iterator[tuple[Run, float, float]]:
    """Yield each run whose figure is small, but a hundred times it among the large ones; and the largest."""
    large = [figure for _, figure in members if figure > FRACTION]
    for run, figure in members:
        if figure <= FRACTION and large and min(large) / 2 <= 100 * figure <= 2 * max(large):
            yield run, figure, max(large)


def _percents(metrics: Mapping[str, Metric]) -> list[float]:
    return [one.value for one in metrics.values() if one.unit == "percent" and one.value]


def _column_faults(column: Column, cells: list[tuple[Line, Cell]], telling: set[str]) -> Iterator[str]:
    for line, cell in cells:
        metrics = [run.metrics[column.metric] for run in cell.records if column.metric in run.metrics]
        if odd := [metric.unit for metric in metrics if metric.unit != column.unit]:
            yield f"{line.label!r} has a figure in {odd[0]} among {column.unit}"
        if any(metric.higher_is_better != column.higher_is_better for metric in metrics):
            yield f"{line.label!r} has a figure of the other direction than {column.arrow}"
        if cell.state is State.UNDEFINED:
            yield f"{line.label!r} has no number"
        if cell.state is State.MEASURED and (cell.mean is None or not math.isfinite(cell.mean)):
            yield f"{line.label!r} shows {cell.mean} for a number"
    yield from _unmarked(cells, telling)
    yield from _bold_within_noise(column, cells)


def _unmarked(cells: list[tuple[Line, Cell]], telling: set[str]) -> Iterator[str]:
    """Yield rows that were measured otherwise than most, or in several ways, and have no mark that tells so."""
    measured = [(line, cell, {Protocol.of(run): run for run in cell.records}) for line, cell in cells if cell.records]
    alike = [next(iter(ways)) for _, _, ways in measured if len(ways) == 1]
    usual = Counter(alike).most_common(1)[0][0] if alike else None
    example = next((ways[usual] for _, _, ways in measured if usual in ways), None) if usual else None
    for line, cell, ways in measured:
        other = example or next(iter(ways.values()))
        odd = [run for protocol, run in ways.items() if protocol != Protocol.of(other)]
        if odd and telling.isdisjoint((*line.marks, *cell.marks)):
            yield f"{line.label!r} was measured otherwise without a mark: {describe_difference(odd[0], other)}"


def _bold_within_noise(column: Column, cells: list[tuple[Line, Cell]]) -> Iterator[str]:
    for line, cell in cells:
        if not cell.best:
            continue
        for other, theirs in cells:
            if other is line or theirs.state is not State.MEASURED or _protocol(theirs) != _protocol(cell):
                continue
            if not _differs(column, cell, theirs):
                yield f"{line.label!r} is bold, though its difference to {other.label!r} is not told from noise"
                break


def _protocol(cell: Cell) -> Protocol:
    return Protocol.of(cell.records[0])


def _differs(column: Column, best: Cell, other: Cell) -> bool:
    """Return whether one cell is better than another, by pairs of seeds where both have the same ones."""
    ours, theirs = Replicates.of(best.records), Replicates.of(other.records)
    a, b = ours.values(column.metric), theirs.values(column.metric)
    if min(len(a), len(b)) < FEWEST or best.mean is None or other.mean is None:
        return False
    better = best.mean > other.mean if column.higher_is_better else best.mean < other.mean
    paired = ours.design == theirs.design
    noise = [x - y for x, y in zip(a, b, strict=True)] if paired else [x - v[0] for v in (a, b) for x in v]
    if max(noise) - min(noise) <= ROUNDING * max(map(abs, (*a, *b))):
        return False
    found = stats.ttest_rel(a, b) if paired else stats.ttest_ind(a, b, equal_var=False)
    return better and float(found.pvalue) <= ALPHA
