"""The page in a real browser without a network: every chart drawn, no error, no request, nothing wider than the screen."""

import dataclasses
import time

import polars as pl
import pytest
from browser import CHROMIUM, PATIENCE
from page_looks import CONTRASTS, CONTRASTS_OF_CHARTS, OVERLAPS

from divergence.report import Check, write_page

LOOKS = [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]
pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")]


@pytest.fixture(scope="module")
def pages(content, page, tmp_path_factory):
    """The page of the whole log, and one with a failed check and hostile names."""
    folder = tmp_path_factory.mktemp("pages")
    (folder / "whole.html").write_text(page, encoding="utf-8")
    evil = "<script>document.title = 'broken'</script>"
    first = content.estimates["gap"]
    rows = first.rows.with_columns(model=pl.lit(evil) + pl.col("model"))
    failed = Check("largest residual", 6.2, "at most 4.5", False, "The model does not describe an arm.")
    hostile = dataclasses.replace(
        content,
        estimates={**content.estimates, "gap": dataclasses.replace(first, rows=rows)},
        checks=(failed,),
    )
    write_page(hostile, folder / "hostile.html")
    return folder


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_the_page_opens_offline_with_every_chart_drawn(browser, pages, width, scheme):
    browser.open(pages / "whole.html", width, scheme)
    assert browser.troubles() == []
    assert browser.requests() == []
    figures = browser.value("document.querySelectorAll('figure .chart').length")
    assert figures == 9
    marks = "c => c.querySelectorAll('svg .mark-group path, svg text').length > 8"
    assert browser.value(f"[...document.querySelectorAll('figure .chart')].filter({marks}).length") == figures
    assert browser.value("document.documentElement.scrollWidth") == width
    wide = "s => s.getBoundingClientRect().right > innerWidth + 1"
    assert browser.value(f"[...document.querySelectorAll('.chart svg')].filter({wide}).length") == 0


def test_charts_follow_the_colour_scheme_while_open(browser, pages):
    ink = "getComputedStyle(document.querySelector('#figure-gap .chart text')).fill"
    browser.open(pages / "whole.html", 1280, "light")
    light = browser.value(ink)
    browser.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    end = time.monotonic() + PATIENCE
    while browser.value(f"document.querySelector('#figure-gap .chart text') && {ink}") in (None, light):
        assert time.monotonic() < end, "the charts keep their light colours"
        time.sleep(0.1)
    assert browser.troubles() == []


def test_text_of_charts_stays_in_sight(browser, pages):
    outside = """[...document.querySelectorAll('.chart')].flatMap(c => {
        const box = c.getBoundingClientRect();
        return [...c.querySelectorAll('svg text')].filter(t => t.textContent.trim()).filter(t => {
            const r = t.getBoundingClientRect();
            return r.left < box.left - 2 || r.right > box.right + 2;
        }).map(t => c.dataset.spec + ': ' + t.textContent);
    })"""
    for width in (1280, 390):
        browser.open(pages / "whole.html", width)
        assert browser.value(outside) == []


def test_names_stay_names_and_a_failed_check_is_in_sight(browser, pages):
    browser.open(pages / "hostile.html", 390)
    assert browser.troubles() == []
    assert browser.value("document.title") == "Synthetic serving log"
    assert browser.value("document.querySelector('[role=alert]').getBoundingClientRect().top") < 300
    alarm = browser.value("getComputedStyle(document.querySelector('[role=alert]')).backgroundColor")
    assert alarm == "rgb(179, 38, 30)"


WORDS_MAX, HEIGHT_MAX = 2500, 9000  # shown with everything folded; px at 1280
CONTRAST_MIN = 4.5  # WCAG 2.2, 1.4.3, for text


def test_the_page_of_the_embedded_data_is_short_with_everything_folded(browser, results):
    browser.open(results[0] / "report.html", 1280)
    assert browser.troubles() == []
    assert browser.value("document.querySelectorAll('details[open]').length") == 0
    words = browser.value("document.body.innerText.split(/\\s+/).filter(w => /[a-z0-9]/i.test(w)).length")
    assert 500 < words <= WORDS_MAX
    assert 2000 < browser.value("document.documentElement.scrollHeight") <= HEIGHT_MAX


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_labels_do_not_collide_and_text_is_read(browser, results, width, scheme):
    browser.open(results[0] / "report.html", width, scheme)
    assert browser.value("document.documentElement.scrollWidth") == width
    assert browser.value(OVERLAPS) == []
    assert browser.value(CONTRASTS.replace("LEAST", str(CONTRAST_MIN))) == []
    assert browser.value(CONTRASTS_OF_CHARTS.replace("LEAST", str(CONTRAST_MIN))) == []


def test_a_folded_chart_is_drawn_when_it_is_opened(browser, results):
    browser.open(results[0] / "report.html", 1280)
    browser.value("document.querySelectorAll('details').forEach(fold => { fold.open = true; })")
    narrow = "c => { const s = c.querySelector('svg'); return !s || s.getBoundingClientRect().width < 300; }"
    end = time.monotonic() + PATIENCE
    while browser.value(f"[...document.querySelectorAll('.chart')].filter({narrow}).length"):
        assert time.monotonic() < end, "a chart in a fold stays empty"
        time.sleep(0.1)
    assert browser.troubles() == []


@pytest.mark.parametrize("width", [1280, 390])
def test_hundreds_of_models_with_long_names_stay_readable(browser, build, tmp_path_factory, width):
    World, make_content = build
    world = World(models=300, contexts=2)
    world.models = [f"maker-{k % 17}/a-rather-long-model-name-{k:03d}-instruct-2031" for k in range(300)]
    path = write_page(make_content(world), tmp_path_factory.mktemp("many") / "many.html")
    browser.open(path, width)
    assert browser.troubles() == []
    words = browser.value("document.body.innerText.split(/\\s+/).filter(w => /[a-z0-9]/i.test(w)).length")
    assert words <= WORDS_MAX
    assert browser.value("document.documentElement.scrollWidth") == width
    assert browser.value(OVERLAPS) == []
    long = "t => t.rows.length > 21 && t.checkVisibility()"
    assert browser.value(f"[...document.querySelectorAll('table')].filter({long}).length") == 0
