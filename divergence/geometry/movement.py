"""Where did every model go in every context? One state, from which table, map and regression are made.

A place is one model in one context; the origin of a model is its evaluation context. With x_pi the mean embedding of
the runs of item i at place p, R_pi its runs and v_pi the unbiased variance within them (sum over dimensions), the
displacement of a deployed place k is Delta_ki = x_ki - x_oi from its model's origin o, and

    gram_kl  = sum_i  Delta_ki . Delta_li  -  [k, l one model] v_oi / R_oi  -  [k = l] v_ki / R_ki

is unbiased for the same sum of the true displacements: no run meets itself. Its diagonal over the number of items is
the squared displacement of `displacement`. Items are summed in at most `BLOCKS` blocks, over which every answer takes
its Bayesian bootstrap. Reruns that are copies of each other have a variance of 0, which says little of what the next
rerun does: the noise floor of model m is therefore

    V_m  = (sum_i v_oi + v1 / 2) / (n + 1)                  half an item more that changed; v1 = v of items that changed
    V_hi = Beta(k + 1/2, n - k + 1/2)'s 95 % point * v1     k of n items changed between reruns (Jeffreys)

The spread S_m is the mean squared distance of the origin's answers to two different items: what "another answer" is
worth. Identified for items with 2 runs at the origin. Unit: squared embedding. Memory O(items a block * places * d).
"""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl

from divergence.errors import InputError
from divergence.geometry.usable_rows import Labels, table, usable

BLOCKS = 200  # a Bayesian bootstrap over 200 blocks has the variance of one over all items to half a percent
DIRECTIONS = 8  # directions kept for the regression: more add noise before they add movement
FEWEST = 3  # items: below it there is no interval
FLOOR_POINT = 0.95  # of the posterior of the rerun variance


@dataclasses.dataclass(frozen=True)
class Movement:
    """Displacements of K deployed places from M origins, summed in B blocks of items."""

    model: tuple[str, ...]
    """Model of each place, (K,)."""
    context: tuple[str, ...]
    """Context of each place, (K,)."""
    origins: tuple[tuple[str, str], ...]
    """(model, evaluation context) of each origin, (M,)."""
    home: np.ndarray
    """Origin of each place, (K,)."""
    gram: np.ndarray
    """Corrected inner products of displacements, summed over the items of a block, (B, K, K)."""
    items: np.ndarray
    """Items that gave them, (B, K, K)."""
    score: np.ndarray
    """Sum of the items' changes of mean score, (B, K)."""
    judged: np.ndarray
    """Items with a score on both sides, (B, K)."""
    noise: np.ndarray
    """V_m, the rerun variance at the origin, (M,)."""
    noise_high: np.ndarray
    """V_hi, (M,)."""
    changed: np.ndarray
    """Items whose reruns at the origin differ, and items with reruns, (M, 2)."""
    spread: np.ndarray
    """S_m, (M,)."""
    moves: np.ndarray
    """Displacement of each item in the first directions, stretched to the whole length, NaN where none is, (K, I, q)."""
    error: np.ndarray
    """Variance of the mean at each origin and at each place in these directions, stretched alike, (M + K, q)."""
    kept: float
    """Share of the squared displacement that lies in these directions."""
    counts: dict[str, int]
    """`n_rows`, `n_items`, `n_contexts`."""
    missing: dict[str, str]
    """Place or model -> why it has no displacement."""

    def weights(self, draws: int, seed: int = 0) -> np.ndarray:
        """Weights of the Bayesian bootstrap over blocks, (draws, B)."""
        return np.random.default_rng(seed).standard_exponential((draws, len(self.gram)))

    def squared(self, weights: np.ndarray) -> np.ndarray:
        """Squared displacement of every place for each row of weights, (draws, K)."""
        size = np.arange(len(self.model))
        return over(weights @ self.gram[:, size, size], weights @ self.items[:, size, size])


