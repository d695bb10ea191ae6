"""How much of what separates the models depends on the context, without a fit? (unbiased variance components)

    s2_mc = MS_mc - noise,    s2_m = (MS_m - MS_mc) / C,    share = s2_mc / (s2_m + s2_mc)

Mean squares of the two-way table of raw levels, models by contexts, equal weights, divided by degrees of freedom (models
and contexts as samples): a second version of `coupling`, which is a posterior of the levels' own components. `noise` is
what binomial, item and replicate sampling puts into the mean squares. Rows by `statistic`: `anova` with the noise removed
and `anova_raw` with it, both on the outcome scale; `anova_link`, `anova_link_raw` on the logit (or log) scale. The share
grows among models that are close to each other (saturation) while `s2_mc` need not.
Identified by two models that were all logged in the same two contexts or more. Intervals: sampling noise only, by a
parametric bootstrap. Unit: ratio. Source: Cronbach et al. 1972, Searle, Casella and McCulloch 1992.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl
import scipy.sparse as sp

from divergence.calling import sentences
from divergence.cells import Cells
from divergence.cells.overlap import in_regime
from divergence.estimands.rows import frame
from divergence.estimate import Estimate
from divergence.joint.arms import Arms, measure_arms
from divergence.joint.link import linearise, start
from divergence.joint.noise import normal_draws
from divergence.numerics import column_squares, combinations
from divergence.random_streams import stream

QUESTION, TEXT = "coupling", "share of the variance between models that depends on the context, by unbiased ANOVA components"
STATISTICS = ("anova", "anova_raw", "anova_link", "anova_link_raw")
BOOTSTRAPS = 1000


@dataclasses.dataclass(frozen=True)
class Grid:
    """A complete table of raw levels with their sampling covariance, on one scale."""

    level: np.ndarray
    """Raw levels, shape (models, contexts)."""
    covariance: np.ndarray | None
    """Of the levels row by row: (models * contexts, same), or its diagonal where levels share no items."""
    root: sp.csr_array | None = None
    """A root of it (R, models * contexts), where it is not kept as a matrix."""


@sentences
def coupling_anova(cells: Cells, *, seed: int = 0) -> Estimate:
    """The four shares of a log's deployment contexts, straight from its sufficient statistics.

    How much of what separates the models depends on the context, without a fit: for logs with more models than a joint model
    takes (thousands of published rates). `cells`: what `collapse` returns. `seed`: of the bootstrap. Returns an Estimate of
    four ratios (0..1), `statistic` = `anova`, `anova_raw`, `anova_link`, `anova_link_raw`; refused without two models that
    share two deployment contexts. Raises InputError where levels share items and there are too many of them.

    >>> import divergence as dv
    >>> from divergence.simulate import simulate, world
    >>> log = dv.read(simulate(world("baseline"), 0)[0])
    >>> dv.coupling_anova(dv.collapse(log)).rows["statistic"].to_list()
    ['anova', 'anova_raw', 'anova_link', 'anova_link_raw']
    """
    counts = cells.counts.take(in_regime(cells, "deployment") & (cells.counts["n"] > 0))
    arms, arm = combinations(counts["model"], counts["context"])
    if (counts["item"] < 0).all() and cells.kind == "binary":
        n, y = (np.bincount(arm, counts[s]) for s in ("n", "y"))
        inner = (y + 0.5) / (n + 1)
        slope = inner * (1 - inner)
        scales = [(y / n, y / n * (1 - y / n) / n), (np.log(inner / (1 - inner)), 1 / (n * slope))]
        grids = complete([grid(arms[0], arms[1], *values) for values in scales])
    else:
        grids = grids_of(measure_arms(cells))
    method = "unbiased ANOVA components, parametric bootstrap of the sampling noise"
    sizes = {"n_rows": int(counts["rows"].sum()), "n_contexts": len(np.unique(arms[1]))}
    if grids is None:
        return Estimate.refused(
            QUESTION, TEXT, "ratio", INCOMPLETE, outcome=cells.outcome, counts=sizes, method=method, rows=rows_of_shares()
        )
    return Estimate(
        QUESTION,
        TEXT,
        "ratio",
        rows_of_shares(),
        draw_shares(grids, seed),
        outcome=cells.outcome,
        counts=sizes,
        method=method,
    )


INCOMPLETE = "no two models were logged in the same two deployment contexts: variance components need a complete table"


def rows_of_shares() -> pl.DataFrame:
    """One row a statistic."""
    return frame(statistic=list(STATISTICS))


def grids_of(arms: Arms) -> list[Grid] | None:
    """The deployment levels of a fit on the outcome scale and on the link scale; None where no table is complete."""
    mine = np.flatnonzero(arms.deployed)
    response = linearise(arms, start(arms))
    where = (arms.model[mine], arms.context[mine])
    if arms.covariance is None:
        sides = ((arms.level, arms.root), (response.value, response.root))
        return complete([grid(*where, value[mine], None, sp.csr_array(root)[:, mine]) for value, root in sides])
    both = ((arms.level, arms.covariance), (response.value, response.noise))
    return complete([grid(*where, value[mine], covariance[np.ix_(mine, mine)]) for value, covariance in both])


def complete(grids: list[Grid | None]) -> list[Grid] | None:
    """The tables of one log on several scales: all of them are complete, or none is."""
    known = [table for table in grids if table is not None]
    return known if len(known) == len(grids) else None


def grid(
    model: np.ndarray,
    context: np.ndarray,
    level: np.ndarray,
    covariance: np.ndarray | None,
    root: sp.csr_array | None = None,
) -> Grid | None:
    """The models that were logged in every context, as a table; None where there are no two, or one context."""
    contexts = np.unique(context)
    models, times = np.unique(model, return_counts=True)
    complete = models[times == len(contexts)]
    if len(complete) < 2 or len(contexts) < 2:
        return None
    keep = np.flatnonzero(np.isin(model, complete))
    keep = keep[np.lexsort([context[keep], model[keep]])]
    table = level[keep].reshape(len(complete), len(contexts))
    if covariance is None:
        assert root is not None
        return Grid(table, None, root[:, keep])
    return Grid(table, covariance[keep] if covariance.ndim == 1 else covariance[np.ix_(keep, keep)])


def draw_shares(grids: list[Grid], seed: int) -> np.ndarray:
    """Draws of the four shares, shape (BOOTSTRAPS, 4): noise is added once more, so it is taken out once more.

    A share is not linear in the mean squares; their means are moved to where the table's own shares are.
    """
    rng = stream(seed, "anova")
    columns = []
    for table in grids:
        noise = noise_squares(table)
        spread = _noise(table, rng)
        squares = [mean_squares(level) for level in (table.level, table.level + spread.reshape(-1, *table.level.shape))]
        for removed in (1, 0):
            own, drawn = (
                share(between - k * noise[0], mixed - k * noise[1], table.level.shape[1])
                for (between, mixed), k in zip(squares, (removed, removed + 1), strict=True)
            )
            columns.append(np.clip(drawn + own - drawn.mean(), 0.0, 1.0))
    return np.stack(columns, 1)


def mean_squares(level: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean squares between models and of the interaction, over their degrees of freedom; level (..., models, contexts)."""
    models, contexts = level.shape[-2:]
    mean = level.mean((-1, -2), keepdims=True)
    model, context = level.mean(-1, keepdims=True) - mean, level.mean(-2, keepdims=True) - mean
    left = level - mean - model - context
    return (contexts * (model**2).sum((-1, -2)) / (models - 1), (left**2).sum((-1, -2)) / ((models - 1) * (contexts - 1)))


