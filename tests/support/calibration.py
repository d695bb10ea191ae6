"""Simulation-based calibration: are posterior ranks of prior draws uniform, for every quantity that is reported?

Truths come from the model's own prior, arm levels from the model (`value ~ N(Z b, V)`, with the design and the clustered
covariance of a simulated log), the posterior from the default method. If all three agree, the rank of each truth among
independent posterior draws is uniform (Talts et al. 2018). Uniformity is tested by the simultaneous band of the rank ECDF
(Sailynoja, Burkner and Vehtari 2022), and the band's p-values are corrected for the number of quantities (Holm 1979).

What it cannot see: a wrong model, and the step from rows to `value` and `V`. For these there are `coverage_worlds.py`.

    python tests/support/calibration.py --fits 500
"""

from __future__ import annotations

import argparse
import dataclasses
import time

import numpy as np
from scipy.stats import binom

import divergence as dv
from divergence.estimands.coupling import components
from divergence.estimands.kappa import context_variance
from divergence.joint import Fit, Importance, Spec, levels
from divergence.joint.design import arm_loadings
from divergence.joint.hierarchy import Hierarchy
from divergence.joint.link import Response
from divergence.joint.posterior import standard_deviations
from divergence.joint.problem import draw_effects, problem
from divergence.simulate import simulate, world

DRAWS = 199  # posterior draws that a truth is ranked among: 200 ranks, 20 bins of ten
BINS = 20
NULLS = 20_000  # simulated uniform samples behind the p-values: their least value, 5e-5, times 130 quantities is .0065


def template(kind: str, **sizes) -> Fit:
    """A fitted log whose design and covariance the simulated arm levels take; `factors`, `labels` or
    `instability`."""
    log, _ = simulate(world("baseline", **sizes), 12)
    if kind == "labels":  # the context label is all that is known: each context has a scale of its own
        log = log.select("regime", "model", "item", "context", "trial", "score")
    spec = Spec(instability="per_model") if kind == "instability" else None
    return dv.fit(dv.collapse(dv.read(log)), spec=spec, seed=0).fits[0]


