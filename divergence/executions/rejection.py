"""When so many rows are rejected that the log is more likely misread than dirty: then nothing is answered from the rest.

The share is judged over the whole log. What was set aside by its value is judged within each regime too, since a thousand
good rows of a bench say nothing about forty of production that are on another scale.
"""

from __future__ import annotations

import polars as pl

from divergence.errors import InputError
from divergence.executions.names import BROKEN
from divergence.executions.profile import Profile
from divergence.executions.rules import COPIES, Rule, rejected_rows
from divergence.executions.schema import REGIMES

BY_VALUE = ("score_in_range", "score_type")
"""Rules that a value on another scale breaks."""
SEVERAL = 5  # rows of one regime: fewer odd values than a handful do not make it misread


def refuse_rejected(checked: pl.LazyFrame, seen: Profile, rules: tuple[Rule, ...], accepted: float) -> None:
    """Raise InputError where more than the fraction `accepted` of the rows, of all or of one regime, is rejected."""
    broken = {name: count for name, count in seen.broken.items() if name != COPIES}
    once = [place for place, rule in enumerate(rules) if rule.name == COPIES]
    bad = checked.filter(~pl.col(BROKEN).is_in(once))
    _refuse(bad, rules, broken, seen.rows - seen.broken.get(COPIES, 0), accepted, "")
    places = [place for place, rule in enumerate(rules) if rule.name in BY_VALUE and rule.name in seen.broken]
    if not places:
        return
    broken = checked.filter(pl.col(BROKEN).is_in(places) & pl.col("regime").is_in(list(REGIMES)))
    counts = broken.group_by("regime", BROKEN).len().collect(engine="streaming").sort("regime", BROKEN)
    for (regime,), mine in counts.group_by("regime", maintain_order=True):
        by_rule = {rules[place].name: count for _, place, count in mine.iter_rows()}
        rows = seen.regimes[str(regime)] + sum(by_rule.values())
        if sum(by_rule.values()) >= SEVERAL:
            _refuse(broken.filter(pl.col("regime") == regime), rules, by_rule, rows, accepted, f"{regime} ")


def _refuse(
    checked: pl.LazyFrame, rules: tuple[Rule, ...], broken: dict[str, int], rows: int, accepted: float, regime: str
) -> None:
    rejected = sum(broken.values())
    if not rejected or (rejected <= accepted * rows and (rejected < rows or regime)):
        return
    counts = ", ".join(f"{number} by {name}" for name, number in broken.items())
    first = rejected_rows(checked.filter(pl.col(BROKEN).is_not_null()).head(1), rules).row(0, named=True)
    advice = ", or accept them with --accept-rejected FRACTION"
    if rejected == rows and not regime:
        advice = ": no valid row is left"
    if first["rule"] in BY_VALUE:
        advice += (
            f". Is {str(first['value'])[:12]} of another scale? [values] score = {{ scale = [1, 5] }} in divergence.toml"
        )
    raise InputError(
        f"{rejected} of {rows} {regime}rows are rejected ({rejected / rows:.1%}, accepted are {accepted:.1%}): "
        f"{counts}; for example row {first['row']} of {first['file']}: {first['sentence']}. Correct them{advice}."
    )
