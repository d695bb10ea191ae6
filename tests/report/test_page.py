"""The page as text: self-contained, valid, complete, and safe with any name."""

import contextlib
import dataclasses
import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import altair as alt
import jsonschema
import numpy as np
import polars as pl
import pytest

from divergence.estimate import Estimate
from divergence.report import Check, LogSummary, PageContent, render, write_page
from divergence.report.palette import DARK, LIGHT
from divergence.report.scripts import vega_bundle

VOID = {"meta", "br", "link", "img", "input", "hr"}


class Page(HTMLParser):
    """Elements with their attributes and text, scripts by id, and tags that are never closed."""

    def __init__(self, text):
        super().__init__()
        self.attributes, self.scripts, self.text, self.open, self.unbalanced = [], {}, [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.open or self.open[-1][0] != tag:
            self.unbalanced.append(tag)
        else:
            self.open.pop()

    def handle_data(self, data):
        if self.open and self.open[-1][0] == "script":
            name = self.open[-1][1].get("id", "script")
            self.scripts[name] = self.scripts.get(name, "") + data
        elif not self.open or self.open[-1][0] != "style":
            self.text.append(data)


@pytest.fixture(scope="module")
def parsed(page):
    return Page(page)


def without_bundle(text):
    """The page without what others wrote: their scripts, and their notices."""
    return re.sub("<pre>.*?</pre>", "", text.replace(vega_bundle(), ""), flags=re.DOTALL)


def test_every_element_is_closed(parsed):
    assert parsed.unbalanced == []
    assert parsed.open == []


def test_no_address_of_another_machine(page, parsed):
    linking = [(tag, name, value) for tag, name, value in parsed.attributes if name in ("href", "src", "action", "srcset")]
    assert linking
    assert all(value.startswith("#") for _, _, value in linking)
    assert not [value for _, _, value in parsed.attributes if "//" in value]
    assert "://" not in without_bundle(page)
    assert "default-src 'none'" in page


def test_anchors_lead_somewhere(parsed):
    ids = [value for _, name, value in parsed.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert {value[1:] for _, name, value in parsed.attributes if name == "href"} <= set(ids)


def test_the_bundle_is_there_once(page):
    assert page.count("window.vegaEmbed=") == 1
    assert page.count(vega_bundle()) == 1


def test_every_figure_has_its_chart_and_its_sentence(page, parsed):
    specs = {
        name.removeprefix("spec-"): json.loads(text) for name, text in parsed.scripts.items() if name.startswith("spec-")
    }
    figures = re.findall(r'<figure class="block" id="figure-([a-z0-9_-]+)">(.*?)</figure>', page, re.DOTALL)
    assert {name for name, _ in figures} == set(specs)
    assert len(figures) == 9
    for name, body in figures:
        sentence = re.search(r'<p class="sentence">(.+?)</p>', body)
        assert sentence is not None
        assert len(sentence.group(1)) > 40
        assert "$schema" not in specs[name]
        assert specs[name]["description"][:30] in sentence.group(1).replace("&amp;", "&").replace("&#39;", "'")


def test_every_chart_of_a_page_follows_the_schema_though_pages_are_drawn_unchecked(content, page, parsed, monkeypatch):
    specs = [json.loads(text) for name, text in parsed.scripts.items() if name.startswith("spec-")]
    assert specs
    for spec in specs:
        alt.Chart.from_dict(spec)  # held against the schema of Vega-Lite
    with pytest.raises(jsonschema.ValidationError, match="no mark"):
        alt.Chart.from_dict(specs[0] | {"layer": [{"mark": "no mark"}]})
    monkeypatch.setattr("divergence.report.page.unchecked", contextlib.nullcontext)
    assert render(content) == page


def test_colours_have_a_dark_partner(parsed):
    dark = json.loads(parsed.scripts["dark-colours"])
    used = set()
    for name, text in parsed.scripts.items():
        if name.startswith(("spec-", "chart-config")):
            used |= set(re.findall(r'"(#[0-9a-f]{6})"', text))
    assert used <= set(dark)
    assert len(set(dark.values())) == len(dark)


def test_the_first_screen_is_the_decision(page):
    heading = re.search(r"<h1>(.+?)</h1>", page).group(1)
    assert "first on the bench" in heading
    assert page.index("<h1>") < page.index('id="figure-order"') < page.index('id="steadiness"')
    assert page.count('<li class="sure"') + page.count('<li class="open"') + page.count('<li class="reversed"') == 7


def test_silent_drift_has_its_line(page):
    assert page.count("<strong>Silent drift:</strong>") == 2  # on the first screen and in its section


def test_refusals_rejections_and_provenance_are_shown(page):
    for text in (
        "No session has more than one turn.",
        "score_in_range",
        "14 of 20,814 rows",
        "notes.txt",
        "sha256 4f1c",
        "Items are a sample",
        "The times carry no zone",
    ):
        assert text in page


def test_all_checks_passed_is_said_quietly(page):
    assert "all three diagnostics passed" in page
    assert 'role="alert"' not in page


def test_a_failed_check_cannot_be_overlooked(content):
    failed = Check("largest residual", 6.2, "at most 4.5", False, "The model does not describe an arm.")
    page = render(dataclasses.replace(content, checks=(*content.checks, failed)))
    assert page.index('role="alert"') < page.index("<h1>")
    assert "Do not rely on these results: 1 of 4 diagnostics failed." in page
    assert "largest residual: 6.2 (passes: at most 4.5)" in page
    marks = page.count("Not reliable: a diagnostic failed.")
    assert marks == 1 + len(re.findall(r'<section id="(?!refusals|log|diagnostics)', page))
    assert "✗ FAILED" in page


def test_an_unidentified_answer_has_no_section_and_its_reason_among_the_open_questions(content):
    refused = Estimate.refused("gap", "", "fraction", "the log has no item in both regimes")
    page = render(dataclasses.replace(content, estimates={**content.estimates, "gap": refused}))
    assert 'id="figure-gap"' not in page
    assert '<section id="gap">' not in page  # a section has an answer, or a part of one
    refusals = page[page.index('<section id="refusals">') : page.index('<section id="log">')]
    assert "The log has no item in both regimes." in refusals


def test_partly_refused_answers_count_their_refusals(content):
    gap = content.estimates["gap"]
    draws, reasons = gap.draws.copy(), list(gap.reason)
    draws[:, :2] = np.nan
    reasons[:2] = ["no deployment rows"] * 2
    part = dataclasses.replace(gap, draws=draws, reason=tuple(reasons))
    page = render(dataclasses.replace(content, estimates={**content.estimates, "gap": part}))
    assert "No deployment rows. (Two numbers of this answer.)" in page


def test_names_are_text_everywhere(build):
    World, make_content = build
    world = World(models=3, contexts=3)
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
    world.models[0] = evil
    world.contexts[1] = f"engine={evil}|concurrency=8"
    content = make_content(
        world,
        title=evil,
        refusals=((evil, evil),),
        notes=(evil,),
        provenance={evil: evil},
        rejected=pl.DataFrame({"file": [evil], "row": [1], "rule": [evil], "sentence": [evil]}),
        checks=(Check(evil, evil, evil, False, evil),),
        other_outcomes={evil: {"gap": world.answers()["gap"]}},
    )
    page = render(content)
    ours = without_bundle(page)
    assert ours.count("<script") == ours.count("</script>") == len(Page(page).scripts) + 0
    assert "<img" not in ours
    assert "&lt;/script&gt;" in ours
    for name, text in Page(page).scripts.items():
        if name.startswith("spec-"):
            json.loads(text)


def test_a_log_that_answers_nothing_still_makes_a_page(content):
    refused = {q: Estimate.refused(q, "", e.unit, f"{q} needs more") for q, e in content.estimates.items()}
    empty = PageContent("nothing", refused, LogSummary({}, 0, 0, 0), pl.DataFrame())
    page = render(empty)
    assert "This log cannot say how the bench carries over to deployment." in page
    assert "<figure" not in page
    assert "excess_flips needs more" in page.lower()
    assert "its numbers are unchecked" in page


def test_a_log_without_a_bench_shows_contexts_against_each_other(content, hand_made):
    places = ["one", "two", "three"]
    rows = {
        "statistic": [None, *["contrast"] * 3],
        "context": [None, "one", "one", "two"],
        "context_b": [None, "two", "three", "three"],
    }
    effect = hand_made("context_effect", rows, [0.0, 0.2, 0.0, -0.2])
    draws = effect.draws.copy()
    draws[:, 0] = np.nan
    effect = dataclasses.replace(effect, draws=draws, reason=("the log has no evaluation rows", None, None, None))
    flips = hand_made(
        "excess_flips",
        {"context": ["one", "one", "two"], "context_b": ["two", "three", "three"]},
        [0.1] * 3,
        "probability",
    )
    answers = {
        "bench_level": Estimate.refused("bench_level", "", "probability", "the log has no evaluation rows"),
        "deployed_level": hand_made("deployed_level", {"model": ["m"]}, [0.6], "probability"),
        "kappa": hand_made("kappa", {"model": ["m"]}, [0.05]),
        "context_effect": effect,
        "excess_flips": flips,
    }
    page = render(dataclasses.replace(content, estimates=answers, refusals=(), other_outcomes={}))
    assert "How the bench carries over to deployment is not in this log" in page
    assert 'id="figure-contrasts"' in page
    assert 'id="figure-score-kappa"' not in page  # one point needs no figure
    assert "Not against the bench:</strong> The log has no evaluation rows." in page
    assert "the level of m moves by 5.0 points" in page
    assert all(place in page for place in places)


@pytest.mark.parametrize(("models", "contexts"), [(1, 1), (1, 4), (2, 1), (3, 2)])
def test_small_logs_make_a_page(build, models, contexts):
    World, make_content = build
    page = render(make_content(World(models, contexts)))
    assert "nan" not in without_bundle(page).lower().replace("name", "").split()


def test_the_file_is_written_whole_or_not_at_all(content, page, tmp_path, monkeypatch):
    path = write_page(content, tmp_path / "report.html")
    assert path.read_text(encoding="utf-8") == page
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    monkeypatch.setattr("divergence.report.page._template", lambda name: (_ for _ in ()).throw(OSError(name)))
    with pytest.raises(OSError, match="page"):
        write_page(content, tmp_path / "report.html")
    assert path.read_text(encoding="utf-8") == page


def test_the_same_content_makes_the_same_page(content, page):
    assert render(content) == page


def test_loading_the_report_loads_no_chart_or_table_library():
    code = (
        "import sys, divergence.report; heavy = ('altair', 'great_tables', 'jinja2', 'vl_convert', 'jax', 'pandas'); "
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_what_is_written_on_a_coloured_cell_can_be_read(palette):
    """WCAG 2.2, 1.4.3; shades between these ends lie between them, as each is mixed with the middle."""

    def light(colour):
        parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
        return sum(share * v for share, v in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    for cell in ("loss_cell", "gain_cell", "middle"):
        low, high = sorted((light(palette["ink"]), light(palette[cell])))
        assert (high + 0.05) / (low + 0.05) >= 4.5


def test_maps_write_on_their_cells_in_ink(parsed):
    spec = json.loads(parsed.scripts["spec-context-map"])
    texts = [layer for layer in spec["layer"] if layer["mark"]["type"] == "text"]
    assert texts and all(layer["encoding"]["color"] == {"value": LIGHT["ink"]} for layer in texts)


def test_what_is_to_be_typed_stands_out_and_stays_escaped(content):
    told = "log `task_length` or <b>, `--map calls=a&b`"
    html = render(dataclasses.replace(content, cautions=(told, "one ` alone")))
    assert "log <code>task_length</code> or &lt;b&gt;, <code>--map calls=a&amp;b</code>" in html
    assert "one ` alone" in html
