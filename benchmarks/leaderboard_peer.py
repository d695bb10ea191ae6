"""A multilevel model on a table of counts: what `leaderboard.py --peers` stands beside the fit. Runs by itself.

    python benchmarks/leaderboard_peer.py TABLE.json BENCH pymc|bambi

    y[m,c] ~ Binomial(n[m,c], expit(alpha + theta[m] + beta[c] + delta[m,c])),   half-normal scales, non-centred

In PyMC with these priors, or by bambi's formula `p(y, n) ~ (1|model) + (1|context) + (1|model:context)` with its own.
Prints one line of JSON: per model the mean and 90 % limits of its level over the contexts but BENCH (equal weights),
processor seconds, compiling included, the worst R-hat and the least bulk effective draws of the levels.
"""

import importlib.util
import json
import pathlib
import sys
import time

import numpy as np

DRAWS = 500  # of each of two chains, as many to adapt


def main() -> None:
    """Fit the table and print."""
    import arviz as az

    rows = json.loads(pathlib.Path(sys.argv[1]).read_text())
    models, contexts = (sorted(set(rows[name])) for name in ("model", "context"))
    by = {"pymc": in_pymc, "bambi": in_bambi}[sys.argv[3]]
    level, spent, version = by(rows, models, contexts)
    deployed = [k for k, name in enumerate(contexts) if name != sys.argv[2]]
    level = level[..., deployed].mean(-1)
    low, high = np.quantile(level, [0.05, 0.95], axis=(0, 1))
    found = {"models": models, "mean": level.mean((0, 1)).tolist(), "low": low.tolist(), "high": high.tolist()}
    found |= {"cpu_s": spent, "r_hat": _worst(az.rhat, level), "ess": -_worst(lambda x: -az.ess(x), level)}
    print(json.dumps(found | {"version": version}))


def in_bambi(rows: dict, models: list[str], contexts: list[str]) -> tuple[np.ndarray, float, str]:
    """Draws of the levels (chains, draws, models, contexts), processor seconds, and what drew them."""
    import bambi
    import pandas as pd

    table = pd.DataFrame(rows)
    model = bambi.Model("p(y, n) ~ (1|model) + (1|context) + (1|model:context)", table, family="binomial")
    begin = time.process_time()
    drawn = model.fit(draws=DRAWS, tune=DRAWS, chains=2, cores=1, random_seed=0, progressbar=False)
    spent = time.process_time() - begin
    posterior = drawn.posterior
    size = (posterior.sizes["chain"], posterior.sizes["draw"], len(models), len(contexts))
    eta = np.zeros(size) + np.asarray(posterior["Intercept"])[..., None, None]
    of_model, of_context = posterior["1|model"], posterior["1|context"]
    eta += np.asarray(of_model.sel(model__factor_dim=models))[..., :, None]
    eta += np.asarray(of_context.sel(context__factor_dim=contexts))[..., None, :]
    pair = posterior["1|model:context"]
    names = [f"{m}:{c}" for m in models for c in contexts]
    eta += np.asarray(pair.sel({pair.dims[-1]: names})).reshape(size)
    return 1 / (1 + np.exp(-eta)), spent, f"bambi {bambi.__version__}"


def in_pymc(rows: dict, models: list[str], contexts: list[str]) -> tuple[np.ndarray, float, str]:
    """The same, of the model above."""
    import pymc as pm

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
        drawn = pm.sample(DRAWS, tune=DRAWS, chains=2, cores=1, random_seed=0, progressbar=False, nuts_sampler=sampler)
        spent = time.process_time() - begin
    return np.asarray(drawn.posterior["level"]), spent, f"PyMC {pm.__version__} ({sampler})"


def _worst(of, level: np.ndarray) -> float:
    return float(max(np.asarray(of(level[:, :, k])) for k in range(level.shape[2])))


if __name__ == "__main__":
    main()
