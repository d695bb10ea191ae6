"""When so many rows are rejected that the log is more likely misread than dirty: then nothing is answered from the rest.

The share is judged over the whole log. What was set aside by its value is judged within each regime and each model too,
since a thousand good rows of a bench say nothing about forty of production that are on another scale, and a model whose
failures are all set aside is left with its successes. Where all values that were kept are one and the same, those set aside
were the other answers: 963 stars of 1 beside 37 of 5 are no successes.
"""

from __future__ import annotations

import polars as pl

from divergence.errors import InputError
from divergence.executions.guess import example_meaning, meant_scale
from divergence.executions.names import BROKEN, FAILED
from divergence.executions.profile import Profile
from divergence.executions.quoted import quoted_text
from divergence.executions.rules import COPIES, Rule, rejected_rows
from divergence.executions.schema import REGIMES

BY_VALUE = ("score_in_range", "score_type")
"""Rules that a value on another scale breaks."""
ACCEPT_REJECTED = 0.05  # share of rejected rows above which a log is more likely misread than dirty
CHANCE_MAX = 0.05  # that any of a log's models would lose so many rows were all alike
SEVERAL = 5  # rows of one regime: fewer odd values than a handful do not make it misread


def refuse_rejected(
    checked: pl.LazyFrame, seen: Profile, rules: tuple[Rule, ...], accepted: float, scaled: bool = False
) -> tuple[str, ...]:
    """Sentences on models that lost more of their rows by value than others. Raises InputError where more than the fraction
    `accepted` of the rows, of all or of one regime or model, is rejected.

    `scaled`: has the outcome a declared scale? Then values outside 0 to 1 do not ask for one.
    """
    broken = {name: count for name, count in seen.broken.items() if name != COPIES}
    once = [place for place, rule in enumerate(rules) if rule.name == COPIES]
    bad = checked.filter(~pl.col(BROKEN).is_in(once).fill_null(False))
    _refuse(bad, rules, broken, seen.rows - seen.broken.get(COPIES, 0), accepted, ("", "", ""), scaled)
    places = [place for place, rule in enumerate(rules) if rule.name in BY_VALUE and rule.name in seen.broken]
    if not places:
        return ()
    counts = _by_value(checked, rules, places)
    for regime in counts["regime"].unique().sort():
        here = counts.filter(pl.col("regime") == regime)
        for model in (None, *(here["model"] if here.height > 1 else ())):
            mine = here if model is None else here.filter(pl.col("model") == model)
            by_rule = {rules[p].name: int(mine[f"{p}"].sum()) for p in places if mine[f"{p}"].sum()}
            gone, rows = sum(by_rule.values()), int(mine["kept"].sum()) + sum(by_rule.values())
            if gone < SEVERAL:
                continue
            rest = bad.filter(pl.col("regime") == regime, True if model is None else pl.col("model") == model)
            of = f" of {model}" if model is not None else ""
            least, most = mine["least"].min(), mine["most"].max()
            alone = least is not None and least == most and not scaled
            if alone and by_rule.get("score_in_range") and accepted <= ACCEPT_REJECTED:
                _refuse(rest, rules, by_rule, rows, 0.0, (f"{regime} ", of, f"; all others are {least:g}"), scaled)
            if model is None or here.height * at_least(gone, rows, accepted) < CHANCE_MAX:
                _refuse(rest, rules, by_rule, rows, accepted, (f"{regime} ", of, ""), scaled)
    return _unlike_losses(counts, places)


def _by_value(checked: pl.LazyFrame, rules: tuple[Rule, ...], places: list[int]) -> pl.DataFrame:
    """By regime and model: rows kept, their least and greatest score, rows set aside by each of these rules."""
    kept, score = pl.col(BROKEN).is_null(), pl.col(rules[places[0]].column)
    known = checked.filter(pl.col("regime").is_in(list(REGIMES)), pl.col("model").is_not_null())
    counts = known.group_by("regime", "model").agg(
        kept=kept.sum(),
        least=score.filter(kept).min(),
        most=score.filter(kept).max(),
        **{f"{place}": (pl.col(BROKEN) == place).sum() for place in places},
    )
    return counts.collect(engine="streaming").sort("regime", "model")


def _unlike_losses(counts: pl.DataFrame, places: list[int]) -> tuple[str, ...]:
    """A sentence on the model that lost more of its rows by their values than the others did, and than chance lets it."""
    gone = counts.select(pl.sum_horizontal(*(f"{p}" for p in places)).alias("gone"))["gone"]
    rows = gone + counts["kept"]
    whole, lost = int(rows.sum()), int(gone.sum())
    worst: tuple[float, int] | None = None
    for k in range(counts.height):
        usual = (lost - gone[k] + 1) / (whole - rows[k] + 2)
        chance = counts.height * at_least(int(gone[k]), int(rows[k]), min(usual, 1.0))
        if gone[k] >= SEVERAL and counts.height > 1 and chance < CHANCE_MAX and (worst is None or chance < worst[0]):
            worst = (chance, k)
    if worst is None:
        return ()
    k = worst[1]
    model, regime = counts["model"][k], counts["regime"][k]
    return (
        f"{gone[k]:,} of the {rows[k]:,} {regime} rows of {model} are set aside by their values, of all other rows "
        f"{(lost - gone[k]) / (whole - rows[k]):.1%}: levels and orders are over the rows that are left.",
    )


def at_least(count: int, rows: int, share: float) -> float:
    """Chance of so many or more of independent rows that each have this share; at_least(2, 2, .5) = .25."""
    from scipy.special import bdtrc

    return float(bdtrc(count - 1, rows, share)) if count > 0 and share < 1 else 1.0


def _refuse(
    checked: pl.LazyFrame,
    rules: tuple[Rule, ...],
    broken: dict[str, int],
    rows: int,
    accepted: float,
    which: tuple[str, str, str],
    scaled: bool,
) -> None:
    """`which`: the regime, the model and what the rest is, in words; empty = all rows."""
    (regime, of, rest), rejected = which, sum(broken.values())
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
    told = f"{rejected / rows:.1%}, accepted are {accepted:.1%}" if not rest else f"{rejected / rows:.1%}{rest}"
    raise InputError(
        f"{rejected} of {rows} {regime}rows{of} are rejected ({told}): "
        f"{counts}; for example row {first['row']} of {first['file']}: {first['sentence']}. {advice}."
    )


def _meaning(value: str, checked: pl.LazyFrame, scaled: bool) -> str:
    """The line that says what these scores mean: the usual scale that holds the least and the greatest number."""
    if scaled:
        return f"The declared [values] score has no place for {value}: say what it means, or another scale"
    score = pl.col("score").filter(pl.col("score").is_finite())
    least, most = checked.select(score.min(), score.max().alias("most")).collect(engine="streaming").row(0)
    if least is None or (least >= 0 and most <= 1):
        texts = checked.select(quoted_text(pl.col(FAILED + "score")).alias("text").drop_nulls().unique(maintain_order=True))
        line = example_meaning(text[:12] for text in texts.head(4).collect(engine="streaming")["text"])
        return f"What does {value} mean? {line} in divergence.toml"
    low, high = meant_scale(least, most)
    return f"Is {value} of another scale? [values] score = {{ scale = [{low:g}, {high:g}] }} in divergence.toml"
