"""Write what the pages of docs/ show of the program: outputs of commands, and tables of what it knows.

    python scripts/render_docs.py            writes them into the pages
    python scripts/render_docs.py --check    fails if a page says anything else

The checkpoints of convert.md are ResNet-50s with random weights in the layouts of five public projects; the data root
of reproduce.md holds files of the right names and sizes without anything in them.
"""

import argparse
import contextlib
import io
import os
import pickle
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from results.frame import SCHEMA
from results.literature import PublishedFilter, select
from superinfo import cli
from superinfo.artifacts import EncoderSpec
from superinfo.datasets import roots
from superinfo.datasets.roots import DataRoot, inspect_root
from superinfo.datasets.trees import TREES, drawn
from superinfo.encoders import build_encoder
from transfer.convert.resnet import to_detectron2
from transfer.convert.sources import LAYOUTS, Layout

PAGES = Path(__file__).parents[1] / "docs"
State = dict[str, Tensor]


def main() -> None:
    """Write or check the pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    for name in PARTS:
        path = PAGES / name
        before = path.read_text(encoding="utf-8")
        after = rendered(name, before)
        if not check:
            path.write_text(after, encoding="utf-8")
        elif masked(after) != masked(before):
            sys.exit(f"{path}: not what the program says; run scripts/render_docs.py")


def rendered(name: str, page: str) -> str:
    """Return a page with its generated parts made anew."""
    for part, make in PARTS[name].items():
        mark = f"<!-- {part} -->\n"
        head, _, rest = page.partition(mark)
        tail = rest.partition(f"<!-- end of {part} -->\n")[2] if f"<!-- end of {part} -->" in rest else rest
        page = f"{head}{mark}\n{make()}\n<!-- end of {part} -->\n{tail}"
    return page


def masked(page: str) -> str:
    """Return a page without what another processor computes differently: hashes of random weights, rounding."""
    return re.sub(r"\b[0-9a-f]{12}\.\.\.|\d\.\de[-+]\d\d \(in res\d\)", "...", page)


def sources() -> str:
    """Return the table of all layouts."""
    lines = [
        "| `--source` | written by | encoder below | momentum encoder | mean; std |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines.append("| `superinfo` | this project | | | as the file says |")
    for layout in LAYOUTS:
        online, target = (_places(layout, branch) for branch in ("online", "target"))
        mean, std = (
            ", ".join(f"{value:.3g}" for value in values) for values in (layout.pixels.mean, layout.pixels.std)
        )
        order = " (BGR)" if layout.pixels.channel_order == "BGR" else ""
        refused = f"; not converted: {layout.refused}" if layout.refused else ""
        lines.append(f"| `{layout.name}` | {layout.title}{refused} | {online} | {target} | {mean}; {std}{order} |")
    return "\n".join(lines) + "\n"


def schema() -> str:
    """Return the table of a frame's columns."""
    rows = [(f"`{field.name}`", field.dtype, field.meaning) for field in SCHEMA]
    return pd.DataFrame(rows, columns=["column", "type", "meaning"]).to_markdown(index=False) + "\n"


def consoles() -> str:
    """Return each example's commands with what they print."""
    blocks = []
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
        for number, (title, file, write, options) in enumerate(EXAMPLES):
            write(_state(number), Path(file))
            commands = [["inspect", file, *options], ["convert", file, "--out", f"weights{number}", *options]]
            shown = "\n".join(f"$ superinfo {' '.join(command)}\n{_output(command)}" for command in commands)
            blocks.append(f"**{title}**\n\n```console\n{shown}```\n")
            os.unlink(file)
    return "\n".join(blocks)


def _output(command: list[str]) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        cli.app(command, standalone_mode=False)
    return re.sub(r"\b([0-9a-f]{12})[0-9a-f]{52}\b", r"\1...", printed.getvalue())


def _state(seed: int) -> State:
    torch.manual_seed(seed)
    return build_encoder(EncoderSpec(arch="resnet50")).state_dict()


def _below(prefix: str, state: State) -> State:
    return {f"{prefix}{key}": tensor for key, tensor in state.items()}


def _moco(state: State, path: Path) -> None:
    fc = {f"fc.{n}.{leaf}": torch.zeros(2) for n in (0, 2) for leaf in ("weight", "bias")}
    tensors = _below("module.encoder_q.", state | fc) | _below("module.encoder_k.", state | fc)
    tensors |= {"module.queue": torch.zeros(128, 65536), "module.queue_ptr": torch.zeros(1, dtype=torch.long)}
    content = {"epoch": 200, "arch": "resnet50", "state_dict": tensors}
    torch.save(content, path, _use_new_zipfile_serialization=False)


def _flat(state: State, path: Path) -> None:
    torch.save(state, path)


def _dino(state: State, path: Path) -> None:
    head = {f"head.mlp.{n}.{leaf}": torch.zeros(2) for n in (0, 2, 4) for leaf in ("weight", "bias")}
    student, teacher = ({f"module.{k}": t for k, t in (_below("backbone.", state) | head).items()} for _ in range(2))
    torch.save({"student": student, "teacher": teacher, "epoch": 100, "args": argparse.Namespace(lr=0.1)}, path)


