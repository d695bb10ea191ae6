"""Two published posteriors through the engine of the joint model, each with a log density given by the user.

Means, their Monte Carlo errors and mean squares are those of posteriordb (Magnusson et al. 2025; ten chains of 10,000 draws,
thinned to 1,000): github.com/stan-dev/posteriordb, commit in `datasets/posteriordb/recipe.toml`.
"""

import hashlib
import json
import pathlib
import tomllib
import zipfile

import numpy as np
import pytest

import divergence as dv
from divergence.joint import sample_density

ROOT = pathlib.Path(__file__).parents[2]
RECIPE = tomllib.loads((ROOT / "datasets" / "posteriordb" / "recipe.toml").read_text())
METHOD = dv.Importance(draws=8000, proposals=4000)
ERRORS = 4.0  # Monte Carlo errors of a difference of means; twenty means: one false alarm in 800 seeds

SCHOOLS = (  # effect of coaching in eight schools and its standard error (Rubin 1981)
    (28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0),
    (15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0),
)
SCHOOLS_PUBLISHED = {  # mean, its Monte Carlo error, mean square
    "theta[1]": (6.15050, 0.05574, 69.36345),
    "theta[2]": (4.93958, 0.04623, 45.97870),
    "theta[3]": (3.90591, 0.05423, 43.13923),
    "theta[4]": (4.79602, 0.04749, 45.76135),
    "theta[5]": (3.61444, 0.04615, 34.35767),
    "theta[6]": (4.05115, 0.04852, 39.41350),
    "theta[7]": (6.31717, 0.04988, 64.93269),
    "theta[8]": (4.88400, 0.05425, 52.12845),
    "mu": (4.41052, 0.03304, 30.40302),
    "tau": (3.60206, 0.03186, 23.20407),
}
VOTERS_PUBLISHED = {
    "beta[1]": (0.80461, 0.00734, 1.19171),
    "beta[2]": (0.78931, 0.00060, 0.62659),
    "beta[3]": (-1.07733, 0.00282, 1.24431),
    "beta[4]": (-0.45357, 0.00294, 0.29169),
    "beta[5]": (-0.71844, 0.00295, 0.60425),
    "beta[6]": (-0.48284, 0.00331, 0.34026),
    "beta[7]": (0.24471, 0.00107, 0.07137),
    "beta[8]": (-0.09264, 0.00169, 0.03723),
    "beta[9]": (0.23647, 0.00087, 0.06356),
    "sigma": (1.78613, 0.00059, 3.19364),
}


def _compare(sample, draws: dict[str, np.ndarray], published: dict[str, tuple[float, float, float]]) -> None:
    assert all(d.passed for d in sample.diagnostics), sample.diagnostics
    effective = next(d.value for d in sample.diagnostics if d.name == "effective draws")
    assert set(draws) == set(published)
    for name, (mean, error, square) in published.items():
        x = draws[name]
        own = x.std() / np.sqrt(effective)
        assert abs(x.mean() - mean) < ERRORS * np.hypot(own, error), (name, x.mean(), mean)
        assert x.std() == pytest.approx(np.sqrt(square - mean**2), rel=0.05), name


def test_eight_schools_noncentered():
    import jax.numpy as jnp

    effect, error = (jnp.array(column) for column in SCHOOLS)

    def log_density(x):
        """Standardised effects (8), their mean, the log of their sd; normal(0, 5) and half-Cauchy(0, 5) priors."""
        z, mu, tau = x[:8], x[8], jnp.exp(x[9])
        prior = -0.5 * (z @ z + (mu / 5) ** 2) - jnp.log1p((tau / 5) ** 2) + x[9]
        return prior - 0.5 * jnp.sum(((effect - mu - tau * z) / error) ** 2)

    sample = sample_density(log_density, 10, seed=3, method=METHOD)
    mu, tau = sample.x[:, 8], np.exp(sample.x[:, 9])
    theta = mu[:, None] + tau[:, None] * sample.x[:, :8]
    _compare(sample, {f"theta[{k + 1}]": theta[:, k] for k in range(8)} | {"mu": mu, "tau": tau}, SCHOOLS_PUBLISHED)


def test_nes2000():
    """Party identification by ideology, race, age, education, gender and income: normal linear model, flat priors."""
    import jax.numpy as jnp

    path = ROOT / RECIPE["place"] / pathlib.Path(RECIPE["path"]).name
    if not path.exists():
        pytest.skip(f"{path.name} is not at hand: datasets/posteriordb/recipe.toml says where it comes from")
    assert hashlib.sha256(path.read_bytes()).hexdigest() == RECIPE["sha256"]
    with zipfile.ZipFile(path) as archive:
        data = {k: np.array(v, float) for k, v in json.loads(archive.read("nes2000.json")).items()}
    age = data["age_discrete"]
    z = jnp.stack(
        [
            jnp.ones(len(age)),
            data["real_ideo"],
            data["race_adj"],
            *(1.0 * (age == k) for k in (2, 3, 4)),
            data["educ1"],
            data["gender"],
            data["income"],
        ],
        axis=1,
    )
    y = jnp.array(data["partyid7"])

    def log_density(x):
        """Nine coefficients and log sigma; sigma itself has a flat prior, hence the last term."""
        return -len(y) * x[9] - 0.5 * jnp.sum((y - z @ x[:9]) ** 2) * jnp.exp(-2 * x[9]) + x[9]

    sample = sample_density(log_density, 10, seed=3, method=METHOD)
    draws = {f"beta[{k + 1}]": sample.x[:, k] for k in range(9)} | {"sigma": np.exp(sample.x[:, 9])}
    _compare(sample, draws, VOTERS_PUBLISHED)
