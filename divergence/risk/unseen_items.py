"""What else says how likely a request fails whose item is not known? Candidates, tried on items that the fit did not see.

    feature       a column that `features` declares, standardised
    neighbours    mean residual of the `NEAREST` items whose prompts' embeddings are most alike, where prompts are embedded
    consistency   share of pairs of an item's answers that agree, where answers are logged (no score is looked at)

Each enters as one slope on the probit scale beside the risk of the stratum, learnt from the items that the joint model was
fitted to (an item is no neighbour of itself) and asked about items that it was not. It is used where it lowers their log
loss by more than 1.645 standard errors of that over items; the words say so of each, used or not. Features alone are read
when a log is scored: embeddings of prompts and other answers to the same item are not at hand for a request by itself, so
that what they would save is said and left out. Unit: probits; nats.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl
from scipy.special import ndtr, ndtri

from divergence.configuration import nearest
from divergence.errors import InputError
from divergence.executions import Executions
from divergence.executions.embedded_texts import comparable, stacked
from divergence.executions.schema import COLUMNS
from divergence.numerics import NORMAL_95
from divergence.risk.unseen_shift import EDGE, UnseenShift

NO_FEATURES = ("score", "score_n", "probability")  # what happened, and how a row came into the log
WIDTH = 0.5  # prior sd of a slope: a standard deviation of a feature moves a risk of one half by 19 points
ROUNDS = 25
NEAREST = 10
ITEMS_MAX = 4000  # whose prompts are compared pair by pair: 64 MB
ROWS_MIN, ITEMS_MIN = 200, 20  # of the rows that learn, and of those that are asked


@dataclasses.dataclass(frozen=True)
class Tried:
    """What a candidate saved on items that were not seen."""

    name: str
    """As it is said."""
    saved: float
    """Log loss, nats a trial."""
    error: float
    """Standard error of that over items."""

    @property
    def pays(self) -> bool:
        """Is it more than its noise, as chance leaves it once in twenty candidates that say nothing?"""
        return self.saved > NORMAL_95 * self.error


def features_of(log: Executions) -> tuple[list[str], list[str]]:
    """The declared features that the log has as numbers, and sentences about the others."""
    numbers = [name for name, column in COLUMNS.items() if column.dtype.is_numeric() and name not in NO_FEATURES]
    told, kept = [], []
    for name in log.configuration.features:
        if name not in numbers or name == log.configuration.outcome:
            raise InputError(
                f"features names {name}, which is no number of the schema that may tell a risk{nearest(name, numbers)}: "
                "name such a column, for example input_tokens, and lead to it under [columns]"
            )
        if name in log.present:
            kept.append(name)
        else:
            told.append(f"the feature {name} is not logged and left out")
    return kept, told


def unseen_shift(
    log: Executions, rows: pl.DataFrame, risk: np.ndarray, learns: np.ndarray, asked: np.ndarray
) -> tuple[UnseenShift | None, str]:
    """Slopes of the features that are used, and what is said of every candidate.

    `rows` are judged rows with `failure`, `trials`, `cluster`, `item` and the features; `risk` is that of their stratum;
    `learns` and `asked` mark the rows that find the slopes and those that judge them.
    """
    features, told = features_of(log)
    values = {name: rows[name].cast(pl.Float64).to_numpy() for name in features}
    items = rows["item"].to_numpy()
    residual = rows["failure"].to_numpy() - risk
    further = {
        "prompt neighbours": lambda: _neighbours(log, items, np.where(learns, residual, np.nan)),
        "consistency of answers": lambda: _consistency(log, items),
    }
    if min(learns.sum(), asked.sum()) < ROWS_MIN or rows.filter(pl.Series(asked))["cluster"].n_unique() < ITEMS_MIN:
        return None, "; ".join([*told, *([f"{', '.join(features)}: too few rows to try"] if features else [])])
    paying = []
    for name, found in {**values, **{name: found() for name, found in further.items()}}.items():
        if found is None or np.isnan(found[learns]).all() or np.nanstd(found[learns]) == 0:
            told += [f"{name} is the same in all rows and left out"] if name in values else []
            continue
        tried = _tried(name, found[:, None], rows, risk, learns, asked)
        words = f"{tried.saved:.4f} nats (standard error {tried.error:.4f})"
        if tried.pays and name in values:
            paying.append(name)
            told.append(f"{name} saves {words} on items not seen: used for them")
        elif tried.pays:
            told.append(f"{name} would save {words} on items not seen: left out, as a score reads requests one by one")
        else:
            told.append(f"{name} would save {words} on items not seen: left out")
    if not paying:
        return None, "; ".join(told)
    both = learns | asked
    return _learnt(paying, np.stack([values[n] for n in paying], 1), rows, risk, both), "; ".join(told)


def _tried(name: str, x: np.ndarray, rows: pl.DataFrame, risk: np.ndarray, learns: np.ndarray, asked: np.ndarray) -> Tried:
    shift = _learnt([name], x, rows, risk, learns)
    failure, trials = rows["failure"].to_numpy()[asked], rows["trials"].to_numpy()[asked]
    before = np.clip(risk[asked], EDGE, 1 - EDGE)
    after = np.clip(ndtr(ndtri(before) + shift.standard(x[asked]) @ shift.slope), EDGE, 1 - EDGE)
    saved = failure * np.log(after / before) + (1 - failure) * np.log((1 - after) / (1 - before))
    cluster = np.unique(rows["cluster"].to_numpy()[asked], return_inverse=True)[1].ravel()
    sums = np.bincount(cluster, trials * saved)
    return Tried(name, float(sums.sum() / trials.sum()), float(np.sqrt(((sums - sums.mean()) ** 2).sum()) / trials.sum()))


def _learnt(names: list[str], x: np.ndarray, rows: pl.DataFrame, risk: np.ndarray, learns: np.ndarray) -> UnseenShift:
    """Slopes by penalised likelihood, their covariance with whole clusters as units."""
    centre, scale = np.nanmean(x[learns], 0), np.nanstd(x[learns], 0)
    empty = np.zeros((len(names), len(names)))
    shift = UnseenShift(tuple(names), centre, np.where(scale > 0, scale, 1.0), np.zeros(len(names)), empty)
    z, failure, trials = shift.standard(x[learns]), rows["failure"].to_numpy()[learns], rows["trials"].to_numpy()[learns]
    offset, prior = ndtri(np.clip(risk[learns], EDGE, 1 - EDGE)), np.eye(len(names)) / WIDTH**2
    cluster = np.unique(rows["cluster"].to_numpy()[learns], return_inverse=True)[1].ravel()
    slope = np.zeros(len(names))
    for _ in range(ROUNDS):
        eta = np.clip(offset + z @ slope, -5, 5)
        p, density = ndtr(eta), np.exp(-0.5 * eta**2) / np.sqrt(2 * np.pi)
        each = (trials * density * (failure - p) / (p * (1 - p)))[:, None] * z
        curvature = (z * (trials * density**2 / (p * (1 - p)))[:, None]).T @ z + prior
        slope = slope + np.linalg.solve(curvature, each.sum(0) - prior @ slope)
    sums = np.stack([np.bincount(cluster, column) for column in each.T], 1)
    inverse = np.linalg.inv(curvature)
    return dataclasses.replace(shift, slope=slope, covariance=inverse @ (sums.T @ sums + prior) @ inverse)


def _neighbours(log: Executions, items: np.ndarray, residual: np.ndarray) -> np.ndarray | None:
    """Mean residual of the items nearest to each row's, of those that learn; None where prompts have no embeddings."""
    table = log.embeddings.collect() if log.embeddings is not None else None
    if table is None or "item" not in table.columns:
        return None
    prompts = table.filter(pl.col("item").is_not_null()).select(pl.col("item").cast(pl.String), comparable(table))
    prompts = prompts.unique("item", keep="first", maintain_order=True).filter(pl.col("item").is_in(list({*items.tolist()})))
    if not ITEMS_MIN <= prompts.height <= ITEMS_MAX:
        return None
    vectors = stacked(prompts["embedding"]).astype(np.float32)
    vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    code = {name: k for k, name in enumerate(prompts["item"].to_list())}
    place = np.array([code.get(name, -1) for name in items.tolist()])
    there = (place >= 0) & ~np.isnan(residual)
    n = np.bincount(place[there], minlength=len(vectors))
    mean = np.bincount(place[there], residual[there], len(vectors)) / np.maximum(n, 1)
    alike = vectors @ vectors.T
    np.fill_diagonal(alike, -np.inf)
    alike[:, n == 0] = -np.inf
    near = np.argsort(-alike, axis=1, kind="stable")[:, :NEAREST]
    usable = np.isfinite(np.take_along_axis(alike, near, 1))
    borrowed = (mean[near] * usable).sum(1) / np.maximum(usable.sum(1), 1)
    return np.where(place >= 0, borrowed[place], np.nan)


def _consistency(log: Executions, items: np.ndarray) -> np.ndarray | None:
    """Share of pairs of answers to each row's item in deployment that agree; NaN for a single one, None without answers."""
    if "answer" not in log.present or "item" not in log.present:
        return None
    answers = log.scan().filter((pl.col("regime") == "deployment") & pl.col("answer").is_not_null())
    found = answers.group_by(pl.col("item").cast(pl.String), "answer").agg(n=pl.len().cast(pl.Float64))
    found = found.group_by("item").agg(agreeing=(pl.col("n") * (pl.col("n") - 1)).sum(), n=pl.col("n").sum())
    found = found.filter(pl.col("n") > 1).collect(engine="streaming")
    shares = dict(zip(found["item"], found["agreeing"] / (found["n"] * (found["n"] - 1)), strict=True))
    return np.array([shares.get(name, np.nan) for name in items.tolist()], float)
