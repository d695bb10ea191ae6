"""What else says how likely a request fails whose item is not known? Candidates, tried on items that the fit did not see.

    feature       a column that `features` declares, standardised
    neighbours    how much harder than its stratum the items were whose prompts are most alike, where prompts are embedded
                  (`prompt_neighbours`)
    consistency   how far an item's answers agree, where answers are logged (`answer_agreement`; no score is looked at)

Each enters as one slope on the probit scale beside the risk of the stratum, learnt from the items that the joint model was
fitted to (an item is no neighbour of itself) and asked about items that it was not. It is used where it lowers their log
loss by more than 1.645 standard errors of that over items; the words say so of each, used or not. Unit: probits; nats.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl
from scipy.special import ndtr, ndtri

from divergence.errors import InputError
from divergence.executions import Executions
from divergence.executions.declared_names import check_features
from divergence.executions.embedded_texts import comparable, stacked
from divergence.numerics import NORMAL_95
from divergence.risk.answer_agreement import Agreement
from divergence.risk.prompt_neighbours import ITEMS_MAX, ITEMS_MIN, NUMBERS_MAX, Neighbours, in_steps
from divergence.risk.unseen_shift import AGREE, EDGE, NEAR, UnseenShift

WIDTH = 0.5  # prior sd of a slope: a standard deviation of a feature moves a risk of one half by 19 points
ROUNDS = 25
ROWS_MIN = 200  # of the rows that learn, and of those that are asked
WORDS = {NEAR: "prompt neighbours", AGREE: "consistency of answers"}


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
    check_features(log.configuration)
    told, kept = [], []
    for name in log.configuration.features:
        if name in log.present:
            kept.append(name)
        else:
            told.append(f"the feature {name} is not logged and left out")
    return kept, told


def unseen_shift(
    log: Executions, rows: pl.DataFrame, risk: np.ndarray, learns: np.ndarray, asked: np.ndarray
) -> tuple[UnseenShift | None, str, dict[str, np.ndarray]]:
    """Slopes of what is used, what is said of every candidate, and what is known of each row beyond its features.

    `rows` are judged rows with `failure`, `trials`, `cluster`, `item` and the features; `risk` is that of their stratum;
    `learns` and `asked` mark the rows that find the slopes and those that judge them.
    """
    features, told = features_of(log)
    if min(learns.sum(), asked.sum()) < ROWS_MIN or rows.filter(pl.Series(asked))["cluster"].n_unique() < ITEMS_MIN:
        return None, "; ".join([*told, *([f"{', '.join(features)}: too few rows to try"] if features else [])]), {}
    values = {name: rows[name].cast(pl.Float64).to_numpy() for name in features}
    items, both = rows["item"], learns | asked
    residual = (rows["failure"].to_numpy() - risk, rows["trials"].to_numpy())
    try:
        prompts = _prompts(log, items)
    except InputError as error:
        prompts = None
        told.append(f"prompt neighbours could not be tried: {error}")
    if prompts is not None and (lent := prompts.lent(items, *residual, learns)) is not None:
        values[NEAR] = lent[0]
    agreement, agreed = _consistency(log, items)
    if agreement is not None:
        values[AGREE] = agreed
    paying = []
    for name, found in values.items():
        shown = WORDS.get(name, name)
        if np.isnan(found[learns]).all() or np.nanstd(found[learns]) == 0:
            told += [f"{shown} is the same in all rows and left out"] if name in features else []
            continue
        tried = _tried(name, found[:, None], rows, risk, learns, asked)
        paying += [name] if tried.pays else []
        words = "saves" if tried.pays else "would save", "used for them" if tried.pays else "left out"
        told.append(
            f"{shown} {words[0]} {tried.saved:.4f} nats (standard error {tried.error:.4f}) on items not seen: {words[1]}"
        )
    if not paying:
        return None, "; ".join(told), {}
    neighbours = None
    if NEAR in paying and prompts is not None:
        values[NEAR], neighbours = prompts.lent(items, *residual, both) or (values[NEAR], None)
    shift = _learnt(paying, np.stack([values[n] for n in paying], 1), rows, risk, both)
    shift = dataclasses.replace(shift, neighbours=neighbours, agreement=agreement if AGREE in paying else None)
    return shift, "; ".join(told), {name: values[name] for name in paying if name not in features}


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


@dataclasses.dataclass(frozen=True)
class _Prompts:
    """The prompts of a log's items."""

    code: dict[str, int]
    """Item -> its number."""
    vectors: np.ndarray
    """In steps, shape (items, numbers)."""
    embedder: str | None
    """What made them, where that is logged."""

    def lent(
        self, items: pl.Series, residual: np.ndarray, weight: np.ndarray, learns: np.ndarray
    ) -> tuple[np.ndarray, Neighbours] | None:
        """What each row's prompt is lent by those of the items that learn, and these; None where they are too few."""
        place = np.array([self.code.get(name, -1) for name in items.to_list()])
        there = learns & (place >= 0)
        n = np.bincount(place[there], weight[there], len(self.vectors))
        most = min(ITEMS_MAX, NUMBERS_MAX // self.vectors.shape[1])
        kept = np.argsort(-n, kind="stable")[:most]
        kept = kept[n[kept] > 0]
        if len(kept) < ITEMS_MIN:
            return None
        mean = np.bincount(place[there], (weight * residual)[there], len(n))[kept] / n[kept]
        neighbours = Neighbours(self.vectors[kept], mean, self.embedder)
        own = np.full(len(n), -1)
        own[kept] = np.arange(len(kept))
        lent = neighbours.of(self.vectors, own)
        return np.where(place >= 0, lent[place], np.nan), neighbours


def _prompts(log: Executions, items: pl.Series) -> _Prompts | None:
    """The embedded prompts of these items, from beside the log or from its rows; None where there are too few."""
    if log.embeddings is not None:
        table = log.embeddings.collect()
        if "item" not in table.columns:
            return None
        vector = comparable(table)
    elif "prompt_embedding" in log.present and "item" in log.present:
        names = [name for name in ("embedder",) if name in log.present]
        rows = log.scan().filter(pl.col("item").is_not_null() & pl.col("prompt_embedding").is_not_null())
        rows = rows.select(pl.col("item").cast(pl.String), pl.col("prompt_embedding").alias("embedding"), *names)
        table = rows.unique("item", keep="first", maintain_order=True).collect()
        vector = comparable(table)
    else:
        return None
    embedder = table["embedder"].cast(pl.String).drop_nulls().first() if "embedder" in table.columns else None
    table = table.filter(pl.col("item").is_not_null()).select(pl.col("item").cast(pl.String), vector)
    table = table.unique("item", keep="first", maintain_order=True)
    table = table.filter(pl.col("embedding").is_not_null() & pl.col("item").is_in(items.unique().drop_nulls().implode()))
    vectors = stacked(table["embedding"])
    usable = np.flatnonzero(np.isfinite(vectors).all(1) & vectors.any(1)) if vectors.size else np.zeros(0, int)
    if len(usable) < ITEMS_MIN:
        return None
    every = table["item"].to_list()
    names = [every[k] for k in usable.tolist()]
    made_by = embedder if isinstance(embedder, str) else None
    return _Prompts({name: k for k, name in enumerate(names)}, in_steps(vectors[usable]), made_by)


def _consistency(log: Executions, items: pl.Series) -> tuple[Agreement | None, np.ndarray]:
    """What shares of agreeing answers mean, and what each row's item has; NaN for a single answer, None without answers."""
    if "answer" not in log.present or "item" not in log.present:
        return None, np.full(len(items), np.nan)
    answers = log.scan().filter((pl.col("regime") == "deployment") & pl.col("answer").is_not_null())
    found = answers.group_by(pl.col("item").cast(pl.String), "answer").agg(n=pl.len().cast(pl.Float64))
    found = found.group_by("item").agg(agreeing=(pl.col("n") * (pl.col("n") - 1)).sum(), n=pl.col("n").sum())
    found = found.filter((pl.col("n") > 1) & pl.col("item").is_not_null()).sort("item").collect(engine="streaming")
    if not found.height:
        return None, np.full(len(items), np.nan)
    n = found["n"].to_numpy()
    share = found["agreeing"].to_numpy() / (n * (n - 1))
    agreement = Agreement.learnt(share, n)
    told = dict(zip(found["item"], agreement.told(share, n), strict=True))
    return agreement, np.array([told.get(name, np.nan) for name in items.to_list()], float)
