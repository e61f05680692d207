"""Linear evaluation on features that are extracted once, beside encoding the images anew in each of 100 epochs.

    python -m benchmarks.perf.linear [--images FOLDER] [--threads N]

Both train the paper protocol's classifier (SGD, 100 epochs of batches of 128) on one CPU, without augmentation: on
generated disks and rings, or on the images of a folder with the sub-folders `train` and `test`. Ours is all that
`superinfo probe` does for it: hashing, reading, encoding, keeping, training, scoring. The other is the usual loop: each
batch is read, normalised and encoded without gradient, then trained on. 100 such epochs take too long, so the first
ones are run and timed one by one, and all are taken to last as long as their median. The accuracy that they would end
at is that of the same steps on the features that the loop itself encoded in its own shuffled batches: in evaluation
mode those are the features of every epoch, up to rounding.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from superinfo.artifacts import Record
from superinfo.encoders import ResNet
from transfer.probing.encoder import open_encoder
from transfer.probing.labelled import Labelled
from transfer.probing.linear import train_linear
from transfer.probing.pixels import evaluated, normalisation, normalised
from transfer.probing.probe import probe
from transfer.probing.recipe import LinearSpec, ProbeRecipe, SGDSpec
from transfer.probing.splits import Indices, Split, open_splits

SIZE = 32
MEASURED_EPOCHS = 3
"""Re-encoding epochs that are run; the other ones are extrapolated."""
LEAST_RATIO, MOST_POINTS = 20.0, 0.3
CLASSES = ["disk", "ring"]
RECIPE = {
    "name": "perf_linear",
    "protocol": "linear-sgd-100e",
    "task": {"kind": "linear", "solver": {"kind": "sgd"}},
    "input_size": SIZE,
    "encoder": {"arch": "resnet18", "stem": "small", "width": 0.5},
}


def main() -> None:
    """Measure both, print a table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="folder with the ImageFolders `train` and `test`")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    data = _folders(arguments.images) if arguments.images else _generated()
    recipe = ProbeRecipe.parse(RECIPE | {"data": data}, "benchmark")
    assert isinstance(recipe.task, LinearSpec)
    assert isinstance(recipe.task.solver, SGDSpec)
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder)
        splits = open_splits(recipe.data, runs, labelled=True)  # generates the images, which is nobody's time
        start = time.perf_counter()
        record = Record.read(probe(recipe, None, 0, runs, "cpu"))
        ours = time.perf_counter() - start
        usual = _Usual(recipe, recipe.task.solver, splits.train, splits.test)
        epochs = [usual.epoch(number) for number in range(MEASURED_EPOCHS)]
        evaluation = usual.evaluate()
        accuracy = usual.accuracy_after_all_epochs()
    total = recipe.task.solver.epochs * statistics.median(epochs) + evaluation
    mine = record.metrics["accuracy"].value
    assert mine is not None
    difference = abs(mine - accuracy)
    images = f"{len(splits.train.indices):,} training and {len(splits.test.indices):,} test images"
    print(f"{recipe.encoder.title} at {SIZE} px, {recipe.data.name}: {images}, {recipe.task.solver.epochs} epochs")
    print(f"{'':<34}{'seconds':>10}{'accuracy':>10}")
    print(f"{'features once':<34}{ours:>10.1f}{mine:>10.1f}")
    print(f"{'an epoch of encoding, median':<34}{statistics.median(epochs):>10.1f}")
    print(f"{'encoding every epoch, extrapolated':<34}{total:>10.1f}{accuracy:>10.1f}")
    print(f"times faster {total / ours:.1f} (at least {LEAST_RATIO:g})")
    print(f"points apart {difference:.2f} (at most {MOST_POINTS:g})")
    result = {
        "name": "linear",
        "ratio": round(total / ours, 2),
        "limit": LEAST_RATIO,
        "seconds": round(ours, 2),
        "seconds_an_epoch_of_encoding": [round(seconds, 2) for seconds in epochs],
        "epochs_measured": MEASURED_EPOCHS,
        "epochs_extrapolated": recipe.task.solver.epochs - MEASURED_EPOCHS,
        "accuracy": mine,
        "accuracy_encoding_every_epoch": accuracy,
        "points_apart": round(difference, 3),
        "threads": torch.get_num_threads(),
    }
    print(json.dumps(result))


def _generated() -> dict[str, Any]:
    counts = {"train": 2000, "test": 1000}
    sets = {
        split: {"kind": "scenes", "split": split, "count": count, "size": SIZE, "classes": CLASSES}
        for split, count in counts.items()
    }
    return {"name": "scenes objects", **sets}


def _folders(root: Path) -> dict[str, Any]:
    sets = {split: {"kind": "folder", "name": f"images {split}", "subfolder": split} for split in ("train", "test")}
    return {"name": str(root), "root": str(root), **sets}


class _Usual:
    """The usual loop: images are read and encoded whenever a batch needs them."""

    def __init__(self, recipe: ProbeRecipe, solver: SGDSpec, train: Split, test: Split) -> None:
        self.recipe, self.solver, self.train, self.test = recipe, solver, train, test
        subject = open_encoder(None, recipe.encoder, 0)
        self.encoder: ResNet = subject.encoder
        self.channels = normalisation(subject, recipe)
        self.seen = np.zeros((len(train.indices), self.encoder.feature_dim), np.float32)
        torch.manual_seed(0)
        self.head = nn.Linear(self.encoder.feature_dim, len(train.images.classes))
        self.optimizer = torch.optim.SGD(self.head.parameters(), solver.lr, momentum=solver.momentum)

    def epoch(self, number: int) -> float:
        """Train one epoch; return its seconds."""
        start = time.perf_counter()
        order = np.random.default_rng([0, number]).permutation(len(self.train.indices))
        for first in range(0, len(order), self.solver.batch_size):
            rows = order[first : first + self.solver.batch_size]
            features = self._encode(self.train, rows)
            self.seen[rows] = features.numpy()
            loss = F.cross_entropy(self.head(features), torch.from_numpy(self.train.labels[rows]))
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
        return time.perf_counter() - start

    def evaluate(self) -> float:
        """Encode the test images once more, as each evaluation does; return the seconds."""
        start = time.perf_counter()
        self.queries = self._encode(self.test, np.arange(len(self.test.indices))).numpy()
        return time.perf_counter() - start

    def accuracy_after_all_epochs(self) -> float:
        """Return the test accuracy, in percent, after all epochs on the features of the last measured one."""
        train, test = Labelled(self.seen, self.train.labels), Labelled(self.queries, self.test.labels)
        found = train_linear(self.solver, len(self.train.images.classes), train, test, 0, torch.device("cpu"))
        return 100 * float((found.predicted == test.labels).mean())

    @torch.no_grad()
    def _encode(self, split: Split, rows: Indices) -> Tensor:
        features = []
        for first in range(0, len(rows), self.solver.batch_size):
            chosen = rows[first : first + self.solver.batch_size]
            pixels = np.stack([evaluated(split.images[int(split.indices[row])], self.recipe) for row in chosen])
            features.append(self.encoder(normalised(torch.from_numpy(pixels), *self.channels)))
        return torch.cat(features)


if __name__ == "__main__":
    main()
