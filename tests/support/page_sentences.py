"""Every sentence of a rendered page, with the section that it stands in."""

import html.parser
import importlib
import pkgutil
import re

from divergence.report import figures, render

LABELS = {"td", "th", "h2", "h3", "dt", "summary", "strong", "span", "a", "small", "li"}
"""Parts that hold names and numbers; what ends in a full stop there is a sentence all the same."""
INLINE = {"strong", "span", "small", "a"}
BLOCKS = {"p", "h1", "dd", "figcaption", "title", "div", "section", "article", "figure", "ol", "ul", *LABELS} - INLINE
SILENT = {"script", "style", "pre"}  # the last holds notices of others, in their words


class _Reader(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.found: list[tuple[str, str, str]] = []
        self.section, self.tag, self.text, self.silent = "", "", "", False

    def handle_starttag(self, tag, attrs):
        self.silent |= tag in SILENT
        self.text += "`" * (tag == "code")  # what is to be typed, as the sentence was written
        if tag in BLOCKS:
            self._end()
            self.tag = tag
        if tag in ("section", "article"):
            self.section = dict(attrs).get("id") or ""

    def handle_endtag(self, tag):
        self.silent &= tag not in SILENT
        self.text += "`" * (tag == "code")
        if tag in BLOCKS:
            self._end()

    def handle_data(self, data):
        if not self.silent:
            self.text += data

    def _end(self):
        text = " ".join(self.text.split())
        self.text = ""
        if text and (self.tag not in LABELS or text.endswith(".")):
            self.found.append((self.section, self.tag, text))


def sentences(page: str) -> list[tuple[str, str]]:
    """(section, sentence) of all that is said on a page in HTML."""
    reader = _Reader()
    reader.feed(page)
    return [
        (section, one)
        for section, _, text in reader.found
        for one in re.split(r"(?<=[.?!])\s+(?=[A-Z0-9“])", text)
        if one.strip()
    ]


class _NoChart:
    def to_dict(self, **_):
        return {"$schema": "", "config": {}}


def without_charts(patch) -> None:
    """The page without its pictures, which take most of its time and say nothing in words; `patch` is pytest's."""
    from divergence.report import page

    for module in pkgutil.iter_modules(figures.__path__):
        drawn = importlib.import_module(f"divergence.report.figures.{module.name}")
        if hasattr(drawn, "chart"):
            patch.setattr(drawn, "chart", lambda *_: _NoChart())
    patch.setattr(page, "vega_bundle", lambda: "")


def page_of(content) -> list[tuple[str, str]]:
    """The sentences of the page of this content."""
    return sentences(render(content))
