"""What does each serving factor do to behaviour? A matrix-normal regression of displacements on factor levels.

Of each model by itself, with Delta_u (contexts, q) the displacement of unit u (an item) in the q first directions of
movement, F the 0/1 matrix of factor levels that a context has and the evaluation has not, and s_j the scale of direction j
(sum 1),

    Delta_u,.j = F (Gamma_.j + item_u,.j) + rest_u,.j + error_u,.j
    item_u,lj ~ N(0, omega_l^2 s_j)    rest_u,cj ~ N(0, tau^2 s_j)    Gamma_lj ~ N(0, g^2 omega_l^2 s_j)
    error_u,.j ~ N(0, diag(v_cj) + v_oj 1 1')           known from the replicates; the evaluation's is shared
    log omega_l ~ N(lambda, 1.5^2)    log tau ~ N(lambda - 1, 1.5^2)    log g ~ N(log .5, 1)    lambda ~ N(centre, 2^2)

    headline of (factor, level) = (|Gamma_l|^2 + omega_l^2) / V
    common  = |Gamma_l|^2 / (|Gamma_l|^2 + omega_l^2)   does it move all items the same way, or each its own way?
    share of a factor = its levels' squared moves over the contexts that have them / all contexts' squared moves

Gamma is integrated out in closed form; the few scales are drawn from their posterior with importance weights on a fitted
Student t. Items do not move as normal vectors do (most stay, some jump): the
likelihood is stretched about its mode until its curvature H agrees with the variance J of its score between items,
theta -> mode + C (theta - mode), C' H C = H J^-1 H (curvature adjustment, Ribatet, Cooley and Davison 2012).

Displacements and errors are stretched by the share of the movement that lies in the q directions, one share for all
contexts; movement within the floor that the error of copies is given counts as noise. Answers are means over models
(shares: of sums over models), with draws that are independent between models.

Identified up to logged factors: levels that never part are one column with both names; `rest` needs more contexts than
columns. What a factor does beside what is logged with it, this does not tell.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import polars as pl

from divergence.errors import InputError
from divergence.estimate import Estimate
from divergence.geometry.movement import Movement
from divergence.geometry.weighted_draws import hessian, mode_of, posterior_draws

QUESTION, TEXT = "displacement_regression", "squared movement of the answers due to each serving factor, in noise floors"
DRAWS = 1000
SCALE_SD, CENTRE_SD, COMMON = 1.5, 2.0, (np.log(0.5), 1.0)  # of the priors above
REST_BELOW = 1.0  # log units that the remainder is expected below the factors: interactions are smaller than effects
REACH = 10.0  # log units about the centre, 4 sd of the priors: beyond it matrices lose their digits
FEWEST = 10  # items: below it the variance of the score between items says nothing
CHUNK = 2**16  # numbers of one array at once: what the near cache of a core holds
STEP = 0.02  # of differences, in log units


@dataclasses.dataclass(frozen=True)
class Group:
    """Units of one model that have the same contexts."""

    design: np.ndarray
    """Their rows of F, (c, P)."""
    error: np.ndarray
    """Known error covariance by direction, (q, c, c)."""
    moves: np.ndarray
    """Displacements, (n, c, q)."""
    cluster: np.ndarray
    """Item of each unit, (n,)."""

    @functools.cached_property
    def squares(self) -> np.ndarray:
        """Products of the displacements, summed over the units, (q, c, c)."""
        return np.einsum("ucj,udj->jcd", self.moves, self.moves)

    @functools.cached_property
    def mean(self) -> np.ndarray:
        """Mean displacement, (c, q)."""
        return self.moves.mean(0)


@dataclasses.dataclass(frozen=True)
class Regression:
    """The data of the regression and its posterior density."""

    groups: tuple[Group, ...]
    """Units by model and contexts."""
    scale: np.ndarray
    """s_j, (q,), sum 1."""
    centre: float
    """Prior mean of lambda."""
    rest: bool
    """Is there a remainder?"""
    mode: np.ndarray | None = None
    """Parameters about which the likelihood is stretched."""
    stretch: np.ndarray | None = None
    """How, (size, size)."""

    @property
    def columns(self) -> int:
        """P."""
        return self.groups[0].design.shape[1]

    @property
    def size(self) -> int:
        """Parameters: log omega (P), log g, lambda, and log tau where there is a remainder."""
        return self.columns + 2 + self.rest

    def log_prior(self, theta: np.ndarray) -> np.ndarray:
        """(D,) of parameters (D, size), up to a constant."""
        p, middle = self.columns, theta[:, self.columns + 1]
        total = ((theta[:, :p] - middle[:, None]) ** 2).sum(1) / SCALE_SD**2
        total += ((theta[:, p] - COMMON[0]) / COMMON[1]) ** 2 + ((middle - self.centre) / CENTRE_SD) ** 2
        if self.rest:
            total += ((theta[:, p + 2] - middle + REST_BELOW) / SCALE_SD) ** 2
        return -total / 2

    def covariance(self, theta: np.ndarray, group: Group) -> np.ndarray:
        """Covariance of a unit given Gamma, (D, q, c, c)."""
        omega2 = np.exp(2 * theta[:, : self.columns])
        item = (group.design * omega2[:, None]) @ group.design.T
        if self.rest:
            item = item + np.exp(2 * theta[:, self.columns + 2])[:, None, None] * np.eye(len(group.design))
        item = item[:, None] * self.scale[:, None, None]
        item += group.error
        return item

    def parts(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Log likelihood with Gamma integrated out (D,), and the precision (D, q, P, P) and mean (D, q, P) of Gamma."""
        step = max(1, CHUNK // (len(self.scale) * max(len(g.design) for g in self.groups) ** 2))
        chunks = [self._parts(theta[a : a + step]) for a in range(0, len(theta), step)]
        total, precision, mean = (np.concatenate(part) for part in zip(*chunks, strict=True))
        return total, precision, mean

    def _parts(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        p = self.columns
        theta = np.clip(theta, self.centre - REACH, self.centre + REACH)
        prior = 1 / (np.exp(2 * (theta[:, :p] + theta[:, p, None]))[:, None] * self.scale[:, None])
        precision = prior[..., None] * np.eye(p)
        linear = np.zeros((len(theta), len(self.scale), p))
        total = 0.5 * np.log(prior).sum((1, 2))
        for group in self.groups:
            inverse, logdet = _inverse(self.covariance(theta, group))
            n = len(group.moves)
            total -= 0.5 * (n * logdet + np.einsum("ajcd,jcd->aj", inverse, group.squares)).sum(1)
            weighed = group.design.T @ inverse
            precision = precision + n * weighed @ group.design
            linear = linear + n * np.einsum("ajpc,cj->ajp", weighed, group.mean)
        mean = np.linalg.solve(precision, linear[..., None])[..., 0]
        _, logdet = np.linalg.slogdet(precision)
        return total + 0.5 * (linear * mean).sum((1, 2)) - 0.5 * logdet.sum(1), precision, mean

    def log_posterior(self, theta: np.ndarray) -> np.ndarray:
        """(D,) of parameters (D, size)."""
        at = theta if self.mode is None or self.stretch is None else self.mode + (theta - self.mode) @ self.stretch.T
        return self.log_prior(theta) + self.parts(at)[0]

    def moves(self, theta: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Draws of Gamma given the scales, (D, q, P)."""
        _, precision, mean = self.parts(theta)
        root = np.linalg.cholesky(precision)
        normal = generator.standard_normal(mean.shape)
        return mean + np.linalg.solve(root.swapaxes(-1, -2), normal[..., None])[..., 0]

    def by_cluster(self, theta: np.ndarray, gamma: np.ndarray) -> np.ndarray:
        """Log likelihood of each cluster given Gamma (q, P), (D, clusters)."""
        value, cluster = [], []
        for group in self.groups:
            inverse, logdet = _inverse(self.covariance(theta, group))
            off = group.moves - np.einsum("cp,jp->cj", group.design, gamma)
            squares = np.stack([np.einsum("ucj,jcd,udj->u", off, of, off, optimize=True) for of in inverse])
            value.append(-0.5 * (squares + logdet.sum(1, keepdims=True)))
            cluster.append(group.cluster)
        names, where = np.unique(np.concatenate(cluster), return_inverse=True)
        total = np.zeros((len(names), len(theta)))
        np.add.at(total, where, np.concatenate(value, 1).T)
        return total.T

    def adjusted(self, mode: np.ndarray) -> Regression:
        """The regression with its likelihood stretched about the mode (size,), to the seen variance of its score."""
        p = self.size
        gamma = self.parts(mode[None])[2][0]
        eye = STEP * np.eye(p)
        value = self.by_cluster(np.concatenate([mode + eye, mode - eye]), gamma)
        score = (value[:p] - value[p:]) / (2 * STEP)
        score -= score.mean(1, keepdims=True)
        prior = np.eye(p) / SCALE_SD**2  # where the data say nothing, nothing is stretched
        seen = score @ score.T + prior
        expected = hessian(lambda theta: self.by_cluster(theta, gamma).sum(1), mode, STEP)
        values, vectors = np.linalg.eigh(expected)
        expected = (vectors * np.maximum(values, 0)) @ vectors.T + prior
        stretch = np.linalg.inv(root(expected)) @ root(expected @ np.linalg.inv(seen) @ expected)
        return dataclasses.replace(self, mode=mode, stretch=stretch)


def displacement_regression(state: Movement, factors: pl.DataFrame, *, draws: int = DRAWS) -> Estimate:
    """The squared move of every factor level in noise floors, how much of it is common, and each factor's share.

    `factors` has a row a context: `context` and the factors, as text. Raises InputError where a context has no row.
    """
    names, design, contexts, rest_names = columns(state, factors)
    if not names:
        return Estimate.refused(
            QUESTION,
            TEXT,
            "ratio",
            "no serving factor has another level than in the evaluation",
            outcome="embedding",
            counts=state.counts,
        )
    parts = [part for o in range(len(state.origins)) if (part := of_model(state, design, contexts, o, draws)) is not None]
    if not parts and not (state.noise > 0).any():
        return Estimate.refused(
            QUESTION,
            TEXT,
            "ratio",
            "every answer of the evaluation is the same over reruns and items: there is no noise floor to measure a move in",
            outcome="embedding",
            counts=state.counts,
        )
    if not parts:
        reason = next(
            iter(state.missing.values()),
            f"fewer than {FEWEST} items of a model have reruns in the evaluation and an answer in a context",
        )
        return Estimate.refused(QUESTION, TEXT, "ratio", reason, outcome="embedding", counts=state.counts)
    squared, common = (np.stack([getattr(part, name) for part in parts]) for name in ("squared", "common"))
    rest = np.sum([part.rest for part in parts], 0)
    noise = np.array([part.noise for part in parts])[:, None, None]
    floor = float(np.mean([part.floor for part in parts]))
    table = [np.nanmean(squared / noise, 0), np.nansum(common, 0) / np.nansum(squared, 0)]
    rows: list[tuple[str | None, str, str | None]] = [(s, f, level) for s in (None, "common") for f, level in names]
    by_level = np.nansum([part.squared * part.times for part in parts], 0)
    every = by_level.sum(1) + rest
    owners = [f for f, _ in names]
    for factor in dict.fromkeys(owners):
        rows.append(("share", factor, None))
        table.append(by_level[:, [o == factor for o in owners]].sum(1, keepdims=True) / every[:, None])
    if rest.any():
        rows.append(("share", "rest", None))
        table.append((rest / every)[:, None])
    frame = pl.DataFrame(
        {
            "statistic": [r[0] for r in rows],
            "factor": [r[1] for r in rows],
            "level": [r[2] for r in rows],
            "unit": ["ratio" if r[0] is None else "probability" for r in rows],
        },
        schema_overrides={"statistic": pl.String, "level": pl.String},
    )
    floors = np.full(len(rows), np.nan)
    floors[: len(names)] = floor
    note = f"; not told apart from the others: {', '.join(rest_names)}" if rest_names else ""
    told = (
        f"matrix-normal regression of each model in {state.moves.shape[2]} directions with {state.kept:.0%} of the "
        f"movement, likelihood stretched to its seen score, importance weights "
        f"(at least {min(part.effective for part in parts):.0f} effective draws){note}"
    )
    return Estimate(
        QUESTION,
        TEXT,
        "ratio",
        frame,
        np.concatenate(table, 1),
        "embedding",
        noise_floor=floors,
        counts=state.counts,
        method=told,
    )


@dataclasses.dataclass(frozen=True)
class OfModel:
    """The answer of one model; NaN for levels that it was not served at."""

    squared: np.ndarray
    """Squared move of each level, (D, P)."""
    common: np.ndarray
    """The part of it that all items share, (D, P)."""
    rest: np.ndarray
    """Squared remainder, summed over its contexts, (D,)."""
    times: np.ndarray
    """In how many of its contexts each level is, (P,)."""
    noise: float
    """V."""
    floor: float
    """V_hi / V."""
    effective: float
    """Effective draws."""


def of_model(state: Movement, design: np.ndarray, contexts: list[str], origin: int, draws: int) -> OfModel | None:
    """The posterior of one model, or None where too few of its items have reruns."""
    if not state.noise[origin] > 0:  # no answer differs from any other: there is no unit to give a move in
        return None
    data, used, times = regression(state, design, contexts, origin)
    if not data.groups or sum(len(group.moves) for group in data.groups) < FEWEST:
        return None
    theta, data, effective = drawn(data, draws, seed=origin)
    gamma = data.moves(theta, np.random.default_rng(1000 + origin))
    squared, common = (np.full((draws, design.shape[1]), np.nan) for _ in range(2))
    common[:, used] = (gamma**2).sum(1)
    squared[:, used] = common[:, used] + np.exp(2 * theta[:, : data.columns])
    places = sum(home == origin for home in state.home)
    rest = np.exp(2 * theta[:, data.columns + 2]) * places if data.rest else np.zeros(draws)
    noise, high = float(state.noise[origin]), float(state.noise_high[origin])
    return OfModel(squared, common, rest, times, noise, high / noise, effective)


def drawn(data: Regression, draws: int, seed: int = 0, stretched: bool = True) -> tuple[np.ndarray, Regression, float]:
    """Posterior draws of the scales, the regression with its likelihood stretched or as it is, and the effective draws."""
    start = np.full(data.size, data.centre)
    start[data.columns] = COMMON[0]
    mode = mode_of(data.log_posterior, start)
    if stretched:
        data = data.adjusted(mode)
    theta, effective = posterior_draws(data.log_posterior, mode_of(data.log_posterior, mode), draws, seed)
    return theta, data, effective


def columns(state: Movement, factors: pl.DataFrame) -> tuple[list[tuple[str, str]], np.ndarray, list[str], list[str]]:
    """(factor, level) of each column, the 0/1 matrix (contexts, P), its contexts, and columns left out as dependent."""
    contexts = list(dict.fromkeys(state.context))
    if "context" not in factors.columns:
        raise InputError("The factors have no column context: give one row a context, with its name.")
    factors = factors.with_columns(pl.all().cast(pl.String))
    twice = factors.filter(pl.col("context").is_duplicated())["context"]
    if twice.len():
        raise InputError(
            f"The factors have {(twice == twice[0]).sum()} rows for the context {twice[0]}: give one row a context."
        )
    known = {row["context"]: row for row in factors.iter_rows(named=True)}
    bench = state.origins[0][1]
    absent = [c for c in [bench, *contexts] if c not in known]
    if absent:
        raise InputError(f"The factors have no row for the context {absent[0]}: give one row a context.")
    made: dict[tuple[int, ...], list[tuple[str, str]]] = {}
    for factor in [name for name in factors.columns if name != "context"]:
        levels = {c: known[c][factor] for c in contexts}
        for level in dict.fromkeys(v for v in levels.values() if v is not None and v != known[bench][factor]):
            made.setdefault(tuple(int(levels[c] == level) for c in contexts), []).append((factor, level))
    names, kept, dependent = [], np.zeros((len(contexts), 0)), []
    for column, owners in made.items():
        name = (" and ".join(f for f, _ in owners), " and ".join(level for _, level in owners))
        wider = np.column_stack([kept, column])
        if np.linalg.matrix_rank(wider) > kept.shape[1]:
            kept = wider
            names.append(name)
        else:
            dependent.append(f"{name[0]} {name[1]}")
    return names, kept, contexts, dependent


def regression(
    state: Movement, design: np.ndarray, contexts: list[str], origin: int
) -> tuple[Regression, np.ndarray, np.ndarray]:
    """The data of one model, the columns of the levels it was served at (P,), and in how many contexts each is (P,)."""
    m = len(state.origins)
    where = [k for k, home in enumerate(state.home) if home == origin]
    own = design[[contexts.index(state.context[k]) for k in where]] if where else design[:0]
    used, times = np.asarray(own.any(0)), own.sum(0)
    moves = state.moves[where].transpose(1, 0, 2)
    squares = np.nansum(state.moves**2, axis=(0, 1))
    scale = np.maximum(squares, 1e-3 * squares.sum() + 1e-12)
    scale = scale / scale.sum()
    floor = state.noise[origin] / 2 * scale  # copies say less than that the next rerun is one too
    error = np.nan_to_num(np.maximum(state.error[m + np.array(where, int)], floor), nan=state.noise[origin])
    shared = np.nan_to_num(np.maximum(state.error[origin], floor), nan=0.0)
    known = np.isfinite(moves[:, :, 0])
    groups = []
    for pattern in np.unique(known, axis=0):
        if not pattern.any() or not used.any():
            continue
        units, inside = np.flatnonzero((known == pattern).all(1)), np.flatnonzero(pattern)
        covariance = shared[:, None, None] + np.stack([np.diag(error[inside, j]) for j in range(len(scale))])
        groups.append(Group(own[np.ix_(inside, used)], covariance, moves[np.ix_(units, inside)], units))
    total = sum((g.moves**2).sum() for g in groups)
    number = sum(g.moves.shape[0] * g.moves.shape[1] for g in groups)
    centre = 0.5 * np.log(max(total / max(number, 1), float(state.noise[origin]) / 2, 1e-12))
    return Regression(tuple(groups), scale, centre, len(where) > used.sum()), used, times


def _inverse(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inverse and log determinant of symmetric matrices (..., c, c)."""
    root = np.linalg.cholesky(covariance)
    half = np.linalg.inv(root)
    logdet = 2 * np.log(np.diagonal(root, axis1=-2, axis2=-1)).sum(-1)
    return half.swapaxes(-1, -2) @ half, logdet


def root(matrix: np.ndarray) -> np.ndarray:
    """Symmetric square root of a positive matrix."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    return (vectors * np.sqrt(np.maximum(values, 1e-12))) @ vectors.T
