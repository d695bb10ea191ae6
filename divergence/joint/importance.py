"""Adaptive importance sampling from the posterior mode: seconds where textbook NUTS takes minutes.

The mode of the coordinates, a proposal with the inverse Hessian as its shape, then rounds in which the proposal takes
centre, correlations and both half-widths of each axis from all draws so far: a standard deviation that may be zero has a
long left tail and a short right one (split proposals: Geweke 1989). While a few draws dominate, the adaptation tempers their
weights, so that correlations come from more draws than there are axes. All rounds count, each weighted by the mixture of
the proposals (adaptive multiple importance sampling, Cornuet, Marin, Mira and Robert 2012); weights are Pareto-smoothed
and their k-hat is the gate (Vehtari et al. 2024).
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Protocol

import numpy as np
import scipy.linalg
import scipy.optimize
from scipy.special import gammaln, logsumexp

from divergence.calling import sentence_fields
from divergence.cells import Cells
from divergence.errors import InputError
from divergence.joint.arms import Arms, clustered_arms
from divergence.joint.block_device import on_device
from divergence.joint.methods import K_HAT_MAX, NEWTON_STEP_MAX, Diagnostic, Sample, effective_draws
from divergence.joint.pareto import smoothed_weights
from divergence.joint.problem import Data, density_of
from divergence.joint.spec import Spec
from divergence.numerics import NORMAL_95
from divergence.random_streams import stream

# Degrees of freedom of the Student-t proposals, by round. Heavy tails find what the mode's curvature hides, and stay in
# the mixture; each costs 8 % of the draws an axis, so the rest have lighter ones. With 10 throughout, 5 and 95 %
# quantiles of the embedded log's coordinates came out .09 sd too near; with these as with 3 throughout .05, in half the
# rounds.
FREEDOM = (3.0, 3.0, 8.0)
DRAWS_AN_AXIS = 5.0  # effective draws that an adaptation rests on, at least: a covariance needs more draws than axes
GOOD_ENOUGH = 0.75  # share of the k-hat gate at which adaptation stops: room for the estimate's own noise
INFLATION = 2.0  # of the first proposal: standard deviations near zero make the posterior wider than its curvature
PRIOR_CURVATURE = 0.25  # of a coordinate with a standard normal prior at least, near the mode
# The density of a proposal jumps where its halves meet, and they meet at a point that was drawn (a median): rounding, which
# differs between processors and devices, must not decide on which side that point lies.
SEAM = 1e-9
TOGETHER = 32  # axes that one logarithm is taken of: a logarithm an axis was half of a density
DEVICES = ("host", "jax")
NEWTON_STEPS = 8  # after BFGS one or two are taken
NEAR = 1.0  # posterior sds from the mode, within which the curvature is taken for the mode's
ROUNDING = 1e-12  # of the largest curvature: smaller ones are not told from none


class Target(Protocol):
    """A log density to draw from, up to a constant."""

    def density(self, x: np.ndarray) -> np.ndarray:
        """At points (n, dims), shape (n,)."""
        ...

    def gradient(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """At one point (dims,): value and gradient."""
        ...

    def curvature(self, x: np.ndarray) -> np.ndarray:
        """Minus the Hessian at one point, shape (dims, dims)."""
        ...


@sentence_fields
@dataclasses.dataclass(frozen=True)
class Importance:
    """The default method of `fit`: rounds of proposals until the weights are good, then equally weighted draws.

    Its gates are the Pareto k-hat and the effective draws. Raises InputError for an argument that does not exist.

    >>> import divergence as dv
    >>> dv.Importance(draws=4000).draws
    4000
    """

    draws: int = 2000
    """Draws kept."""
    proposals: int = 1000
    """Proposals of one round."""
    last: int = 4000
    """Most proposals of the last round, after adaptation: as many as make the effective draws as many as are kept."""
    rounds: tuple[int, int] = (3, 12)
    """Least and most rounds of adaptation."""
    device: str = "host"
    """Where the densities of a log of more than 128 arms are computed: `host` (NumPy), or `jax`: on all devices that JAX has
    (models are shared out among them). The draws are the same. On a CPU the host is faster for one fit: see
    `benchmarks/device.md`."""

    own_sentences = False  # but for the device

    def __post_init__(self) -> None:
        if self.device not in DEVICES:
            raise InputError(f"the device is one of {', '.join(DEVICES)}, seen {self.device!r}")

    measurement = "arm-level"

    def measure(self, cells: Cells, spec: Spec | None = None) -> Arms:
        """The arms of the log: clustered means."""
        return clustered_arms(cells, spec or Spec())

    def __call__(self, data: Data, seed: int) -> Sample:
        """Draw from the posterior of the coordinates given `data` (see `numpyro_model.joint_model`)."""
        host = density_of(data)
        target, start = on_device(host, self.device), np.zeros(host.dims) if host.start is None else host.start
        x, gates = self.sample(target, start, seed, PRIOR_CURVATURE)
        return Sample(x, gates, "importance sampling")

    def sample(
        self, target: Target, start: np.ndarray, seed: int, least: float
    ) -> tuple[np.ndarray, tuple[Diagnostic, ...]]:
        """Draws (S, dims) of any density with one mode, searched from `start`, and the gates.

        `least` is the smallest curvature that an axis of the first proposal is believed to have.
        """
        rng, dims = stream(seed, "proposals"), len(start)
        mode, shape, newton = find_peak(target, start, least)
        proposal = Proposal(mode, np.linalg.cholesky(INFLATION * shape), np.ones(dims), np.ones(dims), FREEDOM[0])
        pool, effective = Pool.empty(dims), 0.0
        for turn in range(self.rounds[1]):
            pool = pool.joined(target, proposal, self.proposals, rng)
            log_weight = pool.log_weight
            weight, k_hat = smoothed_weights(log_weight)
            freedom = FREEDOM[min(turn + 1, len(FREEDOM) - 1)]
            proposal = _adapted(pool.points, _tempered(log_weight, DRAWS_AN_AXIS * dims), freedom)
            effective = 1 / (weight**2).sum()
            if turn + 1 >= self.rounds[0] and k_hat < GOOD_ENOUGH * K_HAT_MAX and effective > self.draws / 2:
                break
        wanted = (self.draws - effective) * len(pool.points) / max(effective, 1.0)  # at the rate of all rounds so far
        last = min(max(wanted, self.proposals), self.last)
        pool = pool.joined(target, proposal, int(last), rng)
        points, (weight, k_hat) = pool.points, smoothed_weights(pool.log_weight)
        effective = 1 / (weight**2).sum()
        picks = np.searchsorted(np.cumsum(weight), (np.arange(self.draws) + rng.random()) / self.draws)
        x = rng.permutation(points[np.minimum(picks, len(points) - 1)])
        return x, _gates(k_hat, effective, newton)


def _gates(k_hat: float, effective: float, newton: float) -> tuple[Diagnostic, ...]:
    return (
        Diagnostic(
            "Pareto k-hat",
            k_hat,
            K_HAT_MAX,
            bool(k_hat < K_HAT_MAX),
            "the importance weights are dominated by a few draws: intervals may be wrong",
        ),
        effective_draws(effective),
        Diagnostic(
            "Newton step at the mode",
            newton,
            NEWTON_STEP_MAX,
            bool(newton < NEWTON_STEP_MAX),
            "the mode search did not converge",
        ),
    )


def climb(target: Target, start: np.ndarray, inverse: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The mode by BFGS (dims,), and what it took for the inverse of the curvature (dims, dims): from `inverse` on, where an
    alike density has left one."""

    def downhill(x: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = target.gradient(x)
        return -value, -slope

    options = {"gtol": 1e-5, "hess_inv0": inverse}
    found = scipy.optimize.minimize(downhill, start, jac=True, method="BFGS", options=options)
    return found.x, (found.hess_inv + found.hess_inv.T) / 2


def _shape_near(target: Target, start: np.ndarray, least: float) -> np.ndarray | None:
    """Inverse of the curvature at a start (dims,) from which the mode is a posterior sd away or less; None from others.

    Slopes have units: far out in a tail, or of a density whose units are large, one may be small. So it is the Newton step
    that tells, where the density bends down along every axis.
    """
    slope = target.gradient(start)[1]
    if np.abs(slope).max() >= NEAR:  # in the joint model, whose priors have a curvature of 1, that says it without one
        return None
    curvature = target.curvature(start)
    if not np.isfinite(curvature).all():
        return None
    values, vectors = np.linalg.eigh(curvature)
    if values[0] < max(least, ROUNDING * values[-1]):
        return None
    shape = (vectors / values) @ vectors.T
    return (shape + shape.T) / 2 if _in_sds(shape @ slope, shape) < NEAR else None


def _in_sds(move: np.ndarray, shape: np.ndarray) -> float:
    """The longest way along an axis of a move (dims,), in standard deviations of a covariance."""
    return float(np.abs(move / np.sqrt(np.diag(shape))).max())


def find_peak(target: Target, start: np.ndarray, least: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Mode, inverse of the curvature there (its eigenvalues at least `least`), and the last Newton step in posterior sds.

    From a start that is near the curvature is taken there: it shapes the first proposal only.
    """

    def inverse(x: np.ndarray) -> np.ndarray:
        values, vectors = np.linalg.eigh(target.curvature(x))
        return (vectors / np.maximum(values, least)) @ vectors.T

    first = _shape_near(target, start, least)
    mode, _ = climb(target, start, first)
    shape, length = first, np.inf
    if shape is None or _in_sds(mode - start, shape) > NEAR:
        shape = inverse(mode)
    for turn in range(NEWTON_STEPS):
        if turn:
            shape = inverse(mode)
        move = shape @ target.gradient(mode)[1]
        length = _in_sds(move, shape)
        if length < NEWTON_STEP_MAX:
            break
        mode = mode + move * min(1.0, 0.5 / length)
    return mode, shape, length


@dataclasses.dataclass(frozen=True)
class Proposal:
    """Independent Student-t axes with a half-width to either side, then correlated: x = centre + root z."""

    centre: np.ndarray
    """Where both halves meet, shape (dims,)."""
    root: np.ndarray
    """Lower triangle that correlates the axes, shape (dims, dims)."""
    low: np.ndarray
    """Half-width to the left, in units of `root`, shape (dims,)."""
    high: np.ndarray
    """Half-width to the right."""
    freedom: float
    """Degrees of freedom."""

    def draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Points, shape (count, dims)."""
        z = rng.standard_t(self.freedom, (count, len(self.centre)))
        return self.centre + np.where(z < 0, self.low * z, self.high * z) @ self.root.T

    def log_density(self, points: np.ndarray) -> np.ndarray:
        """Log density at points (n, dims), shape (n,)."""
        z = self._inverse @ np.subtract(points, self.centre).T  # an axis a row
        left, free = z < -SEAM, self.freedom
        z *= np.where(left, 1 / self.low[:, None], 1 / self.high[:, None])
        np.square(z, out=z)
        z /= free
        z += 1.0
        with np.errstate(over="ignore"):  # so far out that no other proposal of the mixture leaves anything to this one
            tails = np.log(np.multiply.reduceat(z, range(0, len(z), TOGETHER), axis=0)).sum(0)
        constant = gammaln((free + 1) / 2) - gammaln(free / 2) - 0.5 * np.log(free * np.pi)
        every = len(z) * constant - np.log(self.high).sum() - np.log(np.diag(self.root)).sum()
        return every - (np.log(self.low) - np.log(self.high)) @ left - (free + 1) / 2 * tails

    @functools.cached_property
    def _inverse(self) -> np.ndarray:
        """Of `root`: one product with all points takes a sixth of the time in which a triangle is solved for them."""
        return scipy.linalg.solve_triangular(self.root, np.eye(len(self.root)), lower=True)


@dataclasses.dataclass(frozen=True)
class Pool:
    """All points so far, and the density of each of all proposals at each of them."""

    points: np.ndarray
    """Shape (n, dims)."""
    density: np.ndarray
    """Log target density, shape (n,)."""
    proposals: tuple[Proposal, ...]
    """One a round, K of them."""
    sizes: np.ndarray
    """How many of the points each gave, shape (K,)."""
    mixture: np.ndarray
    """Their log densities, shape (K, n)."""

    @classmethod
    def empty(cls, dims: int) -> Pool:
        """Before the first round."""
        return cls(np.empty((0, dims)), np.empty(0), (), np.empty(0), np.empty((0, 0)))

    def joined(self, target: Target, proposal: Proposal, count: int, rng: np.random.Generator) -> Pool:
        """With `count` points of one more proposal."""
        fresh = proposal.draw(count, rng)
        every = (*self.proposals, proposal)
        old = np.concatenate([self.mixture, proposal.log_density(self.points)[None]])
        return Pool(
            np.concatenate([self.points, fresh]),
            np.concatenate([self.density, target.density(fresh)]),
            every,
            np.append(self.sizes, count),
            np.concatenate([old, [p.log_density(fresh) for p in every]], axis=1),
        )

    @property
    def log_weight(self) -> np.ndarray:
        """Log density over that of the proposals' mixture, shape (n,)."""
        share = np.log(self.sizes / self.sizes.sum())
        return self.density - logsumexp(self.mixture + share[:, None], axis=0)


def _tempered(log_weight: np.ndarray, least: float) -> np.ndarray:
    """Weights to the largest power, at most 1, that leaves `least` effective draws; they sum to one."""

    def powered(power: float) -> np.ndarray:
        return np.exp(power * log_weight - np.asarray(logsumexp(power * log_weight)))

    below = log_weight - log_weight.max()

    def effective(power: float) -> float:
        mass = np.exp(power * below)
        return mass.sum() ** 2 / np.square(mass).sum()

    low, high = 0.0, 1.0
    if effective(1.0) >= least:
        return powered(1.0)
    for _ in range(20):  # to 1e-6
        middle = (low + high) / 2
        low, high = (middle, high) if effective(middle) >= least else (low, middle)
    return powered(low)


def _adapted(points: np.ndarray, weight: np.ndarray, freedom: float) -> Proposal:
    """The proposal that weighted points ask for: medians, covariance, and half-widths from the 5 and 95 % quantiles."""
    offset = points - weight @ points
    root = np.linalg.cholesky((weight[:, None] * offset).T @ offset + 1e-6 * np.eye(points.shape[1]))
    z = np.ascontiguousarray(scipy.linalg.solve_triangular(root, points.T, lower=True))  # an axis a row: what is sorted
    order = np.argsort(z, axis=1)
    mass = np.cumsum(weight[order], axis=1)
    axes, last = np.arange(len(z)), z.shape[1] - 1
    found = (order[axes, np.minimum((mass < q).sum(1), last)] for q in (0.05, 0.5, 0.95))
    lower, middle, upper = (z[axes, place] for place in found)
    below, above = (np.maximum(side / NORMAL_95, 0.2) for side in (middle - lower, upper - middle))
    return Proposal(root @ middle, root, below, above, freedom)
