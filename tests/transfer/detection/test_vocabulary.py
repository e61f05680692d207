"""A detector's outputs have the names of its training data."""

from pathlib import Path

import pytest
from detectron2.data.datasets.builtin_meta import COCO_PERSON_KEYPOINT_NAMES

from superinfo.errors import UserError
from tests.transfer.detection.tiny import tiny_coco, tiny_split
from transfer.detection.vocabulary import Vocabulary

WEIGHTS = Path("model_final.pth")


def test_keypoints_without_names_are_a_persons(tmp_path: Path) -> None:
    split = tiny_split(tmp_path, tiny_coco())
    assert Vocabulary.of(split, keypoints=True).keypoints == tuple(COCO_PERSON_KEYPOINT_NAMES)
    assert Vocabulary.of(split, keypoints=False).keypoints == ()


def test_a_skeleton_may_be_null(tmp_path: Path) -> None:
    coco = tiny_coco()
    coco["categories"][0] |= {"keypoints": ["a", "b"], "skeleton": None}
    assert Vocabulary.of(tiny_split(tmp_path, coco), keypoints=True).skeleton == ()
    coco["categories"][0]["skeleton"] = [[1, 2]]
    found = Vocabulary.of(tiny_split(tmp_path, coco), keypoints=True)
    assert found.skeleton == ((1, 2),)
    assert Vocabulary.read(found.payload) == found


def test_names_are_compared_and_ids_are_not() -> None:
    ours = Vocabulary(("dog", "cat"), (7, 9), ("nose", "tail"))
    ours.refuse_other(Vocabulary(("dog", "cat"), (1, 2), ("nose", "tail")), WEIGHTS)
    for other, told in (
        (Vocabulary(("cat", "dog"), (7, 9), ("nose", "tail")), "other classes than .*, first 'dog' where .* 'cat'"),
        (Vocabulary(("dog",), (7,), ("nose", "tail")), "other classes than .*, first 'cat' where they have None"),
        (Vocabulary(("dog", "cat"), (7, 9), ("nose", "paw")), "other keypoints than .*, first 'tail' where .* 'paw'"),
    ):
        with pytest.raises(UserError, match=rf"model_final\.pth: finds {told}"):
            ours.refuse_other(other, WEIGHTS)
