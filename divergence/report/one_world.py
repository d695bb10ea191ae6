"""The first screen of a log of one regime: what it can say comes first, and what it cannot say after it."""

from __future__ import annotations

import numpy as np
import polars as pl

from divergence.estimate import Estimate
from divergence.orders import SURE, first
from divergence.report.content import PageContent
from divergence.report.names import spoken
from divergence.report.reading import higher_is_better, identified, reorder
from divergence.report.words import amount, chance, join, of_them, phrase, plural, sentence, verb

SHOWN = 3  # levels named in the sentence that stands for an order
CLEAR = 0.05  # p below which contexts are said to differ, divided by the models that were tested (Bonferroni)


def one_world(content: PageContent) -> tuple[str, tuple[str, ...]] | None:
    """Headline and sentences from the levels of the one regime that the log has; None where it has none."""
    sides = {"on the bench": content.answer("bench_level"), "in deployment": content.answer("deployed_level")}
    known = {where: answer for where, answer in sides.items() if answer is not None}
    if len(known) != 1:
        return None
    ((where, answer),) = known.items()
    frame, draws = identified(answer, "model")
    missing = next(q for q in ("bench_level", "deployed_level") if content.answer(q) is None)
    rest = f"How the bench carries over to deployment is not in this log: {_small(content.reason(missing))}"
    if not frame.height:
        return "No mean over the tasks of this log is given; each task has a level of its own.", (rest,)
    frame, draws = reorder(frame, draws, "median", descending=higher_is_better(answer))
    names = spoken(frame["model"].to_list())
    rows = frame.to_dicts()
    best = names[rows[0]["model"]]
    if frame.height == 1:
        headline = f"{best} reaches {phrase(rows[0])} {where}."
        lead: tuple[str, ...] = ()
    elif apart := content.no_order.get("deployment" if answer.question == "deployed_level" else "evaluation"):
        headline = f"Who is first {where} cannot be told."
        lead = (sentence(apart), without_order(rows, names, where))
    else:
        headline, lead = _leader(answer, rows, draws, names, where)
    return headline, (*lead, *_contexts(content, names), rest)


def without_order(rows: list[dict], names: dict[str, str], where: str) -> str:
    """The levels of models that have no order, by name."""
    told = [f"{names[row['model']]} {phrase(row)}" for row in sorted(rows, key=lambda row: names[row["model"]])]
    return f"Each by itself {where}: {join(told, SHOWN)}."


def _leader(
    answer: Estimate, rows: list[dict], draws: np.ndarray, names: dict[str, str], where: str
) -> tuple[str, tuple[str, ...]]:
    """Who is first, and how sure the order of neighbours is: pairs are compared draw by draw."""
    found = first(draws, higher_is_better(answer))
    shown = [names[row["model"]] for row in rows]
    place = found.told(shown, f"first {where}")
    headline = f"{place}: {phrase(rows[found.at])}." if found.settled else f"Who is first {where} is not settled: {place}."
    best, second = shown[:2]
    sign = 1.0 if higher_is_better(answer) else -1.0
    above = ((sign * (draws[:, :-1] - draws[:, 1:])) > 0).mean(0)
    sure = int((np.maximum(above, 1 - above) >= SURE).sum())
    pairs = f"{best} lies above {second} with {chance(above[0])}"
    if len(above) > 1:
        settled = f"{of_them(sure)} {verb(max(sure, 1), 'is', 'are')} settled ({SURE:.0%})"
        pairs += f"; of {plural(len(above), 'pair')} of neighbours {settled}"
    return headline, (f"{pairs}.",)


def _contexts(content: PageContent, names: dict[str, str]) -> tuple[str, ...]:
    """Whether the contexts differ at all, by the test of each model."""
    answer = content.answer("context_effect")
    if answer is None:
        return ()
    frame = answer.to_frame()
    tests = frame.filter(pl.col("statistic") == "heterogeneity_p").sort("mean")
    if not tests.height:
        return ()
    told = [row for row in tests.iter_rows(named=True) if row["mean"] < CLEAR / tests.height]
    row = tests.row(0, named=True)
    size, df = (_value(frame, row, name) for name in ("heterogeneity", "heterogeneity_df"))
    test = f"chi-square {size:.1f} with {plural(round(df), 'degree')} of freedom, {_p(row['mean'])}"
    if tests.height > 1:
        example = "for example" if told else "most for"
        return (
            f"Contexts differ beyond chance for {of_them(len(told))} of {plural(tests.height, 'model')}; {example} "
            f"{names.get(row['model'], row['model'])} ({test}).",
        )
    if not told:
        together = f"Tested together at {CLEAR:.0%}, its {plural(round(df) + 1, 'context')}"
        return (f"{together} cannot be told apart ({test}).",)  # an interval of 90% for a pair may exclude 0 all the same
    without = frame.filter((pl.col("statistic") == "heterogeneity_p_without") & (pl.col("model") == row["model"]))
    rest = ""
    if without.height:
        other = without.row(0, named=True)
        verdict = "still do" if other["mean"] < CLEAR else "cannot be told apart"
        rest = f" Without {other['context']} the others {verdict} ({_p(other['mean'])})."
    return (f"Its {plural(round(df) + 1, 'context')} differ beyond chance ({test}).{rest}",)


def _value(frame: pl.DataFrame, row: dict, statistic: str) -> float:
    mine = (pl.col("statistic") == statistic) & (pl.col("model") == row["model"]) & (pl.col("regime") == row["regime"])
    return float(frame.filter(mine)["mean"][0])


def _p(value: float) -> str:
    return "p below .001" if value < 0.001 else f"p = {amount(value, 'ratio', value)}"


def _small(text: str) -> str:
    return text[0].lower() + text[1:]
