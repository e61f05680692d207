"""Frozen features: those of the encoder itself, extracted once, kept by what they depend on."""

import errno
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from superinfo.datasets.images import Folder, InMemory, open_images
from superinfo.encoders import load_encoder
from superinfo.errors import UserError
from superinfo.views import TwoViews, ViewSpec, view_generator
from tests.transfer.probing import tiny
from transfer.probing.contents import digests
from transfer.probing.encoder import Subject, open_encoder
from transfer.probing.features import FeatureStore
from transfer.probing.pixels import evaluated
from transfer.probing.recipe import ProbeRecipe
from transfer.probing.splits import Split

MakeCheckpoint = Callable[..., Path]
CPU = torch.device("cpu")
ROOT = Path(__file__).parents[3]


def recipe(task: dict[str, Any] | None = None, **changes: Any) -> ProbeRecipe:
    return tiny.recipe(tiny.data(Path("/none")), task or {"kind": "knn"}, batch_size=5, **changes)


def split(root: Path, cache: Path) -> Split:
    images = open_images(Folder(kind="folder", name="colours", root=root), cache)
    return Split("data.train", images, np.arange(len(images)), digests(images, "colours", cache))


def folders(cache: Path) -> set[str]:
    return {path.name for path in cache.iterdir() if path.is_dir()}


@pytest.fixture
def subject(make_checkpoint: MakeCheckpoint) -> Subject:
    return open_encoder(make_checkpoint(stem="stl", width=0.125), tiny.SPEC, 0)


