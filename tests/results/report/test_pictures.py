import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from results.report.pictures import read_picture


def test_a_picture_is_made_small_and_keeps_its_shape_and_colours(tmp_path: Path) -> None:
    pixels = np.zeros((400, 1520, 3), np.uint8)
    pixels[:, 760:] = (220, 40, 60)
    Image.fromarray(pixels).save(tmp_path / "p.png")
    picture = read_picture(tmp_path / "p.png")
    assert picture is not None
    assert (picture.width, picture.height) == (760, 200)
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture.uri.partition(",")[2]))), int)
    assert shown.shape == (200, 760, 3)
    assert np.abs(shown[100, 100]).max() < 12
    assert np.abs(shown[100, 600] - (220, 40, 60)).max() < 12


def test_what_is_no_picture_or_an_immense_one_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_picture(tmp_path / "none.png") is None
    (tmp_path / "text.png").write_text("<script>")
    assert read_picture(tmp_path / "text.png") is None
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / "big.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "big.png").read_bytes()[:60])
    assert read_picture(tmp_path / "cut.png") is None
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert read_picture(tmp_path / "big.png") is None
