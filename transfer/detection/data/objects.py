"""What is looked at in each object before training."""

from typing import Any

from transfer.detection.data.faults import Faults
from transfer.detection.data.loading import Needs
from transfer.detection.masks import WrongMask, are_finite, has_area

OUTSIDE_TOLERANCE = 1.0
"""Pixels by which a box may leave its image: annotators' rounding."""
LEFT_OUT = "Detectron2 leaves them out of training"

Entry = dict[str, Any]


class ObjectCheck:
    """Looks at one annotation after the other; each is told of every kind of fault that can be seen in it."""

    def __init__(
        self, images: dict[int, Entry], categories: set[int], needs: Needs, points: int, faults: Faults
    ) -> None:
        self.images, self.categories, self.needs, self.points = images, categories, needs, points
        self.add = faults.add
        self._ids: set[int] = set()
        self._twice: set[int] = set()
        self._number = -1

    def __call__(self, each: Any) -> None:
        """Add what is amiss with an annotation to the faults."""
        self._number += 1
        if not isinstance(each, dict):
            self._add_no_id(f"number {self._number}")
            return
        self._key, image_id = each.get("id"), each.get("image_id")
        self._image = self.images.get(image_id) if type(image_id) is int else None
        if type(self._key) is not int:
            self._add_no_id(f"number {self._number}{self._in_file}")
        elif self._key not in self._ids:
            self._ids.add(self._key)
        elif self._key not in self._twice:
            self._twice.add(self._key)
            self.add("annotation ids are used twice", self._where, "give each annotation its own")
        if self._image is None:
            self.add("annotations are of no image in the file", self._where, "take them out")
        if type(category := each.get("category_id")) is not int or category not in self.categories:
            remedy = "add the category, or take them out"
            self.add("annotations are of no category in the file", self._where, remedy)
        if each.get("ignore"):
            remedy = "take them out, or mark them crowds"
            self.add("annotations have `ignore`, which Detectron2 does not read", self._where, remedy)
        if (crowd := each.get("iscrowd", 0)) not in (0, 1):
            self.add("annotations have an `iscrowd` that is neither 0 nor 1", self._where, "set it to either")
        self._check_box(each.get("bbox"))
        if self.needs.metric:
            self._check_scored(each)
        may_lack = bool(crowd) and not self.needs.metric  # crowds are not trained on, but metrics compare them
        if self.needs.masks:
            self._check_mask(each.get("segmentation"), may_lack)
        if self.needs.keypoints:
            self._check_keypoints(each.get("keypoints"), may_lack)

    @property
    def _where(self) -> str:
        return f"annotation {self._key}{self._in_file}"

    @property
    def _in_file(self) -> str:
        return f" in {self._image['file_name']}" if self._image and self._image.get("file_name") else ""

    def _add_no_id(self, example: str) -> None:
        self.add("annotations have no whole number as `id`", example, "give each its own")

    def _check_scored(self, each: Entry) -> None:
        area = each.get("area")
        if not isinstance(area, (int, float)) or isinstance(area, bool) or not are_finite([area]) or area < 0:
            self.add("annotations have no `area` in pixels, by which they are scored", self._where, "add it")
        if self.needs.metric == "coco" and "iscrowd" not in each:
            self.add("annotations have no `iscrowd`, by which COCO scores", self._where, "add 0")

    def _check_box(self, box: Any) -> None:
        if not isinstance(box, list) or len(box) != 4 or not all(type(v) in (int, float) for v in box):
            self.add("annotations have no `bbox` of four numbers", self._where, "add x, y, width and height")
            return
        if not are_finite(box):
            self.add("boxes have numbers that are not finite", f"{self._where} with {box}", "correct them")
            return
        x, y, w, h = box
        image, slack = self._image, OUTSIDE_TOLERANCE
        if image and (x < -slack or y < -slack or x + w > image["width"] + slack or y + h > image["height"] + slack):
            example = f"{self._where} ({image['width']}x{image['height']}) with bbox {box}"
            self.add("boxes lie outside their image", example, "clip them to the image", "Detectron2 clips them")
        if w < 0 or h < 0:
            remedy = "give x, y, width and height"
            self.add("boxes have a negative width or height", f"{self._where} with bbox {box}", remedy)
        elif w == 0 or h == 0:
            self.add("boxes have no area", f"{self._where} with bbox {box}", "take them out", LEFT_OUT)

    def _check_mask(self, segmentation: Any, may_lack: bool) -> None:
        if not segmentation:
            if not may_lack:
                remedy = "add `segmentation`, or set MODEL.MASK_ON to false"
                self.add("objects have no mask", self._where, remedy)
        elif self._image:
            try:
                covers = has_area(segmentation, self._image["height"], self._image["width"])
            except WrongMask as error:
                self.add("masks cannot be read", f"{self._where}: {error}", "correct them")
            else:
                if not covers:
                    remedy = "take them out, or draw three points or more around a pixel or more"
                    self.add("masks have no area", self._where, remedy, LEFT_OUT)

    def _check_keypoints(self, keypoints: Any, may_lack: bool) -> None:
        if keypoints is None:
            if not may_lack:
                remedy = "add `keypoints`, zeros where none is seen, or set MODEL.KEYPOINT_ON to false"
                self.add("objects have no keypoints", self._where, remedy)
        elif not isinstance(keypoints, list) or len(keypoints) != 3 * self.points:
            found = len(keypoints) if isinstance(keypoints, list) else "no list"
            remedy = f"give x, y and visibility of each of {self.points} points"
            self.add("objects have another number of keypoints", f"{self._where} with {found} numbers", remedy)
        elif not are_finite(keypoints):
            self.add("keypoints have values that are not finite numbers", self._where, "correct them")
