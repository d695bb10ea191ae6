"""A context that nobody has seen: one context at a time leaves a log, and its levels are predicted by the law of the rest.

    python benchmarks/unseen.py --records build/unseen --write

Beside `levels(contexts="new")` stands the plain prediction interval of Student's t from the model's other contexts, for each
model: `mean +- t(k - 1) sd sqrt(1 + 1 / k)`. What is predicted is a level as it was measured, so both must hold its noise:
that of t has it by construction; ours is for new items of the same source, whose noise is that of a measurement, and for
contexts with items of their own the noise of the held-out level is added. Logs: serving-lab (context label only;
serving factors), the quantisations of aider, timm (the 60 best models, and 60 spread out; `imagenet-val` is the bench) and
Terminal-Bench (one model in six agents; see `datasets/terminal-bench/recipe.toml`). Writes `benchmarks/unseen.md`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
from collections.abc import Iterator

import numpy as np
import polars as pl
from pages import asked, write_table
from scipy import stats

import divergence as dv
from divergence.joint.predict import levels

HERE = pathlib.Path(__file__).parent
LAB = HERE.parent / "datasets" / "serving-lab" / "data.parquet"
PUBLIC = HERE.parents[1] / "shared" / "data"
AGENTS = HERE.parent / "build" / "terminal-bench"
LEVEL = 0.9
DRAWS = 8  # unseen contexts a draw: 16,000 in all
BASE = ("regime", "model", "item", "score", "wave", "trial", "context")
BENCH = "imagenet-val"


@dataclasses.dataclass(frozen=True)
class Log:
    """A table of which every deployment context is left out in turn."""

    name: str
    """Name in the table."""
    frame: pl.DataFrame
    """Its rows."""
    shared: bool
    """Do contexts share their items? Then the noise of a held-out level is not the held-out context's alone."""


def logs() -> Iterator[Log]:
    """Those that are at hand."""
    rows = pl.read_parquet(LAB)
    yield Log("serving-lab, labels", rows.select([c for c in BASE if c in rows.columns]), True)
    yield Log("serving-lab, factors", rows, True)
    if (PUBLIC / "aider_cells.parquet").exists():
        cells = pl.read_parquet(PUBLIC / "aider_cells.parquet").filter(pl.col("source_file") == "quant")
        size = pl.col("n_cases").cast(pl.Int64)
        yield Log(
            "aider, quantisations",
            cells.select("model", "score", "item", context="label", score_n=size, regime=pl.lit("deployment")),
            False,  # only rates are known: each is taken for tries of its own
        )
    if (PUBLIC / "timm_accuracy.parquet").exists():
        best, spread = timm()
        yield Log("timm, 60 best", best, False)
        yield Log("timm, 60 spread out", spread, False)
    if AGENTS.exists():
        yield Log("terminal-bench, one model in its agents", agents(), True)


def timm() -> tuple[pl.DataFrame, pl.DataFrame]:
    """The best models on the bench, and as many from the best to the worst; those with all eight test sets."""
    rows = pl.read_parquet(PUBLIC / "timm_accuracy.parquet")
    rows = rows.with_columns(model=pl.concat_str("model", "img_size", "crop_pct", separator="|"), score_n="n_items")
    rows = rows.with_columns(
        regime=pl.when(pl.col("context") == BENCH).then(pl.lit("evaluation")).otherwise(pl.lit("deployment"))
    )
    each = rows.group_by("model").agg(pl.col("context").n_unique(), pl.len())
    whole = each.filter(pl.col("context") == 8, pl.col("len") == 8)["model"]
    rows = rows.filter(pl.col("model").is_in(whole.implode())).select(
        "regime", "model", "context", "item", "score", "score_n"
    )
    order = rows.filter(context=BENCH).sort("score", "model", descending=[True, False])["model"].to_list()
    spread = [order[i] for i in np.linspace(0, len(order) - 1, 60).astype(int)]
    return rows.filter(pl.col("model").is_in(order[:60])), rows.filter(pl.col("model").is_in(spread))


def agents() -> pl.DataFrame:
    """One row a judged run of claude-4-sonnet; the agent is the context."""
    rows = []
    for folder in sorted(AGENTS.glob("*claude-4-sonnet")):
        runs = [json.loads(path.read_text()) for path in sorted(folder.rglob("results.json"))]
        tried = [one for one in runs if "task_id" in one] or [one for run in runs for one in run.get("results", ())]
        name = folder.name.split("_")[1]
        rows += [(name, one["task_id"], float(one["is_resolved"])) for one in tried if one.get("is_resolved") is not None]
    table = pl.DataFrame(rows, schema=("context", "item", "score"), orient="row")
    trial = pl.int_range(pl.len()).over("context", "item")
    return table.with_columns(model=pl.lit("claude-4-sonnet"), regime=pl.lit("deployment"), trial=trial)


