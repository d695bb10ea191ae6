"""Is coherence calibrated? Of the combinations that are given 70-90 %, do 70-90 % meet the region?"""

import itertools

import numpy as np
import polars as pl
import pytest
from scipy.optimize import brentq
from scipy.special import ndtr

import divergence as dv
from divergence.simulate import simulate, world

# The region lies where worlds differ: about half of the combinations are inside each bound.
REGION = {
    "quality_min": 0.55,
    "bench_gap_max": 0.09,
    "latency_p95_max_s": 3.2,
    "cost_per_success_max_usd": 0.026,
    "excess_flips_max": 0.07,
}
SPREAD, BY_ITEM, SLOWER = 0.5, 0.3, 0.4  # of log latency: within an item, between items; failures take longer
SIZES = dict(n_models=5, n_contexts=4, n_items=100)


def log_and_truth(kind: str, seed: int, **sizes):
    """A log with latency and cost that hang together with success, and whether each combination meets each bound."""
    log, truth = simulate(world(kind, **(SIZES | sizes)), seed)
    rng = np.random.default_rng([seed, 77])
    models, contexts = (sorted(log[name].unique()) for name in ("model", "context"))
    centre = rng.normal(0.1, 0.3, (len(models), len(contexts)))
    of_item = dict(zip(sorted(log["item"].unique()), rng.normal(0, BY_ITEM, log["item"].n_unique()), strict=True))
    place = [(models.index(m), contexts.index(c)) for m, c in log.select("model", "context").iter_rows()]
    where = np.array([centre[p] for p in place])
    item = np.array([of_item[i] for i in log["item"]])
    failed = 1 - log["score"].to_numpy()
    latency = np.exp(where + SLOWER * failed + item + SPREAD * rng.standard_normal(log.height))
    log = log.with_columns(latency_s=pl.Series(latency), cost_usd=pl.Series(0.01 * latency))
    level = truth["level"]
    total = np.hypot(SPREAD, BY_ITEM)
    met = {}
    for m, model in enumerate(models):
        for c in range(1, level.shape[1]):
            p, mean = level[m, c], centre[m, contexts.index(f"context-{c}")]
            p95 = brentq(
                lambda x, p=p, mean=mean: p * ndtr((x - mean) / total) + (1 - p) * ndtr((x - mean - SLOWER) / total) - 0.95,
                mean - 5,
                mean + 9,
            )
            spend = 0.01 * np.exp(mean + total**2 / 2) * (p + (1 - p) * np.exp(SLOWER))
            met[model, f"context-{c}"] = np.array(
                [
                    p >= REGION["quality_min"],
                    abs(p - level[m, 0]) <= REGION["bench_gap_max"],
                    np.exp(p95) <= REGION["latency_p95_max_s"],
                    spend / p <= REGION["cost_per_success_max_usd"],
                    truth["excess_flips"][m, c - 1] <= REGION["excess_flips_max"],
                ]
            )
    return log, met


def given_and_met(kind: str, seed: int, **sizes) -> list[tuple[float, bool, list[float], list[bool]]]:
    """Per combination: coherence, whether it meets the region; and both for each bound alone."""
    log, met = log_and_truth(kind, seed, **sizes)
    answer = dv.coherence(dv.fit(dv.collapse(dv.read(log)), seed=0), acceptance=REGION)
    table = answer.to_frame().filter(pl.col("context").is_not_null())
    wide = {(r["model"], r["context"], r["statistic"]): r["mean"] for r in table.iter_rows(named=True)}
    return [(wide[(*k, None)], bool(v.all()), [wide[(*k, b)] for b in REGION], v.tolist()) for k, v in met.items()]


def test_small_worlds():
    """Six worlds: the mean of the probabilities is near the share that meets (a lost side or a wrong sign is not)."""
    found = [row for seed in range(6) for row in given_and_met("baseline", 500 + seed)]
    given, met = np.array([f[0] for f in found]), np.array([f[1] for f in found])
    # 120 combinations, with models and items in common: an effective thirty give a standard error of .09.
    assert abs(given.mean() - met.mean()) < 0.3
    assert given[met].mean() > given[~met].mean()


@pytest.mark.prove
def test_calibrated():
    """200 worlds: among the combinations given 70-90 %, 70-90 % meet the region; each bound alone is printed."""
    found = [[given_and_met(kind, 9000 + k) for k in range(count)] for kind, count in (("baseline", 140), ("sessions", 60))]
    worlds = [rows for of_kind in found for rows in of_kind]
    print("worlds", len(worlds))
    flat = [row for rows in worlds for row in rows]
    _table("region", np.array([f[0] for f in flat]), np.array([f[1] for f in flat]))
    for b, bound in enumerate(REGION):
        _table(bound, np.array([f[2][b] for f in flat]), np.array([f[3][b] for f in flat]))
    shares = np.array(
        [(sum(met for p, met, *_ in rows if 0.7 <= p <= 0.9), sum(0.7 <= p <= 0.9 for p, *_ in rows)) for rows in worlds]
    )
    share = shares[:, 0].sum() / shares[:, 1].sum()
    error = np.sqrt(((shares[:, 0] - share * shares[:, 1]) ** 2).sum()) / shares[:, 1].sum()
    print(f"given 70-90 %: {shares[:, 1].sum()} combinations, {share:.3f} +- {error:.3f} meet")
    assert 0.7 <= share <= 0.9


def _table(name: str, given: np.ndarray, met: np.ndarray) -> None:
    edges = [0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0001]
    cells = [
        f"{lo:.1f}-{min(hi, 1):.1f}: {met[k].mean():.3f} (given {given[k].mean():.3f}, n {k.sum()})"
        for lo, hi in itertools.pairwise(edges)
        if (k := (given >= lo) & (given < hi)).any()
    ]
    print(name, "; ".join(cells), flush=True)
