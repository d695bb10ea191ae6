"""One method on the benchmark's log, in a process of its own; prints a JSON object. See `engine.py`.

    python benchmarks/engine_one.py arm|item|arm-nuts|numpyro|numpyro-zerosum|pymc|nutpie|stan

Every method is given the same counts (models x contexts x items: successes of trials) and asked for the same numbers: the
levels of all arms and their contrasts with the bench, over the log's own items. Peers fit the textbook model

    eta = alpha + theta_m + beta_c + delta_mc - b_i,     y ~ Binomial(n, sigmoid(eta)),

with half-normal standard deviations of the widths in `Spec`. Effective draws are the least bulk count over these numbers.
"""

import json
import sys
import time
from importlib.metadata import version

import numpy as np

from divergence.simulate import simulate_both, world

MODELS, CONTEXTS, ITEMS, TRIALS = 4, 4, 500, 10  # 4 x (1 + 4) arms x 500 items x 10 trials = 100,000 rows
CHAINS, TUNE, DRAWS = 2, 200, 200  # of the peers: their rate is asked for, not their gates
INTERCEPT, ABILITY, FACTOR, RESIDUAL, DIFFICULTY = 2.5, 1.5, 0.5, 0.3, 1.5  # prior widths
SEED = 5
SEEDS = 200  # fits of our own, to see what their draws are worth


def world_log():
    """The log, and the truth for its own items."""
    sizes = {"n_models": MODELS, "n_contexts": CONTEXTS, "n_items": ITEMS, "n_trials": TRIALS}
    log, _, own = simulate_both(world("baseline", **sizes), SEED)
    return log, own


def successes(log) -> np.ndarray:
    """Successes, shape (models, contexts, items); context 0 is the bench."""
    return log["score"].to_numpy().reshape(MODELS, CONTEXTS + 1, ITEMS, TRIALS).sum(3)


def numbers(level: np.ndarray) -> np.ndarray:
    """Arm levels and contrasts with the bench, from levels (..., models, contexts), shape (..., numbers)."""
    contrast = level[..., 1:] - level[..., :1]
    lead = level.shape[:-2]
    return np.concatenate([level.reshape(*lead, -1), contrast.reshape(*lead, -1)], -1)


def effective(chains: np.ndarray) -> tuple[float, float]:
    """Least bulk effective draws and worst R-hat over the numbers; `chains` has shape (chains, draws, numbers)."""
    from arviz_stats.base import array_stats

    bulk = array_stats.ess(chains, chain_axis=0, draw_axis=1, method="bulk")
    return float(np.min(bulk)), float(np.max(array_stats.rhat(chains, chain_axis=0, draw_axis=1)))


def ours(log, name: str) -> dict:
    """The default method, and NUTS on the same marginal density."""
    import divergence as dv
    from divergence.joint import ItemLevel, levels

    cells = dv.collapse(dv.read(log))
    short = dv.NUTS(chains=CHAINS, warmup=TUNE, draws=DRAWS)
    method = {"arm": dv.Importance(), "item": ItemLevel(), "arm-nuts": short}[name]

    def asked(fit, items: str) -> np.ndarray:
        regimes = [levels(fit, regime, items=items).draws for regime in ("evaluation", "deployment")]
        return numbers(np.concatenate(regimes, 2))

    spent, means, variances = [], [], []
    for seed in range(SEEDS + 1 if name != "arm-nuts" else 2):  # the first compiles
        begin = time.process_time()
        fit = dv.fit(cells, method=method, seed=seed).fits[0]
        spent.append(time.process_time() - begin)
        draws = asked(fit, "new")
        means.append(draws.mean(0))
        variances.append(draws.var(0))
    warm = float(np.mean(spent[1:]))
    found = {
        "compile_s": spent[0] - warm,
        "cpu_s": warm,
        "draws": asked(fit, "observed"),
        "gates": {d.name: float(d.value) for d in fit.diagnostics},
    }
    if name == "arm-nuts":
        least, r_hat = effective(draws.reshape(CHAINS, -1, draws.shape[-1]))
        return found | {"effective": least, "r_hat": r_hat}
    # Draws are independent given their weights: the weights' own effective number. Beside it what the means of fits with
    # other seeds say: draws that vary so little from fit to fit are worth that many, on average over the numbers.
    by_seeds = np.mean(variances, 0) / np.var(means, 0, ddof=1)
    return found | {
        "effective": min(found["gates"]["effective draws"], float(len(draws))),
        "r_hat": None,
        "by_seeds": float(by_seeds.mean()),
    }


