"""How many workers load data for a process."""

import os
import socket

import pytest

from superinfo.processes import Agreement
from superinfo.workers import workers_for

HERE = socket.gethostname()
FOUR, TWO, OTHER_TWO = {0, 1, 2, 3}, {0, 1}, {2, 3}


class Agreed(Agreement):
    """What the processes of a run, this one first, have agreed upon: machine and cores of each."""

    def __init__(self, *everyone: tuple[str, set[int]]) -> None:
        super().__init__()
        self.everyone = everyone

    def merged(self, mine: dict[int, tuple[str, set[int]]]) -> dict[int, tuple[str, set[int]]]:  # type: ignore[override]
        assert mine == {0: self.everyone[0]}
        return dict(enumerate(self.everyone))


@pytest.mark.parametrize(
    ("asked", "everyone", "expected"),
    [
        (16, [(HERE, FOUR)], 4),
        (3, [(HERE, FOUR)], 3),
        (0, [(HERE, FOUR)], 0),
        (16, [(HERE, FOUR), (HERE, FOUR)], 2),
        (16, [(HERE, FOUR), ("another", FOUR)], 4),
        (16, [(HERE, TWO), (HERE, OTHER_TWO)], 2),
        (16, [(HERE, TWO), (HERE, TWO), (HERE, TWO)], 1),
        (16, [(HERE, FOUR), (HERE, OTHER_TWO)], 3),
    ],
)
def test_a_process_has_no_more_workers_than_its_share_of_the_cores(
    asked: int, everyone: list[tuple[str, set[int]]], expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: everyone[0][1])
    assert workers_for(asked, Agreed(*everyone)) == expected
