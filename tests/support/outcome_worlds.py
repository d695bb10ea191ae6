"""Small worlds of every kind of outcome, and how often their truths lie inside 90 % intervals.

One latent quantity rules them all: `l = eta[m, c] - b_i + nu_s` with item difficulties `b` and session shifts `nu`. What is
seen of it depends on the kind; the truth is its mean over new items and new sessions, by quadrature or in closed form.

    python tests/joint/outcome_worlds.py --worlds 150
"""

from __future__ import annotations

import argparse

import numpy as np
import polars as pl
from scipy.special import expit

import divergence as dv
from divergence.cells import at_least
from divergence.joint import levels

KINDS = ("binary", "proportion", "fraction", "ordinal", "at least a grade", "positive")
VARIANTS = ("plain", "copies", "sessions", "few sessions", "few items", "uneven items")
FEW = [*[(k, "few sessions") for k in ("binary", "positive")], ("positive", "few items"), ("positive", "uneven items")]
CASES = [(k, v) for k in KINDS for v in VARIANTS[:3] if (k, v) != ("proportion", "copies")] + FEW  # a rate has its own items
MODELS, CONTEXTS, ITEMS, TRIALS = 3, 4, 60, 2  # the first context is the bench
DIFFICULTY, SESSION, NOISE = 1.0, 0.8, 0.4  # standard deviations; the noise is that of the logarithm of a time
CUTS = np.array([-1.0, 0.3, 1.5])  # of four grades
LOG_SCALE = 0.5  # of the latent quantity in logarithms of seconds: items differ by a factor of 1.6
POOLED = 20  # items behind a published rate
SESSIONS = 40
FEW_ITEMS, FEW_SESSIONS, UNEVEN = 20, 10, 1.0  # in uneven worlds items differ by a factor of 2.7


def simulate(kind: str, variant: str, seed: int) -> tuple[dv.Cells, np.ndarray]:
    """The cells of a world and its true levels, shape (models, contexts)."""
    rng = np.random.default_rng([seed, KINDS.index(kind), VARIANTS.index(variant)])
    eta = rng.normal(0.3, 0.4) + rng.normal(0, 0.7, (MODELS, 1)) + rng.normal(0, 0.2, (1, CONTEXTS))
    eta = eta + rng.normal(0, 0.15, (MODELS, CONTEXTS))
    pooled = POOLED if kind == "proportion" else 1
    items = FEW_ITEMS if variant.endswith("items") else ITEMS
    sessions, scale = FEW_SESSIONS if variant == "few sessions" else SESSIONS, UNEVEN if variant[0] == "u" else LOG_SCALE
    shape = (MODELS, CONTEXTS, items // 10 if pooled > 1 else items, TRIALS, pooled)
    difficulty = rng.normal(0, DIFFICULTY, shape if pooled > 1 else (1, 1, items, 1, 1))  # rates are over items of their own
    session = rng.integers(sessions, size=shape[:4])
    shift = rng.normal(0, SESSION, sessions)[session][..., None] if variant.endswith("sessions") else np.zeros(1)
    latent = eta[:, :, None, None, None] - difficulty + shift
    y = _seen(kind, np.broadcast_to(latent, shape), rng, scale)
    m, c, i, t = (a.ravel() for a in np.indices(shape[:4]))
    if variant == "copies":
        y[:, :, :, 1] = y[:, :, :, 0]
    log = pl.DataFrame(
        {
            "regime": np.where(c == 0, "evaluation", "deployment"),
            "model": m.astype(str),
            "context": c.astype(str),
            "item": i.astype(str),
            "trial": t,
            "score": y.ravel(),
        }
    )
    if variant.endswith("sessions"):
        log = log.with_columns(session=pl.Series(session.ravel().astype(str)))
    log = log.rename({"score": "latency_s"}) if kind == "positive" else log
    log = log.with_columns(score_n=POOLED) if pooled > 1 else log
    setting = (
        dv.Configuration(outcome="latency_s")
        if kind == "positive"
        else dv.Configuration(grades=("0", "1", "2", "3") if kind in ("ordinal", "at least a grade") else ())
    )
    cells = dv.collapse(dv.read(log, configuration=setting))
    spread = np.hypot(DIFFICULTY, SESSION if variant.endswith("sessions") else 0.0)
    return at_least(cells, "2") if kind == "at least a grade" else cells, _truth(kind, eta, spread, scale)


def _seen(kind: str, latent: np.ndarray, rng: np.random.Generator, scale: float) -> np.ndarray:
    """The outcome of each row, (models, contexts, items, trials)."""
    if kind == "positive":
        return np.exp(scale * latent + rng.normal(0, NOISE, latent.shape))[..., 0]
    if kind == "fraction":
        p = np.clip(expit(latent), 1e-6, 1 - 1e-6)
        return rng.beta(4 * p, 4 * (1 - p))[..., 0]
    reached = (latent + rng.logistic(size=latent.shape))[..., None] > (CUTS if kind in KINDS[3:5] else np.zeros(1))
    return reached.sum(-1).mean(-1)


def _truth(kind: str, eta: np.ndarray, spread: float, scale: float) -> np.ndarray:
    if kind == "positive":
        return np.exp(scale * eta + ((scale * spread) ** 2 + NOISE**2) / 2)
    nodes, weights = np.polynomial.hermite_e.hermegauss(61)
    cuts = {"ordinal": CUTS, "at least a grade": CUTS[1:2]}.get(kind, np.zeros(1))
    return np.einsum("mckq,q->mc", expit(eta[..., None, None] - cuts[:, None] + spread * nodes), weights) / (
        weights.sum() * len(cuts)
    )


def covered(kind: str, variant: str, worlds: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Per world the share of levels, and of gaps, inside their 90 % intervals."""
    shares: dict[str, list[float]] = {"level": [], "gap": []}
    for k in range(worlds):
        cells, truth = simulate(kind, variant, 1000 * seed + k)
        fit = dv.fit(cells, method=dv.Importance(), seed=k).fits[0]
        bench, mu = levels(fit, "evaluation"), levels(fit, "deployment")
        drawn = np.concatenate([bench.draws, mu.draws], axis=2)
        gaps = mu.draws.mean(2) - bench.draws[:, :, 0]
        for name, draws, value in (("level", drawn, truth), ("gap", gaps, truth[:, 1:].mean(1) - truth[:, 0])):
            lower, upper = np.quantile(draws, [0.05, 0.95], axis=0)
            shares[name].append(((lower <= value) & (value <= upper)).mean())
    return {name: np.array(values) for name, values in shares.items()}


def main() -> None:
    """Print a table of all kinds and variants."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    for kind, variant in CASES:
        for name, share in covered(kind, variant, given.worlds, given.seed).items():
            error = share.std(ddof=1) / np.sqrt(len(share))
            print(f"| {kind} | {variant} | {name} | {share.mean():.3f} | {error:.3f} |", flush=True)


if __name__ == "__main__":
    main()
