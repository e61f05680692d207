"""Plots show the figures of their records, and say what they leave out."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from matplotlib.figure import Figure
from matplotlib.legend import Legend

from results.records import Store, read_store
from results.render.style import LIGHT
from results.report import gallery
from results.report.evidence import read_pretrainings
from results.report.gallery import plots_of_pretraining, plots_of_table
from results.report.plots import Plot, drawing, inline, write_plots
from results.tables import build_all
from tests.results import made
from tests.results.report import world

DETECTION = "instance_segmentation_scenes"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("records")
    world.write(folder)
    return read_store(folder)


@pytest.fixture(autouse=True)
def _in_style() -> Iterator[None]:
    with drawing():
        yield


def plots(store: Store, recipe: str) -> dict[str, Plot]:
    (table,) = (table for table in build_all(store) if table.title.startswith(recipe))
    return {plot.title: plot for plot in plots_of_table(table, set())}


def marks(figure: Figure) -> list[list[float]]:
    """Values of each line that is drawn by marks."""
    (axes,) = figure.axes
    return [numbers(line.get_xdata()) for line in axes.lines if line.get_marker() not in {"None", None, ""}]


def legend(figure: Figure) -> Legend:
    found = figure.axes[0].get_legend()
    assert found is not None
    return found


def numbers(data: Any) -> list[float]:
    return [float(value) for value in data]


def test_each_seed_of_each_row_is_a_dot_and_the_mean_a_bar(store: Store) -> None:
    figure = plots(store, DETECTION)["Spread of box AP"].figure
    assert sorted(marks(figure)) == [[20.0 + 5 * row + seed for seed in range(3)] for row in range(4)]
    bars = [numbers(line.get_xdata())[0] for line in figure.axes[0].lines if line.get_color() == "#1b1f24"]
    assert sorted(bars) == [21.0, 26.0, 31.0, 36.0]


def test_a_row_without_a_mean_in_its_table_has_no_bar_in_its_plot() -> None:
    failed = made.pending(made.SIMCLR, "failed", 2, "diverged")
    measured = made.store(made.runs(made.SIMCLR, [50.0, 51.0]), failed, made.runs(made.TERM, [52.0, 54.0]))
    (table,) = build_all(measured)
    assert [line.cells[0].mean for line in table.lines] == [None, 53.0]
    (plot,) = plots_of_table(table, set())
    (axes,) = plot.figure.axes
    assert marks(plot.figure) == [[50.0, 51.0], [52.0, 54.0]]
    assert [numbers(line.get_xdata()) for line in axes.lines if line.get_color() == LIGHT.text] == [[53.0, 53.0]]
    assert [text.get_text() for text in axes.texts] == [made.SIMCLR, "2 of 3 runs", made.TERM, ""]
    assert plot.text == "Each dot is a seed, each bar the mean of a row. A row that lacks runs has no mean."


def test_axes_have_the_units_of_tables(store: Store) -> None:
    drawn = plots(store, DETECTION)
    labels = [drawn[title].figure.axes[0].get_xlabel() for title in ("Spread of box AP", "Mask AP of each class")]
    assert labels == ["box AP (%) ↑", "%"]


def test_each_class_and_row_has_its_runs(store: Store) -> None:
    figure = plots(store, DETECTION)["Mask AP of each class"].figure
    assert sorted(marks(figure)) == [[10.0 * row + seed for _ in range(3) for seed in range(3)] for row in range(4)]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()][:2] == ["disk", "ring"]


def test_factors_and_information_have_their_plots(store: Store) -> None:
    assert set(plots(store, "factors")) == {
        "Spread of view parameters",
        "What features keep of their own view",
        "What features keep of their image",
    }
    figure = plots(store, "information")["Information in features"].figure
    assert sorted(marks(figure)) == [[nats] * 3 for nats in (6.0, 7.0, 8.0, 9.0)]


def test_losses_are_those_that_were_logged(store: Store) -> None:
    (axes,) = plots(store, DETECTION)["Loss of the detector"].figure.axes
    assert len(axes.lines) == 4 * world.SEEDS
    assert numbers(axes.lines[0].get_xdata()) == [20 * k for k in range(1, 9)]
    assert numbers(axes.lines[0].get_ydata()) == [3 / k for k in range(1, 9)]


def test_pretraining_of_one_kind_shares_its_plots(store: Store) -> None:
    pretrainings, broken = read_pretrainings(store.manifests)
    assert [one.path.parent.name for one in broken] == ["truncated"]
    ((group, drawn),) = plots_of_pretraining(pretrainings.values(), set()).items()
    assert group == "resnet18 x0.25 on scenes, train split, 5,000 images"
    assert [plot.title for plot in drawn] == ["Loss", "Alignment of views"]
    (axes,) = drawn[0].figure.axes
    assert len(axes.lines) == 2 * world.SEEDS
    assert [text.get_text() for text in legend(drawn[0].figure).get_texts()] == ["simclr_r18", "simclr+superinfo_r18"]


def test_what_does_not_fit_a_plot_is_told(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery, "ROWS", 2)
    monkeypatch.setattr(gallery, "CATEGORIES", 1)
    plot = plots(store, DETECTION)["Mask AP of each class"]
    assert "Of 4 rows the first 2 are drawn." in plot.text
    assert "Of 3 categories the first 1 are drawn." in plot.text
    assert len(marks(plot.figure)) == 2


def test_names_of_rows_are_not_cut_where_those_of_categories_are_long(store: Store) -> None:
    figure = plots(store, DETECTION)["Mask AP of each class"].figure
    figure.draw_without_rendering()
    names = legend(figure).get_window_extent()
    assert 0 <= names.x0 <= names.x1 <= figure.bbox.x1


def test_a_plot_in_the_page_has_the_colours_of_the_page_alone(store: Store) -> None:
    for plot in plots(store, DETECTION).values():
        root = ElementTree.fromstring(inline(plot))
        styles = " ".join(element.get("style", "") for element in root.iter())
        assert "var(--series-1)" in styles
        assert "var(--muted)" in styles
        assert "#" not in styles.replace("url(#", "")
        assert world.EVIL[:8] in "".join(root.itertext())


def test_plots_of_one_name_are_told_apart(store: Store) -> None:
    table = build_all(store)[0]
    taken: set[str] = set()
    names = [plot.name for _ in range(2) for plot in plots_of_table(table, taken)]
    assert len(names) == len(set(names)) == len(taken)
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") for name in names)


def test_plots_are_written_for_papers_and_repeat_byte_for_byte(tmp_path: Path, store: Store) -> None:
    for folder in ("a", "b"):
        write_plots([plots(store, DETECTION)["Mask AP of each class"]], tmp_path / folder)
    written = {path.suffix: path for path in (tmp_path / "a").iterdir()}
    assert written.keys() == {".svg", ".pdf"}
    assert written[".pdf"].read_bytes().startswith(b"%PDF-")
    ElementTree.parse(written[".svg"])
    for path in written.values():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
