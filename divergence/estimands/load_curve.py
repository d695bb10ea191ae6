"""How does quality change with the load of the server?

    E y_ig = a_i + f_g          item i, level of load g; model and context fixed
    level(g) = mean_i a_i + f_g

`a_i` takes out which items happened to arrive under which load: the curve rests on items that were run under several
loads, and only differences within them move it. Least squares on the outcome scale; the band reweighs items (Bayesian
bootstrap: one exponential weight an item, all its executions together), so that it holds for new items of the same kind,
widened for few items as t is against the normal.

| statistic | unit | what |
|---|---|---|
| null | of the level | level at that load, `level` = the mean load |
| `change` | of a difference | level at the highest load - at the lowest |

Refused where items and loads do not overlap: where some levels are connected to no other by an item that was run under
both, nothing tells hard items from heavy load. What is found is an association: it is the effect of load only where
nothing else that matters moved with it.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from divergence.estimate import Estimate
from divergence.identification.question import Need
from divergence.numerics import few_clusters

QUESTION, TEXT = "load_curve", "quality of each model in each context over the load of its server"
WORDS = "quality under load"
ITEMS_MIN = 5
"""Items that were run under more than one load: how sure a curve is needs several of them, as a horizon does."""
DRAWS = 400
GROUPS = 5_000
"""Above so many items they are reweighed in groups: a variance from so many has a relative error of sqrt(2 / 5,000) = .02,
which 400 draws do not reach either."""
CHUNK = 64
"""Draws that are reweighed together, and groups whose items are summed together."""


def load_curve(
    table: pl.DataFrame, load: np.ndarray, source: str, *, outcome: str = "score", unit: str = "probability", seed: int = 0
) -> Estimate:
    """Rows as in the table above.

    `table` has, per (model, context, item, level), the number n of judged executions and their sum y; `load` is the mean
    load of each level, and `source` says what the load is. Raises ValueError for a table without rows.
    """
    if not table.height:
        raise ValueError("a curve over load needs judged executions with an item and a load")
    rows, columns, reasons = [], [], []
    for number, ((model, context), mine) in enumerate(table.group_by("model", "context", maintain_order=True)):
        rng = np.random.default_rng(np.random.SeedSequence([seed, number]))
        present = np.unique(mine["level"].to_numpy())
        reason = refusal(mine, load, source)
        draws = _draws(mine, present, rng) if reason is None else np.full((DRAWS, len(present)), np.nan)
        counts = mine.group_by("level").agg(pl.col("n").sum(), pl.col("item").n_unique().alias("items")).sort("level")
        for place, (_, executions, items) in enumerate(counts.iter_rows()):
            level = f"{load[present[place]]:.4g}"
            rows.append((None, str(model), str(context), source, level, executions, items, unit))
            columns.append(draws[:, place])
            reasons.append(reason)
        difference = "points" if unit == "probability" else unit
        ends = f"{load[present[0]]:.4g} to {load[present[-1]]:.4g}"
        total = int(mine["n"].sum()), mine["item"].n_unique()
        rows.append(("change", str(model), str(context), source, ends, *total, difference))
        columns.append(draws[:, -1] - draws[:, 0])
        reasons.append(reason)
    names = ("statistic", "model", "context", "factor", "level", "n_rows", "n_items", "unit")
    types = dict.fromkeys(names, pl.String) | {"n_rows": pl.Int64, "n_items": pl.Int64}
    frame = pl.DataFrame(rows, schema=types, orient="row")
    return Estimate(
        QUESTION,
        TEXT,
        unit,
        frame,
        np.stack(columns, axis=1),
        outcome=outcome,
        reason=tuple(reasons),
        words=WORDS,
        method="items reweighed (Bayesian bootstrap) around least squares with an effect an item",
    )


def refusal(mine: pl.DataFrame, load: np.ndarray, source: str) -> str | None:
    """Why the executions of one model in one context give no curve; None where they do."""
    present = np.unique(mine["level"].to_numpy())
    if len(present) < 2:
        return f"every judged execution was run under one level of {source} ({load[present[0]]:.4g}): a curve needs two"
    item, level = (np.unique(mine[name].to_numpy(), return_inverse=True)[1] for name in ("item", "level"))
    items, width = int(item.max()) + 1, len(present)
    pairs = coo_array((np.ones(len(item)), (item, items + level)), shape=(items + width, items + width))
    parts, member = connected_components(pairs, directed=False)
    if parts > 1 and len(np.unique(member[items:])) > 1:
        apart = load[present[member[items:] != member[items]]]
        return (
            f"items and {source} do not overlap: no item joins the levels {', '.join(f'{value:.4g}' for value in apart)} to "
            "the others, so that hard items and heavy load cannot be told apart"
        )
    several = int((np.bincount(item) > 1).sum())
    if several < ITEMS_MIN:
        return f"{several} items were run under more than one level of {source}; how sure a curve is needs {ITEMS_MIN}"
    return None


def load_curve_needs(table: pl.DataFrame, load: np.ndarray, source: str) -> Need:
    """What the executions of a log by load (as for `load_curve`) can tell of any model in any context."""
    reasons = [refusal(mine, load, source) for _, mine in table.group_by("model", "context", maintain_order=True)]
    met = reasons.count(None)
    if not met:
        return Need(False, "; ".join(dict.fromkeys(reason for reason in reasons if reason)))
    executions, items = int(table["n"].sum()), table["item"].n_unique()
    return Need(
        True,
        f"{executions} judged executions of {items} items over {source}; items were run under several levels of it in {met} "
        f"of {len(reasons)} combinations of model and context",
    )


def fit(n: np.ndarray, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Levels (draws, G) from executions and sums (items, G) and weights of items (draws, items), by least squares."""
    return _solved(_sums(n, y), weight, n.shape[1])


