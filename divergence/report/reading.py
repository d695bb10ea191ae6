"""Reading an `Estimate` for a picture: the numbers that are identified, in shown order, beside their draws."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import polars as pl

from divergence.estimate import COORDINATES, Estimate

SCORES = ("probability", "fraction")  # units of scores
COMMON = {"regime", "context", "context_b"}  # may be filled in any row without making it another kind of number


def identified(estimate: Estimate, *coordinates: str) -> tuple[pl.DataFrame, np.ndarray]:
    """The headline rows with a number (as in the results table) and their draws, shape (D, R).

    Rows that are told apart by any other than the given coordinates (one task, one item, one model) are left out.
    """
    known = estimate.known()
    frame = known.to_frame()
    others = [name for name in COORDINATES if name not in {*coordinates, *COMMON}]
    keep = frame.select(pl.all_horizontal(pl.col(name).is_null() for name in others)).to_series().to_numpy()
    return frame.filter(keep), known.draws[:, keep]


def bench_pairs(excess_flips: Estimate, bench: Sequence[str] = ()) -> Estimate:
    """The rows of `excess_flips` that compare a context with the bench, or two measurements of the bench.

    `bench` names the evaluation contexts; without it they are the labels that stand first in a pair and never second.
    A log without a bench keeps all its pairs. Where a label occurs in both regimes the pair with the bench comes first.
    """
    frame = excess_flips.to_frame().with_row_index("row")
    between = frame.filter(
        pl.col("context_b").is_not_null() & (pl.col("regime").is_null() | (pl.col("regime") != "evaluation"))
    )
    labels = set(bench) or set(between["context"]) - set(between["context_b"])
    kept = frame.filter(pl.col("context_b").is_not_null())
    if labels:
        kept = kept.filter(pl.col("context").is_in(labels) | (pl.col("regime") == "evaluation").fill_null(False))
    kept = kept.unique(["model", "statistic", "context", "context_b"], keep="first", maintain_order=True)
    return excess_flips.take(np.isin(np.arange(frame.height), kept["row"].to_numpy()))


def reorder(frame: pl.DataFrame, draws: np.ndarray, by: str, descending: bool) -> tuple[pl.DataFrame, np.ndarray]:
    """Frame and draws, sorted by a column of the frame."""
    order = frame[by].arg_sort(descending=descending).to_numpy()
    return frame[order], draws[:, order]


def higher_is_better(estimate: Estimate) -> bool:
    """Does the largest level come first?"""
    return estimate.better == "higher"


@dataclasses.dataclass(frozen=True)
class Levels:
    """The models that are known in two answers, in the order of the first one, best first."""

    models: list[str]
    """Names."""
    first: pl.DataFrame
    """Result rows of the first answer."""
    second: pl.DataFrame
    """Result rows of the second answer."""
    first_draws: np.ndarray
    """Draws of the first answer, shape (D, models)."""
    second_draws: np.ndarray
    """Draws of the second answer, shape (D, models)."""


def levels(one: Estimate, two: Estimate) -> Levels:
    """Models with a number in both answers, best of the first answer first."""
    first, first_draws = identified(one, "model")
    second, second_draws = identified(two, "model")
    first, first_draws = reorder(first, first_draws, "median", descending=higher_is_better(one))
    known = {model: k for k, model in enumerate(second["model"])}
    at = [k for k, model in enumerate(first["model"]) if model in known]
    models = [first["model"][k] for k in at]
    to = [known[model] for model in models]
    return Levels(models, first[at], second[to], first_draws[:, at], second_draws[:, to])


def places(values: np.ndarray, highest: bool = True) -> np.ndarray:
    """Place of each value, 1 = largest (or smallest); equal values by position."""
    place = np.empty(len(values), int)
    place[np.argsort(-values if highest else values, kind="stable")] = np.arange(1, len(values) + 1)
    return place
