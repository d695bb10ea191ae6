"""The default method against long NUTS chains on the embedded data set, number by number."""

import hashlib
import importlib.util
import json
import pathlib

import numpy as np
import pytest

import divergence as dv

ROOT = pathlib.Path(__file__).parents[2]
MODEL = ROOT / "models" / "serving-lab"
AGAIN = "; `make reference` draws it again"

_spec = importlib.util.spec_from_file_location("reference_posterior", ROOT / "benchmarks" / "reference.py")
script = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(script)


@pytest.fixture(scope="module")
def reference():
    return json.loads((MODEL / "reference.json").read_text())


@pytest.fixture(scope="module")
def fitted():
    """The default method with more draws, so that errors are small on both sides."""
    return dv.fit(script.cells(), method=dv.Importance(draws=16_000, proposals=8_000), seed=0)


def test_it_is_the_posterior_of_the_data_at_hand(reference, fitted):
    data = hashlib.sha256((ROOT / "datasets" / "serving-lab" / "data.parquet").read_bytes()).hexdigest()
    assert data == reference["data_sha256"], "the reference is of other data" + AGAIN
    np.testing.assert_allclose(fitted.fits[0].response.value, reference["response"], atol=1e-4,
                               err_msg="this version measures other arm levels" + AGAIN)
    spec = json.loads((MODEL / "spec.json").read_text())["spec"]
    assert spec == vars(fitted.spec), "the reference is of another spec" + AGAIN


def test_its_chains_agree(reference):
    found = reference["diagnostics"]
    assert found["worst R-hat"] < 1.01
    assert found["least effective draws"] >= 400
    assert found["divergent transitions"] == 0
    assert found["least E-BFMI"] > 0.2


def test_means_sds_and_tails(reference, fitted):
    """Means within 3 Monte Carlo errors (of both sides), sds within 5 %, 5 and 95 % quantiles within .1 sd.

    Where an sd or a quantile has itself a Monte Carlo error of more (a correlation near 1 with a long tail), 3 of these.
    """
    effective = next(d.value for d in fitted.diagnostics if d.name == "effective draws")
    draws = script.quantities(fitted)
    assert set(draws) == set(reference["quantities"])
    wrong, loose = {}, 0
    for name, row in reference["quantities"].items():
        column, sd = draws[name], row["sd"]
        n = 1 / (1 / effective + 1 / row["effective_draws"])  # independent draws behind a difference
        error = np.hypot(row["mcse"], column.std() / np.sqrt(effective))
        of_sd = np.sqrt(max(np.mean(((column - column.mean()) / column.std()) ** 4) - 1, 0) / (4 * n))
        half = np.sqrt(0.05 * 0.95 / n)
        of_tail = max(np.ptp(np.quantile(column, [p - half, p + half])) / 2 / sd for p in (0.05, 0.95))
        tails = np.abs(np.quantile(column, [0.05, 0.95]) - [row["q05"], row["q95"]]) / sd
        seen = (abs(column.mean() - row["mean"]) / error, abs(column.std() / sd - 1), tails.max())
        loose += 3 * of_sd > 0.05
        if seen[0] > 3 or seen[1] > max(0.05, 3 * of_sd) or seen[2] > max(0.1, 3 * of_tail):
            wrong[name] = (*seen, of_sd, of_tail)
    assert not wrong
    assert loose < 0.1 * len(draws)  # most quantities are held to the plain bounds


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
