"""How do known items differ from what their stratum says, and how does that carry over models and contexts? A probit factor
model of items, fitted by expectation propagation.

    y_ai ~ Binomial(n_ai, Phi(f_ai)),    f_ai = m_at sqrt(1 + v_a) + lambda_a . z_i + w_ai
    z_i ~ N(0, I_r),    w_ai ~ N(0, psi_a),    v_a = |lambda_a|^2 + psi_a

An arm a is a model in a context of a regime, m_at its probit level in the stratum t, so that the mean over new items is
Phi(m_at): the item layer never contradicts the table of strata. z_i is what an item brings to every arm, through loadings
that say which arms it is hard for; w_ai is what only this arm makes of it, and what makes a repeated answer a copy: with a
large v_a an outcome that was seen once comes again. Loadings and variances are found by expectation maximisation, and an arm
with few items takes them from the arms that it is tied to by its model and its context:

    lambda_a ~ N(mu + model + context, tau^2),    psi_a worth `UNIQUE_ITEMS` items of the mean over arms

with tau^2 estimated like the rest (empirical Bayes), the mean psi from repeats alone (`UNIQUE` where there are none), and
each tie shrunk as if it varied like the arms it ties. Each item's posterior is Gaussian, its moments matched cell by cell
(exact for single trials, 15 nodes around the mode for more).

The likelihood of a cell without its own site is a held-out prediction of that cell from the item's other cells; the number
of factors is the one that predicts cells of items best that took no part in the fit. Unit: probits. Sources: Bock and Aitkin
1981 (the model), Minka 2001 and Opper and Winther 2000 (its fit and leaving one out), Liu, Rubin and Wu 1998 (the steps).
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
from scipy.special import log_ndtr, ndtr

from divergence.random_streams import stream

RANKS = (1, 3, 6)  # numbers of factors that are tried
ITEMS_FITTED = 1500  # loadings need no more; every item gets its own posterior
ROUNDS, SWEEPS_FIRST, SWEEPS, SWEEPS_LAST = 25, 4, 2, 5
TIE_VARIANCE, TIE_LOADINGS = 0.25, 4.0  # prior of tau^2, and how many loadings it is worth
UNIQUE, UNIQUE_ITEMS = 1.0, 4.0  # prior of psi: one trial a cell says nothing of it, and then a repeat is worth a trial
VARIANCE_MAX = 400.0  # a repeat that fails to repeat once in a hundred times costs less than a wrong certainty
UNIQUE_MIN = 1e-3
UNDECIDED = 2.0  # standard errors that a third of the items must gain to say alone that there is something
CELLS_FEW = 2_000  # up to which tenths are left out then, not thirds: which third a fit lacks would decide
REPEATS_KNOWN = 20.0  # cells tried again, from which the prior of psi weighs a sixth
EMPTY = 1e-9  # precision of a site that says nothing
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(15)
NEWTON, STEP_MAX, NEAR = 15, 3.0, 1e-10
TAIL_MAX = 35.0  # Phi(-37) is the last that is a float
HALF_LOG_TAU = 0.5 * np.log(2 * np.pi)


@dataclasses.dataclass(frozen=True)
class ItemCells:
    """Trials of items in arms, one row a cell."""

    item: np.ndarray
    """Code of the item, int."""
    arm: np.ndarray
    """Code of the arm, int."""
    n: np.ndarray
    """Trials."""
    y: np.ndarray
    """Successes, or the sum of fractional scores."""
    middle: np.ndarray
    """Probit level m_at of the cell's arm and stratum."""

    def of(self, chosen: np.ndarray) -> ItemCells:
        """The cells of some items (a mask), which are numbered anew."""
        keep = chosen[self.item]
        rank = np.cumsum(chosen) - 1
        return ItemCells(rank[self.item[keep]], *(v[keep] for v in (self.arm, self.n, self.y, self.middle)))


@dataclasses.dataclass(frozen=True)
class Factors:
    """What items have in common."""

    loadings: np.ndarray
    """lambda, shape (arms, factors)."""
    unique: np.ndarray
    """psi, shape (arms,)."""

    @functools.cached_property
    def variance(self) -> np.ndarray:
        """v, shape (arms,)."""
        return (self.loadings**2).sum(1) + self.unique


