"""Colours and fonts that HTML and plots share, light and dark.

Text has a contrast of at least 4.5 to both grounds of its theme and lines one of 3 (WCAG 2.2, AA); the colours of series
stay apart under each kind of colour blindness. Both are tests.
"""

from dataclasses import dataclass, fields
from typing import Any

FONT = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "Liberation Sans", "DejaVu Sans", "sans-serif")
MONOSPACE = ("ui-monospace", "SFMono-Regular", "Menlo", "Noto Sans Mono", "DejaVu Sans Mono", "monospace")


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours of one theme, as `#rrggbb`."""

    ground: str
    """Of the page, and of plots."""
    surface: str
    """Of what lies on the page: heads of columns, cards."""
    text: str
    muted: str
    """Text of less weight: spread, captions, notes."""
    rule: str
    """Lines that part rows; they carry no meaning."""
    link: str
    better: str
    worse: str
    series: tuple[str, ...]
    """In order of use; past the end, change dashes and markers, not colours."""


LIGHT = Theme(
    ground="#ffffff",
    surface="#f4f6f8",
    text="#1b1f24",
    muted="#57606a",
    rule="#d0d7de",
    link="#0550ae",
    better="#116329",
    worse="#a40e26",
    series=("#3d54be", "#d66e01", "#009f61", "#b26698", "#594500", "#081a48"),
)
DARK = Theme(
    ground="#0f141a",
    surface="#1a212b",
    text="#e6edf3",
    muted="#9aa5b1",
    rule="#3a434e",
    link="#79b8ff",
    better="#56d364",
    worse="#ff8f88",
    series=("#2672c6", "#d06d16", "#49f095", "#ffb2e6", "#deff0e", "#7c6b6c"),
)


def css_variables() -> str:
    """Return a style sheet of custom properties, `--ground` to `--worse` and `--series-1` on.

    They follow the reader's system, unless the root element says `data-theme="light"` or `"dark"`.
    """
    light, dark = _properties(LIGHT), _properties(DARK)
    return (
        f":root {{ color-scheme: light; {light} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root:not([data-theme=light]) {{ color-scheme: dark; {dark} }} }}\n"
        f":root[data-theme=dark] {{ color-scheme: dark; {dark} }}\n"
        "@media print { :root:root { color-scheme: light; " + light + " } }\n"
    )


def plot_style(theme: Theme) -> dict[str, Any]:
    """Return settings for `matplotlib.rc_context`: the theme's colours and fonts, and files that repeat byte for byte."""
    from cycler import cycler

    return {
        "axes.axisbelow": True,
        "axes.edgecolor": theme.muted,
        "axes.facecolor": theme.ground,
        "axes.grid": True,
        "axes.labelcolor": theme.text,
        "axes.prop_cycle": cycler(color=theme.series),
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlecolor": theme.text,
        "figure.facecolor": theme.ground,
        "font.family": "DejaVu Sans",  # comes with matplotlib: the same picture on every machine
        "font.size": 9.0,
        "grid.color": theme.rule,
        "grid.linewidth": 0.6,
        "legend.edgecolor": theme.rule,
        "legend.facecolor": theme.ground,
        "legend.labelcolor": theme.text,
        "pdf.fonttype": 42,
        "savefig.facecolor": theme.ground,
        "svg.hashsalt": "superinfo",
        "text.color": theme.text,
        "xtick.color": theme.muted,
        "ytick.color": theme.muted,
    }


def _properties(theme: Theme) -> str:
    named = [(field.name, getattr(theme, field.name)) for field in fields(theme) if field.name != "series"]
    named += [(f"series-{k}", colour) for k, colour in enumerate(theme.series, 1)]
    return " ".join(f"--{name}: {colour};" for name, colour in named)
