"""Held-out items: is a fit ever worse than a plain mean? Splits real and simulated logs by their items.

    python benchmarks/heldout.py --splits 50 --records build/heldout

Each log is split at random into items to fit (30, 60 or 100 of them) and the others, which judge; see
`divergence.joint.held_items` for what is compared. Appends one JSON line a split, so that a run that was stopped goes on,
and writes `benchmarks/heldout.md`.
"""

from __future__ import annotations

import argparse
import functools
import json
import pathlib
import sys
import time
from collections.abc import Callable

import numpy as np
import polars as pl
from pages import asked, write_table

import divergence as dv
from divergence.joint.held_items import compared, item_names, of_items, paired_effects
from divergence.simulate import simulate_both, world

HERE = pathlib.Path(__file__).parent
LAB = HERE.parent / "datasets" / "serving-lab" / "data.parquet"
AGENTS = HERE.parent / "datasets" / "serving-agents" / "data.parquet"
PUBLIC = HERE.parents[1] / "shared" / "data"
SIZES = (30, 60, 100)
OF_A_CEILING = (300,)  # of fewer items hardly any fails
WORLDS = ("baseline", "null", "copies", "moving", "broken")
CEILINGS = (3.5, 4.5)  # logits of the bench: .97 and .99
BASE = ("regime", "model", "item", "score", "wave", "trial")


def lab(model: str | None = None, factors: bool = False) -> dv.Executions:
    """The embedded log: one model or all six, its context label only or the serving factors."""
    frame = pl.read_parquet(LAB)
    frame = frame if model is None else frame.filter(pl.col("model") == model)
    if factors:
        return dv.read(frame)
    return dv.read(frame.select([c for c in (*BASE, "context") if c in frame.columns]))


def agents(factors: bool = False) -> dv.Executions:
    """Four systems on agent tasks in three contexts, and in chats that share no item with the bench."""
    frame = pl.read_parquet(AGENTS)
    return dv.read(frame if factors else frame.select(*BASE, "context", "session"))


def stability() -> dv.Executions:
    """gpt-4o on one task under eleven prompts, uneven repeats; the run without a schema is the bench."""
    frame = pl.read_parquet(PUBLIC / "llm_stability_items.parquet").filter(
        pl.col("task") == "college_mathematics", pl.col("model") == "gpt-4o_OAI"
    )
    bench = pl.col("context") == "newsletter_grice_runs|no_ling"
    regime = pl.when(bench).then(pl.lit("evaluation")).otherwise(pl.lit("deployment"))
    return dv.read(frame.select("model", "context", "item", "trial", "score", regime=regime))


def snapshots(task: str) -> dv.Executions:
    """Two models on one task in March and in June 2023; March is the bench."""
    frame = pl.read_parquet(PUBLIC / "llm_drift.parquet").filter(pl.col("task") == task)
    regime = pl.when(pl.col("context") == "2023-03").then(pl.lit("evaluation")).otherwise(pl.lit("deployment"))
    return dv.read(frame.select("model", "context", "item", "trial", "score", regime=regime))


FRESH = 2000  # first seed of the splits: those below it were looked at while the model was chosen


def simulated(kind: str, seed: int, **sizes) -> dv.Executions:
    """A simulated world of 204 items; each split has one of its own."""
    return dv.read(simulate_both(world(kind, n_items=204, **sizes), seed)[0])


def near_the_ceiling(logit: float, n_models: int, seed: int) -> dv.Executions:
    """A saturated bench and four contexts that cost 0 to 1 on the logit scale; answers independent given the item."""
    random, items = np.random.default_rng(seed), 600
    bench, difficulty = random.normal(logit, 0.3, n_models), random.normal(0, 1, items)
    cost = np.concatenate([np.zeros((n_models, 1)), random.normal([0, 0.3, 0.6, 1.0], 0.15, (n_models, 4))], 1)
    chance = 1 / (1 + np.exp(difficulty - bench[:, None, None] + cost[:, :, None]))
    score = random.random(chance.shape) < chance
    model, context, item = (k.ravel() for k in np.indices(score.shape))
    regime = np.where(context == 0, "evaluation", "deployment")
    return dv.read(
        pl.DataFrame({"model": model, "context": context, "item": item, "score": score.ravel().astype(float)})
        .with_columns(pl.col("model", "context", "item").cast(pl.String))
        .with_columns(regime=pl.Series(regime))
    )


def logs() -> dict[str, Callable[[int], dv.Executions]]:
    """Name to what reads the log of a split; that of all splits where it is a real one."""
    models = sorted(pl.read_parquet(LAB, columns=["model"])["model"].unique())
    found: dict[str, Callable[[int], dv.Executions]] = {
        "serving-lab, six models, labels": once(lab),
        "serving-lab, six models, factors": once(lab, factors=True),
    }
    for name in models:
        found[f"{name}, labels"] = once(lab, name)
    for name in models[1:3]:
        found[f"{name}, factors"] = once(lab, name, True)
    found["serving-agents, labels"] = once(agents)
    found["serving-agents, factors"] = once(agents, factors=True)
    if (PUBLIC / "llm_drift.parquet").exists():
        for task in ("prime_full", "countahappynumber", "leetcode_easy", "sensitiveq"):
            found[f"llm-drift, {task}"] = once(snapshots, task)
    if (PUBLIC / "llm_stability_items.parquet").exists():
        found["llm-stability, gpt-4o"] = once(stability)
    for kind in WORLDS:
        found[f"simulated, {kind}"] = functools.partial(simulated, kind)
    for logit in CEILINGS:
        for models, name in ((6, "six models"), (1, "one model")):
            found[f"ceiling {logit}, {name}"] = functools.partial(near_the_ceiling, logit, models)
    found["simulated, broken, one model"] = functools.partial(simulated, "broken", n_models=1)
    return found


