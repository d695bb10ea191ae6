"""What the reference knew: its answers to each item, its answer classes, the directions of its embeddings.

Item flips: the share of rows whose correctness is not that of the same item (and model) in the reference, counted so that a
change of accuracy alone does not move it: 2 min(up, down). For a row of the reference its own item is judged by its *other*
reference rows, or it would agree with itself. Answer bias and competence: the signal-detection split of two answer classes,
criterion c = -(z(hit) + z(false alarm))/2 and d' = z(hit) - z(false alarm). Unit: share; standard normal quantiles.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl

DIMENSIONS = 6
"""Principal directions of the reference's embeddings that are followed."""
FEWEST_REPEATED = 0.2
"""Share of reference rows whose item must occur twice, for flips to have a noise floor."""


@dataclasses.dataclass(frozen=True)
class Items:
    """Right and judged answers of the reference by item."""

    known: pl.DataFrame
    """Columns `key` (model and item), `right` (sum of scores) and `judged` (count)."""

    def flips(self, frame: pl.DataFrame) -> np.ndarray:
        """1, 0 or -1 a row, NaN where nothing is known of its item, shape (n,)."""
        if not {"item", "score"} <= set(frame.columns):
            return np.full(len(frame), np.nan)
        joined = frame.select(_key(frame), pl.col("score").cast(pl.Float64)).join(
            self.known, on="key", how="left", maintain_order="left"
        )
        score = joined["score"].to_numpy()
        right, judged = joined["right"].to_numpy().astype(float), joined["judged"].to_numpy().astype(float)
        if "__reference" in frame.columns:
            own = frame["__reference"].to_numpy() & np.isfinite(score)
            right, judged = right - np.where(own, score, 0), judged - own
        with np.errstate(invalid="ignore", divide="ignore"):
            before = right / judged
        return np.where((judged > 0) & (before != 0.5), np.sign(score - (before > 0.5)), np.nan) * np.where(
            np.isfinite(score), 1.0, np.nan
        )


def _key(frame: pl.DataFrame) -> pl.Expr:
    parts = [pl.col(name).cast(pl.String) for name in ("model", "item") if name in frame.columns]
    return pl.concat_str(parts, separator="\x1f").alias("key")


@dataclasses.dataclass(frozen=True)
class Answers:
    """The two answer classes of a task."""

    first: str
    """The class that counts as a hit."""
    second: str
    """The other one."""

    def cells(self, frame: pl.DataFrame) -> np.ndarray:
        """2 x (answer is the first class) + (right one is the first class); -1 where unknown; shape (n,)."""
        if not {"answer", "score"} <= set(frame.columns):
            return np.full(len(frame), -1, np.int8)
        answer = frame["answer"].cast(pl.String)
        said = answer.eq(self.first).fill_null(False).to_numpy()
        known = answer.is_in([self.first, self.second]).fill_null(False).to_numpy()
        score = frame["score"].cast(pl.Float64).to_numpy()
        truth = np.where(score == 1, said, ~said)
        return np.where(known & np.isin(score, (0.0, 1.0)), 2 * said + truth, -1).astype(np.int8)


@dataclasses.dataclass(frozen=True)
class Directions:
    """Principal directions of the reference's embeddings."""

    centre: np.ndarray
    """Mean vector, shape (d,)."""
    basis: np.ndarray
    """Orthonormal directions, shape (d, DIMENSIONS)."""

    def project(self, frame: pl.DataFrame) -> np.ndarray:
        """Coordinates and squared length outside, NaN where there is no vector, shape (n, DIMENSIONS + 1)."""
        out = np.full((len(frame), self.basis.shape[1] + 1), np.nan, np.float32)
        if "embedding" not in frame.columns:
            return out
        given = frame["embedding"].is_not_null().to_numpy()
        if not given.any():
            return out
        vectors = np.stack(list(frame["embedding"].drop_nulls().to_numpy())).astype(np.float64) - self.centre
        inside = vectors @ self.basis
        outside = np.maximum(np.square(vectors).sum(1) - np.square(inside).sum(1), 0)
        out[given] = np.column_stack([inside, outside])
        return out


@dataclasses.dataclass(frozen=True)
class Baseline:
    """The parts that the reference has; None for those that it lacks."""

    items: Items | None = None
    """For item flips."""
    answers: Answers | None = None
    """For answer bias and competence."""
    embedding: Directions | None = None
    """For the spectrum of embeddings."""


def learn_baseline(reference: pl.DataFrame, chunk_rows: int) -> Baseline:
    """What can be learnt from the reference rows."""
    return Baseline(_items(reference), _answers(reference), _directions(reference, chunk_rows))


def _items(reference: pl.DataFrame) -> Items | None:
    if not {"item", "score"} <= set(reference.columns):
        return None
    judged = reference.select(_key(reference), pl.col("score").cast(pl.Float64)).drop_nulls()
    known = judged.group_by("key").agg(pl.col("score").sum().alias("right"), pl.len().alias("judged")).sort("key")
    repeated = known.filter(pl.col("judged") >= 2)["judged"].sum()
    binary = judged["score"].is_in([0.0, 1.0]).all()
    if not binary or known.height < 2 or repeated < FEWEST_REPEATED * len(reference):
        return None
    return Items(known)


def _answers(reference: pl.DataFrame) -> Answers | None:
    if not {"answer", "score"} <= set(reference.columns):
        return None
    counts = (
        reference["answer"]
        .cast(pl.String)
        .drop_nulls()
        .value_counts(name="__count")
        .sort("__count", "answer", descending=[True, False])
    )
    number = counts["__count"].to_numpy()
    if counts.height < 2 or number[:2].sum() < 0.95 * number.sum():
        return None
    if number[1] < 0.02 * len(reference) or not reference["score"].drop_nulls().is_in([0.0, 1.0]).all():
        return None
    first, second = sorted(counts["answer"].head(2).to_list(), reverse=True)  # yes before no, true before false
    return Answers(first, second)


def _directions(reference: pl.DataFrame, chunk_rows: int) -> Directions | None:
    if "embedding" not in reference.columns:
        return None
    given = reference["embedding"].drop_nulls()
    if len(given) < 0.5 * len(reference) or chunk_rows < 10 * DIMENSIONS or len(given) < 10 * DIMENSIONS:
        return None
    vectors = np.stack(list(given.head(20_000).to_numpy())).astype(np.float64)
    centre = vectors.mean(0)
    basis = np.linalg.svd(vectors - centre, full_matrices=False)[2][:DIMENSIONS].T
    signs = np.sign(basis[np.abs(basis).argmax(0), np.arange(basis.shape[1])])  # the same directions on every machine
    return Directions(centre, basis * signs)
