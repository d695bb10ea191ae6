"""The rules that a row must keep, as data: name, the column it looks at, a sentence, a Polars expression.

A row that breaks a rule is set aside with the first rule that it breaks, its file and its row number; it is never
dropped silently and never repaired.

Why the rules are expressions of our own and not a `dataframely.Schema.filter`: that call keeps the good rows lazy, but
its failure counts exist only after all failing rows, with all their columns, have been collected. Here one streaming
pass counts the broken rules together with everything else that is asked about the log, so a file larger than memory
whose every row is wrong is refused with its counts. The tests hold the rules to the verdict of such a schema.
"""

from __future__ import annotations

import dataclasses

import polars as pl

from divergence.executions.names import BROKEN, COPY, DUPLICATE, FAILED, GIVEN_REGIME
from divergence.executions.quoted import quoted_text
from divergence.executions.schema import COLUMNS, MOST_TRIALS, REGIMES, SMALLEST_CHANCE

NEEDED = ("regime", "model", "item", "score", "score_n", "execution_id", "probability")
"""Columns whose bad values reject the row; a bad value in any other column makes that column unusable."""


@dataclasses.dataclass(frozen=True)
class Rule:
    """One rule about one row."""

    name: str
    """Its name, as in `rejected.parquet`."""
    column: str
    """The column whose value breaks it."""
    sentence: str
    """What is wrong with a row that breaks it."""
    holds: pl.Expr
    """True (or null) where the row keeps it."""
    table: bool = True
    """Can it be judged from the canonical table alone (else it is about how the file was read)?"""


def _readable(name: str, what: str) -> Rule:
    sentence = f"{name} is not {what}"
    return Rule(f"{name}_type", name, sentence, pl.col(FAILED + name).is_null(), table=False)


_regime, _score, _chance = pl.col("regime"), pl.col("score"), pl.col("probability")

COPIES = "row_once"
"""The rule that a copy breaks. Copies are no bad values: they do not count when it is asked whether a log was misread."""
ROW_RULES = (
    Rule(COPIES, "item", "an earlier row is equal to it in every column", ~pl.col(COPY), table=False),
    Rule("record_readable", "record", "the line is not a JSON record", pl.col(FAILED + "record").is_null(), table=False),
    Rule(
        "regime_known",
        "regime",
        "regime is neither evaluation nor deployment",
        _regime.is_in(list(REGIMES)).fill_null(False),
    ),
    Rule(
        "regime_agrees",
        "regime",
        "the row's own regime is not the one that was given for its file",
        (_regime == pl.col(GIVEN_REGIME)).fill_null(True),
        table=False,
    ),
    _readable("model", "a text"),
    Rule("model_given", "model", "model is missing", pl.col("model").is_not_null()),
    _readable("item", "a text"),
    Rule("item_given", "item", "an evaluation row needs an item", (_regime != "evaluation") | pl.col("item").is_not_null()),
    _readable("score_n", "a whole number"),
    Rule("score_n_positive", "score_n", "score_n is below 1", pl.col("score_n") >= 1),
    Rule("score_n_possible", "score_n", f"score_n is above {MOST_TRIALS:.0e}", pl.col("score_n") <= MOST_TRIALS),
    _readable("probability", "a number"),
    Rule("probability_in_range", "probability", "probability is not above 0 and at most 1", (_chance > 0) & (_chance <= 1)),
    Rule("probability_possible", "probability", f"probability is below {SMALLEST_CHANCE}", _chance >= SMALLEST_CHANCE),
    _readable("execution_id", "a text"),
    Rule("execution_id_unique", "execution_id", "an earlier row has the same execution_id", ~pl.col(DUPLICATE), table=False),
)
SCORE_RULES = (
    _readable("score", "a number"),
    Rule("score_finite", "score", "score is NaN or infinite", _score.is_finite()),
    Rule("score_in_range", "score", "score lies outside 0 to 1 (is it a grade? then say grades)", _score.is_between(0, 1)),
)


def row_rules(outcome: str, grades: tuple[str, ...] = ()) -> tuple[Rule, ...]:
    """The rules in the order in which they are asked; those about `score` only where it is the outcome.

    A score with `grades` is one of them and nothing else; an outcome that is a duration is none below 0.
    """
    if outcome in COLUMNS and COLUMNS[outcome].unit == "s":
        return (*ROW_RULES, Rule(f"{outcome}_not_negative", outcome, f"{outcome} is below 0", pl.col(outcome) >= 0))
    if outcome == "score" and grades:
        return (*ROW_RULES, _readable("score", f"one of the grades {', '.join(grades)}"))
    return ROW_RULES + SCORE_RULES if outcome == "score" else ROW_RULES


def with_broken(frame: pl.LazyFrame, rules: tuple[Rule, ...]) -> pl.LazyFrame:
    """The frame with the column `BROKEN`: the place in `rules` of the first one that a row breaks, null for none."""
    broken = pl.lit(None, pl.UInt8)
    for place in reversed(range(len(rules))):
        breaks = ~rules[place].holds.fill_null(True)
        broken = pl.when(breaks).then(pl.lit(place, pl.UInt8)).otherwise(broken)
    return frame.with_columns(broken.alias(BROKEN))


def rejected_rows(frame: pl.LazyFrame, rules: tuple[Rule, ...]) -> pl.DataFrame:
    """The rows set aside: file, row, rule, sentence, value (as far as `quoted` says it). `frame` is of `with_broken`."""
    names, sentences, value = {}, {}, pl.lit(None, pl.String)
    for place, rule in enumerate(rules):
        names[place], sentences[place] = rule.name, rule.sentence
        shown = pl.col(FAILED + rule.column)
        if rule.column in COLUMNS:
            shown = pl.coalesce(shown, pl.col(rule.column).cast(pl.String))
        value = pl.when(pl.col(BROKEN) == place).then(shown).otherwise(value)
    return (
        frame.filter(pl.col(BROKEN).is_not_null())
        .select(
            "file",
            "row",
            pl.col(BROKEN).replace_strict(names, return_dtype=pl.String).alias("rule"),
            pl.col(BROKEN).replace_strict(sentences, return_dtype=pl.String).alias("sentence"),
            quoted_text(value).alias("value"),
        )
        .collect(engine="streaming")
    )
