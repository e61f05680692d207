"""Files that nobody meant badly are refused with what helps, and not as dangerous or cut."""

import bz2
import gzip
import io
import lzma
import pickle
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from superinfo.errors import UserError
from tests.transfer.convert.hostile_parts import saved
from transfer.convert.formats import open_checkpoint

ONES = torch.ones(4, 4)


def refusal(folder: Path, data: bytes) -> str:
    path = folder / "weights.pth"
    path.write_bytes(data)
    with pytest.raises(UserError) as caught:
        open_checkpoint(path)
    return str(caught.value).removeprefix(f"{path}: ")


def image(form: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (32, 32)).save(file, form)
    return file.getvalue()


QUANTISED = "holds quantised tensors; save the state_dict() of the model that was quantised"
SPARSE = "holds sparse tensors; save them as .to_dense()"


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: torch.quantize_per_tensor(ONES, 0.1, 0, torch.qint8), QUANTISED),
        (ONES.to_sparse, SPARSE),
        (ONES.to_sparse_csr, SPARSE),
        (lambda: ONES.to("meta"), "holds tensors of the meta device, without values; save those"),
        (
            lambda: torch.ones(1).expand(64),
            "an expanded tensor, of shape (64,) over a storage of 1; save it as .contiguous()",
        ),
    ],
    ids=["quantised", "sparse", "csr", "meta", "expanded"],
)
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_tensor_of_another_kind_is_named(
    tmp_path: Path, make: Callable[[], torch.Tensor], told: str, zipped: bool
) -> None:
    assert refusal(tmp_path, saved({"state_dict": {"a": ONES, "x": make()}}, zipped=zipped)) == told


def test_what_pickle_dump_wrote_is_named(tmp_path: Path) -> None:
    for protocol in range(2, 6):
        told = refusal(tmp_path, pickle.dumps({"a": ONES}, protocol))
        assert told == "holds tensors that pickle.dump wrote; save the state_dict() by torch.save"


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 100\n",
            "a pointer of git-lfs, .*`git lfs pull`",
        ),
        (gzip.compress(saved({"a": ONES})), "compressed by gzip; unpack it"),
        (bz2.compress(saved({"a": ONES})), "compressed by bzip2; unpack it"),
        (lzma.compress(saved({"a": ONES})), "compressed by xz; unpack it"),
        (image("JPEG"), "an image, not a checkpoint; correct the path"),
        (image("PNG"), "an image, not a checkpoint; correct the path"),
        (image("GIF"), "an image, not a checkpoint; correct the path"),
        (image("WEBP"), "an image, not a checkpoint; correct the path"),
        (b"<!DOCTYPE html>\n<html><title>Google Drive</title></html>", "a web page, .*; download that"),
        (b"\n<HTML></HTML>", "a web page, .*; download that"),
    ],
    ids=["lfs", "gzip", "bzip2", "xz", "jpeg", "png", "gif", "webp", "html", "HTML"],
)
def test_another_file_is_known_by_its_beginning(tmp_path: Path, data: bytes, told: str) -> None:
    assert re.match(told, refusal(tmp_path, data))


CUT = "was it copied or downloaded to the end?"


def test_a_file_that_is_cut_is_asked_for_its_end_and_a_whole_one_is_not(tmp_path: Path) -> None:
    arrays = pickle.dumps({"a": np.ones((50, 50), np.float32)})
    for whole in (saved({"a": ONES}), saved({"a": ONES}, zipped=False), arrays):
        for kept in (len(whole) // 3, len(whole) // 2, len(whole) - 1):
            assert refusal(tmp_path, whole[:kept]).endswith(f"; {CUT}")
    for whole in (b"epoch,loss\n1,2\n", pickle.dumps([1, 2]), pickle.dumps({(1, (2, 3)): 4})):
        assert CUT not in refusal(tmp_path, whole)
