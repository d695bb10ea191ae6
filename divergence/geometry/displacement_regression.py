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

import numpy as np
import polars as pl

from divergence.errors import InputError
from divergence.estimate import Estimate
from divergence.geometry.matrix_normal import Group, Regression, drawn
from divergence.geometry.movement import Movement

QUESTION, TEXT = "displacement_regression", "squared movement of the answers due to each serving factor, in noise floors"
DRAWS = 1000
FEWEST = 10  # items: below it the variance of the score between items says nothing


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
