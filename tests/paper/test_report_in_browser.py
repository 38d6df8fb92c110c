"""The report as a reader opens it: in a browser, click by click."""

import re
import shutil

import pytest
import tiny_study
from playwright.sync_api import sync_playwright

from collapse.paper.report.sections import EXPLORER_CAPTION, in_report, section_of
from collapse.paper.targets import aliases_of, targets_of
from collapse.study.families import of_family
from collapse.study.parameters import load_parameters

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.workflow,
    pytest.mark.xdist_group("workflow"),
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def page(finished):
    """The tiny study's report in a browser; `asked` is all that it loads, `errors` what goes wrong."""
    report = finished / "results/tiny/report.html"
    result = tiny_study.snakemake(finished, "--report", report)
    assert result.returncode == 0, result.stderr
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.asked, page.errors = [], []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.goto(report.as_uri())
        yield page
        browser.close()


@pytest.fixture(scope="module")
def captions(finished):
    """Of every item that the report must show, its caption and its title."""
    parameters = load_parameters(finished / "params.yaml")
    aliases = aliases_of(parameters, "tiny", "figures")
    every = of_family({}, parameters["theory"] | parameters["analysis"])
    every |= targets_of(parameters, "tiny", "tables") | targets_of(parameters, "tiny", "figures")
    every |= {"explorer": {"caption": EXPLORER_CAPTION}}
    return {
        target: (entry["caption"], in_report(target, entry["caption"], aliases=aliases)["labels"])
        for target, entry in every.items()
    }


def row_of(page, target, labels):
    """The line of the menu where `target` stands, reached by clicks."""
    page.evaluate("app.setView({navbarMode: 'menu'})")
    for name in filter(None, section_of(target)):
        page.locator("nav li").get_by_text(name, exact=True).click()
    row = page.locator("nav tbody tr", has_text=re.sub(r"\s+", " ", *labels.values()))
    assert row.count() == 1, target
    return row


def opened(page, target, captions):
    """Click on the eye of `target`."""
    row_of(page, target, captions[target][1]).locator("a").nth(0).click()


def test_it_opens_with_what_was_run(page):
    first = page.locator(".prose").first
    for heading in ("Study tiny", "Scale", "Runs", "The paper's claims", "Hardware and versions"):
        first.get_by_role("heading", name=heading).wait_for()
    text = first.inner_text()
    for words in ("Fake stands in for FashionMNIST", "diverged", "C12", "commit", "PyTorch", "Python 3"):
        assert words.lower() in text.lower(), words
    assert first.bounding_box()["y"] >= 0  # the heading is not above the window


def test_every_target_is_there_with_its_caption(page, captions):
    assert len(captions) == len(page.evaluate("Object.keys(results)"))
    for target, (caption, labels) in captions.items():
        row_of(page, target, labels).locator("a").nth(1).click()
        said = page.locator("nav li.prose").inner_text()
        assert re.sub(r"\s+", " ", said).startswith(re.sub(r"\s+", " ", caption).strip()), target
        assert "System Message" not in said, said  # of docutils, of what it takes for markup


def test_a_table_opens_as_a_table(page, captions):
    opened(page, "table_2", captions)
    table = page.frame_locator("iframe")
    assert table.locator("thead th").first.inner_text() == "Optimizer"
    assert table.get_by_role("cell", name="AdamW", exact=True).is_visible()
    assert "tiny study" in table.locator("caption").inner_text()
    assert page.locator("iframe").bounding_box()["width"] > 700  # the menu leaves it room


def test_every_table_fits_and_shows_no_markup(page, captions):
    for target in (name for name in captions if not name.startswith(("figure", "theory", "explorer"))):
        opened(page, target, captions)
        body = page.frame_locator("iframe").locator("body")
        body.locator("td").first.wait_for()
        assert not re.search(r"\*\*|`|<br>|\|\s*:?---", body.inner_text()), target
        assert body.evaluate("body => body.scrollWidth <= window.innerWidth"), target


def test_a_figure_opens_whole(page, captions):
    opened(page, "figure_1", captions)
    image = page.locator("img[src^='data:image/png']")
    image.wait_for()
    assert image.evaluate("image => image.naturalWidth") > 1000
    box = image.bounding_box()
    assert box["x"] > 0 and box["x"] + box["width"] <= 1440


def test_the_explorer_opens_and_is_clicked_through(page, captions):
    assert page.evaluate("Object.values(results).filter(item => item.data_uri.length > 2e6).length") == 0
    opened(page, "explorer", captions)
    explorer = page.frame_locator("iframe")
    explorer.locator("body[data-ready=yes]").wait_for()
    assert "23 of 23 runs" in explorer.locator("#count").inner_text()
    explorer.locator("#list tbody tr").first.click()
    assert "--study tiny" in explorer.locator("#lineage").inner_text()


def test_nothing_comes_from_elsewhere_and_nothing_breaks(page):
    page.evaluate("app.setView({navbarMode: 'menu', content: 'rulegraph'})")
    page.locator("#rulegraph canvas, #rulegraph svg").first.wait_for()
    assert {url.partition(":")[0] for url in page.asked} <= {"file", "data", "blob"}
    assert page.errors == []


def test_titles_stay_within_the_menu(page, captions):
    for target, (_, labels) in captions.items():
        row = row_of(page, target, labels)
        menu = page.locator("nav.h-screen")
        assert menu.evaluate("menu => menu.scrollWidth <= menu.clientWidth"), target
        row.locator("a").nth(1).click()
        assert menu.evaluate("menu => menu.scrollWidth <= menu.clientWidth"), target
