"""How does a jackknifed vector of statistics become an Estimate? In one way, for every estimator of this folder."""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl

from divergence.estimate import NOT_GIVEN, Estimate
from divergence.geometry.moments import Moments
from divergence.geometry.uncertainty import METHOD, Jackknife

OUTCOME = "embedding"


@dataclasses.dataclass(frozen=True)
class Row:
    """One number of an answer."""

    statistic: str | None
    """Its name; None = the headline."""
    unit: str
    """Its unit."""
    corrected: bool
    """Is the jackknife's estimate of bias removed?"""


def answer(
    question: str,
    text: str,
    rows: list[Row],
    jack: Jackknife,
    *,
    counts: dict[str, int],
    rejected: int,
    noise_floor: np.ndarray = NOT_GIVEN,
    note: str = "",
) -> Estimate:
    """The Estimate of R rows; a number that came out as NaN is refused row by row."""
    draws = jack.draws(np.array([row.corrected for row in rows]))
    defined = np.isfinite(jack.value) & np.isfinite(jack.corrected) & np.isfinite(np.diag(jack.covariance))
    draws[:, ~defined] = np.nan
    undefined = "not defined on these rows: a variance it divides by is zero, in all rows or without one of the sessions"
    return Estimate(
        question,
        text,
        rows[0].unit,
        frame(rows),
        draws,
        OUTCOME,
        counts=counts,
        noise_floor=noise_floor,
        reason=tuple(None if ok else undefined for ok in defined),
        method=method(METHOD, rejected, note),
    )


def refuse(question: str, text: str, rows: list[Row], reason: str, *, counts: dict[str, int], rejected: int = 0) -> Estimate:
    """The same rows without numbers, and why."""
    return Estimate.refused(
        question,
        text,
        rows[0].unit,
        reason,
        rows=frame(rows),
        outcome=OUTCOME,
        counts=counts,
        method=method("not identified", rejected),
    )


def frame(rows: list[Row]) -> pl.DataFrame:
    """Coordinates of the rows."""
    schema = {"statistic": pl.String, "unit": pl.String}
    return pl.DataFrame({"statistic": [r.statistic for r in rows], "unit": [r.unit for r in rows]}, schema=schema)


def method(how: str, rejected: int, note: str = "") -> str:
    """How the draws were made, and what was set aside."""
    parts = [how, note, f"{rejected} rows with NaN, infinity or no length set aside" if rejected else ""]
    return "; ".join(part for part in parts if part)


def counts_of(*states: Moments) -> dict[str, int]:
    """Rows and sessions of the states of an answer; where rows are independent each is its own session."""
    rows = sum(state.n for state in states)
    return {"n_rows": rows, "n_sessions": sum(len(s.sessions) if s.clustered else s.n for s in states)}
