"""How well do the terms of the fit predict a serving context from the others? Leave-one-context-out, for each deployed one.

It judges the model: factors of the held-out context are known. What is said of a context of which nothing is known has a law
of its own (`unseen_context`), which `benchmarks/unseen.md` judges.

The arms of one context are held out together. Given the standard deviations the rest predicts them exactly,

    y_c | y_-c, x ~ N( y_c - (L_cc)^-1 (L y)_c,  (L_cc)^-1 ),    L = S(x)^-1,

so only the draws of x depend on what is held out. They are reweighted by 1 / p(y_c | y_-c, x), Pareto-smoothed (Vehtari,
Gelman and Gabry 2017); where k-hat says that the weights cannot be trusted, x is drawn again without the context (`refit`).

| column | what |
|---|---|
| `elpd` | log predictive density of the held-out levels, nats |
| `covered` | share of them inside their 90 % predictive intervals, sampling noise included |
| `pit` | predictive probability below the observed mean of the context over its models: uniform if the model is right |
| `rmse` | of the predictions, link scale |
| `gain` | elpd less that of "the new context is the bench": its models' bench levels with the noise of both measurements |
| `rmse_bench` | of that prediction |

The items are known from the other contexts, only the context is new; working responses and `V` are those of the whole log.
That a held-out combination stands apart is not known beforehand: any may, as often as it was seen (`_laws`).
Needs three deployment contexts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from scipy.special import logsumexp, ndtr

from divergence.errors import NotIdentifiedError
from divergence.joint.arms import prior_centre
from divergence.joint.block_checks import HeldOut, difference_density, held_out
from divergence.joint.block_hierarchy import BlockHierarchy
from divergence.joint.design import arm_loadings, free_terms
from divergence.joint.hierarchy import BATCH_BYTES, Hierarchy, inverses
from divergence.joint.importance import Importance
from divergence.joint.link import Response
from divergence.joint.methods import K_HAT_MAX
from divergence.joint.pareto import smoothed_weights
from divergence.joint.posterior import Fit, Posterior, hierarchy_of, standard_deviations
from divergence.joint.predictive_check import JITTER
from divergence.joint.problem import problem
from divergence.joint.terms import StandsApart
from divergence.numerics import one_blas_thread

if TYPE_CHECKING:
    from arviz_stats import ELPDData

DRAWS = 500  # of x: the predictive law is a mixture of that many normal laws,
BYTES = 2**27  # fewer where that many matrices of arms x arms take more
REFITS_MAX, REFIT_ARMS_MAX = 8, 96  # a refit of 42 arms takes a third of a CPU second: together a few seconds at most
CONTEXTS_MIN = 3
TAIL = 0.05  # on either side of a 90 % predictive interval


def new_context_check(posterior: Posterior, *, outcome: str | None = None, refit: bool | None = None) -> pl.DataFrame:
    """One row a held-out deployment context: context, arms, the columns above, k_hat, refitted, trusted.

    `refit`: draw again where the weights fail; None = where that takes a few seconds at most. Raises
    NotIdentifiedError below three deployment contexts.
    """
    fit = posterior[outcome]
    contexts = np.unique(fit.arms.context[fit.arms.deployed])
    if len(contexts) < CONTEXTS_MIN:
        raise NotIdentifiedError(
            f"the log has {len(contexts)} deployment contexts; to predict one from the others takes {CONTEXTS_MIN}"
        )
    target = hierarchy_of(fit)
    if isinstance(target, BlockHierarchy):
        rows = _in_blocks(fit, target, contexts)
        return pl.DataFrame(rows, schema_overrides={"gain": pl.Float64, "rmse_bench": pl.Float64})
    thinned = _thinned(fit.x, len(fit.arms))
    precision = inverses(target.covariances(thinned))
    rows, refits = [], 0
    for c in contexts:
        held = np.flatnonzero((fit.arms.context == c) & fit.arms.deployed)
        x, (left, block) = thinned, _predicted(precision, target.value, held)
        log_p = _log_density(left, block)
        weight, k_hat = smoothed_weights(-log_p)
        passed = k_hat < K_HAT_MAX
        cheap = refits < REFITS_MAX and len(fit.arms) <= REFIT_ARMS_MAX
        again = not passed and (cheap if refit is None else refit)
        refits += again
        if again:
            x, passed = _without(fit, held)
            left, block = _predicted_from(target, x, held)
            weight = np.full(len(x), 1 / len(x))
        rows.append(
            {
                "context": fit.cells.levels["context"][c],
                "arms": len(held),
                **_compared(fit, held, left, *_laws(fit, x, held, block), weight),
                "k_hat": k_hat,
                "refitted": again,
                "trusted": passed,
            }
        )
    return pl.DataFrame(rows, schema_overrides={"gain": pl.Float64, "rmse_bench": pl.Float64})


def _in_blocks(fit: Fit, target: BlockHierarchy, contexts: np.ndarray) -> list[dict]:
    """A row a context where the arms are too many for matrices of them (`block_checks`); never refitted."""
    arms, terms = fit.arms, free_terms(fit.design)
    apart = {target.layout.term(k): term for k, term in enumerate(terms) if isinstance(term.kind, StandsApart)}
    loadings = arm_loadings(fit.design, arms)
    bench = np.full(fit.design.n_models, -1)
    bench[arms.model[~arms.deployed]] = np.flatnonzero(~arms.deployed)
    held = _by_context(fit, contexts)
    x = fit.x[np.linspace(0, len(fit.x) - 1, min(DRAWS, len(fit.x))).astype(int)]
    alike: dict[tuple[int, ...], list[int]] = {}
    for k, mine in enumerate(held):
        there = loadings[mine]
        alone = tuple(at for at, term in apart.items() if there[:, [term.columns.start]].sum())
        alike.setdefault(alone, []).append(k)
    laws = [_Law(x, mine, bench[arms.model[mine]] >= 0) for mine in held]
    for alone, these in alike.items():
        for at, piece, law in held_out(target, x, [held[k] for k in these], list(apart), list(alone)):
            laws[these[at]].take(piece, law)
    return [
        {"context": fit.cells.levels["context"][c], **law.row(fit, bench)} for c, law in zip(contexts, laws, strict=True)
    ]


def _by_context(fit: Fit, contexts: np.ndarray) -> list[np.ndarray]:
    """The deployed arms of each of the contexts."""
    deployed = np.flatnonzero(fit.arms.deployed)
    order = deployed[np.argsort(fit.arms.context[deployed], kind="stable")]
    return np.split(order, np.searchsorted(fit.arms.context[order], contexts)[1:])


class _Law:
    """What the draws say of one held-out context, as they come."""

    def __init__(self, x: np.ndarray, held: np.ndarray, known: np.ndarray) -> None:
        self.held, self.known = held, np.flatnonzero(known)
        self.log_p, self.log_known, self.mean_variance = np.zeros((3, len(x)))
        self.left, self.below = np.empty((2, len(x), len(held)))

    def take(self, piece: slice, law: HeldOut) -> None:
        """Some draws."""
        self.log_p[piece], self.left[piece], self.below[piece] = law.log_density(), law.left, law.below()
        self.mean_variance[piece] = law.mean_variance
        if len(self.known) == len(self.held):
            self.log_known[piece] = self.log_p[piece]
        elif len(self.known):
            self.log_known[piece] = law.of(self.known).log_density()

    def row(self, fit: Fit, bench: np.ndarray) -> dict:
        """The columns of the check."""
        weight, k_hat = smoothed_weights(-self.log_p)
        below = weight @ self.below
        found = {
            "arms": len(self.held),
            "elpd": float(np.asarray(logsumexp(self.log_p, b=weight))),
            "covered": float(((below > TAIL) & (below < 1 - TAIL)).mean()),
            "pit": float(weight @ ndtr(self.left.mean(1) / np.sqrt(self.mean_variance))),
            "rmse": _root(weight @ self.left),
            "gain": None,
            "rmse_bench": None,
        }
        if len(self.known) and fit.response.parts is not None:
            mine, value = self.held[self.known], fit.response.value
            theirs = bench[fit.arms.model[mine]]
            plain = difference_density(fit.response.parts, value, mine, theirs, JITTER)
            found["gain"] = float(np.asarray(logsumexp(self.log_known, b=weight))) - plain
            found["rmse_bench"] = _root(value[mine] - value[theirs])
        return found | {"k_hat": k_hat, "refitted": False, "trusted": k_hat < K_HAT_MAX}


def gain_in_all(check: pl.DataFrame) -> tuple[float, float] | None:
    """Sum of `gain` over the contexts and its standard error over them; None without a bench."""
    gain = check["gain"].drop_nulls().to_numpy()
    return (float(gain.sum()), float(np.sqrt(len(gain) * gain.var()))) if len(gain) else None


def context_elpd(check: pl.DataFrame) -> dict[str, ELPDData]:
    """The held-out log densities as `arviz_stats.compare` takes them: of the joint model, and of taking the bench instead.

    Of contexts whose models were all on the bench; one point a context.
    """
    from arviz_stats import ELPDData
    from xarray import DataArray

    check = check.filter(pl.col("gain").is_not_null())
    found = {"joint model": check["elpd"], "the bench": check["elpd"] - check["gain"]}
    return {
        name: ELPDData(
            kind="loo",
            elpd=float(each.sum()),
            se=float(np.sqrt(len(each)) * each.to_numpy().std()),
            p=float("nan"),
            n_samples=DRAWS,
            n_data_points=len(each),
            scale="log",
            warning=not check["trusted"].all(),
            good_k=K_HAT_MAX,
            elpd_i=DataArray(each.to_numpy(), dims=["context"], coords={"context": check["context"].to_list()}),
            pareto_k=DataArray(check["k_hat"].to_numpy(), dims=["context"]),
        )
        for name, each in found.items()
    }


def _thinned(x: np.ndarray, arms: int) -> np.ndarray:
    count = min(DRAWS, len(x), max(BYTES // (8 * arms**2), 1))
    return x[np.linspace(0, len(x) - 1, count).astype(int)]


def _predicted(precision: np.ndarray, value: np.ndarray, held: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Held-out values less their predictions (S, h), and the predictive covariances (S, h, h)."""
    block = np.linalg.inv(precision[:, held[:, None], held])
    return np.einsum("sab,sb->sa", block, (precision[:, held] @ value)), block


