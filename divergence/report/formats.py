"""The page's words and tables for a paper (LaTeX), for a text (Markdown) and for a machine (JSON): one list, three writers.

`sheets` is the one place that says which tables there are; every format writes the same ones. LaTeX goes through
great-tables (booktabs rules, names escaped), and compiles by itself with pdflatex.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import polars as pl

from divergence.report import tables, trust
from divergence.report.board import MOST_WRITTEN, board
from divergence.report.board import caption as board_caption
from divergence.report.board import written as leaderboard
from divergence.report.choice import choose, undeclared
from divergence.report.choice_sections import MARKS
from divergence.report.choice_sections import written as combinations
from divergence.report.content import PageContent
from divergence.report.decision import decide
from divergence.report.words import capital, question_name, seen, sentence

SYMBOLS = {  # what LaTeX's own fonts write in mathematics
    "2212": "-",
    "2713": "\\checkmark",
    "2717": "\\times",
    "2264": "\\leq",
    "2265": "\\geq",
    "2026": "\\ldots",
    "00D7": "\\times",
    "03BA": "\\kappa",
    "00B1": "\\pm",
    "00B7": "\\cdot",
}
# Millimetres at the size of the tables: of the paper between its margins (Letter, across), of a letter, between two columns.
PAPER, LETTER, GUTTER = 240.0, 1.25, 4.3


@dataclasses.dataclass(frozen=True)
class Sheet:
    """One table."""

    title: str
    """What it answers."""
    caption: str
    """What its numbers are."""
    texts: pl.DataFrame
    """Cells as text."""
    labels: Mapping[str, str]
    """Column -> heading."""
    right: tuple[str, ...] = ()
    """Columns of numbers."""
    estimated: bool = False
    """Are its numbers estimates about a population of items?"""


def lead(content: PageContent) -> tuple[str, list[str]]:
    """The decision in one sentence, and what stands under it."""
    choice, decision, listed = choose(content), decide(content), board(content)
    open_ = [told] if (told := undeclared(content)) else []
    if choice is None and listed is not None and listed.leads:
        said = [*listed.sentences, decision.headline, *decision.sentences]
        return listed.headline, [*content.cautions, *said, *open_]
    if choice is None:
        return decision.headline, [*content.cautions, *decision.sentences, *open_]
    points = [f"{label}: {told}" for label, told in choice.points]
    return choice.headline, [*content.cautions, *points, decision.headline, *decision.sentences]


def sheets(content: PageContent) -> list[Sheet]:
    """Every table: the combinations, each answer, what is refused, the diagnostics."""
    found = []
    choice = choose(content)
    if choice is not None:
        texts, labels, right = combinations(choice.options, choice.names, dict(content.acceptance))
        found.append(Sheet("Combinations against the requirements", f"Medians; {MARKS}.", texts, labels, tuple(right), True))
    listed = board(content)
    if listed is not None:
        texts, labels, right = leaderboard(listed)
        title = "Leaderboard under the deployment law"
        found.append(Sheet(title, board_caption(listed, MOST_WRITTEN), texts, labels, tuple(right), True))
    for outcome, answers in {"": content.estimates, **content.other_outcomes}.items():
        for estimate in answers.values():
            if estimate.identified and (outcome or estimate.question != "leaderboard"):
                texts, labels, right = tables.written(estimate)
                title = capital(question_name(estimate)) + (f" ({outcome})" if outcome else "")
                found.append(Sheet(title, tables.caption(estimate), texts, labels, tuple(right), True))
    refused = {content.words(q): sentence(reason) for q, reason in content.refusals}
    refused |= {
        capital(question_name(e)): sentence(e.reasons[0])
        for e in content.estimates.values()
        if not e.identified and e.reasons
    }
    if refused:
        frame = pl.DataFrame({"question": list(refused), "reason": list(refused.values())})
        found.append(Sheet("What this log cannot tell", "", frame, {"question": "question", "reason": "reason"}))
    if content.checks:
        frame = pl.DataFrame(
            {
                "name": [c.name for c in content.checks],
                "value": [seen(c.value) for c in content.checks],
                "threshold": [c.threshold for c in content.checks],
                "result": ["passed" if c.passed else "FAILED" for c in content.checks],
            }
        )
        labels = {"name": "diagnostic", "value": "seen", "threshold": "passes", "result": "result"}
        found.append(Sheet("Diagnostics", "", frame, labels, ("value",)))
    for review in content.reviews:
        text, _ = trust.verdict(review)
        if review.rows.height:
            texts, labels, right = trust.written(review)
            found.append(Sheet(trust.title(review), f"{text} {trust.CAPTIONS[review.kind]}", texts, labels, tuple(right)))
    return found


def markdown(content: PageContent) -> str:
    """Headings, sentences and pipe tables."""
    headline, sentences = lead(content)
    parts = [f"# {_plain(headline)}", *map(_plain, sentences), *_failed(content)]
    for sheet in sheets(content):
        head = [_cell(sheet.labels[c]) for c in sheet.texts.columns]
        rule = ["---:" if c in sheet.right else "---" for c in sheet.texts.columns]
        body = [[_cell(v) for v in row] for row in sheet.texts.iter_rows()]
        parts += [
            f"## {sheet.title}",
            *([_plain(sheet.caption)] if sheet.caption else []),
            "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *body)),
        ]
    return "\n\n".join([*parts, *(f"- {_plain(sentence(note))}" for note in content.notes)]) + "\n"


def latex(content: PageContent, population: str = "") -> str:
    """A document of its own; each table is a longtable with booktabs rules and a note, to be cut out for a paper.

    `population`: which items the numbers are about, in words, for the notes.
    """
    headline, sentences = lead(content)
    symbols = "\n".join(f"\\DeclareUnicodeCharacter{{{code}}}{{\\ensuremath{{{told}}}}}" for code, told in SYMBOLS.items())
    parts = [
        "\\documentclass{article}",
        "\\usepackage[utf8]{inputenc}",
        "\\usepackage[T1]{fontenc}",
        "\\usepackage{amsmath,amssymb,booktabs,longtable,array,textcomp}",
        "\\usepackage[landscape,margin=15mm]{geometry}",
        symbols,
        "\\begin{document}",
        f"\\section*{{{escaped(content.title)}}}",
        f"\\textbf{{{escaped(headline)}}}",
        *map(escaped, [*sentences, *_failed(content)]),
    ]
    for sheet in sheets(content):
        table = "".join(c if known(c) else "?" for c in _longtable(sheet))
        table = re.sub(r"(?<=\\begin\{longtable\}\{)[lrc]+(?=\})", lambda _, of=sheet: columns(of), typed(table))
        parts += [f"\\subsection*{{{escaped(sheet.title)}}}", table, *_note(sheet, population)]
    return "\n\n".join([*parts, "\\end{document}"]) + "\n"


def _longtable(sheet: Sheet) -> str:
    """The table as great-tables writes it."""
    from great_tables import GT

    shown = GT(sheet.texts.select(pl.all().cast(pl.String).fill_null(""))).cols_label(dict(sheet.labels))
    sides = {"left": [name for name in sheet.texts.columns if name not in sheet.right], "right": list(sheet.right)}
    for side, names in sides.items():
        shown = shown.cols_align(side, names) if names else shown
    return shown.tab_options(table_font_size="8px").as_latex(use_longtable=True)


def columns(sheet: Sheet) -> str:
    """The columns of a table as LaTeX names them: where they do not fit on the paper, the longest break their lines."""
    names = sheet.texts.columns
    length = {c: max(len(sheet.labels[c]), *sheet.texts[c].fill_null("").str.len_chars(), 0) * LETTER for c in names}
    left, narrow = PAPER - GUTTER * len(names), {}
    for at, name in enumerate(sorted(names, key=length.__getitem__)):  # the narrow ones first: the others share what is left
        share = left / (len(names) - at)
        narrow[name] = min(length[name], share)
        left -= narrow[name]
    told = []
    for name in names:
        right = name in sheet.right
        if length[name] <= narrow[name]:
            told.append("r" if right else "l")
        else:
            ragged = "raggedleft" if right else "raggedright"
            told.append(f">{{\\{ragged}\\arraybackslash}}p{{{math.floor(narrow[name])}mm}}")
    return "".join(told)


def _note(sheet: Sheet, population: str) -> list[str]:
    """What stands under a table of a paper: interval, counts and method, and the items that the numbers are about."""
    told = [sheet.caption, f"The numbers are about {population}." if population and sheet.estimated else ""]
    note = " ".join(part for part in told if part)
    return [f"{{\\footnotesize\\noindent\\emph{{Note.}} {escaped(note)}\\par}}"] if note else []


def machine(content: PageContent, rows: pl.DataFrame, run: Mapping[str, object]) -> str:
    """The decision, the results table as rows, and the run record."""
    headline, sentences = lead(content)
    told = {"decision": headline, "sentences": sentences, "rows": rows.to_dicts(), "run": run}
    return json.dumps(told, indent=1, default=str, allow_nan=False) + "\n"


def write_formats(
    content: PageContent,
    folder: Path,
    rows: pl.DataFrame,
    run: Mapping[str, object],
    formats: tuple[str, ...],
    methods: str = "",
    population: str = "",
) -> None:
    """`report.md`, `report.tex` and `report.json`, those of them that are asked for; `methods` stands at their end.

    `population` names the items that the numbers are about, under the tables of a paper.
    """
    end = "\n\\end{document}\n"
    section = f"\n\\subsection*{{Methods}}\n\n{escaped(methods)}\n" if methods else ""
    writers: dict[str, Callable[[], str]] = {
        "md": lambda: markdown(content) + (f"\n## Methods\n\n{_plain(methods)}\n" if methods else ""),
        "tex": lambda: latex(content, population).removesuffix(end) + section + end,
        "json": lambda: machine(content, rows, run),
    }
    for name, writer in writers.items():
        if name in formats:
            (folder / f"report.{name}").write_text(writer(), encoding="utf-8")


def _failed(content: PageContent) -> list[str]:
    return [f"Not reliable: the diagnostic {c.name} failed. {sentence(c.meaning)}" for c in content.failed]


def _plain(text: str) -> str:
    """Text that Markdown does not read as markup."""
    return "".join(f"\\{c}" if c in "\\`*_<>[]#|" else c for c in " ".join(text.split()))


def _cell(text: str | None) -> str:
    return _plain(text or "") or " "


def known(letter: str) -> bool:
    """Can LaTeX's fonts write this letter, or do we say how?"""
    return ord(letter) < 0x180 or f"{ord(letter):04X}" in SYMBOLS or letter in "“”‘’–—"


def escaped(text: str) -> str:
    """Text that LaTeX reads as text; letters that its fonts lack become question marks."""
    marks = {
        "\\": "\\textbackslash{}",
        "~": "\\textasciitilde{}",
        "^": "\\textasciicircum{}",
        "<": "\\textless{}",
        ">": "\\textgreater{}",
        "|": "\\textbar{}",
    }
    told = "".join(marks.get(c, f"\\{c}" if c in "&%$#_{}" else c if known(c) else "?") for c in text)
    return typed(told)


def typed(text: str) -> str:
    """What is to be typed, between backticks, in a typewriter's letters; two hyphens stay two."""
    return re.sub(r"`([^`]*)`", r"\\texttt{\1}", text.replace("--", "-{}-"))
