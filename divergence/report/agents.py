"""The sections on agents and on cost, and the line that tells a moved habit from a moved ability."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import polars as pl

from divergence.estimate import Estimate
from divergence.report import tables
from divergence.report.blocks import Block, Figure, Listing, Table, Text
from divergence.report.content import PageContent
from divergence.report.figures import costs, curves, ledger, repeats, survival
from divergence.report.names import spoken
from divergence.report.words import capital, join, number, phrase, plural

MOST = 6  # lines of a list
AGENTS = ("pass_power", "collapse_hazard", "horizon")
COST = ("cost_per_success", "cost_ledger")


def answered(content: PageContent, *questions: str) -> bool:
    """Does the log answer any of them?"""
    return any(content.answer(question) is not None for question in questions)


def _figure(name: str, module: ModuleType, estimate: Estimate, note: str = "") -> Figure:
    numbers = tables.fragment(tables.answers(estimate))
    return Figure(name, module.chart(estimate), module.sentence(estimate), note, numbers, tables.caption(estimate))


def _refused(content: PageContent, question: str) -> Text:
    return Text(content.reason(question), "refusal", f"{content.words(question)}:")


def agents(content: PageContent) -> tuple[Block, ...]:
    """Success k times in a row, where episodes break down, how long a task is still solved."""
    blocks: list[Block] = []
    for question, name, module in (("pass_power", "repeats", repeats), ("collapse_hazard", "survival", survival)):
        estimate = content.answer(question)
        if estimate is None:
            blocks.append(_refused(content, question))
        elif module.rows(estimate).height:
            blocks.append(_figure(name, module, estimate, curves.beside(module.rows(estimate))))
        else:
            blocks.append(Table(tables.fragment(tables.answers(estimate)), opened_by=content.words(question)))
    lines = (*_single_turns(content.answer("pass_power")), *_horizons(content.answer("horizon")))
    if lines:
        blocks.append(Listing(lines))
    if content.answer("horizon") is None:
        blocks.append(_refused(content, "horizon"))
    return tuple(blocks)


def cost(content: PageContent) -> tuple[Block, ...]:
    """What a success takes, and what made it dearer."""
    spent, parts = content.answer("cost_per_success"), content.answer("cost_ledger")
    blocks: list[Block] = []
    if spent is None:
        blocks.append(_refused(content, "cost_per_success"))
    else:
        if costs.rows(spent)[1].height:
            blocks.append(_figure("cost-per-success", costs, spent, costs.beside(spent)))
        else:
            blocks.append(Table(tables.fragment(tables.answers(spent)), opened_by="The numbers"))
        money = spent.where(statistic=None)
        if not money.identified and money.reasons:
            blocks.append(Text(f"{capital(money.reasons[0])}.", "refusal", "In money:"))
    if parts is None:
        blocks.append(_refused(content, "cost_ledger"))
    else:
        blocks.append(_figure("cost-ledger", ledger, parts, ledger.READING))
    return tuple(blocks)


def _single_turns(pass_power: Estimate | None) -> tuple[tuple[str, str], ...]:
    """Who is better in single turns than in the loop, and by how much."""

    def told(row: dict, names: dict[str, str]) -> str:
        verdict = (
            "it passes the single turn and fails the loop"
            if row["lower"] > 0
            else ("it does better in the loop" if row["upper"] < 0 else "whether it does as well in the loop is not settled")
        )
        return f"{names[row['model']]} {phrase(row, signed=True)}, {verdict}"

    return _lines(pass_power, "single_turn_gap", "Single turns minus episodes of several steps", told)


def _horizons(horizon: Estimate | None) -> tuple[tuple[str, str], ...]:
    """The length that is solved half of the time, by model and context."""
    return _lines(
        horizon,
        None,
        "Declared length at which half of the tasks are solved",
        lambda row, names: f"{curves.place(row, names)}: {phrase(row | {'unit': ''}).strip()}",
    )


def _lines(
    estimate: Estimate | None, statistic: str | None, title: str, told: Callable[[dict, dict[str, str]], str]
) -> tuple[tuple[str, str], ...]:
    """The identified rows of a statistic as one line of a listing."""
    if estimate is None:
        return ()
    frame = estimate.where(statistic=statistic).to_frame().filter(pl.col("identified") & pl.col("median").is_not_null())
    if not frame.height:
        return ()
    names = curves.spoken_places(frame)
    return ((title, join([told(row, names) for row in frame.head(MOST + 1).iter_rows(named=True)], MOST) + "."),)


def answer_bias(context_effect: Estimate) -> tuple[Block, ...]:
    """Where answers moved and ability is not shown to have: tasks with two right answers, clearest first."""
    frame = context_effect.to_frame()
    keys = ["model", "context", "task"]
    bias = frame.filter((pl.col("statistic") == "bias") & pl.col("identified"))
    if not bias.height:
        return ()
    moved = bias.filter((pl.col("lower") > 0) | (pl.col("upper") < 0)).sort(pl.col("median").abs(), descending=True)
    ability = {tuple(row[k] for k in keys): row for row in frame.filter(statistic="competence").iter_rows(named=True)}
    share = {tuple(row[k] for k in keys): row for row in frame.filter(statistic="one_way").iter_rows(named=True)}
    names = spoken(bias["model"].drop_nulls()) | spoken(bias["context"].drop_nulls())
    told = []
    for row in moved.iter_rows(named=True):
        place = tuple(row[k] for k in keys)
        competence = ability.get(place)
        if competence is not None and competence["identified"] and not competence["lower"] <= 0 <= competence["upper"]:
            continue
        way = "less" if row["median"] > 0 else "more"
        text = f"{curves.place(row, names)}{' on ' + row['task'] if row['task'] else ''} says {row['level']} {way} often"
        if place in share and share[place]["identified"]:
            text += f" ({phrase(share[place] | {'unit': 'probability'})} of the changed answers changed the same way)"
        told.append(text)
    if not told:
        return (
            Text(
                f"not shown to be all that moved in any of {plural(bias.height, 'comparison')} with the bench.",
                label="Answer bias:",
            ),
        )
    lead = f"moved, and competence is not shown to have, in {number(len(told))} of {plural(bias.height, 'comparison')}"
    return (Text(f"{lead} with the bench: {join(told, 3)}.", "notice", "Answer bias:"),)
