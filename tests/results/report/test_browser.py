"""The page in a real browser: what a reader does with mouse, keyboard and phone, and what must never happen."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from importlib.resources import files
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from results.records import read_store
from results.report import write_report
from results.table import Cell, Line, State, Table
from results.tables import build_all
from tests.results.report import world

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no `chromium` on the path; Debian's package has it")
AXE = files("axe_core_python").joinpath("axe.min.js")
DETECTION = "instance_segmentation_scenes"
BETTER = "simclr+superinfo_r18"
QUOTED = ["MoCo, 200 epochs", "PixPro"]


@dataclass
class Reader:
    """Opens pages, and remembers what they asked for, said and raised."""

    browser: Browser
    address: str
    requests: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def open(self, **options: Any) -> Page:
        page = self.browser.new_page(**options)
        page.set_default_timeout(5000)
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.goto(self.address)
        return page


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("report")
    world.write(folder / "records")
    store = read_store(folder / "records")
    tables = [_quote(table) if table.title.startswith(DETECTION) else table for table in build_all(store)]
    return write_report(store, tables, folder / "page.html").as_uri()


def _quote(table: Table) -> Table:
    """Add rows that others published, the first of which has the highest figures of all."""
    figures = {"MoCo, 200 epochs": 99.0, "PixPro": 12.0}
    lines = (
        Line(label, tuple(Cell(State.PUBLISHED, mean=figure, source="key") for _ in table.columns))
        for label, figure in figures.items()
    )
    return replace(table, published=tuple(lines), sources=("He et al., CVPR 2020",))


@pytest.fixture(scope="module")
def reader(address: str) -> Iterator[Reader]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield Reader(browser, address)
        browser.close()


@pytest.fixture(scope="module")
def wide(reader: Reader) -> Page:
    return reader.open(viewport={"width": 1280, "height": 900}, color_scheme="light")


@pytest.fixture
def page(wide: Page) -> Page:
    """The page as it was loaded, but for the choice of colours."""
    wide.evaluate("document.querySelector('dialog').close()")
    wide.get_by_label("Filter rows").fill("")
    return wide


def detections(page: Page) -> Locator:
    heading = page.get_by_role("heading", name=DETECTION)
    return page.locator("section", has=heading).locator("table.sortable")


def labels(page: Page) -> list[str]:
    """Row names of the table of detections, as shown."""
    rows = detections(page).locator("tr[data-label]:visible > th")
    return [row.get_attribute("data-value") or "" for row in rows.all()]


def test_a_column_is_sorted_by_its_button_and_told_as_sorted(page: Page) -> None:
    table = detections(page)
    before = labels(page)
    button = table.get_by_role("button", name="box AP %").first
    head = button.locator("xpath=..")
    expect(head).to_have_attribute("aria-sort", "none")
    button.click()
    expect(head).to_have_attribute("aria-sort", "descending")
    assert labels(page) == [world.SHOWN, BETTER, "simclr_r18", "random", *QUOTED]
    button.focus()
    page.keyboard.press("Enter")
    expect(head).to_have_attribute("aria-sort", "ascending")
    assert labels(page) == ["random", "simclr_r18", BETTER, world.SHOWN, *reversed(QUOTED)]
    page.keyboard.press("Space")
    expect(head).to_have_attribute("aria-sort", "none")
    assert labels(page) == before


def test_published_rows_stand_apart_with_their_source_and_open_nothing(page: Page) -> None:
    apart = detections(page).locator("tbody").last
    expect(apart.locator("tr.heading")).to_have_text("Published by others")
    expect(apart.locator("tr[data-label] th")).to_have_text([f"{label}1" for label in QUOTED])
    expect(apart.get_by_role("button")).to_have_count(0)
    expect(page.get_by_text("1 He et al., CVPR 2020")).to_be_visible()


def test_rows_are_filtered_by_all_words_and_the_count_is_told(page: Page) -> None:
    page.locator("h1").click()
    page.keyboard.press("/")
    page.keyboard.type("SIMCLR super")
    assert labels(page) == [BETTER]
    expect(page.get_by_role("status")).to_have_text("3 of 14 rows")
    page.get_by_label("Filter rows").fill("nothing like it")
    assert labels(page) == []
    expect(page.get_by_text("No row matches the filter.").first).to_be_visible()
    page.get_by_label("Filter rows").fill("")
    assert len(labels(page)) == 6
    expect(page.get_by_role("status")).to_have_text("")


def test_a_figure_opens_its_records_and_escape_leads_back_to_it(page: Page) -> None:
    cell = detections(page).locator(f"tr[data-label='{BETTER}'] button").first
    cell.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    expect(dialog.get_by_role("heading", level=2)).to_have_text(f"{BETTER}, box AP: 31.0 ± 1.0 % ↑")
    expect(dialog.locator("#record-body > details")).to_have_count(world.SEEDS)
    first = dialog.locator("#record-body > details").first
    first.locator("summary").first.click()
    for told in (
        "superinfo detect instance_segmentation --seed 0",
        "superinfo pretrain simclr+superinfo_r18",
        "half the schedule",
        "1 h 2 min 3 s",
        "0123456789abcdef+",
        "torch 2.14.1",
        "cpu EPYC",
        "detect--2-s0/record.json",
    ):
        expect(first).to_contain_text(told)
    first.get_by_text("Recipe, resolved").click()
    expect(first.get_by_text("steps: 300")).to_be_visible()
    first.get_by_text("Manifest of its pretraining").click()
    expect(first.get_by_text("pretrain-2-s0").last).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(cell).to_be_focused()


def test_a_click_beside_the_records_closes_them(page: Page) -> None:
    page.locator("td button").first.click()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.mouse.click(5, 5)
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_an_address_opens_a_run(page: Page) -> None:
    page.evaluate("location.hash = '#run=detect--1-s2'")
    expect(page.get_by_role("dialog")).to_contain_text("detect--1-s2/record.json")


def test_pictures_of_predictions_are_shown_at_a_width_that_fits(page: Page) -> None:
    pictures = page.locator(".pictures img")
    expect(pictures).to_have_count(4)
    assert pictures.nth(1).evaluate("image => image.naturalWidth") == 760


def test_colours_follow_the_system_until_the_reader_chooses(page: Page) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    ink = "getComputedStyle(document.querySelector('.plots svg text')).fill"
    light = page.evaluate(ground), page.evaluate(ink)
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(ground), page.evaluate(ink)
    assert not set(dark) & set(light)
    page.get_by_label("Light", exact=True).check(force=True)
    assert (page.evaluate(ground), page.evaluate(ink)) == light
    page.emulate_media(color_scheme="light")
    page.get_by_label("Dark", exact=True).check(force=True)
    assert (page.evaluate(ground), page.evaluate(ink)) == dark
    page.get_by_label("Auto", exact=True).check(force=True)
    assert (page.evaluate(ground), page.evaluate(ink)) == light


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_barrier(page: Page, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.evaluate(AXE.read_text())
    assert _barriers(page, "body") == []
    page.locator("td button").first.click()
    page.locator("#record-body > details > summary").first.click()
    assert _barriers(page, "dialog") == []


def _barriers(page: Page, part: str) -> list[str]:
    found = page.evaluate("part => axe.run(part, {resultTypes: ['violations']})", part)["violations"]
    return [f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found]


def test_a_window_of_1200_pixels_shows_nine_columns_whole(reader: Reader) -> None:
    window = reader.open(viewport={"width": 1200, "height": 900})
    assert detections(window).locator("thead tr").last.locator("th").count() == 9
    assert detections(window).evaluate("table => table.parentElement.scrollWidth <= table.parentElement.clientWidth")


def test_a_phone_scrolls_tables_but_not_the_page(reader: Reader) -> None:
    phone = reader.open(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    assert phone.evaluate("document.documentElement.scrollWidth") == 390
    table = phone.locator(".scroll").first
    assert table.evaluate("box => box.scrollWidth > box.clientWidth")
    size = phone.locator(".plots svg text").first.evaluate("text => text.getBoundingClientRect().height")
    assert size >= 9
    phone.locator("td button").first.tap()
    dialog = phone.get_by_role("dialog")
    expect(dialog).to_be_visible()
    dialog.locator("summary").first.tap()
    assert dialog.evaluate("box => box.scrollWidth <= box.clientWidth")
    assert phone.evaluate("document.documentElement.scrollWidth") == 390


def test_names_from_records_never_run(page: Page) -> None:
    cell = page.locator("tr[data-label*='onerror'] button").first
    cell.click()
    expect(page.get_by_role("dialog")).to_contain_text(world.SHOWN)
    page.locator("#record-body > details > summary").first.click()
    assert page.evaluate("typeof hacked") == "undefined"
    assert page.locator("img[src='x']").count() == 0
    assert page.locator("script").count() == 2
    assert page.locator("h1").text_content() == page.title()


def test_the_policy_of_the_page_stops_scripts_that_are_not_its_own(page: Page, reader: Reader) -> None:
    before = len(reader.said)
    page.evaluate("document.body.append(Object.assign(document.createElement('script'), {textContent: 'hacked = 1'}))")
    assert page.evaluate("typeof hacked") == "undefined"
    refused, reader.said[before:] = reader.said[before:], []
    assert "Content Security Policy" in refused[0]


def test_nothing_is_fetched_and_nothing_goes_wrong(page: Page, reader: Reader) -> None:
    page.reload()
    assert {request for request in reader.requests if not request.startswith("data:")} == {reader.address}
    assert reader.said == []
