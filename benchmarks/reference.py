"""The reference posterior of the embedded data set: long NUTS chains on the arm-level model. Writes `models/serving-lab/`.

python benchmarks/reference.py chain 0      # one chain into build/reference/ (about a minute of CPU time)
python benchmarks/reference.py write        # all chains -> reference.json, draws.npz, spec.json
"""

import argparse
import dataclasses
import hashlib
import json
import pathlib
import platform
from importlib.metadata import version

import numpy as np
from arviz_stats.base import array_stats

import divergence as dv

ROOT = pathlib.Path(__file__).parents[1]
LAB = ROOT / "datasets" / "serving-lab"
MODEL = ROOT / "models" / "serving-lab"
CHAINS = ROOT / "build" / "reference"
WARMUP, DRAWS, THINNED = 400, 1600, 200  # of a chain: adaptation, kept for the moments, kept in draws.npz
QUESTIONS = (
    "bench_level",
    "deployed_level",
    "gap",
    "kappa",
    "coupling",
    "coupling_absolute",
    "context_effect",
    "projection_instability",
)
STATISTICS = (None, "contrast", "tau_p", "beta", "PI0")  # the others come from the rows by a bootstrap
KEYS = ("question", "statistic", "regime", "model", "model_b", "context", "context_b", "factor", "level")
PACKAGES = ("eval-divergence", "jax", "numpyro", "numpy", "scipy", "polars")


def quantities(posterior: dv.Posterior) -> dict[str, np.ndarray]:
    """Draws of what is reported from the fit, by name, each (S,): scales, and answers that no bootstrap enters."""
    fit, out = posterior.fits[0], {}
    for name, draws in fit.scales.items():
        columns = draws.reshape(len(draws), -1).T
        out |= {f"scale|{name}" + (f"|{k}" if draws.ndim > 1 else ""): column for k, column in enumerate(columns)}
    for question in QUESTIONS:
        estimate = getattr(dv, question)(posterior)
        for row, key in enumerate(estimate.rows.iter_rows(named=True)):
            if estimate.reason[row] is None and key.get("statistic") in STATISTICS:
                words = [question, *(str(key[k]) for k in KEYS[1:] if key.get(k) is not None)]
                out["|".join(words)] = estimate.draws[:, row]
    return out


def cells() -> dv.Cells:
    """The sufficient statistics of the data set."""
    return dv.collapse(dv.read(LAB))


def draw_chain(seed: int) -> None:
    """One chain; its own process, so that chains run side by side where there are processors."""
    fit = dv.fit(cells(), method=dv.NUTS(chains=1, warmup=WARMUP, draws=DRAWS), seed=seed).fits[0]
    CHAINS.mkdir(parents=True, exist_ok=True)
    gates = {d.name: float(d.value) for d in fit.diagnostics}
    np.savez(
        CHAINS / f"chain-{seed}.npz",
        x=fit.x,
        effects=fit.effects,
        value=fit.response.value,
        gates=np.array([gates["divergent transitions"], gates["E-BFMI"]]),
    )


def write() -> None:
    """Moments, quantiles and diagnostics of all chains."""
    chains = [np.load(path) for path in sorted(CHAINS.glob("chain-*.npz"))]
    posterior = dv.fit(cells(), seed=0)
    fit = posterior.fits[0]
    if any(not np.allclose(chain["value"], fit.response.value, atol=1e-8) for chain in chains):
        raise SystemExit("the chains were drawn from other arm levels than this version measures; draw them again")
    whole = dataclasses.replace(
        fit, x=np.concatenate([c["x"] for c in chains]), effects=np.concatenate([c["effects"] for c in chains])
    )
    draws = quantities(dataclasses.replace(posterior, fits=(whole,)))
    table, kept = {}, {}
    for name, column in draws.items():
        chain = column.reshape(len(chains), -1)
        bulk = float(array_stats.ess(chain, chain_axis=0, draw_axis=1, method="bulk"))
        lower, upper = np.quantile(column, [0.05, 0.95])
        table[name] = {
            "mean": column.mean(),
            "sd": column.std(),
            "mcse": column.std() / np.sqrt(bulk),
            "q05": lower,
            "q95": upper,
            **{
                f"{name}_mcse": float(array_stats.mcse(chain, chain_axis=0, draw_axis=1, method="quantile", prob=p))
                for name, p in (("q05", 0.05), ("q95", 0.95))
            },
            "effective_draws": bulk,
            "r_hat": float(array_stats.rhat(chain, chain_axis=0, draw_axis=1)),
        }
        table[name] = {k: float(f"{v:.7g}") for k, v in table[name].items()}
        kept[name] = chain[:, :: DRAWS // THINNED].ravel().astype(np.float32)
    record = {
        "data_sha256": hashlib.sha256((LAB / "data.parquet").read_bytes()).hexdigest(),
        "response": np.round(fit.response.value, 6).tolist(),
        "method": f"NUTS (NumPyro), {len(chains)} chains of {WARMUP} + {DRAWS} transitions, arm-level model",
        "diagnostics": {
            "worst R-hat": max(row["r_hat"] for row in table.values()),
            "least effective draws": min(row["effective_draws"] for row in table.values()),
            "divergent transitions": float(sum(c["gates"][0] for c in chains)),
            "least E-BFMI": float(min(c["gates"][1] for c in chains)),
        },
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        "quantities": table,
    }
    MODEL.mkdir(parents=True, exist_ok=True)
    (MODEL / "reference.json").write_text(json.dumps(record, indent=1) + "\n")
    spec = {"spec": dataclasses.asdict(posterior.spec), "equations": posterior.equations().split("\n")}
    (MODEL / "spec.json").write_text(json.dumps(spec, indent=1) + "\n")
    np.savez_compressed(MODEL / "draws.npz", names=np.array(list(kept)), draws=np.stack(list(kept.values()), 1))
    print(json.dumps(record["diagnostics"], indent=1), len(table), "quantities")


def main() -> None:
    """Draw a chain, or write what the chains say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("chain", "write"))
    parser.add_argument("seed", type=int, nargs="?", default=0)
    given = parser.parse_args()
    draw_chain(given.seed) if given.what == "chain" else write()


if __name__ == "__main__":
    main()
