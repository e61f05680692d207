"""The page: what goes into it, and that nothing else can."""

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from results.records import Store, Unreadable
from results.render import parts
from results.render.parts import visible
from results.render.style import FONT, MONOSPACE, css_variables
from results.report.evidence import Evidence, describe_runs, read_pretrainings
from results.report.gallery import plots_of_pretraining
from results.report.plots import Plot, drawing, inline, write_plots
from results.report.sections import Section, make_section, runs_behind
from results.table import Table
from superinfo.files import write_text
from superinfo.progress import progress

TEMPLATES = Path(__file__).parent / "page"
SCRIPTS = ("theme.js", "tables.js", "records.js")
TITLE = "Transfer of self-supervised encoders"
APART = 200
"""Unfinished runs and unreadable files that the page lists at most."""


def write_report(store: Store, tables: Sequence[Table], out: Path, plots: Path | None = None) -> Path:
    """Write one HTML page of tables and of all that stands behind them; return its path.

    `plots` is a folder that each plot is also written to, as SVG and as PDF.
    """
    pretrainings, broken = read_pretrainings(store.manifests)
    with drawing():
        taken: set[str] = set()
        sections = list(_make_sections(tables, taken))
        curves = plots_of_pretraining(pretrainings.values(), taken)
        evidence = describe_runs(runs_behind(sections), pretrainings, store.folder)
        write_text(out, _render(store, sections, curves, evidence, broken))
        if plots is not None:
            drawn = [*(one.plots for one in sections), *curves.values()]
            write_plots([plot for group in drawn for plot in group], plots)
    return out


def _make_sections(tables: Sequence[Table], taken: set[str]) -> Iterator[Section]:
    with progress("report: tables", len(tables), "tables") as advance:
        for table in tables:
            yield make_section(table, taken)
            advance(1, visible(table.name))


def _render(
    store: Store,
    sections: Sequence[Section],
    curves: Mapping[str, Sequence[Plot]],
    evidence: Evidence,
    broken: Sequence[Unreadable],
) -> str:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    script = "\n".join((TEMPLATES / name).read_text(encoding="utf-8") for name in SCRIPTS)
    apart = list(_apart(store, broken))
    return environment.get_template("page.html.jinja").render(
        title=TITLE,
        summary=_summary(store, sections),
        policy=_policy(script),
        style=_style(),
        script=script,
        sections=sections,
        pretraining=curves,
        apart=apart[:APART],
        left_out=list(_left_out(evidence, len(apart))),
        evidence={"runs": evidence.runs, "texts": evidence.texts},
        places=evidence.places,
        opened=lambda cell: [evidence.places[run.folder] for run in cell.records if run.folder in evidence.places],
        parts=parts,
        pieces=_pieces,
        inline=inline,
    )


def _pieces(name: str) -> list[str]:
    """Split a name where a narrow column may break it."""
    return re.split(r"(?<=[_+/-])(?=[^_+/-])", name)


def _policy(script: str) -> str:
    """Return a content security policy: this script alone runs, and nothing is fetched."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _style() -> str:
    fonts = f":root {{ --font: {_names(FONT)}; --monospace: {_names(MONOSPACE)}; }}\n"
    return css_variables() + fonts + (TEMPLATES / "style.css").read_text(encoding="utf-8")


def _names(fonts: Sequence[str]) -> str:
    return ", ".join(f'"{font}"' if " " in font else font for font in fonts)


def _summary(store: Store, sections: Sequence[Section]) -> str:
    encoders = len({run.who.tensors_sha256 or run.who.name for run in store.runs})
    counts = (_count(len(store.runs), "record"), _count(encoders, "encoder"), _count(len(sections), "table"))
    newest = max((run.provenance.created for run in store.runs), default="")
    return f"{counts[0]} of {counts[1]} in {counts[2]}" + (
        f"; the newest is of {visible(newest[:10])}" if newest else ""
    )


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _apart(store: Store, broken: Sequence[Unreadable]) -> Iterator[tuple[str, str, str]]:
    """Yield what has no row of its own in a table: what it is, its state, and why."""
    for run in store.unfinished:
        yield visible(run.id), run.state, visible(run.reason)
    for file in (*store.unreadable, *broken):
        yield visible(file.path.relative_to(store.folder).as_posix()), "unreadable", visible(file.reason)


def _left_out(evidence: Evidence, apart: int) -> Iterator[str]:
    if evidence.left_out:
        yield (
            f"This page holds the details of {len(evidence.runs):,} records and leaves out those of "
            f"{evidence.left_out:,}, which are in the folder that it was made from."
        )
    if apart > APART:
        yield f"Of {apart:,} unfinished runs and unreadable files the first {APART} are listed."
