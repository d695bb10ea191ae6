"""Judgements of production calls: which call each belongs to, and which of them is the score.

Tools keep feedback (thumbs, stars, grades, judge models) apart from the calls. What names a call is an outcome of that
call. What names a whole trace is an outcome of the trace's last call, the answer that its user saw. Several metrics stay
apart; one of them is the score only if it is the only one with numbers, or is asked for.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import polars as pl

from divergence.errors import InputError
from divergence.executions.importers import convert
from divergence.executions.importers.mapping import Draft, Outcome


@dataclasses.dataclass(frozen=True)
class Judged:
    """One judgement as the log has it."""

    outcome: Outcome
    """Metric, value, label, and who judged."""
    call: str | None = None
    """Identity of the call that it names, under one of the names that `attach` is given."""
    trace: str | None = None
    """The trace that it names; used where it names no call, or none that is known."""


def number_or_label(value: object) -> tuple[float | None, str | None]:
    """A judgement's value as (number, label): switches are 1 and 0, texts are labels, what is neither is both None."""
    if isinstance(value, bool):
        return float(value), None
    if isinstance(value, int | float):
        return (float(value), None) if abs(value) <= convert.LARGEST_NUMBER else (None, None)
    return None, convert.label(convert.printable(value)) if isinstance(value, str) else None


def without_judgements(primary: str | None, tool: str) -> None:
    """Raises InputError where a score is asked for from a log that holds no judgements."""
    if primary:
        raise InputError(f"{tool} logs no judgements, so that {primary!r} cannot be the score: leave --primary out.")


def attach(
    judged: Sequence[Judged], calls: pl.DataFrame, names: Sequence[str], trace: str, draft: Draft
) -> list[tuple[str, Outcome]]:
    """(execution_id, outcome) of every judgement whose call is in the log; how many others there are is noted.

    `names` are columns of `calls` under which a judgement may name a call, `trace` the one with the trace's name.
    """
    identities: dict[str, str] = {}
    for name in ("execution_id", *names):
        for key, identity in calls.select(pl.col(name).alias("key"), "execution_id").drop_nulls().iter_rows():
            identities.setdefault(key, identity)
    last = calls.sort("time").group_by(trace).agg(pl.col("execution_id").last())
    of_trace = dict(last.drop_nulls().iter_rows())
    found, whole, lost = [], 0, 0
    for judgement in judged:
        call, session = (name if isinstance(name, str) else "" for name in (judgement.call, judgement.trace))
        identity = identities.get(call)
        if identity is None and session in of_trace:
            identity, whole = of_trace[session], whole + 1
        if identity is None:
            lost += 1
        else:
            found.append((identity, _printable(judgement.outcome)))
    if whole:
        draft.note(f"{whole} judgements name a trace and no call: they stand with the last call of that trace.")
    if lost:
        draft.over_calls = True
        draft.note(f"{lost} judgements name no call of this import, and are left out.")
    return found


def _printable(outcome: Outcome) -> Outcome:
    """The judgement with names that a table takes, whatever the log has."""
    scorer = None if outcome.scorer is None else convert.printable(outcome.scorer)
    return dataclasses.replace(outcome, metric=convert.printable(outcome.metric), scorer=scorer)


def named_by(judged: Sequence[Judged], calls: pl.DataFrame, names: Sequence[str], trace: str) -> pl.DataFrame:
    """Of some calls those that a judgement may name, for `attach`, which needs no others."""
    call, whole = (
        pl.lit(pl.Series(list({name for name in asked if isinstance(name, str)}), dtype=pl.String)).implode()
        for asked in ((entry.call for entry in judged), (entry.trace for entry in judged))
    )
    asked = [*(pl.col(name).is_in(call) for name in ("execution_id", *names)), pl.col(trace).is_in(whole)]
    return calls.filter(pl.any_horizontal(asked)).select("execution_id", *names, trace, "time")


def scored(calls: pl.DataFrame, outcomes: Sequence[tuple[str, Outcome]], primary: str | None, draft: Draft) -> pl.DataFrame:
    """The calls with `score` and `scorer`, and all outcomes in the draft. Raises InputError for an unknown `primary`."""
    scores = scores_of(outcomes, primary, draft)
    return calls if scores is None else with_scores(calls, scores)


def scores_of(outcomes: Sequence[tuple[str, Outcome]], primary: str | None, draft: Draft) -> pl.DataFrame | None:
    """`score` and `scorer` of each judged execution, None where no metric is the score; all outcomes go into the draft.

    Raises InputError for an unknown `primary`.
    """
    for identity, outcome in outcomes:
        draft.judge(identity, (outcome,))
    numeric = list(dict.fromkeys(outcome.metric for _, outcome in outcomes if outcome.value is not None))
    if primary and primary not in numeric:
        raise InputError(
            f"No judgement with numbers is named {primary!r}: choose from {', '.join(numeric) or 'none, there is none'}."
        )
    chosen = primary or (numeric[0] if len(numeric) == 1 else None)
    if chosen is None:
        if numeric:
            draft.note(
                f"The log judges by {', '.join(numeric)}: they are outcomes, and score is empty; --primary names one."
            )
        return None
    values: dict[str, tuple[float | None, str | None]] = {}
    for identity, outcome in outcomes:
        if outcome.metric == chosen and outcome.value is not None:
            values.setdefault(identity, (outcome.value, outcome.scorer or chosen))
    return pl.DataFrame(
        [(identity, *value) for identity, value in values.items()],
        schema={"execution_id": pl.String(), "score": pl.Float64(), "scorer": pl.String()},
        orient="row",
    )


def with_scores(calls: pl.DataFrame, scores: pl.DataFrame) -> pl.DataFrame:
    """The calls with `score` and `scorer` of `scores_of`."""
    named = [name for name in ("score", "scorer") if name in calls.columns]
    return calls.drop(named).join(scores, on="execution_id", how="left", maintain_order="left")