def over(total: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Means; NaN where nothing was counted."""
    return np.divide(total, count, out=np.full(np.shape(total), np.nan), where=count > 0)


def movement(
    vectors: np.ndarray,
    text: Labels,
    *,
    model: Labels,
    context: Labels,
    item: Labels,
    evaluation: Labels,
    cluster: Labels | None,
    score: Labels | None = None,
) -> Movement:
    """The state of N rows; `text` is each row's row of `vectors` (texts, d), null where it has none.

    `evaluation` is True in rows of the evaluation regime; the origin is its largest context. `cluster` = a label that
    holds whole items, or None: items are independent. Raises InputError where no model has an origin and a place.
    """
    vectors = table(vectors, "vectors") if len(vectors) else np.zeros((0, 1), np.float32)  # no answer has one
    data, origins, places = numbered(
        vectors, text, model, context, item, evaluation, item if cluster is None else cluster, score
    )
    home = np.array([[m for m, _ in origins].index(name) for name in places["model"]])
    return _summed(vectors, data, origins, places, home)


def numbered(
    vectors: np.ndarray,
    text: Labels,
    model: Labels,
    context: Labels,
    item: Labels,
    evaluation: Labels,
    cluster: Labels,
    score: Labels | None,
) -> tuple[pl.DataFrame, tuple[tuple[str, str], ...], pl.DataFrame]:
    """Usable rows with the number of their `place` (origins first, null where there is none), origins, deployed places."""
    labels: dict[str, Labels] = {
        "text": text,
        "model": model,
        "context": context,
        "item": item,
        "evaluation": evaluation,
        "cluster": cluster,
    }
    rows = len(text)
    labels["score"] = [None] * rows if score is None else score
    for name, values in labels.items():
        if len(values) != rows:
            raise InputError(f"{name} has {len(values)} labels for {rows} rows: give one a row")
    data = pl.DataFrame(labels, schema_overrides={"score": pl.Float64}, strict=False)
    numbers = data["text"].drop_nulls()
    if numbers.len() and not (numbers.dtype.is_integer() and numbers.is_between(0, len(vectors) - 1).all()):
        raise InputError(f"text holds no row numbers of the {len(vectors)} vectors: give whole numbers from 0, or null")
    data = data.filter(pl.col("text").is_not_null() & pl.col("item").is_not_null())
    data = data.filter(pl.Series(usable(vectors), dtype=pl.Boolean).gather(data["text"])) if data.height else data
    if not data.filter("evaluation").height:
        raise InputError("No evaluation row has an embedding and an item: nothing can be measured against the bench.")
    bench = data.filter("evaluation")["context"].mode().sort()[0]
    data = data.with_columns(origin=pl.col("evaluation") & (pl.col("context") == bench))
    models = data.filter("origin")["model"].unique().sort().to_list()
    places = data.filter(~pl.col("origin") & pl.col("model").is_in(models)).select("model", "context").unique()
    places = places.sort("context", "model")
    if not places.height:
        raise InputError("No model has answers with embeddings both in the evaluation and in another context.")
    key = pl.concat(
        [
            pl.DataFrame({"model": models, "context": [bench] * len(models), "origin": [True] * len(models)}),
            places.with_columns(origin=pl.lit(False)),
        ]
    ).with_row_index("place")
    data = data.join(key, on=["model", "context", "origin"], how="left", maintain_order="left")
    return data, tuple((m, bench) for m in models), places


def _summed(vectors: np.ndarray, data: pl.DataFrame, origins: tuple, places: pl.DataFrame, home: np.ndarray) -> Movement:
    """The state of rows whose places are numbered."""
    unseen = _unseen(data, origins)
    data = data.filter(pl.col("place").is_not_null())
    cells = ItemRuns(vectors, data, len(origins) + places.height)
    number, m = len(cells.blocks), len(origins)
    k = places.height
    gram, items = np.zeros((number, k, k)), np.zeros((number, k, k))
    moment = np.zeros((vectors.shape[1],) * 2)
    same = home[:, None] == home
    for b, part in enumerate(cells.blocks):
        means, runs, within = cells.means(part, cells.vectors), cells.runs[:, part], cells.within[:, part]
        paired = (runs[m:] > 0) & (runs[:m][home] > 1)
        delta = (means[m:] - means[:m][home]) * paired[:, :, None]
        flat = delta.reshape(k, -1)
        shared = np.where(runs[:m] > 1, within[:m] / np.maximum(runs[:m], 1), 0)
        gram[b] = flat @ flat.T - same * ((paired * shared[home]) @ paired.T)
        items[b] = paired.astype(float) @ paired.T
        again = paired & (runs[m:] > 1)
        own = ((delta**2).sum(2) - shared[home] - within[m:] / np.maximum(runs[m:], 1)) * again
        np.fill_diagonal(gram[b], own.sum(1))
        np.fill_diagonal(items[b], again.sum(1))
        moment += delta.reshape(-1, delta.shape[2]).T @ delta.reshape(-1, delta.shape[2])
    values, axes = np.linalg.eigh(moment)
    axes = axes[:, ::-1][:, :DIRECTIONS]
    score, judged = _scores(data, cells, m, home)
    noise = _floor(cells, m)
    kept = float(values[::-1][:DIRECTIONS].sum() / values.sum()) if values.sum() > 0 else 1.0
    moves, error = _moves(cells, axes, m, home, kept)
    return Movement(
        tuple(places["model"]),
        tuple(places["context"]),
        origins,
        home,
        gram,
        items,
        score,
        judged,
        *noise,
        moves,
        error,
        kept,
        {"n_rows": data.height, "n_items": cells.runs.shape[1], "n_contexts": places["context"].n_unique()},
        _missing(places, items) | unseen,
    )


class ItemRuns:
    """Runs of every item at every place: how many, their means, the variance within."""

    def __init__(self, vectors: np.ndarray, data: pl.DataFrame, places: int) -> None:
        import scipy.sparse

        self.vectors = vectors.astype(np.float64)
        groups = data.select("item", "cluster").unique().sort("cluster", "item")
        if groups["item"].n_unique() < groups.height:
            raise InputError("An item lies in more than one cluster: give a label that holds whole items, or None.")
        groups = groups.with_row_index("column")
        rank = groups["cluster"].rank("dense").to_numpy().astype(int) - 1
        block = rank * min(BLOCKS, rank.max() + 1) // (rank.max() + 1)
        self.blocks = [np.flatnonzero(block == b) for b in range(block.max() + 1)]
        self.columns = groups.select("item", "column")
        data = data.join(self.columns, on="item")
        size = groups.height
        row = data["place"].to_numpy().astype(np.int64) * size + data["column"].to_numpy()
        counts = scipy.sparse.coo_matrix(
            (np.ones(data.height), (row, data["text"].to_numpy().astype(np.int64))), (places * size, len(vectors))
        ).tocsr()
        self.counts, self.size, self.places = counts, size, places
        self.runs = np.asarray(counts.sum(1)).reshape(places, size)
        self.texts = np.diff(counts.indptr).reshape(places, size)
        squares = (counts @ (self.vectors**2).sum(1)).reshape(places, size)
        length = np.zeros((places, size))
        for part in self.blocks:
            length[:, part] = (self.means(part, self.vectors) ** 2).sum(2)
        within = (squares - self.runs * length) / np.maximum(self.runs - 1, 1)
        self.within = np.where(self.texts > 1, np.maximum(within, 0), 0.0)  # copies: exactly 0

    def means(self, part: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        """Mean vectors of some items, (places, items, d); 0 where there is no run."""
        rows = (np.arange(self.places)[:, None] * self.size + part).ravel()
        total = (self.counts[rows] @ vectors).reshape(self.places, len(part), -1)
        return total / np.maximum(self.runs[:, part], 1)[:, :, None]


def _floor(cells: ItemRuns, m: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """V_m, V_hi, changed items and items with reruns, and the spread of each origin."""
    from scipy.special import betaincinv

    again, moved = cells.runs[:m] > 1, (cells.runs[:m] > 1) & (cells.texts[:m] > 1)
    n, k = again.sum(1), moved.sum(1)
    mean = np.zeros((m, cells.vectors.shape[1]))
    length, present = np.zeros(m), (cells.runs[:m] > 0).sum(1)
    for part in cells.blocks:
        means = cells.means(part, cells.vectors)[:m]
        mean += means.sum(1)
        length += (means**2).sum((1, 2))
    own = np.where(again, cells.within[:m] / np.maximum(cells.runs[:m], 1), 0).sum(1) / np.maximum(n, 1)
    spread = 2 * (length - (mean**2).sum(1) / np.maximum(present, 1)) / np.maximum(present - 1, 1) - 2 * own
    seen = cells.within[:m][moved]
    elsewhere = cells.within[m:][cells.texts[m:] > 1]
    usual = seen.mean() if seen.size else elsewhere.mean() if elsewhere.size else np.maximum(spread, 0) / 2
    one = (np.where(moved, cells.within[:m], 0).sum(1) + usual) / (k + 1)
    noise = (np.where(again, cells.within[:m], 0).sum(1) + usual / 2) / (n + 1)
    high = np.maximum(betaincinv(k + 0.5, n - k + 0.5, FLOOR_POINT) * one, noise)
    return noise, high, np.stack([k, n], 1), spread


def _moves(cells: ItemRuns, axes: np.ndarray, m: int, home: np.ndarray, kept: float) -> tuple[np.ndarray, np.ndarray]:
    """Displacements in these directions, and the error variance of the means, averaged over the items.

    Both are stretched by the share that is kept, so that the squared lengths of all places together stay what they are.
    """
    flat = cells.vectors @ axes
    everything = np.arange(cells.size)
    means = cells.means(everything, flat)
    squares = (cells.counts @ flat**2).reshape(*cells.runs.shape, -1)
    runs = cells.runs[:, :, None]
    variance = np.maximum(squares - runs * means**2, 0) / np.maximum(runs - 1, 1) * (cells.texts > 1)[:, :, None]
    again = cells.runs > 1
    error = over((variance / np.maximum(runs, 1) * again[:, :, None]).sum(1), again.sum(1)[:, None] * np.ones(axes.shape[1]))
    moves = means[m:] - means[:m][home]
    moves[(cells.runs[m:] == 0) | (cells.runs[:m][home] < 2)] = np.nan
    return moves / np.sqrt(kept), error / kept


def _scores(data: pl.DataFrame, cells: ItemRuns, m: int, home: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Changes of the mean score of the items, summed in blocks, and how many items have one."""
    mean = np.full(cells.runs.shape, np.nan)
    found = data.join(cells.columns, on="item").group_by("place", "column").agg(pl.col("score").mean()).drop_nulls()
    mean[found["place"].to_numpy(), found["column"].to_numpy()] = found["score"].to_numpy()
    change = mean[m:] - mean[:m][home]
    known = np.isfinite(change)
    change = np.where(known, change, 0.0)
    return (
        np.array([change[:, part].sum(1) for part in cells.blocks]),
        np.array([known[:, part].sum(1) for part in cells.blocks]).astype(float),
    )


def _unseen(data: pl.DataFrame, origins: tuple) -> dict[str, str]:
    """Models that answered in contexts and not in the evaluation."""
    models = data.filter(pl.col("place").is_null())["model"].drop_nulls().unique().sort().to_list()
    seen = {name for name, _ in origins}
    return {
        str(name): f"it has no answers with embeddings in the evaluation context {origins[0][1]}: there is nothing "
        "that its answers could have moved from"
        for name in models
        if name not in seen
    }


def _missing(places: pl.DataFrame, blocks: np.ndarray) -> dict[str, str]:
    """Why a place has no displacement."""
    told = {}
    items, filled = blocks.sum(0), (blocks > 0).sum(0)
    for k, (model, context) in enumerate(places.select("model", "context").iter_rows()):
        if filled[k, k] >= FEWEST:
            continue
        if not items[k].any():
            told[f"{model}, {context}"] = "no item has reruns in the evaluation and an answer here"
        elif items[k, k] >= FEWEST:
            held = "one session" if filled[k, k] == 1 else f"{filled[k, k]} sessions"
            told[f"{model}, {context}"] = f"its items with reruns lie in {held}: an interval needs {FEWEST} independent ones"
        elif items[k, k]:
            told[f"{model}, {context}"] = f"{items[k, k]:.0f} of its items have reruns: an interval needs {FEWEST}"
        else:
            told[f"{model}, {context}"] = "its items were run once here: one run cannot be told from its own noise"
    return told