def _sums(n: np.ndarray, y: np.ndarray) -> np.ndarray:
    """What of each item enters the equations, linear in its weight: (items, 1 + G G + G + 1 + G) numbers."""
    total, width = n.sum(1), n.shape[1]
    within = np.einsum("ig,gh->igh", n, np.eye(width)) - n[:, :, None] * n[:, None, :] / total[:, None, None]
    mean = y.sum(1) / total
    ones = np.ones((len(n), 1))
    return np.hstack([ones, within.reshape(len(n), -1), y - n * mean[:, None], mean[:, None], n / total[:, None]])


def _solved(sums: np.ndarray, weight: np.ndarray, width: int) -> np.ndarray:
    """Levels (draws, G) from the sums of `_sums` and the weights of their rows."""
    size, design, moment, mean, share = np.split(weight @ sums, np.cumsum([1, width * width, width, 1]), axis=1)
    design = design.reshape(len(weight), width, width)
    scale = np.trace(design, axis1=1, axis2=2)[:, None, None] / width
    shift = np.linalg.solve(design + scale * np.full((width, width), 1 / width), moment[:, :, None])[:, :, 0]
    middle = (mean[:, 0] - np.einsum("dg,dg->d", share, shift)) / size[:, 0]
    return middle[:, None] + shift


def _grouped(n: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The sums of items, or of `GROUPS` groups of them at random, which have one weight each: the squares that a group
    adds to a variance are those of its items, since what one item adds has nothing to do with another."""
    items = len(n)
    if items <= GROUPS:
        return _sums(n, y)
    order, bounds = rng.permutation(items), np.linspace(0, items, GROUPS + 1).astype(int)
    parts = []
    for first in range(0, GROUPS, CHUNK):
        last = min(first + CHUNK, GROUPS)
        mine = order[bounds[first] : bounds[last]]
        parts.append(np.add.reduceat(_sums(n[mine], y[mine]), bounds[first:last] - bounds[first], axis=0))
    return np.concatenate(parts)


def _draws(mine: pl.DataFrame, present: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    item = np.unique(mine["item"].to_numpy(), return_inverse=True)[1]
    level = np.searchsorted(present, mine["level"].to_numpy())
    n, y = (np.zeros((int(item.max()) + 1, len(present))) for _ in range(2))
    np.add.at(n, (item, level), mine["n"].to_numpy())
    np.add.at(y, (item, level), mine["y"].to_numpy())
    sums, width = _grouped(n, y, rng), len(present)
    middle = _solved(sums, np.ones((1, len(sums))), width)
    starts = range(0, DRAWS, CHUNK)
    found = [_solved(sums, rng.standard_exponential((min(CHUNK, DRAWS - start), len(sums))), width) for start in starts]
    several = n[np.count_nonzero(n, axis=1) > 1]
    thinnest = max(int((several > 0).sum(0).min()), 2)  # what the level rests on that the fewest such items were run under
    return middle + few_clusters(thinnest) * (np.concatenate(found) - middle)
