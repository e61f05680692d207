"""Finished runs to committed records: what tables and pages show of them, and what each of them stands on."""

import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from superinfo.artifacts import CONVERSION, MANIFEST, OVERLAY, PICTURES, RECORD, Manifest, Record
from superinfo.errors import UserError
from superinfo.files import new_folder, write_bytes
from superinfo.progress import say

RECORDS = Path(__file__).parent / "records"
"""The committed ones."""
MEASURED = (RECORD, "metrics.json", "metrics.jsonl")
"""Of a run that measured: its record and curves."""
PRETRAINED = (MANIFEST, "metrics.jsonl", f"detectron2/{CONVERSION}", f"detectron2/{OVERLAY}")
"""Of a run that pretrained: its manifest, curves, and the evidence of its conversion. Never weights."""


def publish(runs: Path, records: Path, run_folders: Sequence[Path]) -> list[Path]:
    """Copy finished runs, and the pretraining that each stands on, into a folder of records; return the copies.

    A detector's pictures are a megabyte: they come with the first seed of each row alone. What is published stands: a
    run that is there with the same results is left alone. Says which records come from a tree with changes, that nobody
    else has. Raises UserError, before anything is written, if a run is not finished, if no manifest below `runs` or in
    `records` has the tensors that it measured, or if other results are published in its name.
    """
    manifests = _manifests(records) | _manifests(runs)
    stands_on: dict[Path, None] = {}
    measured = {folder: _read_finished(folder) for folder in run_folders}
    for folder, record in measured.items():
        _refuse_other_results(record, records / folder.name / RECORD, folder / RECORD)
        if record.who.recipe_hash is not None and record.who.tensors_sha256 is not None:
            pretraining = manifests.get(record.who.tensors_sha256)
            if pretraining is None:
                raise UserError(
                    f"{folder / RECORD}: no {MANIFEST} below {runs} is of the tensors that it measured,"
                    f" {record.who.tensors_sha256[:12]}...; bring the folder of {record.who.name} there"
                )
            _refuse_other_tensors(records / pretraining.name / MANIFEST, pretraining / MANIFEST)
            stands_on[pretraining] = None
    pictured = _first_seeds(measured)
    # What they stand on comes first: a record never lies there without it.
    published = [_copy(folder, records / folder.name, PRETRAINED) for folder in stands_on]
    for folder in stands_on:
        _complete(folder, records / folder.name)
    for folder in measured:
        names = (*MEASURED, PICTURES) if folder in pictured else MEASURED
        published.append(_copy(folder, records / folder.name, names))
    return published


def _first_seeds(measured: Mapping[Path, Record]) -> set[Path]:
    """Return the run of the lowest seed of each row and recipe."""
    first: dict[tuple[str, str], Path] = {}
    for folder, record in sorted(measured.items(), key=lambda item: item[1].seed):
        first.setdefault((record.recipe_hash, record.who.name), folder)
    return set(first.values())


def _manifests(folder: Path) -> dict[str, Path]:
    """Return the folders of pretraining runs by the hash of their tensors; what cannot be read is none."""
    found: dict[str, Path] = {}
    for path in sorted(folder.glob(f"*/{MANIFEST}")):
        with suppress(UserError):
            found.setdefault(Manifest.read(path).tensors_sha256, path.parent)
    return found


def _read_finished(folder: Path) -> Record:
    if not (folder / RECORD).exists():
        raise UserError(f"{folder}: no {RECORD}: only finished runs are published; the same command finishes it")
    record = Record.read(folder / RECORD)
    commit = record.provenance.commit
    if commit is None or commit.endswith("+"):
        code = f"{commit[:12]} with changes" if commit else "outside of git"
        say(f"{folder.name}: measured by code that nobody else has ({code}); commit it and measure again")
    return record


def _refuse_other_results(record: Record, published: Path, source: Path) -> None:
    if not published.parent.exists():
        return
    before = Record.read(published)
    if any(getattr(before, name) != getattr(record, name) for name in ("who", "what", "metrics", "deviations")):
        raise UserError(f"{source}: other results than {published}; remove that folder if these are to stand")


def _refuse_other_tensors(published: Path, source: Path) -> None:
    if published.parent.exists() and Manifest.read(published).tensors_sha256 != Manifest.read(source).tensors_sha256:
        raise UserError(f"{source}: other tensors than {published}; remove that folder if these are to stand")


def _copy(source: Path, target: Path, names: Sequence[str]) -> Path:
    if not target.exists():
        with new_folder(target) as made:
            for name in names:
                if (source / name).exists():
                    (made / name).parent.mkdir(exist_ok=True)
                    shutil.copyfile(source / name, made / name)
    return target


def _complete(source: Path, target: Path) -> None:
    """Bring the evidence of a conversion that was made after its pretraining was published."""
    for name in PRETRAINED:
        if (source / name).exists() and not (target / name).exists():
            write_bytes(target / name, (source / name).read_bytes())
