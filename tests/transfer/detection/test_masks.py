"""Run lengths are read as COCO's own code writes them."""

import numpy as np
import pytest
from pycocotools import mask as masks

from transfer.detection.masks import has_area, read_runs


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (300, 200), (1500, 2000)])
@pytest.mark.parametrize("density", [0.0, 0.01, 0.5, 1.0])
def test_compressed_run_lengths_are_those_that_pycocotools_decodes(size: tuple[int, int], density: float) -> None:
    rng = np.random.default_rng(0)
    mask = np.asfortranarray(rng.random(size) < density, dtype=np.uint8)
    runs = masks.encode(mask)
    lengths = read_runs(runs["counts"])
    assert (lengths >= 0).all()
    pixels = np.repeat(np.arange(len(lengths)) % 2, lengths)
    assert np.array_equal(pixels.reshape(size, order="F"), mask)
    text = {"size": list(size), "counts": runs["counts"].decode()}
    assert has_area(text, *size) == bool(mask.any())
    assert has_area(text | {"counts": lengths.tolist()}, *size) == bool(mask.any())