def numpyro_nuts(y: np.ndarray, zero_sum: bool) -> dict:
    """NumPyro's NUTS; the second run finds everything compiled."""
    import jax
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist
    from numpyro.infer import MCMC, NUTS

    def model(y):
        def effects(name, width, *shape):
            scale = numpyro.sample(f"sd_{name}", dist.HalfNormal(width))
            return scale * numpyro.sample(name, dist.Normal(0, 1).expand(shape).to_event(len(shape)))

        alpha = numpyro.sample("alpha", dist.Normal(0, INTERCEPT))
        arm = alpha + effects("theta", ABILITY, MODELS)[:, None] + effects("beta", FACTOR, CONTEXTS + 1)
        arm = arm + effects("delta", RESIDUAL, MODELS, CONTEXTS + 1)
        if zero_sum:
            scale = numpyro.sample("sd_b", dist.HalfNormal(DIFFICULTY))
            difficulty = numpyro.sample("b", dist.ZeroSumNormal(scale, (ITEMS,)))
        else:
            difficulty = effects("b", DIFFICULTY, ITEMS)
        eta = arm[:, :, None] - difficulty
        numpyro.deterministic("level", jax.nn.sigmoid(eta).mean(-1))
        numpyro.sample("y", dist.Binomial(TRIALS, logits=eta), obs=y)

    run = MCMC(
        NUTS(model), num_warmup=TUNE, num_samples=DRAWS, num_chains=CHAINS, chain_method="sequential", progress_bar=False
    )
    spent = []
    for seed in (0, 1):
        begin = time.process_time()
        run.run(jax.random.key(seed), jnp.asarray(y, float))
        level = np.asarray(run.get_samples(group_by_chain=True)["level"])
        spent.append(time.process_time() - begin)
    return _peer(level, spent[0] - spent[1], spent[1])


def pymc_nuts(y: np.ndarray, nutpie: bool) -> dict:
    """PyMC's own sampler, or nutpie, on the same model; numba compiles both (PyMC's C backend took over 500 s)."""
    import pymc as pm

    with pm.Model() as model:

        def effects(name, width, shape):
            return pm.HalfNormal(f"sd_{name}", width) * pm.Normal(name, 0, 1, shape=shape)

        arm = pm.Normal("alpha", 0, INTERCEPT) + effects("theta", ABILITY, MODELS)[:, None]
        arm = arm + effects("beta", FACTOR, CONTEXTS + 1) + effects("delta", RESIDUAL, (MODELS, CONTEXTS + 1))
        eta = arm[:, :, None] - effects("b", DIFFICULTY, ITEMS)
        pm.Deterministic("level", pm.math.sigmoid(eta).mean(-1))
        pm.Binomial("y", TRIALS, logit_p=eta, observed=y)
    begin = time.process_time()
    if nutpie:
        import nutpie

        compiled = nutpie.compile_pymc_model(model)
        middle = time.process_time()
        trace = nutpie.sample(compiled, draws=DRAWS, tune=TUNE, chains=CHAINS, cores=1, seed=1, progress_bar=False)
        compiling, spent = middle - begin, time.process_time() - middle
    else:
        options = {
            "chains": CHAINS,
            "cores": 1,
            "progressbar": False,
            "compute_convergence_checks": False,
            "compile_kwargs": {"mode": "NUMBA"},
        }
        with model:
            pm.sample(draws=1, tune=1, random_seed=0, **options)  # compiles, and keeps the C code
            middle = time.process_time()
            pm.sample(draws=1, tune=1, random_seed=0, **options)  # what every call costs before it samples
            third = time.process_time()
            trace = pm.sample(draws=DRAWS, tune=TUNE, random_seed=1, **options)
        compiling, spent = third - begin, time.process_time() - third - (third - middle)
    return _peer(np.asarray(trace.posterior["level"]), compiling, spent)


