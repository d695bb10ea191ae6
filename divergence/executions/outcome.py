"""What kind of number the outcome is, and how that is known.

| kind | values | likelihood it leads to |
|---|---|---|
| binary | 0 or 1, one trial a row | Bernoulli |
| proportion | fractions of a known number of trials (`score_n`) | binomial |
| fraction | 0 to 1, trials unknown | bounded, continuous |
| ordinal | one of the declared grades (`grades`) | its expected grade, and each P(at least a grade) |
| positive | above 0: seconds, dollars, counts | Gaussian on the log scale |

Grades are read as their place among the declared ones and divided by that of the best: 0 to 1. They are never inferred:
0, 1, 2, 3 may as well be a count.
"""

from __future__ import annotations

import polars as pl

from divergence.configuration import Configuration
from divergence.errors import InputError
from divergence.executions.profile import OutcomeCount
from divergence.executions.schema import COLUMNS, LARGEST, SMALLEST
from divergence.outcome_names import HIGHER, direction


def infer_kind(configuration: Configuration, counts: OutcomeCount) -> tuple[str, str]:
    """Kind of the outcome, and a sentence how it is known. Raises InputError where values contradict a declared one, and
    where it is not known whether more of it is better."""
    kind, reason = _kind(configuration, counts)
    more = "more" if direction(configuration.outcome, kind, configuration) == HIGHER else "less"
    return kind, reason or (
        f"{configuration.outcome} is a positive quantity, of which {more} is better: {counts.positive} of {counts.values} "
        "values lie above 0."
    )


def _kind(configuration: Configuration, counts: OutcomeCount) -> tuple[str, str]:
    """The kind, and how it is known; '' of a positive quantity, whose sentence names what is better."""
    name, declared, grades = configuration.outcome, configuration.kind, configuration.grades
    if grades or declared == "ordinal":
        _not_graded(name, declared, grades, counts)
        return "ordinal", f"{name} is ordinal: {counts.values} values are one of the grades {', '.join(grades)}."
    if declared is not None:
        _contradiction(name, declared, counts)
        return declared, f"{name} is {declared}: said in the configuration."
    bounded = counts.zero_or_one + counts.between == counts.values
    if (name in COLUMNS and name not in ("score", "predicted")) or not bounded:
        return "positive", ""
    if name == "score" and counts.several_trials and not counts.without_trials:
        return "proportion", f"{name} is a proportion: {counts.several_trials} values come with their number of trials."
    if counts.between:
        between = counts.without_trials if name == "score" else counts.between
        return "fraction", (
            f"{name} is a fraction: {between} of {counts.values} values lie between 0 and 1 without a number of trials "
            "(`score_n`)."
        )
    return "binary", f"{name} is binary: all {counts.values} values are 0 or 1."


def _not_graded(name: str, declared: str | None, grades: tuple[str, ...], counts: OutcomeCount) -> None:
    if declared not in (None, "ordinal"):
        raise InputError(
            f"The outcome {name} is said to be {declared}, and to have the grades {', '.join(grades)}: an "
            "outcome with grades is ordinal."
        )
    if len(grades) < 2:
        raise InputError(
            f"The outcome {name} is said to be ordinal, but not which grades it has: say grades = 5 for 0 "
            "to 4, or their list from the worst to the best."
        )
    if counts.several_trials:
        raise InputError(
            f"{counts.several_trials} rows give {name} over several trials (`score_n`): a mean of grades is no "
            "grade; leave grades out to read it as a proportion."
        )


def usable_values(kind: str, counts: OutcomeCount) -> int:
    """How many values of the outcome can be used."""
    if kind == "ordinal":
        return counts.values
    return counts.positive if kind == "positive" else counts.zero_or_one + counts.between


def without_place(name: str, kind: str, counts: OutcomeCount) -> str:
    """A sentence on values that have no place on the scale of a positive outcome; '' where all have one."""
    if kind != "positive" or not counts.zero + counts.negative:
        return ""
    money = name in COLUMNS and COLUMNS[name].unit == "USD"
    told = [f"{counts.zero:,} values of 0"] if counts.zero else []
    told += [f"{counts.negative:,} refunds" if money else f"{counts.negative:,} values below 0"] if counts.negative else []
    return (
        f"Of {name} {' and '.join(told)} have no place on a log scale: levels are of the {counts.positive:,} positive "
        "ones, and lie above the mean of all."
    )


def _contradiction(name: str, declared: str, counts: OutcomeCount) -> None:
    wrong = {
        "binary": (counts.values - counts.zero_or_one, "are neither 0 nor 1"),
        "proportion": (counts.without_trials, "are fractions without their number of trials (`score_n`)"),
        "fraction": (counts.values - counts.zero_or_one - counts.between, "lie outside 0 to 1"),
        "positive": (0, ""),
    }
    number, what = wrong[declared]
    if declared == "proportion" and name != "score":
        raise InputError(f"Only score can be a proportion (score_n counts its trials), seen {name}: map it to score.")
    if number:
        raise InputError(
            f"The outcome {name} is said to be {declared}, but {number} of its {counts.values} values {what}: "
            "say another kind, or leave kind out to have it inferred."
        )


def usable(name: str, kind: str, grades: int = 0) -> pl.Expr:
    """The outcome where it can be used, null elsewhere (not judged, not finite, or outside the range of its kind).

    Of `grades` grades the place is divided by that of the best.
    """
    value = pl.col(name) / (grades - 1) if kind == "ordinal" else pl.col(name)
    inside = value.is_between(SMALLEST, LARGEST) if kind == "positive" else value.is_between(0, 1)
    return pl.when(value.is_finite() & inside).then(value)
