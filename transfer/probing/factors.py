"""What frozen features keep of what generated their image: ridge regressions with all training images and with few.

View parameters (crop, flip, colour, blur of the view that the encoder saw) are not in the other view: what h keeps of
them is superfluous information, on any image set. The factors of `scenes` are shared by both views: shape is the task,
the others are nuisances, which are irrelevant to the task but not superfluous; hence they are reported apart.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from superinfo.artifacts import Metric
from superinfo.datasets.images import Labels, ScenesObjects, scenes_factors
from superinfo.errors import UserError
from superinfo.views import PARAMETERS
from transfer.probing.features import Features
from transfer.probing.labelled import Floats
from transfer.probing.recipe import FactorsSpec
from transfer.probing.ridge import Doubles, Standard, read_off
from transfer.probing.trial import Outcome, Trial

BINARY = ("flip", "grayscale", "solarize")
"""View parameters that are 0 or 1."""
CATEGORIES = {"shape": "class", "texture": "texture", "background_texture": "background_texture"}
TURNS = ("hue",)
"""View parameters in turns, read off as sine and cosine: half a turn to one side is half a turn to the other."""
ANGLES = {"hue": "hue", "pose": "rotation", "background_hue": "background_hue"}
"""In degrees, read off as sine and cosine. Shapes that look alike after a part of a turn cap what can be read of
pose."""
NUMBERS = {
    name: name for name in ("saturation", "value", "background_saturation", "background_value", "scale", "x", "y")
}
"""Factors of `scenes`, each by its column in factors.csv."""
TASK = "shape"
Rows = Sequence[dict[str, str]]
"""Of factors.csv."""


@dataclass(frozen=True)
class Factor:
    """One factor, as numbers for training and test images, `(n, k)` and `(m, k)`."""

    name: str
    train: Doubles
    test: Doubles
    categorical: bool
    wanted: bool
    """Whether a good encoder keeps it."""


def read_factors(trial: Trial, task: FactorsSpec) -> Outcome:
    """Read the parameters of views off features of views and, on `scenes`, the factors of images off their features.

    R2 (1 reads all, 0 nothing) of numbers, accuracy of categories in percent, beside `majority`, that of always
    naming the training images' commonest one; `@N` are the figures with N training images. A factor that does not vary
    is left out. `view/R2` is the mean over view parameters, `nuisance/R2` that over the numeric nuisances of `scenes`.
    Raises UserError if images are too few.
    """
    train, test = trial.splits.train, trial.splits.test
    if len(train.indices) < 2 * task.few:
        raise UserError(f"data.train: {len(train.indices)} images are fewer than twice task.few, {task.few}; lower it")
    views = [trial.store.of_views(split, task.views, trial.seed) for split in (train, test)]
    metrics = _read(trial, task, [found.values[:, 0] for found in views], list(_view_parameters(*views)))
    metrics["view/R2"] = _mean(metrics, "view/", PARAMETERS)
    specs = [spec for spec in (trial.recipe.data.train, trial.recipe.data.test) if isinstance(spec, ScenesObjects)]
    if len(specs) == 2:
        shown = [trial.store.of(split) for split in (train, test)]
        rows = [
            [table[index] for index in found.indices]
            for table, found in zip((scenes_factors(spec, trial.runs / "data") for spec in specs), shown, strict=True)
        ]
        metrics |= _read(trial, task, [found.values for found in shown], list(_image_factors(*rows)))
        metrics["nuisance/R2"] = _mean(metrics, "image/", [*ANGLES, *NUMBERS])
    return Outcome(metrics, len(views[1].values))


def _view_parameters(train: Features, test: Features) -> Iterator[Factor]:
    for number, name in enumerate(PARAMETERS):
        ends = [found.parameters[:, 0, [number]].astype(np.float64) for found in (train, test)]
        if name in TURNS:
            ends = [_round(2 * np.pi * end) for end in ends]
        yield Factor(f"view/{name}", ends[0], ends[1], categorical=name in BINARY, wanted=False)


def _image_factors(train: Rows, test: Rows) -> Iterator[Factor]:
    for name, column in CATEGORIES.items():
        known = sorted({row[column] for row in train})
        ends = [np.array([[row[column] == one for one in known] for row in rows], np.float64) for rows in (train, test)]
        yield Factor(f"image/{name}", ends[0], ends[1], categorical=True, wanted=name == TASK)
    for name, column in (ANGLES | NUMBERS).items():
        ends = [np.array([[float(row[column])] for row in rows]) for rows in (train, test)]
        if name in ANGLES:
            ends = [_round(np.deg2rad(end)) for end in ends]
        yield Factor(f"image/{name}", ends[0], ends[1], categorical=False, wanted=False)


def _round(angles: Doubles) -> Doubles:
    """Return sine and cosine, `(n, 2)`, of radians, `(n, 1)`."""
    return np.hstack([np.sin(angles), np.cos(angles)])


def _read(trial: Trial, task: FactorsSpec, features: list[Floats], candidates: list[Factor]) -> dict[str, Metric]:
    factors = [factor for factor in candidates if min(np.ptp(end, axis=0).max() for end in (factor.train, factor.test))]
    # By all training images, also for few: it takes no labels, and few images make noise of features that rarely vary.
    standard = Standard.of(features[0])
    train, test = standard(features[0]), standard(features[1])
    targets = np.hstack([factor.train for factor in factors])
    groups = [number for number, factor in enumerate(factors) for _ in range(factor.train.shape[1])]
    predicted = read_off((train, targets), test, groups, task.validation_share, [trial.seed, 0])
    metrics = _score(factors, _apart(factors, predicted), "")
    few: list[dict[str, Metric]] = []
    for draw in range(task.draws):
        chosen = np.random.default_rng([trial.seed, 1, draw]).permutation(len(train))[: task.few]
        guessed = read_off((train[chosen], targets[chosen]), test, groups, task.validation_share, [trial.seed, 2, draw])
        few.append(_score(factors, _apart(factors, guessed), f"@{task.few}"))
    metrics |= {name: _average([one[name] for one in few]) for name in few[0]}
    for factor in factors:
        if factor.categorical:
            metrics[f"{factor.name}/majority"] = _metric(_majority(factor), "percent", wanted=factor.wanted)
    return dict(sorted(metrics.items()))


def _apart(factors: list[Factor], predicted: Doubles) -> list[Doubles]:
    ends = np.cumsum([factor.train.shape[1] for factor in factors])[:-1]
    return np.split(predicted, ends, axis=1)


def _score(factors: list[Factor], predicted: list[Doubles], few: str) -> dict[str, Metric]:
    metrics = {}
    for factor, guess in zip(factors, predicted, strict=True):
        if factor.categorical:
            right = 100 * float((_named(guess) == _named(factor.test)).mean())
            metrics[f"{factor.name}/accuracy{few}"] = _metric(right, "percent", wanted=factor.wanted)
        if not factor.categorical or factor.test.shape[1] == 1:
            metrics[f"{factor.name}/R2{few}"] = _metric(r_squared(guess, factor.test), "R2", wanted=factor.wanted)
    return metrics


def r_squared(predicted: Doubles, targets: Doubles) -> float:
    """Return 1 - squared error / squared deviation from the mean, over all k columns, of `(m, k)` both."""
    return float(1 - np.square(predicted - targets).sum() / np.square(targets - targets.mean(axis=0)).sum())


def _named(scores: Doubles) -> Labels:
    """Return the category that has the highest score; of one column, whether it is nearer to 1 than to 0."""
    if scores.shape[1] == 1:
        return (scores[:, 0] > 0.5).astype(np.int64)
    named: Labels = scores.argmax(axis=1)
    return named


def _majority(factor: Factor) -> float:
    commonest = np.bincount(_named(factor.train)).argmax()
    return 100 * float((_named(factor.test) == commonest).mean())


def _average(values: list[Metric]) -> Metric:
    mean = float(np.mean([one.value for one in values if one.value is not None]))
    return values[0].model_copy(update={"value": mean})


def _mean(metrics: dict[str, Metric], prefix: str, names: Sequence[str]) -> Metric:
    return _average([metrics[key] for name in names if (key := f"{prefix}{name}/R2") in metrics])


def _metric(value: float, unit: str, *, wanted: bool) -> Metric:
    return Metric(value=value, unit=unit, higher_is_better=wanted)
