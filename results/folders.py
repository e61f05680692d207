"""What lies below a folder of runs: records and manifests at any depth, runs without a record, and what is no use."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from superinfo.artifacts import MANIFEST, RECORD
from superinfo.runs import parse_run_id


@dataclass(frozen=True)
class Found:
    """Paths, in their order."""

    records: list[Path] = field(default_factory=list)
    manifests: list[Path] = field(default_factory=list)
    unfinished: list[Path] = field(default_factory=list)
    """Folders named as a measurement's, without a record."""
    faults: list[tuple[Path, str]] = field(default_factory=list)
    """What cannot be looked into, and why."""


def look_below(folder: Path) -> Found:
    """Find what is there; links are followed, each folder is looked into once, hidden ones are not."""
    found = Found()
    seen: set[tuple[int, int]] = set()
    folders, links = [str(folder)], list[str]()
    while folders or links:
        path = folders.pop() if folders else links.pop(0)  # links last: a record counts where it really lies
        try:
            status = os.stat(path)
            if (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                _look_into(path, folders, links, found)
        except OSError as error:
            found.faults.append((Path(path), error.strerror or str(error)))
    found.records.sort(key=lambda record: record.parent.parts)
    found.manifests.sort()
    found.unfinished.sort(key=lambda run: run.parts)
    return found


def _look_into(folder: str, folders: list[str], links: list[str], found: Found) -> None:
    finished = False
    files = {RECORD: found.records, MANIFEST: found.manifests}
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name in files:
                finished = finished or entry.name == RECORD
                if entry.is_file():
                    files[entry.name].append(Path(entry.path))
                else:
                    found.faults.append((Path(entry.path), "no file"))
            elif not entry.name.startswith(".") and _is_folder(entry, found):
                (links if entry.is_symlink() else folders).append(entry.path)
    if not finished and parse_run_id(os.path.basename(folder)):
        found.unfinished.append(Path(folder))


def _is_folder(entry: "os.DirEntry[str]", found: Found) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:  # a link to itself
        found.faults.append((Path(entry.path), error.strerror or str(error)))
        return False
