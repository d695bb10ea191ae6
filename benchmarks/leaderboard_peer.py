"""A multilevel model in PyMC on a table of counts: what `leaderboard.py --peers` stands beside the fit. Runs by itself.

    python benchmarks/leaderboard_peer.py TABLE.json BENCH

    y[m,c] ~ Binomial(n[m,c], expit(alpha + theta[m] + beta[c] + delta[m,c])),   half-normal scales, non-centred

Prints one line of JSON: per model the mean and 90 % limits of its level over the contexts but BENCH (equal weights),
processor seconds, compiling included, the worst R-hat and the least bulk effective draws of the levels.
"""

import importlib.util
import json
import pathlib
import sys
import time

import numpy as np


def main() -> None:
    """Fit the table and print."""
    import arviz as az
    import pymc as pm

    rows = json.loads(pathlib.Path(sys.argv[1]).read_text())
    models, contexts = (sorted(set(rows[name])) for name in ("model", "context"))
    m, c = (np.array([names.index(v) for v in rows[k]]) for k, names in (("model", models), ("context", contexts)))
    with pm.Model():
        scale = pm.HalfNormal("scale", [1.5, 0.5, 0.3], shape=3)
        theta, beta, delta = (
            pm.Normal(name, shape=size)
            for name, size in (("theta", len(models)), ("beta", len(contexts)), ("delta", (len(models), len(contexts))))
        )
        alpha = pm.Normal("alpha", sigma=2.5)
        eta = alpha + scale[0] * theta[:, None] + scale[1] * beta + scale[2] * delta
        pm.Deterministic("level", pm.math.sigmoid(eta))
        pm.Binomial("y", n=np.array(rows["n"]), p=pm.math.sigmoid(eta[m, c]), observed=np.array(rows["y"]))
        begin = time.process_time()
        sampler = "nutpie" if importlib.util.find_spec("nutpie") else "pymc"
        drawn = pm.sample(500, tune=500, chains=2, cores=1, random_seed=0, progressbar=False, nuts_sampler=sampler)
        spent = time.process_time() - begin
    deployed = [k for k, name in enumerate(contexts) if name != sys.argv[2]]
    level = np.asarray(drawn.posterior["level"])[..., deployed].mean(-1)
    low, high = np.quantile(level, [0.05, 0.95], axis=(0, 1))
    found = {"models": models, "mean": level.mean((0, 1)).tolist(), "low": low.tolist(), "high": high.tolist()}
    found |= {"cpu_s": spent, "r_hat": _worst(az.rhat, level), "ess": -_worst(lambda x: -az.ess(x), level)}
    print(json.dumps(found | {"version": f"{pm.__version__} ({sampler})"}))


def _worst(of, level: np.ndarray) -> float:
    return float(max(np.asarray(of(level[:, :, k])) for k in range(level.shape[2])))


if __name__ == "__main__":
    main()