def _predicted_from(target: Hierarchy, x: np.ndarray, held: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same of draws x that nothing else is asked of, as many at once as the cache of a core holds."""
    step = max(1, BATCH_BYTES // (8 * len(target.value) ** 2))
    pieces = [x[begin : begin + step] for begin in range(0, len(x), step)]
    found = [_predicted(inverses(target.covariances(piece)), target.value, held) for piece in pieces]
    return np.concatenate([left for left, _ in found]), np.concatenate([block for _, block in found])


def _log_density(left: np.ndarray, block: np.ndarray) -> np.ndarray:
    """Log density of each normal law at the observed values, shape (S,)."""
    solved = np.linalg.solve(block, left[:, :, None])[:, :, 0]
    return -0.5 * ((left * solved).sum(1) + np.linalg.slogdet(2 * np.pi * block)[1])


def _without(fit: Fit, held: np.ndarray) -> tuple[np.ndarray, bool]:
    """Draws of x given all other arms, and did their gates pass?"""
    kept = np.setdiff1d(np.arange(len(fit.arms)), held)
    response = Response(fit.response.value[kept], fit.response.matrix[np.ix_(kept, kept)], fit.response.mu[kept])
    data = problem(fit.design, response, arm_loadings(fit.design, fit.arms, telling=True)[kept], prior_centre(fit.arms))
    with one_blas_thread():
        sample = Importance(draws=2 * DRAWS, last=2 * DRAWS)(data, fit.seed)  # DRAWS of them are looked at
    return _thinned(sample.x, len(fit.arms)), all(d.passed for d in sample.diagnostics)


def _laws(fit: Fit, x: np.ndarray, held: np.ndarray, block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The predictive law as a mixture: shares (K,) and covariances (K, S, h, h).

    `block` knows which combinations the whole log found to stand apart; of one that was not seen it is not known. None does,
    or one of the held-out arms, each with the share with which combinations of the log did.
    """
    terms = [t for t in fit.design.terms if isinstance(t.kind, StandsApart)]
    if not terms:
        return np.ones(1), block[None]
    variance = np.stack([standard_deviations(fit.design, x)[t.name] ** 2 for t in terms], 1)  # (S, terms)
    mine = arm_loadings(fit.design, fit.arms)[held][:, [t.columns.start for t in terms]]
    plain = block - np.einsum("sk,ak,bk->sab", variance, mine, mine)
    one = [plain + variance[:, k, None, None] * np.outer(e, e) for k in range(len(terms)) for e in np.eye(len(held))]
    share = np.r_[1.0, np.full(len(one), 1 / (len(fit.arms) - 1))]
    return share / share.sum(), np.stack([plain, *one])


def _mixture_density(left: np.ndarray, share: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    """Log density of the mixture at the observed values, shape (S,)."""
    return np.asarray(logsumexp([_log_density(left, one) for one in blocks], axis=0, b=share[:, None]))


def _compared(
    fit: Fit, held: np.ndarray, left: np.ndarray, share: np.ndarray, blocks: np.ndarray, weight: np.ndarray
) -> dict:
    """What one context's predictive law says of its observed levels, and the bench's prediction beside it."""
    below = np.einsum("k,s,ksa->a", share, weight, ndtr(left / np.sqrt(np.einsum("ksaa->ksa", blocks))))
    pit = share @ ndtr(left.mean(1) / np.sqrt(blocks.mean((2, 3)))) @ weight
    found = {
        "elpd": float(np.asarray(logsumexp(_mixture_density(left, share, blocks), b=weight))),
        "covered": float(((below > TAIL) & (below < 1 - TAIL)).mean()),
        "pit": float(pit),
        "rmse": _root(weight @ left),
        "gain": None,
        "rmse_bench": None,
    }
    bench = {m: a for a, m in enumerate(fit.arms.model) if not fit.arms.deployed[a]}
    with_bench = np.array([k for k, a in enumerate(held) if fit.arms.model[a] in bench], int)
    if len(with_bench):
        mine = held[with_bench]
        theirs = np.array([bench[fit.arms.model[a]] for a in mine])
        both = fit.response.matrix
        apart = np.eye(len(both))[mine] - np.eye(len(both))[theirs]
        noise = apart @ both @ apart.T
        noise += JITTER * np.diag(np.diag(both)[mine])
        moved = fit.response.value[mine] - fit.response.value[theirs]
        part = _mixture_density(left[:, with_bench], share, blocks[:, :, with_bench[:, None], with_bench])
        found["gain"] = float(logsumexp(part, b=weight) - _log_density(moved[None], noise[None])[0])
        found["rmse_bench"] = _root(moved)
    return found


def _root(errors: np.ndarray) -> float:
    return float(np.sqrt(np.mean(errors**2)))
