"""When so many rows are rejected that the log is more likely misread than dirty: then nothing is answered from the rest.

The share is judged over the whole log. What was set aside by its value is judged within each regime too, since a thousand
good rows of a bench say nothing about forty of production that are on another scale.
"""

from __future__ import annotations

import polars as pl

from divergence.errors import InputError
from divergence.executions.guess import meant_scale
from divergence.executions.names import BROKEN
from divergence.executions.profile import Profile
from divergence.executions.rules import COPIES, Rule, rejected_rows
from divergence.executions.schema import REGIMES

BY_VALUE = ("score_in_range", "score_type")
"""Rules that a value on another scale breaks."""
SEVERAL = 5  # rows of one regime: fewer odd values than a handful do not make it misread


def refuse_rejected(
    checked: pl.LazyFrame, seen: Profile, rules: tuple[Rule, ...], accepted: float, scaled: bool = False
) -> None:
    """Raise InputError where more than the fraction `accepted` of the rows, of all or of one regime, is rejected.

    `scaled`: has the outcome a declared scale? Then values outside 0 to 1 do not ask for one.
    """
    broken = {name: count for name, count in seen.broken.items() if name != COPIES}
    once = [place for place, rule in enumerate(rules) if rule.name == COPIES]
    bad = checked.filter(~pl.col(BROKEN).is_in(once).fill_null(False))
    _refuse(bad, rules, broken, seen.rows - seen.broken.get(COPIES, 0), accepted, "", scaled)
    places = [place for place, rule in enumerate(rules) if rule.name in BY_VALUE and rule.name in seen.broken]
    if not places:
        return
    broken = checked.filter(pl.col(BROKEN).is_in(places) & pl.col("regime").is_in(list(REGIMES)))
    counts = broken.group_by("regime", BROKEN).len().collect(engine="streaming").sort("regime", BROKEN)
    for (regime,), mine in counts.group_by("regime", maintain_order=True):
        by_rule = {rules[place].name: count for _, place, count in mine.iter_rows()}
        rows = seen.regimes[str(regime)] + sum(by_rule.values())
        if sum(by_rule.values()) >= SEVERAL:
            _refuse(bad.filter(pl.col("regime") == regime), rules, by_rule, rows, accepted, f"{regime} ", scaled)


def _refuse(
    checked: pl.LazyFrame,
    rules: tuple[Rule, ...],
    broken: dict[str, int],
    rows: int,
    accepted: float,
    regime: str,
    scaled: bool,
) -> None:
    rejected = sum(broken.values())
    if not rejected or (rejected <= accepted * rows and (rejected < rows or regime)):
        return
    counts = ", ".join(f"{number} by {name}" for name, number in broken.items())
    named = [place for place, rule in enumerate(rules) if rule.name in broken]
    first = rejected_rows(checked.filter(pl.col(BROKEN).is_in(named)).head(1), rules).row(0, named=True)
    advice = "Correct them, or accept them with --accept-rejected FRACTION"
    if rejected == rows and not regime:
        advice = "Correct them: no valid row is left"
    if first["rule"] in BY_VALUE:  # short, since what is too long for one line of a terminal is cut in its middle
        left = "Correct them: no valid row is left. " if rejected == rows and not regime else ""
        advice = left + _meaning(str(first["value"])[:12], checked, scaled)
    raise InputError(
        f"{rejected} of {rows} {regime}rows are rejected ({rejected / rows:.1%}, accepted are {accepted:.1%}): "
        f"{counts}; for example row {first['row']} of {first['file']}: {first['sentence']}. {advice}."
    )


def _meaning(value: str, checked: pl.LazyFrame, scaled: bool) -> str:
    """The line that says what these scores mean: the usual scale that holds the least and the greatest number."""
    if scaled:
        return f"The declared [values] score has no place for {value}: say what it means, or another scale"
    score = pl.col("score").filter(pl.col("score").is_finite())
    least, most = checked.select(score.min(), score.max().alias("most")).collect(engine="streaming").row(0)
    if least is None or (least >= 0 and most <= 1):
        return f"What does {value} mean? [values] score = {{ good = 1, bad = 0 }} in divergence.toml says such a thing"
    low, high = meant_scale(least, most)
    return f"Is {value} of another scale? [values] score = {{ scale = [{low:g}, {high:g}] }} in divergence.toml"
