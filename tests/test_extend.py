"""Every file that docs/extend.md shows is taken from the page and does what the page says."""

import math
import re
import shlex
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml

from benchmarks.origins import Pretrained, origin_of
from benchmarks.suite import Row
from pretrain.recipe import RECIPES as PRETRAIN
from pretrain.recipe import PretrainRecipe
from superinfo import cli
from superinfo.artifacts import (
    CONVERSION,
    Conversion,
    EncoderSpec,
    Manifest,
    Record,
    load_checkpoint,
    tensors_sha256,
)
from superinfo.custom import imported
from superinfo.encoders import build_encoder
from superinfo.errors import UserError
from superinfo.spec import load_recipe

RECORDS = Path(__file__).parents[1] / "results" / "records"
PAGE = (Path(__file__).parents[1] / "docs" / "extend.md").read_text()
FILES = dict(re.findall(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", PAGE, re.DOTALL))
COMMANDS = {
    name: [line.removeprefix("$ superinfo ") for line in block.splitlines()]
    for name, block in re.findall(r"<!-- run: (\S+) -->\n```console\n(.*?)```", PAGE, re.DOTALL)
}
TINY = ["encoder.width=0.125", "view_size=32", "epochs=1", "batch_size=8", "log_every=1", "monitor.tensorboard=false"]
TINY_SCENES = [*TINY, "data.count=16", "data.size=32"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the page's files lie, and its commands are called."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def run(command: str, changes: list[str], capsys: pytest.CaptureFixture[str], *options: str) -> str:
    """Call a command of the page, made small; return the last line that it prints."""
    arguments = [*shlex.split(command), *options, *(part for change in changes for part in ("--set", change))]
    capsys.readouterr()
    cli.app(arguments, standalone_mode=False)
    return capsys.readouterr().out.splitlines()[-1]


def test_the_page_shows_files_of_thirty_lines_or_so() -> None:
    assert {"vicreg.py", "uniformity.py", "birds.py", "ours.py"} <= FILES.keys()
    for name, text in FILES.items():
        assert len(text.splitlines()) <= 36, name


def test_the_base_trains_under_its_own_name(capsys: pytest.CaptureFixture[str]) -> None:
    (command,) = COMMANDS["vicreg"]
    checkpoint = Path(run(command, TINY_SCENES, capsys))
    manifest = Manifest.read(checkpoint.with_name("manifest.json"))
    assert manifest.recipe["method"] == {
        "kind": "custom",
        "target": "vicreg:VICReg",
        "settings": {"output_dim": 256, "invariance": 25.0, "variance": 25.0},
    }
    assert torch.load(checkpoint, weights_only=True)["superinfo"]["method"] == "VICReg"
    assert (checkpoint.parent / "metrics.jsonl").read_text().count('"base"') == 2


def test_the_term_trains_and_is_its_formula(capsys: pytest.CaptureFixture[str]) -> None:
    (command,) = COMMANDS["uniformity"]
    checkpoint = Path(run(command, TINY_SCENES, capsys))
    assert (checkpoint.parent / "metrics.jsonl").read_text().count('"uniformity"') == 2

    h = {name: torch.randn(5, 7, dtype=torch.float64) for name in ("h1", "h2")}
    term = imported("uniformity:Uniformity")(None, weight=0.3, t=1.5)
    total, parts = term.loss(h)
    potentials = []
    for features in h.values():
        points = [point / math.sqrt(sum(float(x) ** 2 for x in point)) for point in features]
        pairs = [math.exp(-1.5 * sum(float(x) ** 2 for x in points[i] - points[j])) for i in range(5) for j in range(i)]
        potentials.append(math.log(sum(pairs) / len(pairs)))
    assert float(parts["uniformity"]) == pytest.approx(sum(potentials) / 2, rel=1e-12)
    assert float(total) == pytest.approx(0.3 * sum(potentials) / 2, rel=1e-12)


def test_the_suite_compares_the_term_with_the_baselines(capsys: pytest.CaptureFixture[str]) -> None:
    (command,) = COMMANDS["losses"]
    capsys.readouterr()
    cli.app(shlex.split(command), standalone_mode=False)
    shown = capsys.readouterr().out
    assert "losses: 36 jobs, 36 left to run" in shown  # 3 rows x 3 seeds: pretrained, converted, probed, detected on
    mine = load_recipe(PretrainRecipe, "simclr+uniformity_r18w25_scenes_6e.yaml", PRETRAIN)
    (typed,) = COMMANDS["uniformity"]
    _, shipped, *options = shlex.split(typed)
    assert mine == load_recipe(PretrainRecipe, shipped, PRETRAIN, options[1::2])


@pytest.mark.parametrize("name", ["vicreg", "uniformity"])
def test_a_suite_calls_what_is_yours_as_records_do(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (command,) = COMMANDS[name]
    checkpoint = Path(run(command, TINY_SCENES, capsys))
    _, shipped, *options = shlex.split(command)
    changes = dict(change.split("=", 1) for change in [*options[1::2], *TINY_SCENES])
    row = Row(label="mine", pretrain=shipped, set={field: yaml.safe_load(value) for field, value in changes.items()})
    origin = origin_of(row, 0, checkpoint.parents[1])
    assert isinstance(origin, Pretrained)
    assert origin.checkpoint == checkpoint
    who, (info, _) = origin.who(), load_checkpoint(checkpoint)
    assert who is not None
    assert (who.method, who.term) == (info.method, info.term)
    assert (who.method, who.term) == {"vicreg": ("VICReg", "none"), "uniformity": ("simclr", "Uniformity")}[name]


def test_the_image_set_is_pretrained_on_and_probed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(0)
    lines = ["split,file,label"]
    (folder / "photos").mkdir()
    for number in range(32):
        label, split = ("owl", "tit")[number % 2], "train" if number < 24 else "test"
        grey = 40 if label == "owl" else 200  # two classes that any encoder tells apart
        pixels = random.integers(grey - 20, grey + 20, (40, 48, 3), np.uint8)
        assert cv2.imwrite(str(folder / "photos" / f"{number}.png"), pixels)
        lines.append(f"{split},{number}.png,{label}")
    (folder / "photos" / "labels.csv").write_text("\n".join(lines))

    pretraining, probing = COMMANDS["birds"]
    checkpoint = run(pretraining, TINY, capsys)
    assert torch.load(checkpoint, weights_only=True)["superinfo"]["dataset"] == "birds train"
    probe = probing.replace("--checkpoint random", f"--checkpoint {checkpoint}")
    record = Record.read(Path(run(probe, ["input_size=32"], capsys)))
    assert (record.what.dataset, record.what.split, record.what.samples) == ("birds", "birds test", 8)
    assert record.metrics["accuracy"].value == 100


def test_the_layout_reads_a_file_that_no_other_one_does(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    spec = EncoderSpec(arch="resnet18", stem="small", width=0.25)
    encoder = build_encoder(spec)
    tensors: dict[str, Any] = {
        f"net.trunk.{key.replace('layer', 'stage')}": value for key, value in encoder.state_dict().items()
    }
    tensors |= {"net.trunk.head.weight": torch.zeros(3), "net.projector.weight": torch.zeros(3)}
    torch.save({"weights": tensors, "step": 7}, "ours.pt")

    inspection, conversion = COMMANDS["ours"]
    run(inspection, [], capsys)
    weights = Path(run(conversion, [], capsys))
    proven = Conversion.read(weights / CONVERSION).source
    assert (proven.layouts, proven.encoder) == (["ours"], spec)
    assert proven.tensors_sha256 == tensors_sha256(encoder.state_dict())
    assert proven.pixels.mean == (0.5, 0.5, 0.5)


def test_the_table_shows_what_it_declares_of_the_committed_records(capsys: pytest.CaptureFixture[str]) -> None:
    (command,) = COMMANDS["boxes_and_masks"]
    capsys.readouterr()
    cli.app(shlex.split(command.replace("results/records", str(RECORDS))), standalone_mode=False)
    shown = capsys.readouterr().out
    rows = {cells[1].strip(): cells[2:] for line in shown.splitlines() if len(cells := line.split("|")) > 4}
    assert rows.keys() >= {"from scratch", "SimCLR", "with SuperInfo"}
    assert "at half overlap" in shown
    record = Record.read(next(RECORDS.glob("maskrcnn_fpn_scenes--random*")) / "record.json")
    box, mask = (record.metrics[name].value for name in ("box/AP", "mask/AP"))
    assert box is not None
    assert mask is not None
    figures = " ".join(rows["from scratch"])
    assert f"{box:.1f}" in figures
    assert f"{mask:.1f}" in figures


def test_a_source_that_is_no_layout_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({}, "ours.pt")
    command = COMMANDS["ours"][0].replace("ours:LAYOUT", "ours:stages")
    with pytest.raises(UserError, match=r"--source ours:stages: is no Layout of transfer\.convert\.sources"):
        run(command, [], capsys)


def _all() -> list[str]:
    return [command for commands in COMMANDS.values() for command in commands]


def test_every_command_of_the_page_is_run_here() -> None:
    assert PAGE.count("$ superinfo") == len(_all())
