"""How figures are called and written, and which of a record's sum it up."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from superinfo.errors import UserError
from superinfo.recipes import suggest


@dataclass(frozen=True, slots=True)
class Style:
    """What a column says of its metric."""

    header: str
    unit: str
    higher_is_better: bool


SUMMARY = {
    **{
        f"{kind}/{name}": Style(f"{kind} {name}", "percent", higher_is_better=True)
        for kind in ("box", "mask", "keypoints")
        for name in ("AP", "AP50", "AP75")
    },
    "accuracy": Style("top-1 accuracy", "percent", higher_is_better=True),
    "mean_per_class_accuracy": Style("mean per class", "percent", higher_is_better=True),
    "retained": Style("retained", "nats", higher_is_better=False),
    "superfluous": Style("superfluous", "nats", higher_is_better=False),
    "predictive": Style("predictive", "nats", higher_is_better=True),
    "image/shape/accuracy": Style("shape", "percent", higher_is_better=True),
    "image/shape/accuracy@100": Style("shape, 100 labels", "percent", higher_is_better=True),
    "nuisance/R2": Style("nuisances", "R2", higher_is_better=False),
    "view/R2": Style("view parameters", "R2", higher_is_better=False),
}
"""The metrics that sum up a record, in the order of tables; any others are its details."""
DIGITS = {"percent": 1, "nats": 2, "R2": 3}
"""After the point, by unit."""
MOST_DIGITS = 3


def style(metric: str, unit: str | None, *, higher_is_better: bool | None) -> Style:
    """Return what a column says of a metric: as its records have it, or as it is known where there are none."""
    known = SUMMARY.get(metric, Style(metric.replace("/", " ").replace("_", " "), "percent", higher_is_better=True))
    better = known.higher_is_better if higher_is_better is None else higher_is_better
    return Style(known.header, unit or known.unit, higher_is_better=better)


def digits(unit: str) -> int:
    """Return how many digits a figure has after the point."""
    return DIGITS.get(unit, MOST_DIGITS)


def summarise(metrics: Collection[str]) -> list[str]:
    """Return those that sum up a record: the known ones among its metrics, or all if none is known."""
    return [metric for metric in SUMMARY if metric in metrics] or sorted(metrics)


def check_known(asked: Iterable[str], found: Collection[str], where: str) -> None:
    """Raise UserError for a metric that the records that count do not have, if it is not a known one."""
    names = sorted({*found, *SUMMARY})
    for metric in asked:
        if metric not in names:
            near = suggest(metric, names)
            raise UserError(f"{where}: no record has a metric `{metric}`{near}; there are: {_few(sorted(found))}")


def interval_of(metric: str) -> tuple[str, str]:
    """Return the metrics that are the ends of a metric's 95 % interval over test images, where a record has them."""
    return f"{metric}_low", f"{metric}_high"


def _few(names: list[str]) -> str:
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