@pytest.mark.parametrize("workers", [0, 2])
def test_kept_features_are_those_of_the_encoder(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = make_checkpoint(stem="stl", width=0.125)
    encoder, info = load_encoder(checkpoint)
    images = split(tiny.write_folder(tmp_path / "images", 4), tmp_path)
    pixels = torch.from_numpy(np.stack([images.images[index] for index in range(12)])).permute(0, 3, 1, 2) / 255
    mean, std = (torch.tensor(channels)[:, None, None] for channels in (info.mean, info.std))
    with torch.no_grad():
        expected = torch.stack([encoder(((one - mean) / std)[None])[0] for one in pixels])

    store = FeatureStore(open_encoder(checkpoint, tiny.SPEC, 0), recipe(workers=workers), tmp_path / "kept", CPU)
    found = store.of(images)
    torch.testing.assert_close(torch.from_numpy(np.array(found.values)), expected, rtol=1e-4, atol=1e-5)
    assert found.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert isinstance(found.values.base, np.memmap)

    def refuse(*_: object) -> None:
        raise AssertionError("the encoder ran again")

    monkeypatch.setattr(store.subject.encoder, "forward", refuse)
    assert np.array_equal(store.of(images).values, found.values)


@pytest.fixture
def spawned() -> Iterator[None]:
    """Start processes that are given nothing but what can be pickled, as from Python 3.14 on."""
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method("spawn", force=True)
    yield
    multiprocessing.set_start_method(before, force=True)


@pytest.mark.usefixtures("spawned")
def test_workers_that_are_not_forked_make_the_same_features(subject: Subject, tmp_path: Path) -> None:
    images = split(tiny.write_folder(tmp_path / "images", 2), tmp_path)
    alone, helped = (FeatureStore(subject, recipe(workers=n), tmp_path / f"kept{n}", CPU) for n in (0, 1))
    assert np.array_equal(alone.of(images).values, helped.of(images).values)
    views = [store.of_views(images, ViewSpec(), seed=5) for store in (alone, helped)]
    assert np.array_equal(views[0].values, views[1].values)
    assert np.array_equal(views[0].parameters, views[1].parameters)


FAILS_IN_EXTRACTION = """
import sys
from pathlib import Path
from tests.transfer.probing import tiny
from transfer.probing import features
from transfer.probing.probe import probe

def fail(*_):
    raise ValueError("broken off")

features.normalised = fail
root = Path(sys.argv[1])
probe(tiny.recipe(tiny.folders(root), {"kind": "knn"}, workers=1, batch_size=2), None, 0, root / "runs", "cpu")
"""


def test_a_probe_that_fails_ends_with_its_workers(tmp_path: Path) -> None:
    """They ignore the signal by which Python ends them when it exits, and waits for them without end."""
    command = [sys.executable, "-c", FAILS_IN_EXTRACTION, str(tmp_path)]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stderr.endswith("ValueError: broken off\n")


def test_what_features_depend_on_has_features_of_its_own(subject: Subject, tmp_path: Path) -> None:
    images = split(tiny.write_folder(tmp_path / "images", 2), tmp_path)
    kept = tmp_path / "kept"
    FeatureStore(subject, recipe(), kept, CPU).of(images)
    FeatureStore(subject, recipe({"kind": "knn", "k": 3}, name="other", protocol="other"), kept, CPU).of(images)
    assert len(folders(kept)) == 1
    others = [
        FeatureStore(open_encoder(None, tiny.SPEC, 3), recipe(), kept, CPU),
        FeatureStore(subject, recipe(input_size=18), kept, CPU),
        FeatureStore(subject, recipe(transform="centre"), kept, CPU),
        FeatureStore(subject, recipe(normalisation="data"), kept, CPU),
    ]
    for number, store in enumerate(others, 2):
        store.of(images)
        assert len(folders(kept)) == number
    others[0].of(images.part(np.array([1, 3])))
    assert len(folders(kept)) == 6


def test_a_changed_image_is_seen(subject: Subject, tmp_path: Path) -> None:
    root = tiny.write_folder(tmp_path / "images", 2)
    store = FeatureStore(subject, recipe(), tmp_path / "kept", CPU)
    before = store.of(split(root, tmp_path)).values
    assert cv2.imwrite(str(root / "red" / "000.png"), tiny.picture((0, 0, 0), 7))
    after = store.of(split(root, tmp_path)).values
    assert [row for row in range(6) if not np.array_equal(before[row], after[row])] == [4]


def test_images_in_memory_are_told_apart_by_their_pixels(tmp_path: Path) -> None:
    pixels = np.stack([tiny.picture((9, 9, 9), number) for number in (0, 1, 0)])
    found = digests(InMemory(pixels, np.zeros(3, np.int64), ("a",)), "memory", tmp_path)
    assert found.shape == (3, 16)
    assert np.array_equal(found[0], found[2])
    assert not np.array_equal(found[0], found[1])


def test_an_image_that_cannot_be_read_is_named_counted_and_left_out(
    subject: Subject, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tiny.write_folder(tmp_path / "images", 2)
    whole = FeatureStore(subject, recipe(), tmp_path / "kept", CPU).of(split(root, tmp_path))
    (root / "green" / "000.png").write_bytes(b"no picture")
    store = FeatureStore(subject, recipe(max_unreadable=0.2), tmp_path / "kept", CPU)
    for _ in range(2):
        found = store.of(split(root, tmp_path))
        assert found.indices.tolist() == [0, 1, 3, 4, 5]
        assert found.labels.tolist() == [0, 0, 1, 2, 2]
        np.testing.assert_allclose(found.values, whole.values[found.indices], rtol=1e-4, atol=1e-5)
    assert store.notes == ["1 of the 6 images of data.train cannot be read and are left out"]
    assert capsys.readouterr().err.count("green/000.png: not a readable image") == 1
    strict = FeatureStore(subject, recipe(), tmp_path / "kept", CPU)
    with pytest.raises(UserError, match=r"data\.train: 1 of 6 images cannot be read.*green/000\.png") as caught:
        strict.of(split(root, tmp_path))
    assert "\n" not in str(caught.value)


@contextmanager
def failing_disk(name: str) -> Iterator[list[str]]:
    """Within the context, files of a name cannot be read; yields the names of all that are asked for."""
    asked = []

    def read(path: Path) -> bytes:
        asked.append(path.name)
        if path.name == name:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        with path.open("rb") as file:
            return file.read()

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Path, "read_bytes", read)
        yield asked


def test_only_a_file_that_could_not_be_read_is_hashed_again(tmp_path: Path) -> None:
    images = open_images(
        Folder(kind="folder", name="colours", root=tiny.write_folder(tmp_path / "images", 2)), tmp_path
    )
    with failing_disk("001.png"):
        before = digests(images, "colours", tmp_path / "kept")
    assert before.any(axis=1).tolist() == [True, False] * 3
    with failing_disk("none") as asked:
        after = digests(images, "colours", tmp_path / "kept")
        assert asked == ["001.png"] * 3
        assert np.array_equal(digests(images, "colours", tmp_path / "kept"), after)
        assert len(asked) == 3
    assert np.array_equal(after, digests(images, "colours", tmp_path / "another"))


def test_features_are_extracted_anew_once_an_image_can_be_read_again(subject: Subject, tmp_path: Path) -> None:
    images = split(tiny.write_folder(tmp_path / "images", 2), tmp_path)
    whole = FeatureStore(subject, recipe(), tmp_path / "whole", CPU).of(images)
    store = FeatureStore(subject, recipe(max_unreadable=0.5), tmp_path / "kept", CPU)
    with failing_disk("001.png"):
        assert store.of(images).indices.tolist() == [0, 2, 4]
        assert store.of(images).indices.tolist() == [0, 2, 4]
    again = FeatureStore(subject, recipe(), tmp_path / "kept", CPU)
    assert np.array_equal(again.of(images).values, whole.values)
    assert again.notes == []
    assert len(list((tmp_path / "kept").iterdir())) == 1


def test_features_that_are_not_finite_are_refused_and_not_kept(subject: Subject, tmp_path: Path) -> None:
    images = split(tiny.write_folder(tmp_path / "images", 2), tmp_path)
    with torch.no_grad():
        subject.encoder.get_parameter("layer4.1.bn2.weight").fill_(torch.nan)
    store = FeatureStore(replace(subject, tensors_sha256="diverged"), recipe(), tmp_path / "kept", CPU)
    with pytest.raises(
        UserError, match=r"data\.train: features of 6 of 6 images are not finite, the first is number 0"
    ):
        store.of(images)
    assert folders(tmp_path / "kept") == set()


@pytest.mark.parametrize(
    ("batch_size", "remedy"),
    [(5, "--set batch_size=2, or a GPU with more"), (1, "use --device cpu, or a GPU with more")],
)
def test_a_gpu_that_is_too_small_for_the_features_is_told_with_a_batch_size(
    subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch_size: int, remedy: str
) -> None:
    images = split(tiny.write_folder(tmp_path / "images", 2), tmp_path)
    fields = recipe().model_copy(update={"batch_size": batch_size})
    with monkeypatch.context() as patched:
        patched.setattr(subject.encoder, "forward", out_of_memory)
        with pytest.raises(UserError) as caught:
            FeatureStore(subject, fields, tmp_path / "kept", CPU).of(images)
    told = f"data.train: features of {batch_size} images at once: out of GPU memory; {remedy}"
    assert str(caught.value) == told
    assert folders(tmp_path / "kept") == set()


def out_of_memory(*_: object) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def test_features_of_views_come_with_the_parameters_of_those_views(subject: Subject, tmp_path: Path) -> None:
    images = split(tiny.write_folder(tmp_path / "images", 2), tmp_path)
    found = FeatureStore(subject, recipe(), tmp_path / "kept", CPU).of_views(images, ViewSpec(), seed=5)
    assert subject.normalisation is not None
    views = TwoViews(ViewSpec(), tiny.SIDE, *subject.normalisation)(images.images[3], view_generator(5, 0, 3))
    with torch.no_grad():
        expected = subject.encoder(torch.from_numpy(np.stack([views.v1, views.v2])))
    np.testing.assert_allclose(found.values[3], expected.numpy(), rtol=1e-4, atol=1e-5)
    assert np.array_equal(found.parameters[3], np.stack([views.parameters1, views.parameters2]))


def test_an_image_is_shown_as_the_transform_says() -> None:
    rows = np.broadcast_to(np.arange(64, dtype=np.uint8)[:, None, None] * 4, (64, 32, 3)).copy()
    assert recipe().transform == "resize"
    squeezed = evaluated(rows, recipe())
    assert squeezed.shape == (16, 16, 3)
    assert int(squeezed[0, 0, 0]) < 16
    assert int(squeezed[-1, 0, 0]) > 236
    centre = evaluated(rows, recipe(transform="centre"))
    assert centre.shape == (16, 16, 3)
    assert 60 <= int(centre[0, 0, 0]) <= 72
    square = np.broadcast_to(np.arange(32, dtype=np.uint8)[:, None, None] * 8, (32, 32, 3)).copy()
    cut = evaluated(square, recipe(transform="imagenet", input_size=28))
    assert np.array_equal(cut, square[2:30, 2:30])