def _solo(state: State, path: Path) -> None:
    tensors = _below("backbone.", state) | {"classifier.weight": torch.zeros(2), "projector.0.weight": torch.zeros(2)}
    torch.save({"pytorch-lightning_version": "2.1.2", "hyper_parameters": {}, "state_dict": tensors}, path)


def _detectron2(state: State, path: Path) -> None:
    arrays = {to_detectron2(key): tensor.numpy() for key, tensor in state.items() if "tracked" not in key}
    path.write_bytes(pickle.dumps({"model": arrays, "__author__": "Somebody", "matching_heuristics": True}))


EXAMPLES: tuple[tuple[str, str, Callable[[State, Path], Any], list[str]], ...] = (
    ("MoCo v2", "moco_v2_200ep_pretrain.pth.tar", _moco, []),
    ("The bare ResNet that Barlow Twins, VICReg, DINO and torchvision publish", "resnet50.pth", _flat, []),
    ("DINO's training checkpoint, of which the teacher counts", "dino_checkpoint.pth", _dino, []),
    ("solo-learn and other Lightning modules", "simclr.ckpt", _solo, []),
    (
        "A Detectron2 pickle, which does not tell its order of channels",
        "model.pkl",
        _detectron2,
        ["--source", "detectron2_rgb"],
    ),
)


def _places(layout: Layout, branch: str) -> str:
    places = layout.online if branch == "online" else layout.target
    shown = []
    for place in places:
        where = f"`{place.prefix}`" if place.prefix else "the top"
        special = [path for path in place.maps if path not in {"", "state_dict", "model"}]
        inside = f" in `{special[0]}`" if special and "" not in place.maps else ""
        shown.append(where + inside)
    return ", ".join(dict.fromkeys(shown))


def sets() -> str:
    """Return the table of the standard sets."""
    lines = ["| set | folder in the data root | read by, for one | from | mind |", "| --- | --- | --- | --- | --- |"]
    for tree in TREES.values():
        command = f"`superinfo {tree.recipes[0]}`"
        lines.append(f"| {tree.title} | `{tree.folder}` | {command} | <{tree.source}> | {tree.note} |")
    return "\n".join(lines) + "\n"


def trees() -> str:
    """Return the folders of all standard sets."""
    return f"```\n{drawn(TREES.values())}\n```\n"


def inspection() -> str:
    """Return what `superinfo inspect` prints of a data root in which something is missing."""
    with tempfile.TemporaryDirectory() as name:
        for part in (*TREES["stl10"].parts, *TREES["voc2012"].parts[-1:]):
            path = Path(name, part.pattern)
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                file.truncate(part.size or 1000)
        found = DataRoot.model_validate_json(inspect_root(Path(name)).model_dump_json().replace(name, "/data"))
    return f"```console\n$ superinfo inspect /data\n{roots.render(found)}\n```\n"


def published() -> str:
    """Return for which of the bases others published figures of what the suites measure, and where."""
    lines = [
        "| suite | measurement | bases and baselines with published figures | sources |",
        "| --- | --- | --- | --- |",
    ]
    for suite, title, wanted in MEASUREMENTS:
        rows = [quoted.row for quoted in select(wanted) if quoted.row.value and quoted.row.method in COMPARED]
        methods = ", ".join(dict.fromkeys(sorted(row.method for row in rows))) or "none"
        lines.append(f"| `{suite}` | {title} | {methods} | {', '.join(sorted({row.source for row in rows}))} |")
    return "\n".join(lines) + "\n"


COMPARED = ("SimCLR", "MoCo v1", "MoCo v2", "BYOL", "Barlow Twins", "Supervised", "Random init")
"""Of the methods in results/published."""
MEASUREMENTS = (
    (
        "table-linear",
        "CIFAR-10, linear, ResNet-18",
        PublishedFilter(tasks=("linear",), datasets=("CIFAR-10",), encoders=("resnet18 x1",)),
    ),
    (
        "table-linear",
        "ImageNet-1k, linear, ResNet-50, 200 epochs",
        PublishedFilter(tasks=("linear",), datasets=("ImageNet-1k",), encoders=("resnet50 x1",), epochs=(200,)),
    ),
    (
        "table-voc",
        "VOC07+12, Faster R-CNN C4, ResNet-50",
        PublishedFilter(tasks=("object_detection",), datasets=("VOC07+12",), encoders=("resnet50 x1",)),
    ),
    (
        "table-coco",
        "COCO 2017, Mask R-CNN C4 1x, ResNet-50",
        PublishedFilter(tasks=("instance_segmentation",), datasets=("COCO 2017",), tags=("c4", "1x")),
    ),
    (
        "table-coco",
        "COCO 2017, Mask R-CNN FPN 1x, ResNet-50",
        PublishedFilter(tasks=("instance_segmentation",), datasets=("COCO 2017",), tags=("fpn", "1x")),
    ),
)
"""Of the suites, as results/published has them."""
PARTS: dict[str, dict[str, Callable[[], str]]] = {
    "convert.md": {"console": consoles, "sources": sources},
    "records.md": {"schema": schema},
    "reproduce.md": {"sets": sets, "trees": trees, "inspection": inspection, "published": published},
}
"""What is generated in each page, by the name of its mark."""

if __name__ == "__main__":
    main()
