"""A plot: drawn once by matplotlib, written as SVG and PDF for papers, and put into the page in the page's colours."""

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from results.render.parts import visible
from results.render.style import LIGHT, plot_style
from superinfo.files import write_bytes

SERIES = LIGHT.series
MARKERS = "osD^vP"
"""With the colours, so that rows differ without colour too."""
INLINE = {getattr(LIGHT, name): f"var(--{name})" for name in ("text", "muted", "rule")} | {
    colour: f"var(--series-{number})" for number, colour in enumerate(SERIES, 1)
}
"""What a colour is in the page."""
WIDTH = 4.4
"""Inches: what a phone shows without making its text too small."""
STYLE: dict[Any, Any] = plot_style(LIGHT) | {
    "axes.facecolor": "none",
    "axes.labelcolor": LIGHT.muted,
    "axes.spines.left": False,
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "svg.fonttype": "none",
    "text.parse_math": False,  # a name may hold dollars
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "ytick.labelcolor": LIGHT.text,
}
SVG = "http://www.w3.org/2000/svg"
LINK = "http://www.w3.org/1999/xlink"


@dataclass(frozen=True, slots=True)
class Plot:
    """One panel."""

    name: str
    """Stem of its files, unique in a page: small letters, digits and hyphens."""
    title: str
    text: str
    """What it shows, in words: its caption."""
    figure: Figure


@contextmanager
def drawing() -> Iterator[None]:
    """Within this context matplotlib draws in the style of the page; a name in a script its font lacks is no news."""
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def panel(height: float, *, left: float = 0.15, top: float = 0.1, bottom: float = 0.5) -> tuple[Figure, Axes]:
    """Return a figure and its axes, `height` inches high, with such margins about them."""
    total = height + top + bottom
    figure = Figure(figsize=(WIDTH, total))
    axes = figure.add_axes((left / WIDTH, bottom / total, 1 - (left + 0.15) / WIDTH, height / total))
    axes.margins(0.04)
    return figure, axes


def legend_height(rows: int) -> float:
    """Return the inches that a legend of so many rows takes above the axes."""
    return 0.1 + 0.19 * rows


def add_legend(axes: Axes) -> None:
    """Name the rows above the axes, from the left edge of the figure."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0.02, axes.get_position().y1),
        bbox_transform=figure.transFigure,
        frameon=False,
        borderaxespad=0.2,
        labelspacing=0.25,
        handlelength=1.2,
    )


def shown(name: str, longest: int = 48) -> str:
    """Return a name as plots show it: visible, and no longer than so many letters."""
    name = visible(name)
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def some(values: Sequence[float], most: int) -> Sequence[float]:
    """Return at most so many values, evenly chosen, with first and last."""
    if len(values) <= most:
        return values
    return [values[round(i * (len(values) - 1) / (most - 1))] for i in range(most)]


def write_plots(plots: Sequence[Plot], folder: Path) -> None:
    """Write each plot as SVG and as PDF."""
    for plot in plots:
        for format in ("svg", "pdf"):
            write_bytes(folder / f"{plot.name}.{format}", _save(plot, format))


def inline(plot: Plot) -> str:
    """Return a plot as an SVG element for the page: its colours follow the page's, its ids are its own."""
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", LINK)
    root = ElementTree.fromstring(_save(plot, "svg"))
    for child in root.findall(f"{{{SVG}}}metadata"):
        root.remove(child)
    for size in ("width", "height"):
        del root.attrib[size]
    root.set("role", "img")
    root.set("aria-labelledby", f"{plot.name}-title")
    _fit_into_page(root, plot.name)
    return ElementTree.tostring(root, encoding="unicode")


def _fit_into_page(root: ElementTree.Element, prefix: str) -> None:
    used = set(re.findall(r"#([\w-]+)\)", " ".join(e.get("clip-path", "") for e in root.iter())))
    used |= {element.get(f"{{{LINK}}}href", "").removeprefix("#") for element in root.iter()}
    for element in root.iter():
        if (name := element.get("id")) is not None:
            if name in used:
                element.set("id", f"{prefix}-{name}")
            else:
                del element.attrib["id"]
        if (link := element.get(f"{{{LINK}}}href")) is not None:
            element.set(f"{{{LINK}}}href", f"#{prefix}-{link.removeprefix('#')}")
        if (clip := element.get("clip-path")) is not None:
            element.set("clip-path", clip.replace("#", f"#{prefix}-"))
        if (style := element.get("style")) is not None:
            element.set("style", re.sub(r"#[0-9a-f]{6}", lambda found: INLINE.get(found[0], found[0]), style))


def _save(plot: Plot, format: str) -> bytes:
    file = io.BytesIO()
    date = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}[format]
    plot.figure.savefig(file, format=format, metadata=date)
    return file.getvalue()