def prior_effects(fit: Fit, sd: dict[str, np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """One draw of all effects from their prior given standard deviations, effect by effect, shape (P,)."""
    effects = np.zeros(fit.design.size)
    for term in fit.design.terms:
        size = term.columns.stop - term.columns.start
        scale = np.atleast_1d(sd[term.name][0] if term.name in sd else term.width)  # one number, or one a level or model
        effects[term.columns] = np.repeat(scale, size // len(scale)) * rng.standard_normal(size)
    bench, deployed = (fit.design.term(f"theta_{r}").columns for r in "ED")
    share = sd["rho"][0] * effects[bench] / sd["theta_E"][0]
    effects[deployed] = sd["theta_D"][0] * share + np.sqrt(1 - sd["rho"][0] ** 2) * effects[deployed]
    return effects


def quantities(fit: Fit) -> dict[str, np.ndarray]:
    """Draws of all that is reported, each (S,)."""
    out = {}
    for name, draws in fit.scales.items():
        columns = draws.reshape(len(draws), -1).T
        out |= {f"sd {name}" + (f"[{k}]" if draws.ndim > 1 else ""): column for k, column in enumerate(columns)}
    bench, mu = levels(fit, "evaluation"), levels(fit, "deployment")
    for name, values in {
        "bench level": bench.mean(),
        "deployed level": mu.mean(),
        "gap": mu.mean() - bench.mean(),
        "kappa": np.sqrt(context_variance(mu)),
        "level": mu.draws,
        "context effect": (mu.draws - bench.draws).mean(1),
    }.items():
        out |= {f"{name}[{k}]": draws for k, draws in enumerate(values.reshape(len(values), -1).T)}
    part = components(mu)
    out["coupling"] = part["mc"] / (part["m"] + part["mc"])
    out["coupling absolute"] = (part["c"] + part["mc"]) / (part["m"] + part["c"] + part["mc"])
    return out


def ranks(fit: Fit, count: int, seed: int, method=None) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Ranks 0..DRAWS of each quantity in `count` simulated fits; CPU seconds a fit and the share that passed the gates."""
    loadings, design = arm_loadings(fit.design, fit.arms), fit.design
    root = np.linalg.cholesky(fit.response.covariance)
    found, spent, passed = [], 0.0, 0
    for k in range(count):
        rng = np.random.default_rng([seed, k])
        blank = Response(np.zeros(len(fit.arms)), fit.response.covariance, fit.response.mu)
        data = problem(design, blank, loadings)
        x = rng.standard_normal((1, Hierarchy.of(data).dims))
        effects = prior_effects(fit, standard_deviations(design, x), rng)
        truth = dataclasses.replace(fit, x=x, effects=effects[None])
        value = loadings @ effects + root @ rng.standard_normal(len(root))
        begin = time.process_time()
        response = dataclasses.replace(blank, value=value)
        sample = (method or Importance())(problem(design, response, loadings), seed=k)
        drawn = draw_effects(design, response, loadings, standard_deviations(design, sample.x), rng)
        spent += time.process_time() - begin
        passed += all(d.passed for d in sample.diagnostics)
        keep = rng.choice(len(drawn), DRAWS, replace=False)
        fitted = dataclasses.replace(fit, x=sample.x[keep], effects=drawn[keep])
        true, seen = quantities(truth), quantities(fitted)
        found.append([(seen[name] < true[name]).sum() for name in true])
        names = list(true)
    columns = np.array(found).T
    return dict(zip(names, columns, strict=True)), {"CPU s a fit": spent / count, "gates": passed / count}


def uniformity(rank: np.ndarray, null: np.ndarray) -> float:
    """P-value of the simultaneous ECDF band: how rare is the most extreme of its points?"""
    return float((1 + (null <= _extreme(_counts(rank[None]), rank.size)[0]).sum()) / (1 + len(null)))


def null_extremes(size: int, seed: int = 0) -> np.ndarray:
    """The statistic of `NULLS` samples of uniform ranks of this size."""
    rng = np.random.default_rng(seed)
    return _extreme(rng.multinomial(size, np.full(BINS, 1 / BINS), NULLS).cumsum(1), size)


def _counts(rank: np.ndarray) -> np.ndarray:
    """Ranks below each edge of the bins, shape (samples, BINS)."""
    edges = np.arange(1, BINS + 1) * (DRAWS + 1) // BINS
    return (rank[..., None] < edges).sum(1)


def _extreme(below: np.ndarray, size: int) -> np.ndarray:
    """Least two-sided binomial tail over the points of the ECDF."""
    at = np.arange(1, BINS) / BINS
    lower = np.stack([binom.cdf(np.arange(size + 1), size, p) for p in at])
    upper = np.stack([binom.sf(np.arange(size + 1) - 1, size, p) for p in at])
    point = np.arange(BINS - 1)
    return np.minimum(lower[point, below[:, :-1]], upper[point, below[:, :-1]]).min(1)


def holm(p: dict[str, float]) -> dict[str, float]:
    """Adjusted p-values: the chance of any false alarm among all quantities stays below the level."""
    adjusted, worst = {}, 0.0
    for k, name in enumerate(sorted(p, key=p.get)):
        worst = max(worst, min(1.0, p[name] * (len(p) - k)))
        adjusted[name] = worst
    return adjusted


def coverage(rank: np.ndarray, probability: float = 0.9) -> float:
    """Share of truths inside the central interval."""
    tail = (1 - probability) / 2 * (DRAWS + 1)
    return float(((rank >= tail) & (rank < DRAWS + 1 - tail)).mean())


def summary(rank: dict[str, np.ndarray]) -> dict[str, tuple[int, float, float]]:
    """By kind of quantity: how many, mean coverage of 90 % intervals, least adjusted p-value."""
    null = null_extremes(len(next(iter(rank.values()))))
    adjusted = holm({name: uniformity(r, null) for name, r in rank.items()})
    kinds: dict[str, list[str]] = {}
    for name in rank:
        kinds.setdefault(name.partition("[")[0], []).append(name)
    return {
        kind: (len(names), float(np.mean([coverage(rank[n]) for n in names])), min(adjusted[n] for n in names))
        for kind, names in kinds.items()
    }


def main() -> None:
    """Print a table for both kinds of design."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fits", type=int, default=500)
    given = parser.parse_args()
    for kind in ("factors", "labels"):
        rank, spent = ranks(template(kind, n_models=5, n_contexts=6), given.fits, seed=1)
        rate = 1 / spent["CPU s a fit"]
        print(f"{kind}: {given.fits} fits, {rate:.2f} a CPU s, {spent['gates']:.3f} passed the gates")
        for name, (count, share, p) in summary(rank).items():
            print(f"| {name} | {count} | {share:.3f} | {p:.3f} |", flush=True)


if __name__ == "__main__":
    main()
