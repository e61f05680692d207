"""What a table says below its figures: what was measured, and how its spread, differences and bold were come by."""

from collections.abc import Iterator, Mapping, Sequence

from results.declaration import Test
from results.protocols import Protocol
from results.statistics import ALPHA, FEWEST
from results.table import Cell, Verdict

NOTHING = "Nothing measured yet."
TESTS = {
    "paired": "a paired t test over seeds where both rows have the same ones, and Welch's t test elsewhere",
    "welch": "Welch's t test",
}


def caption_of(measured: Sequence[tuple[str, Protocol | None]], common: Mapping[str, frozenset[str]]) -> str:
    """Say what was measured: `measured` has each group's header with what most of its rows have in common.

    `common` has the deviations that all runs of a group share, by the headers of the groups that have runs.
    """
    said: dict[str, list[str]] = {}
    for header, protocol in measured:
        if protocol is not None:
            said.setdefault(protocol.sentence, []).append(header)
    if not said:
        return NOTHING
    if len(said) == 1 and len(measured) == len(next(iter(said.values()))):
        sentences = [f"{sentence}." for sentence in said]
    else:
        sentences = [f"{', '.join(filter(None, headers))}: {sentence}." for sentence, headers in said.items()]
    return " ".join([*sentences, *_deviations(common)])


def _deviations(common: Mapping[str, frozenset[str]]) -> Iterator[str]:
    """Yield a sentence for each deviation: of all groups, or of those whose headers it names."""
    shared = frozenset.intersection(*common.values()) if common else frozenset()
    for deviation in sorted(shared):
        yield f"In all runs: {deviation}."
    for deviation in sorted(frozenset().union(*common.values()) - shared):
        headers = (header or "the columns without a header" for header, own in common.items() if deviation in own)
        yield f"In all runs of {', '.join(headers)}: {deviation}."


def method_of(test: Test, rows: Sequence[Sequence[Cell]]) -> str:
    """Say how the figures of rows of cells were come by."""
    cells = [cell for row in rows for cell in row]
    said = []
    if any(cell.spread is not None for cell in cells):
        said.append(
            "Mean ± standard deviation (n \N{MINUS SIGN} 1) over pretrainings; several fine-tunings of one are "
            "averaged first."
        )
    if any(cell.interval is not None for cell in cells):
        said.append("Intervals of single runs are 95 % bootstrap intervals over test images, not over runs.")
    if test == "none":
        return " ".join([*said, "No differences are tested."] if said else [])
    differences = [cell.difference for cell in cells if cell.difference is not None]
    untested = [difference.runs for difference in differences if difference.verdict is Verdict.TOO_FEW]
    if len(untested) < len(differences):
        said.append(
            f"A difference holds at p ≤ {ALPHA:g} of {TESTS[test]}, adjusted by Holm's method for the {_tests(rows)} "
            "of a column."
        )
    if any(runs < FEWEST for runs in untested):
        said.append(f"Fewer than {FEWEST} pretrainings a row are too few to tell a difference from noise.")
    if any(runs >= FEWEST for runs in untested):
        said.append("A difference that is the same in every pretraining tells nothing of its noise, and is not tested.")
    if any(cell.best for cell in cells):
        said.append(
            "Bold: better than every other row of its column that was measured alike and has a mean, by such tests, "
            "adjusted together."
        )
    return " ".join(said)


def _tests(rows: Sequence[Sequence[Cell]]) -> str:
    """Return the number of tests that a column has, of those that have any: `6 tests`, or `2 to 6 tests`."""
    columns = zip(*rows, strict=True)
    tests = (sum(cell.difference is not None and cell.difference.p is not None for cell in cells) for cells in columns)
    counts = sorted(set(tests) - {0})
    return " to ".join(map(str, dict.fromkeys((counts[0], counts[-1])))) + (" tests" if counts[-1] > 1 else " test")