def once(read: Callable[..., dv.Executions], *given, **named) -> Callable[[int], dv.Executions]:
    """The same log for every split, read at the first."""
    kept = functools.cache(functools.partial(read, *given, **named))
    return lambda _: kept()


def splits(
    name: str, log: Callable[[int], dv.Executions], size: int, count: int, records: pathlib.Path | None
) -> list[dict]:
    """The comparison of `count` splits with `size` items in the fit; those already recorded are not fitted again."""
    path = records / f"{name.replace(' ', '_')}-{size}.jsonl" if records else None
    done = [json.loads(line) for line in path.read_text().splitlines()] if path and path.exists() else []
    for k in range(len(done), count):
        cells = dv.collapse(log(k))
        items = item_names(cells)
        if len(items) < size + 30:
            return []
        chosen = np.random.default_rng([FRESH + k, size]).permutation(items)[:size]
        part, rest = of_items(cells, chosen), of_items(cells, np.setdiff1d(items, chosen))
        begin = time.process_time()
        posterior = dv.fit(part, seed=k)
        spent = time.process_time() - begin
        seen, held = paired_effects(part), paired_effects(rest)
        if not (~np.isnan(seen.mean) & ~np.isnan(held.mean)).any():
            return []
        done.append(compared(posterior.fits[0], seen, held, k) | {"cpu_s": spent})
        if path:
            with path.open("a") as out:
                out.write(json.dumps(done[-1]) + "\n")
    return done[:count]


def mean(done: list[dict], key: str) -> float:
    """Over the splits."""
    return float(np.mean([one[key] for one in done]))


def root(done: list[dict], key: str) -> float:
    """Of the mean square over the splits."""
    return float(np.sqrt(mean(done, key)))


def row(name: str, size: int, done: list[dict]) -> str:
    """A line of the first table: roots of mean squares over all splits, means of shares."""
    best = np.nanmin([root(done, "paired"), root(done, "additive")])
    cells = [
        name,
        f"{size}",
        f"{len(done)}",
        *(f"{root(done, k):.4f}" for k in ("fit", "paired", "additive")),
        f"{root(done, 'fit') / best:.2f}",
        *(f"{mean(done, k):.2f}" for k in ("covered", "covered_paired")),
        *(f"{100 * mean(done, k):.1f}" for k in ("half_width", "half_width_paired")),
        f"{100 * mean(done, 'bench_minus_raw'):+.1f}",
        *(f"{root(done, k):.4f}" for k in ("bench", "bench_raw")),
        f"{mean(done, 'cpu_s'):.2f}",
    ]
    return "| " + " | ".join(cells) + " |"


def levels_row(name: str, size: int, done: list[dict]) -> str:
    """A line of the second: levels in single contexts, and their means over the contexts of a model."""
    cells = [name, f"{size}"]
    for fit, raw in (("bench", "bench_raw"), ("level", "level_raw"), ("deployed", "deployed_raw")):
        cells += [f"{root(done, fit):.4f}", f"{root(done, raw):.4f}", f"{root(done, fit) / root(done, raw):.2f}"]
    return "| " + " | ".join(cells) + " |"


HEADER = (
    "| log | items | splits | fit | paired | additive | fit / better | covered | paired | half | paired | bench-raw | "
    "bench | raw | CPU-s |\n" + "|---" * 15 + "|"
)
LEVELS_TEXT = (
    "Levels, judged by the same items: of the bench, of each model in each context, and their mean over the contexts of a\n"
    "model; root mean square errors beside those of the plain mean of the same items."
)
LEVELS = (
    "| log | items | bench: fit | plain mean | ratio | one context: fit | plain mean | ratio | deployment: fit | "
    "plain mean | ratio |\n" + "|---" * 11 + "|"
)


def main(arguments: list[str] | None = None) -> None:
    """Run the splits that are missing, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--splits", type=int, default=50)
    parser.add_argument("--only", default="", help="logs whose name holds this")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    given = asked(parser, arguments)
    print(HEADER)
    lines, of_levels = [], []
    for name, log in logs().items():
        if given.only not in name:
            continue
        for size in OF_A_CEILING if name.startswith("ceiling") else given.sizes:
            done = splits(name, log, size, given.splits, given.records)
            if done:
                lines.append(row(name, size, done))
                of_levels.append(levels_row(name, size, done))
                print(lines[-1], flush=True)
    if given.write:
        write_table(
            HERE / "heldout.md",
            "Held-out items",
            "Made by `benchmarks/heldout.py`: fit on some items, judged on the others; 90 % intervals.",
            [HEADER, *lines, "", LEVELS_TEXT, "", LEVELS, *of_levels],
        )


if __name__ == "__main__":
    main(sys.argv[1:])
