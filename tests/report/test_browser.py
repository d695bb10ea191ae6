"""The page in a real browser without a network: every chart drawn, no error, no request, nothing wider than the screen.

Chromium is driven over its debugging pipe (JSON messages ended by a zero byte), so that no package is needed for it.
"""

import contextlib
import dataclasses
import json
import os
import select
import shutil
import subprocess
import sys
import time

import polars as pl
import pytest

from divergence.report import Check, write_page

CHROMIUM = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--enable-logging=stderr",
    "--host-resolver-rules=MAP * ~NOTFOUND",
]
# Chromium reads commands from descriptor 3 and answers on 4: the pipes are moved there before it starts.
ON_3_AND_4 = (
    "import fcntl, os, sys; pipes = [fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in sys.argv[1:3]]; "
    "[os.dup2(pipe, place) for place, pipe in zip((3, 4), pipes)]; os.execv(sys.argv[3], sys.argv[3:])"
)
PATIENCE = 120  # s: a cold start on a busy machine

pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")]


class Browser:
    """One Chromium with one page, spoken to in the words of its debugging protocol."""

    def __init__(self, folder):
        down, self.write = os.pipe()
        self.read, up = os.pipe()
        command = [CHROMIUM, *FLAGS, "--remote-debugging-pipe", f"--user-data-dir={folder}/profile", "about:blank"]
        self.process = subprocess.Popen(
            [sys.executable, "-c", ON_3_AND_4, str(down), str(up), *command],
            pass_fds=(down, up),
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        os.close(down)
        os.close(up)
        self.buffer, self.last, self.events, self.session = b"", 0, [], None
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.ask(f"{domain}.enable")
        self.ask("Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=0, uploadThroughput=0)

    def _message(self):
        """The next message; waits at most `PATIENCE`."""
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.read], [], [], PATIENCE)
            assert ready, "Chromium does not answer"
            self.buffer += os.read(self.read, 1 << 20)
        line, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(line)

    def ask(self, method, **parameters):
        """Send a command and return its answer; events that arrive meanwhile are kept."""
        self.last += 1
        message = {"id": self.last, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._message()
            if answer.get("id") == self.last:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def value(self, expression):
        """The value of a JavaScript expression in the page."""
        answer = self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def open(self, path, width, scheme="light", height=900):
        """Open a file at a width and colour scheme and wait until its charts are drawn."""
        self.events.clear()
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.ask("Page.navigate", url=path.as_uri())
        end = time.monotonic() + PATIENCE
        while self.value("document.documentElement?.dataset.charts") is None:
            assert time.monotonic() < end, "the charts are not drawn"
            time.sleep(0.1)

    def troubles(self):
        """Console errors, exceptions and log entries since the page was opened."""
        found = []
        for event in self.events:
            kind, parameters = event.get("method"), event.get("params", {})
            if kind == "Runtime.exceptionThrown" or (
                kind == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning")
            ):
                found.append(parameters)
            if kind == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
                found.append(parameters["entry"])
        return found

    def requests(self):
        """Addresses that the page asked for, itself and data in place aside."""
        urls = [e["params"]["request"]["url"] for e in self.events if e.get("method") == "Network.requestWillBeSent"]
        return [url for url in urls if not url.startswith(("file:", "data:", "about:"))]

    def close(self):
        """End the browser."""
        self.session = None
        with contextlib.suppress(OSError):
            os.write(self.write, json.dumps({"id": 0, "method": "Browser.close"}).encode() + b"\0")
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.read)
        os.close(self.write)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    chromium = Browser(tmp_path_factory.mktemp("chromium"))
    yield chromium
    chromium.close()


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


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")])
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
OVERLAPS = """[...document.querySelectorAll('.chart')].flatMap(c => {
    const boxes = [...c.querySelectorAll('svg text')].filter(t => t.textContent.trim() && getComputedStyle(t).opacity > 0)
        .filter(t => Math.abs(t.getScreenCTM().b) < 1e-6).map(t => [t.textContent, t.getBoundingClientRect()]);
    return boxes.flatMap(([one, a], i) => boxes.slice(i + 1).filter(([, b]) =>
        Math.min(a.right, b.right) - Math.max(a.left, b.left) > 2
        && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 6
    ).map(([other]) => c.dataset.spec + ': ' + one + ' | ' + other));
})"""
CONTRASTS = """(() => {
    const parts = colour => (colour.match(/[\\d.]+/g) || []).map(Number);
    const light = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
        .reduce((sum, v, k) => sum + v * [.2126, .7152, .0722][k], 0);
    const behind = e => { for (; e; e = e.parentElement) {
        const c = parts(getComputedStyle(e).backgroundColor);
        if (c.length === 3 || c[3] > 0) return c;
    } return [255, 255, 255]; };
    return [...document.querySelectorAll('main *, nav *')].filter(e => !e.closest('svg') && e.checkVisibility()
        && [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())).flatMap(e => {
        const [a, b] = [light(parts(getComputedStyle(e).color)), light(behind(e))];
        const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
        return ratio < LEAST ? [ratio.toFixed(2) + ': ' + e.textContent.trim().slice(0, 40)] : [];
    });
})()"""


def test_the_page_of_the_embedded_data_is_short_with_everything_folded(browser, results):
    browser.open(results[0] / "report.html", 1280)
    assert browser.troubles() == []
    assert browser.value("document.querySelectorAll('details[open]').length") == 0
    words = browser.value("document.body.innerText.split(/\\s+/).filter(w => /[a-z0-9]/i.test(w)).length")
    assert 500 < words <= WORDS_MAX
    assert 2000 < browser.value("document.documentElement.scrollHeight") <= HEIGHT_MAX


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_labels_do_not_collide_and_text_is_read(browser, results, width, scheme):
    browser.open(results[0] / "report.html", width, scheme)
    assert browser.value("document.documentElement.scrollWidth") == width
    assert browser.value(OVERLAPS) == []
    assert browser.value(CONTRASTS.replace("LEAST", str(CONTRAST_MIN))) == []


def test_a_folded_chart_is_drawn_when_it_is_opened(browser, results):
    browser.open(results[0] / "report.html", 1280)
    browser.value("document.querySelectorAll('details').forEach(fold => { fold.open = true; })")
    narrow = "c => { const s = c.querySelector('svg'); return !s || s.getBoundingClientRect().width < 300; }"
    end = time.monotonic() + PATIENCE
    while browser.value(f"[...document.querySelectorAll('.chart')].filter({narrow}).length"):
        assert time.monotonic() < end, "a chart in a fold stays empty"
        time.sleep(0.1)
    assert browser.troubles() == []
