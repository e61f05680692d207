"""What people see of a suite at work."""

import re
from pathlib import Path

import pytest

from benchmarks import watch
from benchmarks.outcome import Outcome, log_path, outcome_path
from tests.benchmarks.errands import errand


def test_lines_tell_each_start_each_end_and_what_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "PLAIN_SECONDS", 0.0)
    first, second = errand("pretrain/first", "true"), errand("probe/second", "true")
    with watch.watched("demo", [first, second], tmp_path) as look:
        look()
        log = log_path(tmp_path, first.name)
        log.parent.mkdir(parents=True)
        log.write_text("half\n50 % \n\n")
        look()
        log.write_text("all\nloss 0.1\n")
        Outcome("done", artifact="a.pt").write(outcome_path(tmp_path, first.name))
        Outcome("failed", code=2, reason="no data").write(outcome_path(tmp_path, second.name))
        look()
    told = re.sub(r"after \d+ s", "after N s", capsys.readouterr().err).splitlines()
    assert told == [
        "pretrain/first: started",
        "pretrain/first: 50 %",
        "[1 of 2] pretrain/first: done after N s: loss 0.1",
        "probe/second: started",
        "[2 of 2] probe/second: failed after N s: no data",
    ]
