"""The page by keyboard and on paper: what can be reached, in which order, whether it is seen, and how it is printed."""

import base64
import re
import time

import pytest
from browser import CHROMIUM, PATIENCE
from page_looks import CONTRASTS, CONTRASTS_OF_CHARTS

from divergence.report.palette import DARK, LIGHT

pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")]
STOPS = (
    "[...document.querySelectorAll('a[href], summary, [tabindex=\"0\"], button, input')].filter(e => e.checkVisibility())"
)
NOW = """(() => {
    const e = document.activeElement, look = getComputedStyle(e), box = e.getBoundingClientRect();
    return {at: STOPS.indexOf(e), line: look.outlineStyle, thick: parseFloat(look.outlineWidth), colour: look.outlineColor,
        seen: box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth};
})()""".replace("STOPS", STOPS)
OUTLINE_MIN = 2  # px: WCAG 2.2, 2.4.13
SHEET = 1000  # px: a sheet of A4 at 96 px an inch is 1,122 high, less its margins


@pytest.fixture(scope="module")
def path(page, tmp_path_factory):
    place = tmp_path_factory.mktemp("reachable") / "page.html"
    place.write_text(page, encoding="utf-8")
    return place


def press(browser, key, code):
    """A key goes down and up; Enter also types its character."""
    text = {"text": "\r"} if key == "Enter" else {}
    for kind in ("keyDown", "keyUp"):
        extra = text if kind == "keyDown" else {}
        browser.ask("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **extra)


def settle(browser):
    """Wait until the page no longer moves: a jump to what has the focus is smooth."""
    last, end = None, time.monotonic() + PATIENCE
    while last != (last := browser.value("scrollY")):
        assert time.monotonic() < end, "the page does not come to rest"
        time.sleep(0.15)


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_tab_goes_through_all_that_can_be_used_in_order_and_shows_where_it_is(browser, path, width, scheme):
    browser.open(path, width, scheme)
    stops = browser.value(f"{STOPS}.length")
    assert stops > 20
    colour = (DARK if scheme == "dark" else LIGHT)["gain"]
    ring = f"rgb({', '.join(str(int(colour[k : k + 2], 16)) for k in (1, 3, 5))})"
    for at in range(stops):
        press(browser, "Tab", 9)
        settle(browser)
        now = browser.value(NOW)
        assert now["at"] == at, f"stop {at} of {stops}"
        assert now["seen"], f"stop {at} is out of sight"
        assert now["line"] == "solid" and now["thick"] >= OUTLINE_MIN and now["colour"] == ring


def test_a_fold_opens_and_closes_by_key(browser, path):
    browser.open(path, 1280)
    browser.value("document.querySelector('summary').focus()")
    for is_open in (True, False):
        press(browser, "Enter", 13)
        assert browser.value("document.querySelector('details').open") is is_open


def test_what_scrolls_and_what_is_drawn_has_a_name(browser, path):
    browser.open(path, 1280)
    nameless = "e => !(e.getAttribute('role') && e.getAttribute('aria-label'))"
    assert browser.value(f"[...document.querySelectorAll('[tabindex=\"0\"]')].filter({nameless}).length") == 0
    silent = "c => !c.querySelector('svg[aria-label], svg [aria-label], svg[role]')"
    assert browser.value(f"[...document.querySelectorAll('figure .chart')].filter({silent}).length") == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_printed_it_is_a_report_in_the_light_colours(browser, path, scheme):
    browser.open(path, 794, scheme)  # px: the width of a sheet of A4
    browser.ask("Emulation.setEmulatedMedia", media="print", features=[{"name": "prefers-color-scheme", "value": scheme}])
    folds = "[...document.querySelectorAll('details')].filter(d => d.checkVisibility())"
    try:
        assert browser.value("getComputedStyle(document.querySelector('.contents')).display") == "none"
        assert (
            browser.value("[...document.querySelectorAll('details')].filter(d => !d.open && d.checkVisibility()).length")
            == 0
        )
        browser.value("document.querySelector('section details').open = true")
        assert browser.value(f"{folds}.length") == 1
        assert browser.value("getComputedStyle(document.querySelector('.printed')).display") == "block"
        broken = "e => getComputedStyle(e).breakInside !== 'avoid'"
        assert browser.value(f"[...document.querySelectorAll('figure, tr')].filter({broken}).length") == 0
        tall = f"e => e.getBoundingClientRect().height > {SHEET}"
        assert browser.value(f"[...document.querySelectorAll('figure')].filter({tall}).length") == 0
        ink = f"rgb({', '.join(str(int(LIGHT['ink'][k : k + 2], 16)) for k in (1, 3, 5))})"
        assert browser.value("getComputedStyle(document.querySelector('h1')).color") == ink
        shades = {colour.lower() for colour in DARK.values()} - {colour.lower() for colour in LIGHT.values()}
        hexed = "c => '#' + c.match(/\\d+/g).slice(0, 3).map(v => Number(v).toString(16).padStart(2, '0')).join('')"
        drawn = "[...document.querySelectorAll('.chart svg text')].map(t => getComputedStyle(t).fill)"
        assert not shades & set(browser.value(f"{drawn}.map({hexed})"))
        for looked in (CONTRASTS, CONTRASTS_OF_CHARTS):
            assert browser.value(looked.replace("LEAST", "4.5")) == []
    finally:
        browser.ask("Emulation.setEmulatedMedia", media="", features=[])


def test_it_is_printed_on_a_few_sheets_of_a4(browser, path):
    browser.open(path, 1280)
    made = base64.b64decode(browser.ask("Page.printToPDF", printBackground=False, preferCSSPageSize=True)["data"])
    boxes = re.findall(rb"/MediaBox\s*\[\s*0 0 ([\d.]+) ([\d.]+)", made)
    assert {(round(float(w)), round(float(h))) for w, h in boxes} <= {(595, 842), (594, 842), (595, 841), (596, 842)}
    figures = browser.value("document.querySelectorAll('figure').length")
    assert 3 <= len(re.findall(rb"/Type\s*/Page\b(?!s)", made)) <= figures + 2  # at worst one figure a sheet
