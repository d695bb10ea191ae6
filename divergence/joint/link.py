"""From levels to the link scale: the working response of quasi-likelihood.

A level near 1 has a small variance because it is near 1, and taken at its word it would outvote its neighbours. So the
variance is a function of the *fitted* level `mu` (quasi-likelihood: Wedderburn 1974; linearised as in Breslow and
Clayton 1993):

    value_a = link(mu_a) + (M_a - mu_a) link'(mu_a),      Var(M_a) = ratio_a q(mu_a),

with `q(mu) = mu (1 - mu)` for scores and `mu^2` for times and costs. `ratio_a` is what the clusters showed, variance
over `q`, drawn towards the log's mean ratio where few items failed, or where the values of few items are so uneven that
their variance is hardly known: otherwise generalised least squares would take the arms that happen to look sure at their
word. Times are drawn upwards only. Correlations are those of the clusters.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.sparse as sp

from divergence.joint.arms import Arms
from divergence.joint.noise import groups_of_root, of_groups, pooled_noise
from divergence.joint.paired import FLIPS, Measured, measure
from divergence.numerics import column_squares, expit, logit, nearest_psd, square_root

PSEUDO = 0.5  # Jeffreys: half a success and half a failure, so that a first fit has a finite place to start from
STEADY_FAILURES = 5.0  # items on the rarer side that weigh as much as the log's mean ratio


@dataclasses.dataclass(frozen=True)
class Response:
    """What the hierarchical model is conditioned on."""

    value: np.ndarray
    """Working responses on the link scale, shape (A,)."""
    covariance: np.ndarray | None
    """Their covariance as it rules the standard deviations (`paired`), shape (A, A); None of so many arms that only its
    `parts` are kept."""
    mu: np.ndarray
    """The fitted levels at which they were linearised, outcome scale, shape (A,)."""
    noise_log_sd: np.ndarray | None = None
    """Sd of the log of each variance (`noise`), shape (A,); None where they are taken as known."""
    noise_lean: np.ndarray | None = None
    """Its correlation with the mean error of the arm's group, shape (A,)."""
    noise_group: np.ndarray | None = None
    """Code of the arms whose noise hangs together, shape (A,)."""
    root: np.ndarray | sp.csr_array | None = None
    """Root of the whole noise, which draws take, shape (R, A); None: `covariance` is the noise, and conditioning exact."""
    parts: Measured | None = None
    """The parts of the covariance, where it is not kept as a matrix."""

    def noise_of(self, arms: np.ndarray) -> np.ndarray:
        """The covariance of the whole noise of some arms (n,), shape (n, n)."""
        if self.root is None:
            return self.matrix[np.ix_(arms, arms)]
        mine = self.root[:, arms]
        product = mine.T @ mine
        return product if isinstance(product, np.ndarray) else product.toarray()

    @property
    def noise(self) -> np.ndarray:
        """The covariance of the whole noise, shape (A, A)."""
        return self.noise_of(np.arange(len(self.value)))

    @property
    def matrix(self) -> np.ndarray:
        """`covariance` as a matrix, made of its parts where it is not kept, shape (A, A)."""
        if self.covariance is not None:
            return self.covariance
        assert self.parts is not None
        return self.parts.covariance()

    @property
    def variance(self) -> np.ndarray:
        """Its diagonal, shape (A,)."""
        if self.covariance is not None:
            return np.diag(self.covariance)
        assert self.parts is not None
        return self.parts.variance

    @property
    def noise_variance(self) -> np.ndarray:
        """Variances of the whole noise, shape (A,)."""
        return self.variance if self.root is None else column_squares(self.root)


def to_link(mu: np.ndarray, link: str) -> np.ndarray:
    """Outcome scale to link scale."""
    return logit(mu) if link == "logit" else np.log(mu)


def from_link(value: np.ndarray, link: str) -> np.ndarray:
    """Link scale to outcome scale."""
    return expit(value) if link == "logit" else np.exp(value)


def variance_function(mu: np.ndarray, link: str) -> np.ndarray:
    """`q(mu)`, up to the ratio."""
    return mu * (1 - mu) if link == "logit" else mu**2


def start(arms: Arms) -> np.ndarray:
    """Where the first linearisation is made: levels with Jeffreys' half success and half failure; shape (A,)."""
    if arms.link == "log":
        return arms.level
    return (arms.clusters * arms.level + PSEUDO) / (arms.clusters + 2 * PSEUDO)


