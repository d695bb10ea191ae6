"""The arrays that the joint model is conditioned on, and effects given standard deviations."""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.linalg
import scipy.sparse as sp

from divergence.joint.block_hierarchy import BlockHierarchy
from divergence.joint.coordinates import ABILITIES
from divergence.joint.design import Design, free_terms, local_term, model_term
from divergence.joint.hierarchy import BATCH_BYTES, IN_PLACE_MIN, Hierarchy
from divergence.joint.link import Response
from divergence.joint.noise import draw_noise
from divergence.joint.paired import LIMIT

(dposv,) = scipy.linalg.get_lapack_funcs(("posv",), dtype="d")

Loadings = np.ndarray | sp.csr_array
ARM_BUCKETS = (8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
TERM_BUCKET = 4
UNSHRUNK = 5.0  # link scale: a bench level's noise of .3 is drawn by .4 % of its distance to the other models


Data = dict[str, np.ndarray] | BlockHierarchy
"""What a method draws from: the arrays of the joint model, or of so many arms its density in blocks."""


def target_data(design: Design, response: Response, loadings: Loadings, centre: float = 0.0) -> Data:
    """The problem in the form in which the response keeps its noise."""
    if response.covariance is None:
        return BlockHierarchy.of(design, response, sp.csr_array(loadings), centre)
    return problem(design, response, loadings, centre)


def started(data: Data, mode: np.ndarray) -> Data:
    """The same, with a place (dims,) from which the search of its mode starts."""
    return dataclasses.replace(data, start=mode) if isinstance(data, BlockHierarchy) else {**data, "start": mode}


def density_of(data: Data) -> Hierarchy | BlockHierarchy:
    """The density of the coordinates."""
    return data if isinstance(data, BlockHierarchy) else Hierarchy.of(data)


def problem(design: Design, response: Response, loadings: Loadings, centre: float = 0.0) -> dict[str, np.ndarray]:
    """The `data` of `numpyro_model.joint_model`; `centre` is the prior mean of alpha."""
    arms, covariance = len(response.value), response.matrix
    loadings = loadings if isinstance(loadings, np.ndarray) else loadings.toarray()

    def product(name: str, other: str | None = None) -> np.ndarray:
        first = loadings[:, design.term(name).columns]
        return first @ (loadings[:, design.term(other).columns] if other else first).T

    free = free_terms(design)
    products = np.zeros((len(free), arms, arms))
    widths = np.ones(len(free))
    levels, models, of_models = [], [], 0
    for k, term in enumerate(free):
        products[k], widths[k] = product(term.name), term.width
        if term is local_term(design):  # its levels have scales of their own: one product a level instead of one
            products[k] = 0.0
            levels = [np.outer(column, column) for column in loadings[:, term.columns].T]
        elif term is model_term(design):
            products[k], of_models = 0.0, k
            models = [loadings[:, c] @ loadings[:, c].T for c in _model_columns(design)]
    local = np.array(levels).reshape(-1, arms, arms)
    fixed = sum((t.width**2 * product(t.name) for t in design.terms if t.kind.given), np.zeros((arms, arms)))
    cross = product("theta_E", "theta_D")
    return {
        "value": response.value - centre,
        "covariance": covariance,
        "products": products,
        "widths": widths,
        "local": local,
        "outlier": np.array(design.outlier),
        "own": np.array(models).reshape(-1, arms, arms),
        "own_term": np.array(of_models),
        "instability": np.array(design.instability),
        "fixed": fixed,
        "bench": product("theta_E"),
        "deployed": product("theta_D"),
        "cross": cross + cross.T,
        "ability": np.array(design.term("theta_E").width),
    }


def padded(data: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The same problem in a shape that alike logs share, for what is compiled; and which coordinates to keep.

    Padded arms are independent of all others, padded terms do nothing.
    """
    arms, terms = len(data["value"]), len(data["widths"])
    more = next((b for b in ARM_BUCKETS if b >= arms), arms) - arms
    count = -(-max(terms, 1) // TERM_BUCKET) * TERM_BUCKET
    square = ((0, more), (0, more))
    out = {name: value for name, value in data.items() if name != "start"}
    for name in ("fixed", "bench", "deployed", "cross", "covariance"):
        out[name] = np.pad(data[name], square)
    out["covariance"][range(arms, arms + more), range(arms, arms + more)] = 1.0
    out["value"] = np.pad(data["value"], (0, more))
    out["products"] = np.pad(data["products"], ((0, count - terms), *square))
    out["widths"] = np.pad(data["widths"], (0, count - terms), constant_values=1.0)
    for name in ("local", "own"):
        out[name] = np.pad(data[name], ((0, 0), *square))
    more_coordinates = len(data["local"]) + (len(data["own"]) > 0) + len(data["own"])
    keep = np.r_[: ABILITIES + terms, ABILITIES + count : ABILITIES + count + more_coordinates]
    return out, keep


def _model_columns(design: Design) -> list[slice]:
    """Columns of each model's effects in that term."""
    term = model_term(design)
    assert term is not None  # only then is this asked
    columns, each = term.columns, design.n_models
    step = (columns.stop - columns.start) // each
    return [slice(columns.start + m * step, columns.start + (m + 1) * step) for m in range(each)]


def _common(design: Design) -> set[int]:
    """Columns of effects that all models share but for the intercepts: of factors' levels, and of contexts."""
    shared = [t.columns for t in design.terms if t.kind.of_context and t.kind.free and not t.kind.of_model]
    return {k for columns in shared for k in range(columns.start, columns.stop)}


def draw_effects(
    design: Design,
    response: Response,
    loadings: Loadings,
    sd: dict[str, np.ndarray],
    noise: np.random.Generator | None,
    centre: float = 0.0,
    unlike: np.ndarray | None = None,
) -> np.ndarray:
    """Effects given standard deviations, one draw each, shape (S, P): `prior + K (value - Z prior - noise)`.

    With `response.root` None this is exact conditioning (Matheron's rule). Otherwise `K` shrinks no bench level and what
    contexts do to all models with limits, and the draws have the exact error of the estimate `K value` (see `paired`).

    `unlike` (not in exact conditioning): variance of each model's shift beside that of all, (models,) (`unlike_models`).
    `sd` maps term names to draws (S,) or, for levels (or models) with scales of their own, (S, levels); and `rho` to those
    of the correlation of theta_E and theta_D. Without `noise` their conditional means instead.
    """
    draws = len(sd["rho"])
    middle = np.zeros(design.size)
    middle[design.term("alpha").columns] = centre
    bench, deployed = design.term("theta_E").columns, design.term("theta_D").columns
    scale = np.empty((draws, design.size))
    for term in design.terms:
        own = sd[term.name].reshape(draws, -1) if term.name in sd else np.full((draws, 1), term.width)
        scale[:, term.columns] = np.repeat(own, (term.columns.stop - term.columns.start) // own.shape[1], axis=1)
    rho = sd["rho"][:, None]
    prior, gap = np.zeros((draws, design.size)), response.value - middle @ loadings.T
    more = np.zeros(design.n_models) if unlike is None or response.root is None else unlike
    wide = np.ones((draws, 1))
    if noise is not None:
        unit = noise.standard_normal((draws, design.size))
        unit[:, deployed] = rho * unit[:, bench] + np.sqrt(1 - rho**2) * unit[:, deployed]
        prior = scale * unit
        if more.any():
            prior[:, deployed] += np.sqrt(more) * noise.standard_normal((draws, design.n_models))
        error, wide = draw_noise(response, draws, noise)
        gap = gap - prior @ loadings.T - error
    local = local_term(design)
    blocks = [t.columns for t in design.terms if t is not local and t is not model_term(design)]
    blocks += _model_columns(design) if model_term(design) is not None else []
    if local is not None:
        blocks += [slice(k, k + 1) for k in range(*local.columns.indices(design.size))]
    of_bench, of_deployed = (next(k for k, b in enumerate(blocks) if b.start == c.start) for c in (bench, deployed))
    variances = np.stack([scale[:, b.start] ** 2 for b in blocks], 1)
    covariances = rho[:, 0] * scale[:, bench.start] * scale[:, deployed.start]
    if response.root is not None:  # no prior draws a bench; what a model's deployment does beside all others' is drawn
        if design.hinged or design.n_models == 1:
            variances[:, [k for k, b in enumerate(blocks) if b.start in _common(design)]] *= LIMIT
        measured = [t.columns.start for t in design.terms if t.kind.of_context and t.kind.given]
        variances[:, [k for k, b in enumerate(blocks) if b.start in measured]] = (
            UNSHRUNK**2
        )  # no bench by other items either
        apart = variances[:, of_bench] + variances[:, of_deployed] - 2 * covariances
        covariances = np.full(draws, UNSHRUNK**2)
        variances[:, of_bench], variances[:, of_deployed] = UNSHRUNK**2, UNSHRUNK**2 + apart
    gap = np.broadcast_to(gap, (draws, len(response.value)))
    solve = _solve_dense if response.covariance is not None else _solve_blocks
    raw = solve(design, response, loadings, blocks, variances, covariances, gap, wide, more) @ loadings
    pull = np.empty_like(raw)
    for k, block in enumerate(blocks):
        pull[:, block] = variances[:, k, None] * raw[:, block]
    first, second = raw[:, bench], raw[:, deployed]
    pull[:, bench] = variances[:, of_bench, None] * first + covariances[:, None] * second
    pull[:, deployed] = (variances[:, of_deployed, None] + more) * second + covariances[:, None] * first
    return middle + prior + pull


def _solve_dense(
    design: Design,
    response: Response,
    loadings: Loadings,
    blocks: list[slice],
    variances: np.ndarray,
    covariances: np.ndarray,
    gap: np.ndarray,
    wide: np.ndarray,
    own: np.ndarray,
) -> np.ndarray:
    """`S^-1 gap` of each draw, shape (draws, A): variances (draws, blocks), covariances of theta_E and theta_D (draws,)."""
    draws, size = gap.shape
    loadings = loadings if isinstance(loadings, np.ndarray) else loadings.toarray()
    bench, deployed = design.term("theta_E").columns, design.term("theta_D").columns
    products = np.stack([(loadings[:, b] @ loadings[:, b].T).ravel() for b in blocks])
    cross = loadings[:, bench] @ loadings[:, deployed].T
    beside = (loadings[:, deployed] * own) @ loadings[:, deployed].T
    solved = np.empty((draws, size))
    step = max(1, BATCH_BYTES // (8 * size**2))
    for begin in range(0, draws, step):
        part = slice(begin, begin + step)
        total = (variances[part] @ products).reshape(-1, size, size)
        total += response.matrix * (wide[part, :, None] * wide[part, None, :])
        total += covariances[part, None, None] * (cross + cross.T) + beside
        solved[part] = _solved(total, gap[part])
    return solved


def _solved(systems: np.ndarray, right: np.ndarray) -> np.ndarray:
    """`S^-1 r` of many positive definite matrices (n, A, A), which are lost, and right sides (n, A), shape (n, A).

    One by one where they stand: half the work of general ones, and no copies. One alone is solved as any matrix is: where
    levels are linearised comes of it, and what differs there in the last digit moves the mode that is found in the ninth.
    """
    if len(systems) == 1 or systems.shape[1] < IN_PLACE_MIN:
        return np.linalg.solve(systems, right[:, :, None])[:, :, 0]
    out = np.empty_like(right)
    for k, (system, side) in enumerate(zip(systems, right, strict=True)):
        out[k], failed = dposv(system.T, side, lower=1, overwrite_a=1)[1:]
        if failed:
            raise np.linalg.LinAlgError("a covariance of arm levels is not positive definite")
    return out


def _solve_blocks(
    design: Design,
    response: Response,
    loadings: Loadings,
    blocks: list[slice],
    variances: np.ndarray,
    covariances: np.ndarray,
    gap: np.ndarray,
    wide: np.ndarray,
    own: np.ndarray,
) -> np.ndarray:
    """The same by `BlockHierarchy.solve`."""
    target = BlockHierarchy.of(design, response, sp.csr_array(loadings), own=own)
    of = {b.start: variances[:, k] for k, b in enumerate(blocks)}
    free = free_terms(design)
    s = np.zeros((len(gap), target.layout.count))
    s[:, 0], s[:, 1], s[:, 2] = (
        of[design.term("theta_E").columns.start],
        of[design.term("theta_D").columns.start],
        covariances,
    )
    for k, term in enumerate(free):
        s[:, target.layout.term(k)] = of.get(term.columns.start, 0.0)
    local = local_term(design)
    if local is not None:
        for k in range(target.layout.levels):
            s[:, target.layout.own_levels.start + k] = of[local.columns.start + k]
    if model_term(design) is not None:
        for k, columns in enumerate(_model_columns(design)):
            s[:, target.layout.own_models.start + k] = of[columns.start]
    return target.solve(s, gap, wide)