def noise_squares(table: Grid) -> tuple[float, float]:
    """What sampling noise is expected to put into both mean squares: traces of the covariance between the projections."""
    models, contexts = table.level.shape
    if table.covariance is None:
        assert table.root is not None
        cells = np.arange(models * contexts)
        of_model, of_context = (_sums(table.root, code) for code in (cells // contexts, cells % contexts))
        total, single = float(np.square(table.root.sum(1)).sum()), float(column_squares(table.root).sum())
        return _expected(total, single, of_model, of_context, models, contexts)
    if table.covariance.ndim == 1:
        noise = float(table.covariance.mean())
        return noise, noise
    full = table.covariance.reshape(models, contexts, models, contexts)
    total, single = full.sum(), np.trace(table.covariance)
    return _expected(total, single, np.einsum("mcmd->", full), np.einsum("mcnc->", full), models, contexts)


def _sums(root: sp.csr_array, group: np.ndarray) -> float:
    """Variances of the sums over each group of cells, added up."""
    return float(
        column_squares(sp.csr_array(root @ sp.csr_array((np.ones(len(group)), (np.arange(len(group)), group))))).sum()
    )


def _expected(
    total: float, single: float, same_model: float, same_context: float, models: int, contexts: int
) -> tuple[float, float]:
    """Both mean squares of noise from sums of its covariance: of all cells, of each, within models, within contexts."""
    between = (same_model - total / models) / contexts / (models - 1)
    left = single - same_model / contexts - same_context / models + total / (models * contexts)
    return float(between), float(left / ((models - 1) * (contexts - 1)))


def share(between: np.ndarray, interaction: np.ndarray, contexts: int) -> np.ndarray:
    """The share from mean squares; negative components count as 0, and nothing at all as no interaction."""
    mixed = np.maximum(interaction, 0.0)
    model = np.maximum((between - interaction) / contexts, 0.0)
    return mixed / np.where(mixed + model > 0, mixed + model, 1.0)


def _noise(table: Grid, rng: np.random.Generator) -> np.ndarray:
    """Draws of the sampling noise, shape (BOOTSTRAPS, models * contexts)."""
    if table.covariance is None:
        assert table.root is not None
        return normal_draws(table.root, BOOTSTRAPS, rng)
    spread = rng.standard_normal((BOOTSTRAPS, table.level.size))
    return spread * np.sqrt(table.covariance) if table.covariance.ndim == 1 else spread @ _root(table.covariance).T


def _root(covariance: np.ndarray) -> np.ndarray:
    value, vector = np.linalg.eigh(covariance)
    return vector * np.sqrt(np.maximum(value, 0.0))
