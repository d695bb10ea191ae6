"""Evidence against "nothing has changed", valid whenever one looks.

Question: how strongly does the series of one chunk statistic speak for a change of its mean, at every moment, without a
test that must be planned? For a restart s (the change begins with chunk s) and an effect scale tau (in spreads),

    E_{s:t,tau} = [(1 + t^2/nu) / (1 + t^2/(nu g))]^((nu+1)/2) / sqrt(g),   g = 1 + nd tau^2,  nd = n1 n2 / (n1 + n2),

with the two-sample t of the chunks before s (reference included) against those since, nu = n1 + n2 - 2. It is a Bayes factor
under the right-Haar prior of location and scale, hence exact for Gaussian chunk statistics; winsorising at 3 robust
spreads keeps it so for heavy tails (measured: benchmarks/drift.md). Mixtures over restarts and scales:

    horizon of T chunks: M_t = (sum_s E_s + T - t) / T     P(ever M >= 1/alpha) <= alpha            (Ville)
    endless:             M_t = sum_s E_s                    E(chunks until M >= 1/alpha) >= 1/alpha  (an e-detector)

Old restarts are thinned (`kept`): a restart is a martingale of its own, so one that is dropped only makes M smaller.
Unit: none (a likelihood ratio); evidence is kept as e and shown as log e, in nats.
Sources: Gonen and others 2005; Perez-Ortiz, Lardy, de Heide, Grunwald 2024; Shin, Ramdas, Rinaldo 2024; Wang, Ramdas 2022.
"""

from __future__ import annotations

import dataclasses

import numpy as np

SCALES = (0.5, 1.0, 3.0)
"""Effect scales of the mixture, in spreads between chunks: a weak, a usual and a strong change."""
WINSOR = 4.0
"""Robust spreads at which a chunk statistic is cut: uncut, t3 tails give 23 % false alarms at a nominal 5 %; cut at 4 at
most 3 % over Gaussian, t5, t3 and lognormal chunks, at 5 more than 5 %. At 3 the alarm comes a chunk later."""
DENSE = 16
"""Restarts younger than this are all kept, those up to twice as old every second one, and so on."""
_LARGEST = 600.0  # nats at which one e-value is cut, so that sums of 1e40 of them stay finite


def log_e_value(t: np.ndarray, n1: np.ndarray, n2: np.ndarray, scale: float) -> np.ndarray:
    """log E of one two-sample t; log_e_value(2.24, 15, 15, 1.0) = log 2.766481."""
    freedom = n1 + n2 - 2
    growth = 1 + n1 * n2 / (n1 + n2) * scale**2
    ratio = np.square(t) / freedom
    return 0.5 * (freedom + 1) * (np.log1p(ratio) - np.log1p(ratio / growth)) - 0.5 * np.log(growth)


def half_width(n1: np.ndarray, n2: np.ndarray, alpha: float, scale: float = 1.0) -> np.ndarray:
    """|t| at which log E reaches log(1/alpha): the half width, in standard errors, of a confidence sequence."""
    freedom, growth = n1 + n2 - 2, 1 + n1 * n2 / (n1 + n2) * scale**2
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        reached = (np.sqrt(growth) / alpha) ** (2 / (freedom + 1))
        ratio = (reached - 1) / (1 - reached / growth)
    return np.where((freedom > 0) & (reached < growth), np.sqrt(freedom * np.maximum(ratio, 0)), np.inf)


def kept(restart: np.ndarray, now: int) -> np.ndarray:
    """Is the restart (number of a chunk, from 1) still kept at chunk `now`? About 16 log2(now / 16) of them are."""
    restart = np.asarray(restart)
    trailing = restart & -restart  # the largest power of two that divides it
    return now - restart < DENSE * trailing