def _inside(arms: Arms) -> np.ndarray:
    """Levels that are not at the end of the scale, shape (A,): none failed of n items is half a failure of n + 1.

    The working response of a level of 1 has no place to settle: each round would move it on, beyond what n items can say.
    """
    if arms.link == "log":
        return arms.level
    end = PSEUDO / (arms.clusters + 2 * PSEUDO)
    return np.clip(arms.level, end, 1 - end)


def linearise(arms: Arms, mu: np.ndarray) -> Response:
    """The working response at fitted levels `mu` (A,)."""
    slope, judged = _slope(mu, arms.link), _told_apart(arms, mu)
    value = to_link(mu, arms.link) + (_inside(arms) - mu) / slope
    seen, fitted = variance_function(arms.level, arms.link), variance_function(mu, arms.link)
    carry = np.where(seen > 0, np.sqrt(fitted / np.where(seen > 0, seen, 1.0)), 1.0) / slope
    least = np.zeros(len(arms)) if arms.least is None else arms.least / _slope(judged, arms.link) ** 2
    steady = _ratio(arms) * variance_function(judged, arms.link) / _slope(judged, arms.link) ** 2
    place = arms.context * 2 + arms.deployed
    noise = (None, None, None)
    if arms.covariance is None:
        carried = sp.csr_array(arms.root @ sp.diags_array(carry))
        found = measure(carried, arms.model, arms.deployed, place, least, steady, arms.clusters)
        if arms.noise_log_sd is not None and arms.noise_lean is not None and arms.noise_log_sd.any():
            noise = of_groups(groups_of_root(sp.csr_array(arms.root)), arms.noise_log_sd, arms.noise_lean)
        return Response(value, None, mu, *noise, found.root, found)
    root = (square_root(arms.covariance) if arms.root is None else arms.root) * carry
    found = measure(root, arms.model, arms.deployed, place, least, steady, arms.clusters)
    covariance = nearest_psd(found.covariance())
    if arms.noise_log_sd is not None and arms.noise_lean is not None:
        noise = pooled_noise(arms.covariance, arms.noise_log_sd, arms.noise_lean)
    return Response(value, covariance, mu, *noise, found.root)


def _told_apart(arms: Arms, mu: np.ndarray) -> np.ndarray:
    """The fitted levels, no nearer to the ends of the scale than the flips that n items may hide; shape (A,).

    The logit runs away there: by its slope at 1 a few flips of hundreds of items would be half of the scale.
    """
    if arms.link == "log":
        return mu
    inner = np.minimum(np.sqrt(FLIPS) / np.maximum(arms.clusters, 1.0), 0.5)
    return np.clip(mu, inner, 1 - inner)


def _slope(mu: np.ndarray, link: str) -> np.ndarray:
    """d level / d link."""
    return mu * (1 - mu) if link == "logit" else mu


def _ratio(arms: Arms) -> np.ndarray:
    """Variance of each level over `q`, shape (A,)."""
    q = variance_function(arms.level, arms.link)
    per_item = np.where(q > 0, arms.variance * arms.clusters / np.where(q > 0, q, 1.0), 0.0)
    rare = arms.clusters * (np.minimum(arms.level, 1 - arms.level) if arms.link == "logit" else 1.0)
    # Items that never differed: a Bernoulli item's ratio for scores, a thousandth of the level for times and costs.
    nothing = 1.0 if arms.link == "logit" else 1e-6
    mean = (rare @ per_item) / rare.sum() if rare @ per_item > 1e-12 * rare.sum() else nothing
    weight = rare if arms.link == "logit" else _freedom(arms)
    steady = (weight * per_item + STEADY_FAILURES * mean) / (weight + STEADY_FAILURES)
    if arms.link == "log":  # an arm of one outlier is as unsure as it looks: its level has the outlier in it
        steady = np.maximum(steady, per_item)
    return steady / arms.clusters


def _freedom(arms: Arms) -> np.ndarray:
    """Normal values that would tell each variance as well as the items do, at most their number, shape (A,)."""
    if arms.noise_log_sd is None:
        return arms.clusters
    return np.minimum(2 / np.maximum(arms.noise_log_sd, 1e-6) ** 2, arms.clusters)
