"""The embedded data with its declared requirements: every question is answered or refused, the page opens with a choice."""

import html
import pathlib
import re

import numpy as np
import polars as pl

from divergence import behaviour
from divergence.estimands import QUESTIONS


def test_every_question_has_a_row_or_a_refusal_with_its_reason(results):
    _, table = results
    assert set(table["question"]) == {question.name for question in QUESTIONS} | {*behaviour.WORDS, "load_curve"}
    refused = table.filter(~pl.col("identified"))
    assert refused["reason"].null_count() == 0 and (refused["reason"].str.len_chars() > 10).all()
    assert table.filter(pl.col("identified") & pl.col("median").is_null() & pl.col("upper").is_null()).height == 0


def test_the_page_opens_with_the_decision(results):
    page = (results[0] / "report.html").read_text()
    assert re.search(
        r"<h1>Choose [\w-]+ in (?:flash|second-engine|second-engine-large); it meets all five requirements", page
    )
    for label in ("How sure", "What would change it", "What to measure next", "Chance to meet everything"):
        assert label in page
    assert "“half of the traffic under load”" in page and "declared prices of 2026-11-24, in USD" in page
    outside = page[: page.index("<script")] + page[page.rindex("</script>") :]
    assert not re.search(r"(?:src|href)=\"(?!#)", outside), "the page asks for nothing"


def test_what_the_readme_quotes_stands_on_the_page(results):
    """Word for word, and number for number within .8 points: rounding differs between kinds of processors, and with it which
    2,000 draws are kept. A median of a standard deviation of 3 points lies within .12 of its law's, a limit within .2 (one
    standard error each); four of these. Where the law changes, the quotation changes."""
    readme = (pathlib.Path(__file__).parents[2] / "README.md").read_text()
    lines = re.search(r"It begins like this:\n\n((?:> .*\n)+)", readme).group(1).replace("\n> ", " ").removeprefix("> ")
    quoted = re.split(r"(?<=\.)\s+|\*+[^*]+:\*+ ", lines.replace("**", "").strip())
    page = (results[0] / "report.html").read_text()
    said = html.unescape(" ".join(re.sub(r"<[^>]+>", " ", page[: page.rindex("<footer")]).split()))
    assert len([one for one in quoted if one.strip()]) == 4
    number = re.compile(r"(?<![\w-])\d+(?:\.\d+)?")
    for one in filter(None, map(str.strip, quoted)):
        pattern = number.sub(lambda _: r"(\d+(?:\.\d+)?)", re.escape(one).replace(r"\.", "."))
        found = re.search(pattern, said)
        assert found, f"the page does not say: {one}"
        told = [float(x) for x in number.findall(one)]
        assert np.abs(np.array([float(x) for x in found.groups()]) - told).max() <= 0.8, (one, found.group())


def test_what_is_known_of_the_data_is_in_the_decision(results):
    """Under load the p95 is seconds, the chat template flips answers, and the weakest weights are below the level."""
    table = results[1].filter((pl.col("question") == "coherence") & pl.col("context").is_not_null())
    meets = {
        (m, c): p for m, c, p in table.filter(pl.col("statistic").is_null()).select("model", "context", "mean").iter_rows()
    }
    assert len(meets) == 72
    assert max(p for (_, c), p in meets.items() if c in ("load", "chatml", "cut")) < 0.05
    assert max(p for (m, _), p in meets.items() if m == "gemma3-270m-q4_0") < 0.05
    assert meets["smollm2-135m-q4_1", "second-engine-large"] < 0.01  # the broken kernel
    assert max(meets, key=meets.get)[1] in ("flash", "second-engine", "second-engine-large")
