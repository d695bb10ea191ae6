"""The default method against long NUTS chains on the embedded data set, number by number."""

import hashlib
import json
import pathlib

import numpy as np
import pytest
from scipy.stats import kurtosis, norm

import divergence as dv
from benchmarks import reference as script

ROOT = pathlib.Path(__file__).parents[2]
MODEL = ROOT / "models" / "serving-lab"
AGAIN = "; `make reference` draws it again"
RUNS = 16
ALARM = 0.01  # chance that any of the bounds fails by Monte Carlo error alone


@pytest.fixture(scope="module")
def reference():
    return json.loads((MODEL / "reference.json").read_text())


@pytest.fixture(scope="module")
def runs():
    """The default method as every user runs it, under several seeds: what differs between them is its Monte Carlo error."""
    cells = script.cells()
    return [dv.fit(cells, method=dv.Importance(), seed=seed) for seed in range(RUNS)]


@pytest.fixture(scope="module")
def moments(runs):
    """Mean, sd, 5 and 95 % quantile of each quantity by run, (runs, 4); all draws; effective draws of each run."""
    each = [script.quantities(run) for run in runs]
    table = {
        name: np.array([[d[name].mean(), d[name].std(), *np.quantile(d[name], [0.05, 0.95])] for d in each])
        for name in each[0]
    }
    pooled = {name: np.concatenate([d[name] for d in each]) for name in each[0]}
    return table, pooled, np.array([effective(run) for run in runs])


def effective(run: dv.Posterior) -> float:
    """Independent draws that the weights are worth."""
    return next(d.value for d in run.diagnostics if d.name == "effective draws")


def test_it_is_the_posterior_of_the_data_at_hand(reference, runs):
    data = hashlib.sha256((ROOT / "datasets" / "serving-lab" / "data.parquet").read_bytes()).hexdigest()
    assert data == reference["data_sha256"], "the reference is of other data" + AGAIN
    np.testing.assert_allclose(
        runs[0].fits[0].response.value,
        reference["response"],
        atol=1e-4,
        err_msg="this version measures other arm levels" + AGAIN,
    )
    spec = json.loads((MODEL / "spec.json").read_text())["spec"]
    assert spec == vars(runs[0].spec), "the reference is of another spec" + AGAIN


def test_its_chains_agree(reference):
    found = reference["diagnostics"]
    assert found["worst R-hat"] < 1.01
    assert found["least effective draws"] >= 400
    assert found["divergent transitions"] == 0
    assert found["least E-BFMI"] > 0.2


def test_the_method_knows_its_own_monte_carlo_error(moments):
    """Means scatter between seeds as `sd / sqrt(effective draws)` says, the number that every fit reports.

    The ratio of variances is a chi-square over RUNS - 1 per quantity; the hundred quantities hang together and count as ten.
    """
    table, _, draws = moments
    ratio = [each[:, 0].var(ddof=1) / np.mean(each[:, 1] ** 2 / draws) for each in table.values()]
    assert np.mean(ratio) < 1 + 4 * np.sqrt(2 / (RUNS - 1) / 10)


def test_means_sds_and_tails(reference, moments):
    """The mean over runs against the chains, each bound beside the Monte Carlo error of both sides.

    | what | bound | Monte Carlo error |
    |---|---|---|
    | mean | 3 errors | MCSE of both |
    | sd | 5 %, or 3 errors | sqrt((kurtosis - 1) / 4 n), 1 / n: the sum of 1 / effective draws of both sides |
    | 5, 95 % quantile | .1 sd, or 3 errors | scatter between runs, and MCSE of the chains' quantiles |

    With a dozen thousand draws on either side the error of a 95 % quantile of a skewed scale is .05 sd: there the plain
    bound is two errors. A hundred quantities at 3 errors: chance alone leaves .3 of them outside a bound; 2 % may be, none
    farther off than `z` errors, which any of them is by chance with probability `ALARM`.
    """
    missed, wrong, widened = beyond_bounds(reference, moments)
    quantities = len(reference["quantities"])
    print(f"{quantities} quantities, {len(missed)} beyond a bound, {widened} with a bound that Monte Carlo errors widen")
    assert not wrong
    assert len(missed) <= max(1, 0.02 * quantities), missed


def beyond_bounds(reference, moments) -> tuple[dict, dict, int]:
    """Quantities beyond the bounds of `test_means_sds_and_tails`, those beyond `z` errors, how many bounds errors widen."""
    table, pooled, draws = moments
    assert set(table) == set(reference["quantities"])
    z, missed, wrong, widened = norm.isf(ALARM / 2 / (4 * len(table))), {}, {}, 0
    for name, row in reference["quantities"].items():
        mean, sd, lower, upper = table[name].mean(0)
        n = 1 / (1 / draws.sum() + 1 / row["effective_draws"])
        scatter = table[name][:, 2:].std(0, ddof=1) / np.sqrt(RUNS)
        half = np.sqrt(0.05 * 0.95 / row["effective_draws"])  # of the chains' distribution function there
        chains = [
            row.get(f"{q}_mcse", np.ptp(np.quantile(pooled[name], [p - half, p + half])) / 2)
            for q, p in (("q05", 0.05), ("q95", 0.95))
        ]
        error = np.array(
            [
                np.hypot(row["mcse"], sd / np.sqrt(draws.sum())) / row["sd"],
                np.sqrt(max(kurtosis(pooled[name], fisher=False) - 1, 0) / (4 * n)),
                *(np.hypot(scatter, chains) / row["sd"]),
            ]
        )
        off = np.abs([mean - row["mean"], sd - row["sd"], lower - row["q05"], upper - row["q95"]]) / row["sd"]
        plain = np.array([0, 0.05, 0.1, 0.1])
        widened += (3 * error[1:] > plain[1:]).any()
        if (off > np.maximum(plain, 3 * error)).any():
            missed[name] = off, error
        if (off > np.maximum(plain, z * error)).any():
            wrong[name] = off, error
    return missed, wrong, widened


def test_draws_are_those_of_the_table(reference):
    with np.load(MODEL / "draws.npz", allow_pickle=False) as arrays:
        names, draws = arrays["names"].tolist(), arrays["draws"]
    assert names == list(reference["quantities"])
    for name, column in zip(names, draws.T, strict=True):
        row = reference["quantities"][name]
        # thinned: as many independent draws as the whole at most; five errors for a hundred numbers that hang together
        error = row["sd"] * np.hypot(1 / np.sqrt(len(column) / 4), 1 / np.sqrt(row["effective_draws"]))
        assert abs(column.mean() - row["mean"]) < 5 * error, name
    assert (MODEL / "draws.npz").stat().st_size <= 5e6
