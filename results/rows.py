"""The rows of a table: those that are asked for, or one for each pretraining there is."""

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from results.declaration import Row
from results.manifests import Manifests
from results.records import Run, Unfinished
from superinfo.artifacts import Pixels


@dataclass(frozen=True)
class RowRuns:
    """A row with what belongs to it."""

    label: str
    base: str | None
    """Label of the row that its differences are taken to."""
    runs: tuple[Run, ...]
    unfinished: tuple[Unfinished, ...]


def listed(rows: Sequence[Row], runs: Sequence[Run], unfinished: Sequence[Unfinished]) -> list[RowRuns]:
    """Return the rows that are asked for, in their order."""
    found = []
    for row in rows:
        own = tuple(run for run in runs if row.match.holds(run))
        names = {run.who.name for run in own}
        pending = tuple(
            one for one in unfinished if one.name in names or (row.match.name is not None and row.match.awaits(one))
        )
        found.append(RowRuns(row.label, row.base, own, pending))
    return found


def every(runs: Sequence[Run], unfinished: Sequence[Unfinished], manifests: Manifests) -> list[RowRuns]:
    """Return a row for each pretraining, and for each name of which only unfinished runs are there.

    Its label is the pretraining's name; where that is not enough also what differs, down to the recipe's hash. Its base
    is the pretraining without the term that is its like in method, images, epochs and encoder.
    """
    by_recipe: dict[Hashable, list[Run]] = {}
    for run in runs:
        by_recipe.setdefault(pretraining_recipe(run), []).append(run)
    groups = sorted(by_recipe.values(), key=lambda group: _order(group[0]))
    firsts = [group[0] for group in groups]
    labels = _labels(firsts, manifests)
    names = Counter(run.who.name for run in firsts)
    pending: dict[str, list[Unfinished]] = {}
    for one in unfinished:
        pending.setdefault(one.name, []).append(one)
    bases = _bases(firsts, labels)
    rows = []
    for label, base, group in zip(labels, bases, groups, strict=True):
        name = group[0].who.name
        own = tuple(pending.pop(name, ())) if names[name] == 1 else ()  # it tells no more than its name
        rows.append(RowRuns(label, base, tuple(group), own))
    return rows + [_only_unfinished(name, {row.label for row in rows}, ones) for name, ones in sorted(pending.items())]


def pretraining_recipe(run: Run) -> Hashable:
    """Return what is the same for runs of one row: all of a pretraining but its seed."""
    who = run.who
    return who.name, who.method, who.term, who.dataset, who.epochs, who.encoder, who.pixels, _hash(run)


def row_recipe(run: Run) -> Hashable:
    """Return what runs must share to have a mean: their pretraining but for its seed.

    Of files from elsewhere nobody knows more than who writes such files and their encoder: each is a pretraining.
    """
    who = run.who
    if who.recipe_hash is None and who.tensors_sha256 is not None:
        return who.method, who.encoder, who.pixels
    return pretraining_recipe(run)


def _hash(run: Run) -> str:
    return run.who.recipe_hash or run.who.tensors_sha256 or ""


def _only_unfinished(name: str, taken: set[str], unfinished: Sequence[Unfinished]) -> RowRuns:
    label = f"{name} (unfinished)" if name in taken else name
    return RowRuns(label, None, (), tuple(unfinished))


def _order(run: Run) -> tuple[object, ...]:
    who = run.who
    return (
        who.name != "random",
        who.encoder.title,
        who.dataset or "",
        who.method,
        who.epochs or 0,
        who.term != "none",
        who.name,
        _hash(run),
    )


def _bases(runs: Sequence[Run], labels: Sequence[str]) -> list[str | None]:
    """Return for each pretraining with a term the label of the only one without that is its like."""
    without: dict[Hashable, list[int]] = {}
    for index, run in enumerate(runs):
        if run.who.term == "none":
            without.setdefault(_but_for_the_term(run), []).append(index)
    bases: list[str | None] = []
    for run in runs:
        found = without.get(_but_for_the_term(run), []) if run.who.term != "none" else []
        named = [index for index in found if runs[index].who.name == run.who.name.replace(f"+{run.who.term}", "")]
        found = named or found
        bases.append(labels[found[0]] if len(found) == 1 else None)
    return bases


def _but_for_the_term(run: Run) -> Hashable:
    who = run.who
    return who.method, who.dataset, who.epochs, who.encoder, who.recipe_hash is None


def _labels(runs: Sequence[Run], manifests: Manifests) -> list[str]:
    """Return names, and in brackets what tells those apart that are alike."""
    labels = [run.who.name for run in runs]
    alike: dict[str, list[int]] = {}
    for index, label in enumerate(labels):
        alike.setdefault(label, []).append(index)
    for name, indices in alike.items():
        if len(indices) == 1:
            continue
        told = [_facts(runs[index]) for index in indices]
        if len(set(map(tuple, told))) < len(told):
            told = [
                facts + settings
                for facts, settings in zip(told, _settings([runs[i] for i in indices], manifests), strict=True)
            ]
        if len(set(map(tuple, told))) < len(told):
            told = [[*facts, _hash(runs[index])[:8]] for facts, index in zip(told, indices, strict=True)]
        telling = [column for column in range(len(told[0])) if len({facts[column] for facts in told}) > 1]
        for index, facts in zip(indices, told, strict=True):
            shown = ", ".join(facts[column] for column in telling if facts[column])
            labels[index] = f"{name} ({shown})" if shown else name
    return labels


def _facts(run: Run) -> list[str]:
    who = run.who
    epochs = "" if who.epochs is None else f"{who.epochs} epochs"
    return [who.encoder.title, who.method, who.term, who.dataset or "", epochs, _describe_pixels(who.pixels)]


def _describe_pixels(pixels: Pixels | None) -> str:
    if pixels is None:
        return ""
    mean, std = (" ".join(f"{value:g}" for value in values) for values in (pixels.mean, pixels.std))
    return f"{pixels.channel_order}, mean {mean}, std {std}"


def _settings(runs: Sequence[Run], manifests: Manifests) -> list[list[str]]:
    """Return the settings of each pretraining's term that differ, as its manifest has them."""
    recipes = [manifests.recipe_of(run.who.tensors_sha256) for run in runs]
    fields = sorted({field for recipe in recipes for field in recipe if field.startswith("term.")})
    return [
        [f"{field.removeprefix('term.')} {recipe[field]}" if field in recipe else "" for field in fields]
        for recipe in recipes
    ]
