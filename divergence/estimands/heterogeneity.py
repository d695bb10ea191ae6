"""Do the contexts of one regime differ at all? A test, before any estimate of how far.

    X2 = (M - 1 p)' V0^-1 (M - 1 p),      V0 = Var(M) if all contexts had the pooled level p

`M` are the levels of one model in its K contexts, `V0` their covariance over items, each variance carried to the pooled
level: for rates of independent items it is Pearson's chi-square on K - 1 degrees of freedom; items that several contexts
answered are paired, so that contexts that repeat each other's answers are not counted as new evidence. Where items are
clusters shared by contexts, p comes from Hotelling's F instead, whose covariance is estimated from as many items. With no
more items than contexts that covariance has no inverse to trust: p is then that of the two contexts furthest apart, a paired
t test, times the number of pairs (Bonferroni), which is never too small. Where sessions are logged a level moves with the
sessions that fell into its context, not with its rows: V0 is then as much larger as sessions make it (Wedderburn
1974), and p is an F's, whose second degrees of freedom are the sessions.

| `statistic` | what | rows |
|---|---|---|
| `heterogeneity` | X2 | per model and regime |
| `heterogeneity_df` | K - 1 | the same |
| `heterogeneity_p` | the chance of an X2 as large where no context differs | the same |
| `..._without` | the first and the last of these without the context that raises X2 most, `context` | the same |

Identified by two contexts of the model in the regime; where a context is one session of several rows, by another of several
sessions. A small p says that contexts differ, not how far; a large one that this log cannot tell them apart.
Source: Pearson 1900; Hotelling 1931.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.special import chdtrc, fdtrc, stdtr

from divergence.identification import needs
from divergence.joint.arms import Arms
from divergence.joint.posterior import Fit

SINGULAR = 1e-6  # of the largest variance of a level: contexts whose answers are copies leave a direction without variance


def heterogeneity(fit: Fit) -> Iterator[tuple[str, str, str | None, str, float]]:
    """(regime, model, context, statistic, value) for every model with two contexts in a regime."""
    arms, names = fit.arms, fit.cells.levels
    for deployed in np.unique(arms.deployed):
        for m in np.unique(arms.model):
            mine = np.flatnonzero((arms.model == m) & (arms.deployed == deployed))
            if len(mine) < 2 or needs.sessions_of_their_own(fit.log_design, int(m), bool(deployed)):
                continue
            place = ("deployment" if deployed else "evaluation", names["model"][m])
            covariance, each = arms.covariance_of(mine), np.arange(len(mine))
            size, freedom, p = chi_square(arms, mine, covariance)
            yield *place, None, "heterogeneity", size
            yield *place, None, "heterogeneity_df", float(freedom)
            yield *place, None, "heterogeneity_p", p
            if len(mine) > 2:
                without = [np.delete(each, k) for k in each]
                found = [chi_square(arms, mine[kept], covariance[np.ix_(kept, kept)]) for kept in without]
                least = min(each, key=lambda k: found[k][0])
                context = names["context"][arms.context[mine[least]]]
                rest, _, p = found[least]
                yield *place, context, "heterogeneity_without", rest
                yield *place, context, "heterogeneity_p_without", p


def chi_square(arms: Arms, mine: np.ndarray, covariance: np.ndarray | None = None) -> tuple[float, int, float]:
    """X2, its degrees of freedom and its p for these arms (indices) of one model; `covariance`: their levels', if known."""
    level, clusters = arms.level[mine], arms.clusters[mine]
    covariance = arms.covariance_of(mine) if covariance is None else covariance
    variance = np.diag(covariance)
    pooled = float(clusters @ level / clusters.sum())
    if arms.link == "logit":
        # The pooled level's variance is a Bernoulli item's; a fraction's items vary less, by their mean share of it.
        own, grouped = level * (1 - level), _sessions(arms, mine)
        told = own > 0
        if grouped is not None:
            told &= grouped != 1  # a session of one's own shows nothing of how sessions differ
        share = float((variance * (clusters - 1))[told].sum() / own[told].sum()) if told.any() else 1.0
        share = min(share, 1.0) if grouped is None else share * _bessel(grouped)
        target = share * pooled * (1 - pooled) / clusters
    else:
        target = variance
    scale = np.sqrt(np.where(variance > 0, target / np.where(variance > 0, variance, 1.0), 0.0))
    null = covariance * np.outer(scale, scale)
    null[np.diag_indices_from(null)] = target
    contrast = np.eye(len(mine))[1:] - np.eye(len(mine))[0]
    values, vectors = np.linalg.eigh(contrast @ null @ contrast.T)
    kept = values > SINGULAR * target.max()
    if not kept.any():
        return 0.0, 0, 1.0
    size = float(np.square(vectors[:, kept].T @ (contrast @ level) / np.sqrt(values[kept])).sum())
    freedom = int(kept.sum())
    paired = np.abs(null - np.diag(target)).max() > SINGULAR * target.max()
    items, sessions = float(clusters.min()), _sessions(arms, mine)
    if sessions is not None:
        items = min(items, float(sessions.min()))
    if paired and items <= freedom + 1:
        return size, freedom, _widest_pair(level, null, items)
    if paired:
        return size, freedom, float(fdtrc(freedom, items - freedom, size * (items - freedom) / (freedom * (items - 1))))
    if sessions is not None:
        return size, freedom, float(fdtrc(freedom, max(sessions.sum() - len(mine), 1.0), size / freedom))
    return size, freedom, float(chdtrc(freedom, size))


def _sessions(arms: Arms, mine: np.ndarray) -> np.ndarray | None:
    """Sessions behind each of these levels, shape (n,); None where sessions add nothing to what single items gave."""
    if arms.sessions is None or arms.session_share is None or not (arms.session_share[mine] > 0).any():
        return None
    return arms.sessions[mine]


def _bessel(sessions: np.ndarray) -> float:
    """What the sums of squares about each context's own level miss of the variance between its sessions."""
    return float((sessions / np.maximum(sessions - 1, 1.0)).mean())


def _widest_pair(level: np.ndarray, null: np.ndarray, items: float) -> float:
    """p of the pair of contexts that lies furthest apart in its own standard errors, for all pairs."""
    first, second = np.triu_indices(len(level), 1)
    variance = np.diag(null)[first] + np.diag(null)[second] - 2 * null[first, second]
    told = variance > SINGULAR * np.diag(null).max()
    far = np.abs(level[first] - level[second])[told] / np.sqrt(variance[told])
    freedom = max(items - 1, 1.0)
    return float(min(1.0, len(first) * 2 * stdtr(freedom, -far.max(initial=0.0))))
