"""What stands behind a cell: of each run all that a reader needs to trust it or to repeat it, as the page embeds it."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from results.manifests import Manifests
from results.records import Run, Unreadable
from results.render.parts import visible
from superinfo.artifacts import RECORD, Cost, Manifest, Metric, Provenance, Who
from superinfo.errors import UserError
from superinfo.progress import progress

BUDGET = 4_000_000
"""Letters of details that a page embeds at most; the runs that come later are told without."""
Fact = tuple[str, str]
"""What it is, and its text."""


@dataclass(frozen=True, slots=True)
class Pretraining:
    """A manifest, and the folder it lies in."""

    folder: Path
    manifest: Manifest


@dataclass(slots=True)
class Evidence:
    """Details of runs, in the order of the page; long texts that many runs share are kept once."""

    runs: list[dict[str, Any]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    places: dict[Path, int] = field(default_factory=dict)
    """Of a run's folder in `runs`."""
    left_out: int = 0
    """Runs without details in the page."""
    _letters: int = 0
    _known: dict[str, int] = field(default_factory=dict)

    def add(self, run: Run, recipe: dict[str, Any], pretraining: Pretraining | None, below: Path) -> None:
        """Describe one more run, while the budget lasts."""
        if self._letters > BUDGET:
            self.left_out += 1
            return
        described = self._describe(run, recipe, pretraining, below)
        self._letters += len(json.dumps(described))
        self.places[run.folder] = len(self.runs)
        self.runs.append(described)

    def _describe(
        self, run: Run, recipe: dict[str, Any], pretraining: Pretraining | None, below: Path
    ) -> dict[str, Any]:
        commands = [("repeat this run", run.command)]
        blocks = [("Recipe, resolved", self._text(recipe))]
        if pretraining is not None:
            manifest = pretraining.manifest
            commands.append(("repeat its pretraining", manifest.command))
            blocks.append(("Recipe of its pretraining, resolved", self._text(manifest.recipe)))
            rest = manifest.model_dump(mode="json", exclude={"recipe"})
            blocks.append(("Manifest of its pretraining", self._text(rest)))
        facts = [*_facts(run, pretraining), ("record", _relative(run.folder / RECORD, below))]
        return {
            "id": visible(run.id),
            "seed": str(run.seed),
            "commands": [(label, visible(command)) for label, command in commands if command],
            "facts": [(label, visible(text)) for label, text in facts],
            "deviations": [visible(deviation) for deviation in run.deviations],
            "metrics": [_metric(name, metric) for name, metric in run.metrics.items()],
            "blocks": blocks,
        }

    def _text(self, value: dict[str, Any]) -> int:
        key = json.dumps(value)
        if key not in self._known:
            self._known[key] = len(self.texts)
            self.texts.append(_yaml(value))
            self._letters += len(self.texts[-1])
        return self._known[key]


def describe_runs(runs: Iterable[Run], pretrainings: dict[str, Pretraining], below: Path) -> Evidence:
    """Read the resolved recipes of runs, which tables do without, and describe each run once."""
    evidence = Evidence()
    unique = list({run.folder: run for run in runs}.values())
    with progress("report: records", len(unique), "records") as advance:
        for run in unique:
            recipe = json.loads((run.folder / RECORD).read_bytes()).get("recipe", {})
            evidence.add(run, recipe, pretrainings.get(run.who.tensors_sha256 or ""), below)
            advance(1, visible(run.id))
    return evidence


def read_pretrainings(manifests: Manifests) -> tuple[dict[str, Pretraining], list[Unreadable]]:
    """Read manifests in full, by the hash of their encoder's tensors, and list those that are broken."""
    found, broken = {}, []
    for path in manifests.paths:
        try:
            manifest = Manifest.read(path)
        except UserError as error:
            broken.append(Unreadable(path, str(error).removeprefix(f"{path}: ")))
        except OSError as error:
            broken.append(Unreadable(path, error.strerror or str(error)))
        else:
            found[manifest.tensors_sha256] = Pretraining(path.parent, manifest)
    return found, broken


def _facts(run: Run, pretraining: Pretraining | None) -> list[Fact]:
    what = run.what
    versioned = f"{what.protocol}, version {what.protocol_version}"
    facts = [
        ("measured", f"{what.task.replace('_', ' ')} on {what.dataset}, {what.split} split, {what.samples:,} images"),
        ("protocol", versioned),
        *_who(run.who, pretraining),
        ("recipe", f"{run.recipe}, hash {run.recipe_hash[:12]}"),
        *([] if run.command else [("command", "not recorded")]),
        *_cost("cost", run.cost),
        *_provenance(run.provenance),
    ]
    if pretraining is not None:
        facts += _cost("cost of its pretraining", pretraining.manifest.cost)
    return facts


def _who(who: Who, pretraining: Pretraining | None) -> Iterator[Fact]:
    trained = [who.method, who.term, who.dataset, None if who.epochs is None else f"{who.epochs} epochs"]
    yield "encoder", f"{who.name}: {who.encoder.title}"
    if who.tensors_sha256 is None:
        yield "pretraining", "none: random initialisation"
        return
    yield "pretraining", ", ".join(part for part in trained if part) + f", seed {who.seed}"
    if pretraining is not None:
        manifest = f"{pretraining.manifest.run}, which this page has below"
    elif who.recipe_hash is None:
        manifest = "none: a file from elsewhere"
    else:
        manifest = "not beside these records: its pretraining cannot be traced here"
    yield "manifest", manifest
    yield "tensors", f"SHA-256 {who.tensors_sha256}"


def _cost(label: str, cost: Cost) -> Iterator[Fact]:
    parts = [
        _duration(cost.wall_seconds),
        f"{cost.peak_memory_mib:,.0f} MiB at peak",
        f"{cost.parameters:,} parameters",
    ]
    if cost.flops is not None:
        parts.append(f"{cost.flops / 1e9:,.3g} GFLOPs at {cost.flops_input}")
    yield label, ", ".join(parts)


def _provenance(provenance: Provenance) -> Iterator[Fact]:
    yield "made", provenance.created
    commit = provenance.commit or "none: not made in a git checkout"
    yield "commit", f"{commit} (the tree had changes)" if commit.endswith("+") else commit
    yield "hardware", _listed(provenance.hardware)
    yield "versions", _listed(provenance.versions)


def _listed(named: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in named.items())


def _metric(name: str, metric: Metric) -> tuple[str, str, str, str]:
    value = "undefined" if metric.value is None else f"{metric.value:.4f}"
    return visible(name), value, visible(metric.unit), "↑" if metric.higher_is_better else "↓"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "min"), (rest, "s"))
    return " ".join(f"{number} {unit}" for number, unit in parts if number) or "under a second"


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=False, default_flow_style=None, width=100)


def _relative(path: Path, below: Path) -> str:
    return path.relative_to(below).as_posix()