class Sites:
    """The Gaussian site of every cell, and the items' posteriors that they make."""

    def __init__(self, cells: ItemCells, items: int, seed: int = 0) -> None:
        """Sites that say nothing yet. Cells of an item are visited in a random order of arms, the same for all items: it
        must not depend on how items are numbered."""
        turns = stream(seed, "turns of arms").permutation(int(cells.arm.max()) + 1 if len(cells.arm) else 0)
        order = np.lexsort((turns[cells.arm], cells.item))
        self.order = order
        """Place of each of these cells among those given."""
        self.cells = ItemCells(*(getattr(cells, f.name)[order] for f in dataclasses.fields(ItemCells)))
        self.items = items
        rank = np.arange(len(order)) - np.searchsorted(self.cells.item, self.cells.item)
        self.turn = np.argsort(rank, kind="stable")
        """The cells in the order of their turns: the first of every item, the second ..."""
        ends = np.cumsum(np.bincount(rank))
        self.turns = [slice(end - size, end) for end, size in zip(ends, np.bincount(rank), strict=True)]
        self.precision = np.full(len(order), EMPTY)
        self.shift = np.zeros(len(order))
        self.held_out = np.zeros(len(order))
        """Log density of each cell given the item's other cells."""

    def posterior(self, factors: Factors) -> tuple[np.ndarray, np.ndarray]:
        """Mean (items, r) and covariance (items, r, r) of z."""
        loading = factors.loadings[self.cells.arm]
        thinned, shift = self._outside(factors, slice(None))
        rank = loading.shape[1]
        total = np.tile(np.eye(rank), (self.items, 1, 1))
        sums = np.zeros((self.items, rank))
        if len(loading):
            first = np.flatnonzero(np.diff(self.cells.item, prepend=-1))
            there = self.cells.item[first]
            total[there] += np.add.reduceat(
                thinned[:, None, None] * loading[:, :, None] * loading[:, None, :], first, axis=0
            )
            sums[there] = np.add.reduceat(shift[:, None] * loading, first, axis=0)
        covariance = np.linalg.inv(total)
        return np.einsum("irs,is->ir", covariance, sums), covariance

    def _outside(self, factors: Factors, which) -> tuple[np.ndarray, np.ndarray]:
        """Precision and shift of the sites as they bear on lambda . z: w is integrated out, the level taken off."""
        psi, tau = factors.unique[self.cells.arm[which]], self.precision[which]
        return tau / (1 + tau * psi), (self.shift[which] - tau * self._centre(factors, which)) / (1 + tau * psi)

    def _centre(self, factors: Factors, which) -> np.ndarray:
        return self.cells.middle[which] * np.sqrt(1 + factors.variance[self.cells.arm[which]])

    def sweep(self, factors: Factors) -> None:
        """Match the moments of every cell once, one cell of every item at a time."""
        mean, covariance = self.posterior(factors)
        items, arm, y, n = (v[self.turn] for v in (self.cells.item, self.cells.arm, self.cells.y, self.cells.n))
        loadings, unique, centres = factors.loadings[arm], factors.unique[arm], self._centre(factors, self.turn)
        before = self._outside(factors, self.turn)
        found = np.empty((3, len(arm)))
        for turn in self.turns:
            item = items[turn] if turn.stop - turn.start < self.items else slice(None)  # a view where every item has a cell
            loading, psi, centre, thinned, shift = (v[turn] for v in (loadings, unique, centres, *before))
            along = np.matmul(covariance[item], loading[:, :, None])[:, :, 0]
            spread, middle = (along * loading).sum(1), (loading * mean[item]).sum(1)
            left = np.maximum(1 - spread * thinned, 1e-10)
            cavity, cavity_mean = spread / left + psi, (middle - spread * shift) / left + centre
            matched, variance, held_out = matched_moments(y[turn], n[turn], cavity_mean, cavity)
            tau, pulled = np.maximum(1 / variance - 1 / cavity, EMPTY), matched / variance - cavity_mean / cavity
            found[:, turn] = tau, pulled, held_out
            more, pull = tau / (1 + tau * psi) - thinned, (pulled - tau * centre) / (1 + tau * psi) - shift
            gain = more / np.maximum(1 + more * spread, 1e-10)
            mean[item] += along * (pull - gain * (middle + spread * pull))[:, None]
            covariance[item] -= (gain[:, None] * along)[:, :, None] * along[:, None, :]
        self.precision[self.turn], self.shift[self.turn], self.held_out[self.turn] = found

    def cavity(self, factors: Factors, mean: np.ndarray, covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of f in every cell that was tried, by the item's other cells, the level on it."""
        item, loading = self.cells.item, factors.loadings[self.cells.arm]
        thinned, shift = self._outside(factors, slice(None))
        spread = np.einsum("nr,nrs,ns->n", loading, covariance[item], loading)
        left = np.maximum(1 - spread * thinned, 1e-10)
        middle = ((loading * mean[item]).sum(1) - spread * shift) / left
        return middle + self._centre(factors, slice(None)), spread / left + factors.unique[self.cells.arm]

    def own(self, factors: Factors, mean: np.ndarray, covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of f in every cell that was tried, w included, the level taken off."""
        arm, item = self.cells.arm, self.cells.item
        loading, psi = factors.loadings[arm], factors.unique[arm]
        kept = 1 / (1 + psi * self.precision)
        pull = psi * kept * (self.shift - self.precision * self._centre(factors, slice(None)))
        middle = (loading * mean[item]).sum(1)
        spread = np.einsum("nr,nrs,ns->n", loading, covariance[item], loading)
        return kept * middle + pull, kept**2 * spread + psi * kept

    def in_arms(self, factors: Factors, mean: np.ndarray, covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of f in every arm, tried or not, the level taken off, shape (items, arms)."""
        f = mean @ factors.loadings.T
        spread = np.einsum("ar,irs,as->ia", factors.loadings, covariance, factors.loadings, optimize=True) + factors.unique
        at = self.cells.item, self.cells.arm
        f[at], spread[at] = self.own(factors, mean, covariance)
        return f, spread


def matched_moments(y: np.ndarray, n: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, ...]:
    """Mean and variance of N(mean, variance) times Phi(f)^y Phi(-f)^(n - y), and the log of its integral.

    >>> [round(float(v[0]), 4) for v in matched_moments(np.ones(1), np.ones(1), np.zeros(1), np.ones(1))]
    [0.5642, 0.6817, -0.6931]
    """
    single = (n == 1) & ((y == 0) | (y == 1))
    if single.all():
        return _of_one_trial(2 * y - 1, mean, variance)
    out = np.empty((3, len(mean)))
    out[:, single] = _of_one_trial(2 * y[single] - 1, mean[single], variance[single])
    out[:, ~single] = _by_nodes(*(a[~single] for a in (y, n, mean, variance)))
    return out[0], out[1], out[2]


def _of_one_trial(sign: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, ...]:
    root = np.sqrt(1 + variance)
    u = sign * mean / root
    mass = log_ndtr(u)
    ratio = np.exp(-0.5 * u * u - HALF_LOG_TAU - mass)
    return mean + sign * variance * ratio / root, variance - (variance / root) ** 2 * ratio * (u + ratio), mass


def _by_nodes(y: np.ndarray, n: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    f = mean.copy()
    for _ in range(NEWTON):
        density = -0.5 * f * f - HALF_LOG_TAU
        above, below = (np.exp(density - tail) for tail in _logs(f))
        slope = y * above - (n - y) * below - (f - mean) / variance
        curvature = y * above * (above + f) + (n - y) * below * (below - f) + 1 / variance
        step = np.clip(slope / curvature, -STEP_MAX, STEP_MAX)
        f = f + step
        if np.abs(step).max() < NEAR:
            break
    width = 1 / np.sqrt(curvature)
    x = f[:, None] + width[:, None] * NODES
    right, wrong = _logs(x)
    mass = y[:, None] * right + (n - y)[:, None] * wrong - 0.5 * (x - mean[:, None]) ** 2 / variance[:, None]
    mass += np.log(WEIGHTS) + 0.5 * NODES**2
    top = mass.max(1)
    mass = np.exp(mass - top[:, None])
    total = mass.sum(1)
    first = (mass * x).sum(1) / total
    second = (mass * (x - first[:, None]) ** 2).sum(1) / total
    return np.stack([first, second, top + np.log(total) + np.log(width) - 0.5 * np.log(variance) - HALF_LOG_TAU])


def _logs(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log of Phi(x) and of Phi(-x). Twice as fast the plain way, where neither is nothing."""
    if np.abs(x).max() > TAIL_MAX:
        return log_ndtr(x), log_ndtr(-x)
    return np.log(ndtr(x)), np.log(ndtr(-x))


def fit_factors(
    cells: ItemCells, items: int, arms: int, rank: int, seed: int = 0, ties: tuple[np.ndarray, ...] = ()
) -> Factors:
    """Loadings and unique variances by expectation maximisation. `ties` are codes of the arms, of their models and
    of their contexts: what arms share."""
    random = stream(seed, "loadings")
    start = np.c_[np.ones(arms), 0.3 * random.standard_normal((arms, rank - 1))]
    factors, wide = Factors(start, np.full(arms, UNIQUE)), TIE_VARIANCE
    sites = Sites(cells, items, seed)
    arm, tried, again = sites.cells.arm, np.bincount(cells.arm, minlength=arms), sites.cells.n > 1
    for round_ in range(ROUNDS):
        for _ in range(SWEEPS if round_ else SWEEPS_FIRST):
            sites.sweep(factors)
        mean, covariance = sites.posterior(factors)
        square = covariance + mean[:, :, None] * mean[:, None, :]
        cross, second = _moments(sites, factors, mean, square)
        squares, crosses = np.zeros((arms, rank, rank)), np.zeros((arms, rank))
        np.add.at(squares, arm, square[sites.cells.item])
        np.add.at(crosses, arm, cross)
        expected = tied(factors.loadings, ties)
        ridge = factors.unique / wide
        precision = squares + ridge[:, None, None] * np.eye(rank)
        loading = np.linalg.solve(precision, (crosses + ridge[:, None] * expected)[..., None])[..., 0]
        unsure = factors.unique * np.einsum("arr->a", np.linalg.inv(precision))
        wide = (((loading - expected) ** 2).sum() + unsure.sum() + TIE_LOADINGS * TIE_VARIANCE) / (
            arms * rank + TIE_LOADINGS
        )
        own = second - 2 * (loading[arm] * cross).sum(1)
        own += np.einsum("nr,nrs,ns->n", loading[arm], square[sites.cells.item], loading[arm])
        # What is left of a cell with one trial is its prior again: repeats alone say what arms have in common.
        common = (own[again].sum() + UNIQUE_ITEMS * UNIQUE) / (again.sum() + UNIQUE_ITEMS)
        unique = (np.bincount(arm, own, arms) + UNIQUE_ITEMS * common) / (tried + UNIQUE_ITEMS)
        unique = np.maximum(unique, UNIQUE_MIN)
        # Items are standard normal by definition: what the sample's differ by belongs into the loadings.
        loading = loading @ np.linalg.cholesky(square.mean(0))
        shrink = np.minimum(1.0, VARIANCE_MAX / ((loading**2).sum(1) + unique))
        factors = Factors(loading * np.sqrt(shrink)[:, None], unique * shrink)
    return factors


def tied(loadings: np.ndarray, ties: tuple[np.ndarray, ...]) -> np.ndarray:
    """What each arm's loading is expected to be: the mean of all, and what arms of its model and of its context add.

    >>> tied(np.array([[1.0], [1.0], [4.0]]), (np.array([0, 0, 1]),)).ravel().tolist()
    [1.3333333333333335, 1.3333333333333335, 3.0]
    """
    out = np.tile(loadings.mean(0), (len(loadings), 1))
    for tie in ties:
        sums = np.zeros((tie.max() + 1, loadings.shape[1]))
        np.add.at(sums, tie, loadings - out)
        out = out + (sums / (np.bincount(tie)[:, None] + 1.0))[tie]
    return out


def _moments(sites: Sites, factors: Factors, mean: np.ndarray, square: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """E f z' (cells, r) and E f^2 (cells,) of every cell, the level taken off f."""
    arm, item = sites.cells.arm, sites.cells.item
    loading, psi = factors.loadings[arm], factors.unique[arm]
    kept = 1 / (1 + psi * sites.precision)
    pull = psi * kept * (sites.shift - sites.precision * sites._centre(factors, slice(None)))
    through = np.einsum("nr,nrs->ns", loading, square[item])
    cross = kept[:, None] * through + pull[:, None] * mean[item]
    second = kept**2 * (through * loading).sum(1) + 2 * kept * pull * (loading * mean[item]).sum(1) + pull**2 + psi * kept
    return cross, second


def converged(cells: ItemCells, items: int, factors: Factors) -> Sites:
    """The sites of these cells at these factors."""
    sites = Sites(cells, items)
    for _ in range(SWEEPS_LAST):
        sites.sweep(factors)
    return sites


@dataclasses.dataclass(frozen=True)
class Choice:
    """The factors that were kept, and what they were worth on items that took no part in fitting them."""

    factors: Factors | None
    """None where no number of factors predicts better than the strata alone."""
    gains: dict[int, float]
    """Number of factors -> log density gained a cell over the strata, in nats."""
    rank: int
    """The best number."""
    error: float
    """Standard error of its gain, over items."""
    asked: float
    """What its gain must exceed."""
    check: Sites
    """The held-out items' cells under the best number of factors: what each cell's others say of it."""


def choose_factors(cells: ItemCells, items: int, arms: int, seed: int = 0, ties: tuple[np.ndarray, ...] = ()) -> Choice:
    """Factors by what each number of them says of cells of held-out items, given those items' other cells."""
    random = stream(seed, "thirds of items")
    if items > ITEMS_FITTED:  # those with most cells, which say most about how arms go together
        chosen = np.zeros(items, bool)
        chosen[np.argsort(-np.bincount(cells.item, minlength=items), kind="stable")[:ITEMS_FITTED]] = True
        cells, items = cells.of(chosen), ITEMS_FITTED
    third = random.permutation(items) % 3

    def tried(rank: int, held: np.ndarray) -> tuple[Sites, np.ndarray]:
        """The held-out items' cells, and the log density gained in each of these items."""
        check = cells.of(held)
        factors = fit_factors(cells.of(~held), int((~held).sum()), arms, rank, seed, ties)
        sites = converged(check, int(held.sum()), factors)
        return sites, np.bincount(sites.cells.item, sites.held_out - strata_density(check)[sites.order])

    found = {rank: tried(rank, third == 0) for rank in RANKS if rank < max(arms, 2)}
    gains, errors = {}, {}
    for rank, (sites, gain) in found.items():
        gains[rank], errors[rank] = _a_cell([gain], len(sites.order))
    best = max(gains, key=gains.__getitem__)
    if gains[best] <= UNDECIDED * errors[best]:
        few = len(cells.item) <= CELLS_FEW
        part = random.permutation(items) % 10 if few else third
        gain = [] if few else [found[best][1]]
        gain += [tried(best, part == one)[1] for one in range(len(gain), part.max() + 1)]
        gains[best], errors[best] = _a_cell(gain, len(cells.item))
    # What an own answer is worth is measured where answers were repeated: then the better of two predictions is taken, and
    # the fitted variance is small where items are alike. Elsewhere it is assumed, and must pay for more than its noise.
    asked = 0.0 if (cells.n > 1).sum() >= REPEATS_KNOWN else errors[best]
    factors = fit_factors(cells, items, arms, best, seed, ties) if gains[best] > asked else None
    return Choice(factors, gains, best, errors[best], asked, found[best][0])


def _a_cell(parts: list[np.ndarray], cells: int) -> tuple[float, float]:
    """Nats a cell of gains of items, and the standard error over items."""
    gain = np.concatenate(parts)
    return float(gain.sum() / cells), float(np.sqrt(((gain - gain.mean()) ** 2).sum()) / cells)


def strata_density(cells: ItemCells) -> np.ndarray:
    """Log density of every cell where its stratum is all that is known: each trial has the stratum's risk, whatever the
    trials before it, which are other answers to the item like those of other cells."""
    p = np.clip(ndtr(cells.middle), 1e-9, 1 - 1e-9)
    return cells.y * np.log(p) + (cells.n - cells.y) * np.log1p(-p)
