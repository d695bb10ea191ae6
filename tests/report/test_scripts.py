"""Copyright notices of the inlined scripts: of the versions that are inlined, whole, and in every page."""

import html
import re

import pytest

from divergence.report.scripts import notices, vega_bundle, versions

vl_convert = pytest.importorskip("vl_convert")


def test_the_page_says_which_scripts_it_carries_and_holds_their_notices(page):
    used = versions(vega_bundle())
    assert f"This page carries {used}, and parts of what they are built on." in page
    assert notices() in html.unescape(page)
    assert page.index("University of Washington Interactive Data Lab") < page.index('id="vega"')


def test_the_notices_are_of_the_versions_that_are_inlined():
    text = " ".join(notices().split())
    assert f"vega {vl_convert.get_vega_version()}" in text
    assert f"vega-embed {vl_convert.get_vega_embed_version()}" in text
    assert re.search(rf"vega-lite {re.escape(vl_convert.get_vegalite_versions()[-1])}\.\d", text)
    for name, version in re.findall(r"(Vega|Vega-Lite|vega-embed) ([\d.]+\d)", versions(vega_bundle())):
        assert f"{name.lower()} {version}" in text


@pytest.mark.parametrize(
    "words",
    [
        "Redistributions in binary form must reproduce the above copyright notice",
        'THE SOFTWARE IS PROVIDED "AS IS" AND THE AUTHOR DISCLAIMS ALL WARRANTIES',
        "The above copyright notice and this permission notice shall be included",
        "Copyright 2010-2023 Mike Bostock",
        "Copyright (c) 2017, Mapbox",
    ],
)
def test_each_kind_of_licence_is_whole(words):
    assert words in " ".join(notices().split())


def test_every_package_has_a_notice_but_what_is_in_the_public_domain():
    groups = notices().split("=" * 40)[1:]
    bare = [group.strip().partition(":")[0] for group in groups if "opyright" not in group]
    assert bare == [] or all(name.startswith("robust-predicates") for name in bare)
    named = [name for group in groups for name in re.findall(r"([a-z][a-z0-9.-]+) \d+\.\d+\.\d+", group)]
    assert len(named) == len(set(named)) >= 50


def test_a_bundle_without_its_first_line_still_has_names():
    assert versions("var a=1") == "Vega, Vega-Lite and vega-embed"
