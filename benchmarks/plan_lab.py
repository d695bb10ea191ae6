"""What came of `divergence loop` against real llama.cpp servers: the record of `make lab-loop` as a table.

    python benchmarks/plan.py lab        # after the loop has written build/lab/loop

Beside the loop stands what the same number of requests finds when every cell gets the same share and plain means choose:
drawn many times from `datasets/serving-lab`, which has each of these 18 cells measured with 204 items twice. The same log
says what the loop's choice is worth; its items are those of the bank, its answers another run's.
"""

import json
import pathlib

import numpy as np
import polars as pl

import divergence as dv
from divergence.configuration import Configuration, ContextLaw
from divergence.joint import levels

ROOT = pathlib.Path(__file__).parents[1]
RUN = ROOT / "build" / "lab" / "loop"
DRAWS = 2000


def record(_: int) -> str:
    """The tables of the loop in `build/lab/loop`."""
    told = json.loads((RUN / "loop.json").read_text())
    rows = pl.concat(
        [
            pl.read_parquet(RUN / f"round-{r['round']}" / "executions.parquet").with_columns(round=pl.lit(r["round"]))
            for r in told["rounds"]
        ],
        how="diagonal_relaxed",
    )
    return "\n\n".join(
        [_rounds(told), _where(len(told["rounds"]), rows), _worth(told, rows), _levels(len(told["rounds"]), rows)]
    )


def _rounds(told: dict) -> str:
    """What each round predicted and what came."""
    lines = [
        "| round | requests | total | width predicted | came | regret predicted | came | best so far |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for r in told["rounds"]:
        p, came = r["predicted"], r["came"]
        width = "" if p is None else f"{p['width']:.4f} ({p['width_lower']:.4f} to {p['width_upper']:.4f})"
        regret = "" if p is None else f"{p['regret']:.4f}"
        best = f"{r['best']['model']} in {r['best']['context']}"
        lines.append(
            f"| {r['round']} | {r['requests']} | {r['total']} | {width} | {came['width']:.4f} | {regret} | "
            f"{came['regret']:.4f} | {best} |"
        )
    return "\n".join([*lines, f"\nIt ended because {told['stopped']}."])


def _where(rounds: int, rows: pl.DataFrame) -> str:
    """Requests by round in each cell, the share that was right, and the long log's share."""
    long, numbers = _long(rows), range(1, rounds + 1)
    cells = (
        rows.group_by("model", "context")
        .agg(*((pl.col("round") == n).sum().alias(f"r{n}") for n in numbers), right=pl.col("score").mean())
        .join(long.group_by("model", "context").agg(whole=pl.col("score").mean()), on=["model", "context"])
        .sort("whole", descending=True)
    )
    head = ["system", "context", *(f"round {n}" for n in numbers), "right", "right in the long log"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for c in cells.iter_rows(named=True):
        asked = " | ".join(str(c[f"r{n}"]) for n in numbers)
        lines.append(f"| {c['model']} | {c['context']} | {asked} | {c['right']:.3f} | {c['whole']:.3f} |")
    return "\n".join(lines)


def _worth(told: dict, rows: pl.DataFrame) -> str:
    """The loop's choice and that of equal shares, by the long log."""
    long = _long(rows).filter(pl.col("regime") == "deployment")
    table = long.group_by("model", "context", "item").agg(pl.col("score").mean())
    table = table.sort("model", "context", "item").pivot(on="item", values="score")
    cells = table.select("model", "context").rows()
    score = table.drop("model", "context").to_numpy()
    truth = score.mean(1)
    best = told["rounds"][-1]["best"]
    lost = truth.max() - truth[cells.index((best["model"], best["context"]))]
    total, in_all = told["rounds"][-1]["total"], rows.select("model", "context").n_unique()
    lines = ["| design | requests | level lost by the choice, long log |", "|---|---|---|"]
    lines.append(f"| `divergence loop`, one run | {total} | {lost:.4f} |")
    one = long.filter(pl.col("wave") == "1").sort("item").pivot(on="item", index=["model", "context"], values="score")
    one = table.select("model", "context").join(one, on=["model", "context"], maintain_order="left")
    first = one.drop("model", "context").to_numpy()
    for n, count, name in (
        (total // in_all, in_all, "all cells"),
        (total // len(cells), len(cells), "deployed cells alone"),
        (2 * total // len(cells), len(cells), "deployed cells alone"),
    ):
        regret = _equal_shares(first, truth, n)
        lines.append(
            f"| equal shares of {name}, {n} items each, plain means; mean of {DRAWS:,} draws | "
            f"{n * count} | {regret.mean():.4f} (none lost in {np.mean(regret == 0):.0%}) |"
        )
    near = np.sort(truth)[::-1][:4]
    lines.append(
        f"\n6 systems x 3 contexts, llama.cpp on two cores. The long log ({len(_long(rows)):,} requests) puts the best four "
        f"deployed cells at {', '.join(f'{v:.3f}' for v in near)}: one run among cells so near says that the verbs work "
        "on real servers and whether predictions come, not which design chooses better."
    )
    return "\n".join(lines)


def _levels(rounds: int, rows: pl.DataFrame) -> str:
    """Do the fit's intervals after all rounds hold the long log's levels?"""
    files = [str(RUN / f"round-{k}" / "executions.parquet") for k in range(1, rounds + 1)]
    alike = Configuration(deployment_law=ContextLaw("uniform"))
    mu = levels(dv.fit(dv.collapse(dv.read(files, configuration=alike)), seed=0).fits[0], "deployment")
    means = {(m, c): v for m, c, v in _long(rows).group_by("model", "context").agg(pl.col("score").mean()).iter_rows()}
    held = []
    for m, c in zip(*mu.observed.nonzero(), strict=True):
        lower, upper = np.quantile(mu.draws[:, m, c], [0.05, 0.95])
        held.append(lower <= means[mu.models[m], mu.contexts[c]] <= upper)
    return f"90 % intervals of the {len(held)} deployed levels after {rounds} rounds: {sum(held)} hold the long log's share."


def _long(rows: pl.DataFrame) -> pl.DataFrame:
    """The cells of this run in `datasets/serving-lab`."""
    log = pl.read_parquet(ROOT / "datasets" / "serving-lab" / "data.parquet")
    return log.join(rows.select("model", "context").unique(), on=["model", "context"], how="semi")


def _equal_shares(score: np.ndarray, truth: np.ndarray, each: int) -> np.ndarray:
    """Level lost by the highest plain mean of `each` items, the same for all cells; ties go to chance."""
    rng = np.random.default_rng(0)
    lost = np.empty(DRAWS)
    for k in range(DRAWS):
        mean = score[:, rng.choice(score.shape[1], each, replace=False)].mean(1)
        lost[k] = truth.max() - truth[rng.choice(np.flatnonzero(mean == mean.max()))]
    return lost