@dataclasses.dataclass
class Evidence:
    """The mixtures of many statistics side by side; grows by one chunk at a time. Shapes: p statistics, k restarts."""

    horizon: int | None
    """Planned chunks of the stream; None: endless."""
    count: np.ndarray
    """Chunks seen of each statistic, reference included, shape (p,)."""
    total: np.ndarray
    """Their sum, in spreads, shape (p,)."""
    square: np.ndarray
    """Their sum of squares, shape (p,)."""
    chunks: int
    """Chunks of the stream so far."""
    restarts: np.ndarray
    """Number of the chunk with which each kept restart begins, shape (k,)."""
    before: np.ndarray
    """Count, sum and sum of squares before each restart, shape (3, k, p)."""
    mixture: np.ndarray
    """M of each statistic after the last chunk, shape (p,); 1 before the first."""
    by_restart: np.ndarray
    """E of each restart and statistic after the last chunk, mean over the scales, shape (k, p)."""

    @classmethod
    def start(cls, reference: np.ndarray, horizon: int | None) -> Evidence:
        """From winsorised reference statistics, shape (chunks, p); NaN where a chunk lacks one."""
        p = reference.shape[1]
        seen = np.isfinite(reference)
        value = np.where(seen, reference, 0.0)
        empty = np.zeros(0, np.int64)
        return cls(
            horizon,
            seen.sum(0).astype(float),
            value.sum(0),
            np.square(value).sum(0),
            0,
            empty,
            np.zeros((3, 0, p), np.float32),
            np.ones(p),
            np.zeros((0, p)),
        )

    def add(self, value: np.ndarray) -> None:
        """One more chunk of winsorised statistics, shape (p,); a statistic that is NaN keeps its evidence."""
        self.chunks += 1
        totals = np.stack([self.count, self.total, self.square])
        keep = kept(self.restarts, self.chunks)
        self.restarts, self.before = self.restarts[keep], self.before[:, keep]
        if self.horizon is None or self.chunks <= self.horizon:  # after the planned run no change is expected to begin
            self.restarts = np.append(self.restarts, self.chunks)
            self.before = np.concatenate([self.before, totals[:, None].astype(np.float32)], axis=1)
        seen = np.isfinite(value)
        filled = np.where(seen, value, 0.0)
        self.count = self.count + seen
        self.total = self.total + filled
        self.square = self.square + np.square(filled)
        self.by_restart = _mean_over_scales(self.before, np.stack([self.count, self.total, self.square]))
        self.mixture = self._mixed(self.by_restart)

    def _mixed(self, by_restart: np.ndarray) -> np.ndarray:
        summed = by_restart.sum(0)
        return summed if self.horizon is None else (summed + max(self.horizon - self.chunks, 0)) / self.horizon

    def shrunk(self, columns: np.ndarray, r: np.ndarray) -> np.ndarray:
        """M of some statistics if neighbouring chunks correlate by `r`: a mean then varies (1 + r)/(1 - r) times more."""
        now = np.stack([self.count, self.total, self.square])[:, columns]
        return self._mixed(_mean_over_scales(self.before[:, :, columns], now, (1 - r) / (1 + r)))


def _mean_over_scales(before: np.ndarray, now: np.ndarray, shrunk: np.ndarray | float = 1.0) -> np.ndarray:
    """E of every restart and statistic, shape (k, p); t^2 is multiplied by `shrunk`."""
    n1, sum1, square1 = before = before.astype(float)
    n2, sum2, square2 = now[:, None] - before
    usable = (n1 >= 2) & (n2 >= 1)
    n1, n2 = np.where(usable, n1, 2.0), np.where(usable, n2, 1.0)
    freedom = n1 + n2 - 2
    pooled = np.maximum(square1 - sum1**2 / n1, 0) + np.maximum(square2 - sum2**2 / n2, 0)
    share = n1 * n2 / (n1 + n2)
    ratio = (sum2 / n2 - sum1 / n1) ** 2 * share / np.maximum(pooled, 1e-9 * (n1 + n2))  # t^2 / freedom
    ratio = ratio * shrunk
    power, top = 0.5 * (freedom + 1), np.log1p(ratio)
    mean = np.zeros_like(ratio)
    for scale in SCALES:
        growth = 1 + share * scale**2
        mean += np.exp(np.minimum(power * (top - np.log1p(ratio / growth)) - 0.5 * np.log(growth), _LARGEST))
    return np.where(usable, mean / len(SCALES), 1.0)


GROUPS = {
    "scale": "shape",
    "upper_quantile": "shape",
    "tail_both": "tails",
    "tail_upper": "tails",
    "tail_lower": "tails",
    "lagged": "phase",
    "level": "classes",
    "association": "classes",
    "correlation": "same row",
    "spectrum": "embedding",
    "item_flips": "outcomes",
}
"""Groups of kinds that share the evidence of a family alike; kinds that are not named here are levels of one column."""


def family_weights(family: np.ndarray, kind: np.ndarray) -> np.ndarray:
    """Weight of each statistic in the mean of its family: groups share it alike, in a group its kinds, in a kind its own.

    Lagged correlations are ten times as many as correlations of the same row; alike weights would drown these.
    """
    weight = np.zeros(len(family))
    group = np.array([GROUPS.get(str(name), "level") for name in kind])
    for name in np.unique(family):
        groups = np.unique(group[family == name])
        for one in groups:
            kinds = np.unique(kind[(family == name) & (group == one)])
            for which in kinds:
                chosen = (family == name) & (kind == which)
                weight[chosen] = 1 / (len(groups) * len(kinds) * chosen.sum())
    return weight


def e_bh(e: np.ndarray, weight: np.ndarray, alpha: float) -> np.ndarray:
    """Which hypotheses e-BH rejects: expected share of false ones <= alpha, whatever their dependence (Wang, Ramdas 2022).

    `weight` has mean 1 over the hypotheses; e_bh([100, 50, 1], 1, .05) rejects the first (3/.05 = 60) and, with two
    rejections, whatever reaches 30: the first two.
    """
    scaled = np.asarray(e) * weight
    order = np.argsort(-scaled, kind="stable")
    enough = scaled[order] * np.arange(1, len(scaled) + 1) * alpha >= len(scaled)
    number = int(np.flatnonzero(enough)[-1]) + 1 if enough.any() else 0
    chosen = np.zeros(len(scaled), bool)
    chosen[order[:number]] = True
    return chosen