STAN = """
data { int M; int C; int I; int trials; array[M * C, I] int y; vector[5] width; }
parameters {
  real alpha; vector[M] z_theta; vector[C] z_beta; matrix[M, C] z_delta; vector[I] z_b; vector<lower=0>[4] sd;
}
transformed parameters {
  matrix[M, C] arm = alpha + sd[1] * rep_matrix(z_theta, C) + sd[2] * rep_matrix(z_beta', M) + sd[3] * z_delta;
  vector[I] b = sd[4] * z_b;
}
model {
  alpha ~ normal(0, width[1]);
  sd ~ normal(0, width[2:5]);
  z_theta ~ std_normal(); z_beta ~ std_normal(); to_vector(z_delta) ~ std_normal(); z_b ~ std_normal();
  for (m in 1:M) for (c in 1:C) y[(m - 1) * C + c] ~ binomial_logit(trials, arm[m, c] - b);
}
generated quantities {
  matrix[M, C] level;
  for (m in 1:M) for (c in 1:C) level[m, c] = mean(inv_logit(arm[m, c] - b));
}
"""


def stan_nuts(y: np.ndarray) -> dict:
    """Stan's NUTS through PyStan, whose wheel carries the compiler's front end and the headers; g++ does the rest."""
    import os

    import httpstan.services_stub
    import stan

    data = {
        "M": MODELS,
        "C": CONTEXTS + 1,
        "I": ITEMS,
        "trials": TRIALS,
        "y": y.reshape(-1, ITEMS).astype(int).tolist(),
        "width": [INTERCEPT, ABILITY, FACTOR, RESIDUAL, DIFFICULTY],
    }

    def used() -> float:
        return sum(os.times()[:4])

    begin = used()
    built = stan.build(STAN, data=data, random_seed=1)
    middle = used()
    fitted = built.sample(num_chains=CHAINS, num_samples=DRAWS, num_warmup=TUNE)
    httpstan.services_stub.executor.shutdown(wait=True)  # only then are its processes counted
    level = fitted["level"].reshape(MODELS, CONTEXTS + 1, -1)  # PyStan: the last axis holds draws, chains within draws
    level = np.moveaxis(level, -1, 0).reshape(DRAWS, CHAINS, MODELS, CONTEXTS + 1).swapaxes(0, 1)
    return _peer(level, middle - begin, used() - middle)


def _peer(level: np.ndarray, compiling: float, spent: float) -> dict:
    draws = numbers(level)
    least, r_hat = effective(draws)
    return {
        "compile_s": compiling,
        "cpu_s": spent,
        "effective": least,
        "r_hat": r_hat,
        "draws": draws.reshape(-1, draws.shape[-1]),
    }


def main(name: str) -> dict:
    """Run it, and say how the intervals did."""
    log, own = world_log()
    if name in ("arm", "item", "arm-nuts"):
        found = ours(log, name)
    elif name.startswith("numpyro"):
        found = numpyro_nuts(successes(log), name.endswith("zerosum"))
    elif name == "stan":
        found = stan_nuts(successes(log))
    else:
        found = pymc_nuts(successes(log), name == "nutpie")
    draws, truth = found.pop("draws"), numbers(own["level"])
    lower, upper = np.quantile(draws, [0.05, 0.95], axis=0)
    package = "eval-divergence" if name in ("arm", "item") else "numpyro" if name == "arm-nuts" else name.partition("-")[0]
    package = {"stan": "pystan"}.get(package, package)
    return found | {
        "mean": draws.mean(0).tolist(),
        "sd": draws.std(0).tolist(),
        "version": f"{package} {version(package)}",
        "covered": float(((lower <= truth) & (truth <= upper)).mean()),
    }


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
