"""The last stage: answers in, one self-contained page out. No statistics beyond reducing draws for a picture.

    from divergence.report import Check, LogSummary, PageContent, write_page

| file | holds |
|---|---|
| `content.py` | `PageContent`: everything that the page shows, as data |
| `page.py` | `write_page`, `render` |
| `choice.py`, `choice_sections.py` | combinations against the requirements: the first screen where they are declared |
| `decision.py` | bench order and deployed order in words: the first screen where they are not |
| `flip_bounds.py` | bounds of items that change sides, with one run a side |
| `sections.py`, `record.py`, `blocks.py` | the sections below it: answers; refusals, log, diagnostics; their parts |
| `trust.py` | checks of the model in words and tables |
| `order_sections.py` | what the bench's order is worth, how levels hold, what factor effects may be read as |
| `figures/` | one file a figure |
| `formats.py` | the same words and tables as Markdown, LaTeX, JSON |
| `tables.py` | answers, models, rejected rows, diagnostics as tables |
| `multiplicity.py` | bands that hold for many rows at once |
| `silent.py` | items move, the level does not |
| `words.py`, `names.py`, `palette.py`, `reading.py` | numbers as words, short names, colours, rows with their draws |
| `template/` | the page's markup, style and script |

Loading this package loads neither altair, great-tables nor jinja2; writing a page does.
"""

from divergence.report.content import Check, LogSummary, PageContent, Review
from divergence.report.formats import write_formats
from divergence.report.page import render, write_page

__all__ = ["Check", "LogSummary", "PageContent", "Review", "render", "write_formats", "write_page"]
