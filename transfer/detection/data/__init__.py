"""Detection sets: read from any format into one form, checked before training, and registered with Detectron2."""

from transfer.detection.data.loading import Needs, annotations_use_rle, keypoint_names
from transfer.detection.data.registration import RegisteredSplit, Splits, register

__all__ = ["Needs", "RegisteredSplit", "Splits", "annotations_use_rle", "keypoint_names", "register"]
