"""What a reader has to know of a row's runs: the text of its footnotes."""

from collections.abc import Sequence

from results.cells import Slot
from results.protocols import Protocol, describe_difference
from results.records import Run

MIXED = "Its runs were measured in more than one way"
OTHERWISE = "Measured otherwise than most rows"


def remarks(slot: Slot, usual: Run | None, common: frozenset[str]) -> list[str]:
    """Return the footnotes of a row's runs in one group of columns.

    `usual` is a run that was measured as most rows were; `common` are the deviations that the caption has.
    """
    said = [*_unlike(slot, usual), *([] if slot.mixed else _unbalanced(slot))]
    said += [f"{run.who.name} has two records of seed {run.seed}." for run in slot.replicates.duplicates]
    deviations = sorted({deviation for run in slot.runs for deviation in run.deviations} - common)
    said += [_sentence(deviation) for deviation in deviations]
    said += [_sentence(f"seed {one.seed} failed: {one.reason}") for one in slot.unfinished if one.state == "failed"]
    return list(dict.fromkeys(said))


def _unlike(slot: Slot, usual: Run | None) -> list[str]:
    runs = slot.runs
    if not runs:
        return []
    if slot.protocol is None:
        other = _measured_otherwise(runs)
        return [f"{MIXED}, so no mean: {describe_difference(other, runs[0])}."]
    if slot.mixed:
        names = ", ".join(sorted({f"{run.who.name} {(run.who.recipe_hash or '')[:8]}" for run in runs}))
        return [f"Its runs are of more than one pretraining recipe, so no mean: {names}."]
    if usual is not None and slot.protocol != Protocol.of(usual):
        return [f"{OTHERWISE}, so not compared: {describe_difference(runs[0], usual)}."]
    return []


def _measured_otherwise(runs: Sequence[Run]) -> Run:
    return next(run for run in runs if Protocol.of(run) != Protocol.of(runs[0]))


def _unbalanced(slot: Slot) -> list[str]:
    groups = slot.replicates.groups
    if slot.replicates.single:
        return [f"One pretraining, fine-tuned {len(slot.runs)} times: the spread is that of fine-tuning alone."]
    if len(slot.runs) > len(groups):
        counts = sorted({len(members) for members in groups})
        times = " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
        return [f"{len(groups)} pretrainings, fine-tuned {times} times each."]
    return []


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}" + ("" if text.endswith(".") else ".")
