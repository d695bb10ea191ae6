"""Places under a law on items that were not fitted, spreads of known size, and what the three questions cost.

    python benchmarks/leaderboard.py --write
    python benchmarks/leaderboard.py --models 1555 --only speed      # timm, ../shared/data

*Places*: serving-lab, fitted on a random half of its items; the place on the other half is one with that half's own noise,
which is added to the draws. A settled pair (90 %) is reversed where the other half says the opposite, noise and all.
Simulated worlds of 30 models, six of them forecast: the place of the true level. *Spread*: `convergence` on suites of 100
models with known levels. *Speed*: processor seconds beyond the fit and the peak of memory, on timm's models.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import resource
import subprocess
import sys
import tempfile
import time
import warnings

import numpy as np
import polars as pl
from forecast import LAB, SETS, timm

import divergence as dv
from divergence.estimands.convergence import NOT_DISTINGUISHABLE, Suite, p_alike, spread
from divergence.estimands.leaderboard import ranks
from divergence.joint.predict import levels
from divergence.simulate import simulate, world

HERE = pathlib.Path(__file__).parent
FRESH = 500  # first seed; tests use those below


def _board(posterior: dv.Posterior) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Names, draws of levels (S, models), and groups."""
    found = dv.leaderboard(posterior)
    level = found.where(statistic=None)
    return level.rows["model"].to_list(), level.draws, found.where(statistic="tied_group").draws[0]