def rates(rows: pl.DataFrame) -> pl.DataFrame:
    """Mean score and the binomial variance of it, by model and context."""
    size = pl.col("score_n") if "score_n" in rows.columns else pl.lit(1)
    judged = rows.filter(pl.col("score").is_not_null())
    units = size.sum() if "score_n" in rows.columns else pl.col("item").n_unique()
    found = judged.group_by("model", "context").agg(
        score=(pl.col("score") * size).sum() / (size * pl.col("score").is_not_null()).sum(), n=units
    )
    return found.with_columns(variance=pl.col("score") * (1 - pl.col("score")) / pl.col("n")).sort("model", "context")


def predicted(log: Log, context: str, records: pathlib.Path | None) -> dict[str, np.ndarray]:
    """Draws of the models' levels in a context that the fit has not seen, and what was measured there."""
    path = records / f"{log.name}-{context}".replace("/", "_").replace(" ", "_") if records else None
    path = path.with_name(path.name[:120] + ".npz") if path else None
    if path and path.exists():
        return dict(np.load(path, allow_pickle=False))
    gone = (pl.col("context") == context) & (pl.col("regime") == "deployment")
    posterior = dv.fit(dv.collapse(dv.read(log.frame.filter(~gone))), seed=15)
    mu = levels(posterior.fits[0], "deployment", contexts="new", count=DRAWS)
    assert mu is not None
    truth = rates(log.frame.filter(gone)).filter(pl.col("model").is_in(list(mu.models)))
    others = rates(log.frame.filter(~gone, pl.col("regime") == "deployment"))
    mine = [mu.models.index(m) for m in truth["model"]]
    seen = [others.filter(model=m)["score"].to_numpy() for m in truth["model"]]
    found = {
        "draws": np.concatenate(list(np.moveaxis(mu.draws[:, mine], 2, 0))),
        "truth": truth["score"].to_numpy(),
        "variance": truth["variance"].to_numpy(),
        "mean": np.array([s.mean() for s in seen]),
        "sd": np.array([s.std(ddof=1) for s in seen]),
        "count": np.array([len(s) for s in seen]),
    }
    if path:
        np.savez_compressed(path, **found)
    return found


def judged(log: Log, found: dict[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """Whether each held-out level is inside, how wide the interval is, and its interval score, of both laws."""
    tail = (1 - LEVEL) / 2
    k, draws = found["count"], found["draws"]
    if not log.shared:
        draws = draws + stats.norm.rvs(size=draws.shape, random_state=0) * np.sqrt(found["variance"])
    half = stats.t.ppf(1 - tail, k - 1) * found["sd"] * np.sqrt(1 + 1 / k)
    limits = {
        "contexts=new": np.quantile(draws, [tail, 1 - tail], axis=0),
        "t interval": np.stack([found["mean"] - half, found["mean"] + half]),
    }
    out = {}
    for name, (low, high) in limits.items():
        missed = np.maximum(low - found["truth"], 0) + np.maximum(found["truth"] - high, 0)
        out[name] = {"inside": missed == 0, "width": high - low, "score": high - low + missed / tail}
    return out


HEADER = "| log | contexts | levels | law | inside 90 % | mean width | interval score |\n" + "|---" * 7 + "|"


def lines(log: Log, records: pathlib.Path | None) -> list[str]:
    """Two rows of the table."""
    contexts = log.frame.filter(regime="deployment")["context"].unique().sort().to_list()
    each = [judged(log, predicted(log, context, records)) for context in contexts]
    rows = []
    for law in each[0]:
        inside, width, score = (np.concatenate([one[law][part] for one in each]) for part in ("inside", "width", "score"))
        means = " | ".join(f"{part.mean():.3f}" for part in (inside, width, score))
        rows.append(f"| {log.name} | {len(each)} | {len(inside)} | {law} | {means} |")
    return rows


def main(arguments: list[str] | None = None) -> None:
    """Fit what is missing, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="logs whose name holds this")
    given = asked(parser, arguments)
    print(HEADER)
    rows: list[str] = []
    for log in logs():
        if given.only in log.name:
            rows += lines(log, given.records)
            print("\n".join(rows[-2:]), flush=True)
    if given.write:
        write_table(
            HERE / "unseen.md",
            "A context that nobody has seen",
            "Made by `benchmarks/unseen.py`: each left out in turn; 90 % intervals.",
            [HEADER, *rows],
        )


if __name__ == "__main__":
    main()
