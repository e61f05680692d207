"""The demo's committed records, apart from all others."""

import shutil
from pathlib import Path

from results.publish import RECORDS

DEMO = ("maskrcnn_fpn_scenes--*", "simclr*_r18w25_scenes_6e-s*")
"""Folders of its detectors, and of its pretrainings."""


def copy_demo(target: Path) -> Path:
    """Copy the demo's records into a new folder; return it."""
    for pattern in DEMO:
        for folder in RECORDS.glob(pattern):
            shutil.copytree(folder, target / folder.name)
    return target