def _counted(level: np.ndarray, noise: np.ndarray, true: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Places held, places, settled pairs, reversed ones, pairs of different groups, reversed ones."""
    low, high = np.quantile(ranks(level + noise), [0.05, 0.95], axis=0)
    place = ranks(true[None])[0]
    held = ((low <= place) & (place <= high)).sum()
    pairs = [(i, j) for i in range(len(true)) for j in range(len(true)) if (level[:, i] > level[:, j]).mean() >= 0.9]
    apart = [(i, j) for i in range(len(true)) for j in range(len(true)) if group[i] < group[j]]
    wrong, crossed = (sum(true[i] < true[j] for i, j in some) for some in (pairs, apart))
    return np.array([held, len(true), len(pairs), wrong, len(apart), crossed], float)


def halves(splits: int):
    """serving-lab by halves of its items: the split, the rows to fit, and from the rest a table of items by model."""
    rows = pl.read_parquet(LAB, columns=["regime", "model", "item", "score", "wave", "trial", "context"])
    items = np.array(sorted(rows["item"].unique()))
    for k in range(splits):
        rng = np.random.default_rng([FRESH + k])
        mine = pl.col("item").is_in(rng.permutation(items)[: len(items) // 2].tolist())
        yield k, rng, rows.filter(mine), served(rows.filter(~mine))


def served(rows: pl.DataFrame) -> pl.DataFrame:
    """Mean deployed score of each item, one column a model."""
    rest = rows.filter(pl.col("regime") == "deployment").group_by("model", "item").agg(pl.col("score").mean())
    return rest.sort("item", "model").pivot(on="model", index="item", values="score")


def _noise(table: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    return rng.multivariate_normal(np.zeros(table.shape[1]), np.cov(table.T) / len(table), draws)


def lab(splits: int) -> np.ndarray:
    """The fit's places on serving-lab."""
    total = np.zeros(6)
    for k, rng, fitted, rest in halves(splits):
        names, level, group = _board(dv.fit(dv.collapse(dv.read(fitted)), seed=k))
        table = rest.select(names).to_numpy()
        total += _counted(level, _noise(table, len(level), rng), table.mean(0), group)
    return total


def bootstrap(splits: int, draws: int = 2000) -> tuple[np.ndarray, float]:
    """The places of a plain bootstrap of items on the same halves, and its processor seconds a half."""
    total, spent = np.zeros(6), 0.0
    for _, rng, fitted, rest in halves(splits):
        begin = time.process_time()
        table = served(fitted)
        names = [name for name in table.columns if name != "item"]
        mine = table.select(names).to_numpy()
        level = rng.multinomial(len(mine), np.full(len(mine), 1 / len(mine)), draws) @ mine / len(mine)
        spent += time.process_time() - begin
        other = rest.select(names).to_numpy()
        total += _counted(level, _noise(other, draws, rng), other.mean(0), np.zeros(len(names)))
    return total, spent / splits


def simulated(worlds: int, models: int = 30, forecast: int = 6) -> np.ndarray:
    """Worlds with known levels."""
    total = np.zeros(6)
    for k in range(worlds):
        log, truth = simulate(world("baseline", n_models=models, n_contexts=2, n_items=60, n_trials=1), FRESH + k)
        gone = pl.col("model").is_in([f"model-{m}" for m in range(forecast)]) & (pl.col("regime") == "deployment")
        names, level, group = _board(dv.fit(dv.collapse(dv.read(log.filter(~gone))), seed=k))
        true = truth["level"][[int(name.split("-")[1]) for name in names], 1:].mean(1)
        total += _counted(level, np.zeros_like(level), true, group)
    return total


def spreads(suites: int) -> list[str]:
    """How often 90 % intervals hold the true span and sd of the first k of 100 models, noise .012."""
    lines = []
    for sd in (0.0, 0.005, 0.01, 0.02, 0.05):
        for k in (10, 20):
            held, alike = np.zeros(2), 0
            for seed in range(suites):
                rng = np.random.default_rng([FRESH + seed, k, int(1000 * sd)])
                true = rng.normal(0.7, sd, 100)
                seen = true + rng.normal(0, 0.012, 100)
                order = np.argsort(-seen)
                true, suite = true[order][:k], Suite(None, seen[order], np.full(100, 0.012**2))
                for place, (drawn, value) in enumerate(
                    zip(spread(suite, k, 300, rng), (np.ptp(true), true.std()), strict=True)
                ):
                    low, high = np.quantile(drawn, [0.05, 0.95])
                    held[place] += low <= value <= high
                alike += p_alike(suite.level[:k], suite.variance[:k]) > NOT_DISTINGUISHABLE
            shares = " | ".join(f"{v / suites:.3f}" for v in (*held, alike))
            lines.append(f"| {sd:g} | {k} | {suites} | {shares} |")
    return lines


def speed(models: int) -> str:
    """Processor seconds of the fit and of the three questions on timm, a tenth of the models never deployed."""
    rows = timm(("imagenet-val", *SETS))
    names = np.random.default_rng(18).permutation(np.array(sorted(rows["model"].unique())))[:models]
    gone = pl.col("model").is_in(names[: max(models // 10, 1)].tolist()) & (pl.col("regime") == "deployment")
    log = dv.read(rows.filter(pl.col("model").is_in(names.tolist()), ~gone))
    begin = time.process_time()
    posterior = dv.fit(dv.collapse(log), seed=0)
    spent = [time.process_time() - begin]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    for question in (dv.forecast, dv.leaderboard, dv.convergence):
        begin = time.process_time()
        question(posterior).to_frame()
        spent.append(time.process_time() - begin)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    cells = " | ".join(f"{s:.1f}" for s in spent)
    return f"| {models} | {cells} | {sum(spent[1:]):.1f} | {before:.1f} | {peak:.1f} |"


def beside(splits: int) -> str:
    """The bootstrap's row of the table of places, and what it cannot say."""
    (held, places, pairs, wrong, *_), spent = bootstrap(splits)
    return (
        "| log | places inside 90 % | places | settled pairs reversed | pairs | CPU-s a half |\n"
        + "|---" * 6
        + f"|\n| serving-lab, {splits} halves of items | {held / places:.3f} | {places:.0f} | {wrong / pairs:.4f} | "
        f"{pairs:.0f} | {spent:.3f} |\n\n"
        "Levels of the deployment rows as they stand, items drawn again 2,000 times. It has no groups, no place of a model\n"
        "without deployment rows, no law of contexts but the log's own shares of rows, and nothing on contexts that are "
        "not in\nthe log."
    )


def resampled(table: pl.DataFrame, models: list[str] | tuple[str, ...]) -> np.ndarray:
    """Levels of models, contexts weighed alike, with every item of a rate drawn again, shape (2000, models)."""
    rng = np.random.default_rng(0)
    rates = {name: [] for name in models}
    for name, n, y in table.select("model", "n", "y").iter_rows():
        rates[name].append(rng.binomial(int(n), y / n, 2000) / n)
    return np.stack([np.mean(rates[name], axis=0) for name in models], 1)


def multilevel(models: int, peers: str) -> str:
    """Levels of timm's models in deployment, contexts weighed alike: the fit's beside multilevel models' and a plain
    bootstrap's, from the same table."""
    rows = timm(("imagenet-val", *SETS))
    names = np.random.default_rng(18).permutation(np.array(sorted(rows["model"].unique())))[:models]
    rows = rows.filter(pl.col("model").is_in(names.tolist()))
    begin = time.process_time()
    fit = dv.fit(dv.collapse(dv.read(rows)), seed=0).fits[0]
    deployed = levels(fit, "deployment")
    assert deployed is not None
    ours = deployed.draws.mean(2)
    spent = time.process_time() - begin
    bounds = np.quantile(ours, [0.05, 0.95], axis=0)
    lines = [f"| arm-level fit | {spent:.1f} | {len(ours):,} | | {100 * np.median(np.ptp(bounds, axis=0)):.2f} | | |"]
    right = (pl.col("score") * pl.col("score_n")).round().cast(pl.Int64)
    table = rows.select("model", "context", n="score_n", y=right)

    def beside_ours(mean: np.ndarray, low: np.ndarray, high: np.ndarray) -> str:
        apart = np.abs(ours.mean(0) - mean)
        ratio = np.median(np.ptp(bounds, axis=0) / (high - low))
        return f"{100 * np.median(high - low):.2f} | {100 * np.median(apart):.2f}, {100 * apart.max():.2f} | {ratio:.2f} |"

    begin = time.process_time()
    drawn = resampled(table.filter(pl.col("context") != "imagenet-val"), deployed.models)
    spent = time.process_time() - begin
    told = beside_ours(drawn.mean(0), *np.quantile(drawn, [0.05, 0.95], axis=0))
    lines.append(f"| plain bootstrap of each rate | {spent:.2f} | {len(drawn):,} | | {told}")
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "table.json"
        path.write_text(json.dumps(table.to_dict(as_series=False)))
        for by in ("pymc", "bambi"):
            command = [peers, str(HERE / "leaderboard_peer.py"), str(path), "imagenet-val", by]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                said = (done.stderr.strip().splitlines() or ["no words"])[-1][:120]
                lines.append(f"| multilevel model, {by} | skipped: {said} | | | | | |")
                continue
            other = json.loads(done.stdout.splitlines()[-1])
            place = [other["models"].index(name) for name in deployed.models]
            told = beside_ours(*(np.array(other[k])[place] for k in ("mean", "low", "high")))
            figures = f"{other['cpu_s']:.1f} | {other['ess']:,.0f} | {other['r_hat']:.3f}"
            lines.append(f"| multilevel model, {other['version']} | {figures} | {told}")
    head = (
        "| method | CPU-s | effective draws | worst R-hat | median width, points | means apart, points: median, most | "
        "our width over theirs |"
    )
    return "\n".join([f"timm, {models} models x 4 test sets.\n", head, "|---" * 7 + "|", *lines])


def main(arguments: list[str] | None = None) -> None:
    """Print the tables, and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--splits", type=int, default=40)
    parser.add_argument("--worlds", type=int, default=20)
    parser.add_argument("--suites", type=int, default=400)
    parser.add_argument("--models", type=int, nargs="+", default=[50, 120])
    parser.add_argument("--only", choices=("places", "bootstrap", "multilevel", "spread", "speed"))
    parser.add_argument("--peers", default=sys.executable, help="a Python with PyMC")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    parts = []
    if given.only in (None, "places"):
        rows = []
        for name, found in (
            (f"serving-lab, {given.splits} halves of items", lab(given.splits)),
            (f"simulated, {given.worlds} worlds of 30 models, 6 forecast", simulated(given.worlds)),
        ):
            held, places, pairs, wrong, apart, crossed = found
            rows.append(
                f"| {name} | {held / places:.3f} | {places:.0f} | {wrong / pairs:.4f} | {pairs:.0f} | "
                f"{crossed / apart:.4f} | {apart:.0f} |"
            )
        head = (
            "| log | places inside 90 % | places | settled pairs reversed | pairs | pairs of two groups reversed | pairs |"
        )
        parts += ["## Places\n\n" + "\n".join([head, "|---" * 7 + "|", *rows])]
        print(parts[-1], flush=True)
    if given.only in (None, "bootstrap"):
        parts += ["## Beside a plain bootstrap of items\n\n" + beside(given.splits)]
        print(parts[-1], flush=True)
    if given.only in (None, "multilevel"):
        parts += ["## Beside a multilevel model\n\n" + multilevel(170, given.peers)]
        print(parts[-1], flush=True)
    if given.only in (None, "spread"):
        head = (
            "| true sd | first k of 100 | suites | span inside 90 % | sd inside 90 % | said not distinguishable from none |"
        )
        parts += ["## Spread of the top\n\n" + "\n".join([head, "|---" * 6 + "|", *spreads(given.suites)])]
        print(parts[-1], flush=True)
    if given.only in (None, "speed"):
        head = "| models | fit, CPU-s | forecast | leaderboard | convergence | the three | memory of the fit, GiB | peak |"
        parts += ["## Speed\n\n" + "\n".join([head, "|---" * 8 + "|", *(speed(n) for n in given.models)])]
        print(parts[-1], flush=True)
    if given.write:
        text = "# The leaderboard under a law\n\nMade by `benchmarks/leaderboard.py`.\n\n" + "\n\n".join(parts) + "\n"
        (HERE / "leaderboard.md").write_text(text)


if __name__ == "__main__":
    main(sys.argv[1:])
