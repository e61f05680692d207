"""Colours can be read and told apart."""

from itertools import combinations
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pytest

from results.render.style import DARK, LIGHT, Theme, css_variables, plot_style

THEMES = pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
Linear = npt.NDArray[np.float64]

# Machado, Oliveira and Fernandes, "A Physiologically-based Model for Simulation of Color Vision Deficiency", 2009,
# severity 1, on linear RGB.
VISION = {
    "full": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}


def linear(colour: str) -> Linear:
    channels = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    """WCAG 2.2's contrast ratio."""
    darker, lighter = sorted(float(linear(colour) @ [0.2126, 0.7152, 0.0722]) for colour in (one, other))
    return (lighter + 0.05) / (darker + 0.05)


def lab(colour: Linear) -> Linear:
    """CIE L*a*b* of D65."""
    to_xyz = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    )
    xyz = to_xyz @ np.clip(colour, 0, 1) / [0.95047, 1.0, 1.08883]
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_contrast_is_that_of_the_standard() -> None:
    assert contrast("#000000", "#ffffff") == 21
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.005)  # the lightest grey that passes AA on white


@THEMES
def test_text_and_lines_of_plots_have_the_contrast_of_aa(theme: Theme) -> None:
    for ground in (theme.ground, theme.surface):
        for text in (theme.text, theme.muted, theme.link, theme.better, theme.worse):
            assert contrast(text, ground) >= 4.5, (text, ground)
        for line in theme.series:
            assert contrast(line, ground) >= 3, (line, ground)


@THEMES
@pytest.mark.parametrize("vision", VISION)
def test_series_are_told_apart_with_every_kind_of_vision(theme: Theme, vision: str) -> None:
    seen = [lab(VISION[vision] @ linear(colour)) for colour in theme.series]
    assert min(float(np.linalg.norm(a - b)) for a, b in combinations(seen, 2)) > 20


def test_style_sheet_has_each_colour_of_both_themes() -> None:
    sheet = css_variables()
    for theme in (LIGHT, DARK):
        assert f"--ground: {theme.ground};" in sheet
        assert f"--worse: {theme.worse};" in sheet
        assert f"--series-6: {theme.series[5]};" in sheet
    assert sheet.count("{") == sheet.count("}")


@THEMES
def test_matplotlib_takes_the_style_and_draws_the_same_file_twice(theme: Theme, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a.svg", "b.svg")]
    for file in files:
        with plt.rc_context(plot_style(theme)):
            figure, axes = plt.subplots()
            for k in range(6):
                axes.plot([0, 1], [k, k + 1], label=str(k))
            axes.legend()
            figure.savefig(file, metadata={"Date": None})
            plt.close(figure)
    drawn = files[0].read_text()
    assert drawn == files[1].read_text()
    for colour in (*theme.series, theme.ground):
        assert colour in drawn
