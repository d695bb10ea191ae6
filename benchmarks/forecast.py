"""Forecasts of models that were never deployed: one model at a time loses its deployment rows, and is forecast.

    python benchmarks/forecast.py --records build/forecast --write

Three logs: serving-lab (six models; the left-out model's bench rows are a random half of its items and the truth is its
deployment on the other half, so that no item's luck helps), timm (image models, the test set `val` as bench and three
others as contexts; ten models lose their deployment at a time, which is harder than one) and aider (edit to polyglot, edit
to refactor, Markdown to JSON). Beside the forecast stand the bench itself, the bench plus the mean gap of the other models,
and the joint model's own cell. Writes `benchmarks/forecast.md`.
"""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
import time
from collections.abc import Iterator

import numpy as np
import polars as pl
from pages import asked, write_table

import divergence as dv
from divergence.joint.carry_over import carry_over, forecast_levels
from divergence.joint.predict import levels

HERE = pathlib.Path(__file__).parent
LAB = HERE.parent / "datasets" / "serving-lab" / "data.parquet"
PUBLIC = HERE.parents[1] / "shared" / "data"
SETS = ("imagenet-v2-mf", "imagenet-sketch", "imagenet-r")
FRESH = 100  # first seed of the halves: those below it were looked at while the method was chosen
FEW = 200  # models of timm up to which ten leave deployment at a time
METHODS = ("forecast", "bench + mean gap", "bench", "joint model's cell")


@dataclasses.dataclass(frozen=True)
class Case:
    """A log in which some models lost their deployment rows, and what these were."""

    log: str
    """Name in the table."""
    name: str
    """Its name among the records."""
    frame: pl.DataFrame
    """Rows that are fitted."""
    left_out: tuple[str, ...]
    """Models without deployment rows."""
    truth: pl.DataFrame
    """`model, context, score, variance` of what was left out."""
    setting: dict
    """The configuration."""


def lab_cases(splits: int) -> Iterator[Case]:
    """Every model in turn, each with some random halves of the items."""
    rows = pl.read_parquet(LAB, columns=["regime", "model", "item", "score", "wave", "trial", "context"])
    for name in sorted(rows["model"].unique()):
        for k in range(splits):
            items = np.random.default_rng([FRESH + k, 18]).permutation(np.array(sorted(rows["item"].unique())))
            seen, kept = items[: len(items) // 2].tolist(), items[len(items) // 2 :].tolist()
            mine, deployed = pl.col("model") == name, pl.col("regime") == "deployment"
            judge = rows.filter(mine & deployed & pl.col("item").is_in(kept))
            each = judge.group_by("context", "item").agg(pl.col("score").mean())
            truth = each.group_by("context").agg(pl.col("score").mean(), variance=pl.col("score").var() / pl.len())
            frame = rows.filter(~mine | (~deployed & pl.col("item").is_in(seen)))
            yield Case("serving-lab", f"lab-{name}-{k}", frame, (name,), truth.with_columns(model=pl.lit(name)), {})


def timm_cases(count: int, together: int = 10, left_out: int = 100) -> Iterator[Case]:
    """Random models, `together` of them left out at a time, `left_out` in all."""
    rows = timm(("imagenet-val", *SETS))
    names = np.random.default_rng(18).permutation(np.array(sorted(rows["model"].unique())))[:count]
    rows = rows.filter(pl.col("model").is_in(names.tolist()))
    for k in range(0, min(count, left_out), together):
        left = names[k : k + together].tolist()
        gone = pl.col("model").is_in(left) & (pl.col("regime") == "deployment")
        yield Case(
            f"timm, {count - together:,} others",
            f"timm-{count}-{together}-{k}",
            rows.filter(~gone),
            tuple(left),
            rates(rows.filter(gone)),
            {},
        )


def timm(sets: tuple[str, ...]) -> pl.DataFrame:
    """The table by model (name, size and crop), those with all eight sets; these sets of them."""
    rows = pl.read_parquet(PUBLIC / "timm_accuracy.parquet")
    rows = rows.with_columns(model=pl.concat_str("model", "img_size", "crop_pct", separator="|"), score_n="n_items")
    whole = rows.group_by("model").agg(pl.col("context").n_unique()).filter(pl.col("context") == 8)["model"]
    keep = pl.col("model").is_in(whole.implode()) & pl.col("context").is_in(sets)
    return rows.filter(keep).select("regime", "model", "context", "item", "score", "score_n")


def rates(rows: pl.DataFrame) -> pl.DataFrame:
    """Score and binomial variance by model and context."""
    found = rows.group_by("model", "context").agg(
        score=(pl.col("score") * pl.col("score_n")).sum() / pl.col("score_n").sum(), n=pl.col("score_n").sum()
    )
    return found.with_columns(variance=pl.col("score") * (1 - pl.col("score")) / pl.col("n")).drop("n")


def aider_cases() -> Iterator[Case]:
    """Models of two of its tables, and of one table in two formats."""
    rows = pl.read_parquet(PUBLIC / "aider_cells.parquet").with_columns(score_n=pl.col("n_cases").cast(pl.Int64))
    of = {name: rows.filter(pl.col("source_file") == name) for name in rows["source_file"].unique()}
    code = of["code-in-json"]
    pairs = {
        "polyglot": (of["edit_leaderboard"], of["polyglot_leaderboard"]),
        "refactor": (of["edit_leaderboard"], of["refactor_leaderboard"]),
        "json": (code.filter(pl.col("edit_format") != "JSON"), code.filter(pl.col("edit_format") == "JSON")),
    }
    for name, (bench, deployed) in pairs.items():
        both = sorted(set(bench["model"]) & set(deployed["model"]))
        sides = [
            side.select("model", "score", "score_n", "item", regime=pl.lit(regime), context=pl.lit(context))
            for side, regime, context in ((bench, "evaluation", "bench"), (deployed, "deployment", name))
        ]
        table = pl.concat(sides).filter(pl.col("model").is_in(both), pl.col("score_n") > 0)
        for model in both:
            gone = (pl.col("model") == model) & (pl.col("regime") == "deployment")
            yield Case("aider", f"aider-{name}-{model}", table.filter(~gone), (model,), rates(table.filter(gone)), {})


def fitted(case: Case, records: pathlib.Path | None) -> dict[str, np.ndarray]:
    """Draws of each method for every left-out model and context, and the truth; recorded ones are not made again."""
    path = records / f"{case.name.replace('/', '_')}.npz" if records else None
    if path and path.exists():
        return dict(np.load(path))
    begin = time.process_time()
    posterior = dv.fit(dv.collapse(dv.read(case.frame, configuration=dv.Configuration.from_table(case.setting))), seed=18)
    spent = time.process_time() - begin
    fit = posterior.fits[0]
    bench, deployed = levels(fit, "evaluation"), levels(fit, "deployment", "uniform")
    assert bench is not None and deployed is not None
    lines = carry_over(fit, bench, deployed)
    assert lines is not None
    which = np.array([bench.models.index(name) for name in case.left_out])
    begin = time.process_time()
    forecast = forecast_levels(fit, bench, lines, which)
    spent_here = time.process_time() - begin
    raw = case.frame.group_by("model", "regime", "context").agg(pl.col("score").mean())
    on_bench = dict(raw.filter(regime="evaluation").group_by("model").agg(pl.col("score").mean()).iter_rows())
    seen = {(m, c): s for m, c, s in raw.filter(regime="deployment").select("model", "context", "score").iter_rows()}
    gap = [np.mean([s - on_bench[m] for (m, k), s in seen.items() if k == c and m in on_bench]) for c in deployed.contexts]
    kept = {(m, c): (s, v) for m, c, s, v in case.truth.select("model", "context", "score", "variance").iter_rows()}
    truth = np.array([[kept[m, c] for c in deployed.contexts] for m in case.left_out])
    own = np.array([on_bench[m] for m in case.left_out])
    noise = _bench_variance(case, own)
    both = np.isin(np.arange(len(bench.models)), lines.reference)
    known = {
        "forecast": forecast,
        "joint": deployed.draws[:, which],
        "bench": own,
        "bench_variance": noise,
        "gap": np.array(gap),
        "truth": truth,
        "cpu": np.array([spent, spent_here]),
        "others": deployed.draws[:, both].mean(0),
        "bench_others": bench.mean()[:, both].mean(0),
        "spread": np.array(
            [np.std([s - on_bench[m] for (m, k), s in seen.items() if k == c], ddof=1) for c in deployed.contexts]
        ),
    }
    known = {k: v[::4] if v.ndim > 1 and len(v) == len(forecast) else v for k, v in known.items()}
    if path:
        np.savez_compressed(path, **known)
    return known


def _bench_variance(case: Case, own: np.ndarray) -> np.ndarray:
    rows = case.frame.filter(regime="evaluation")
    size = rows.group_by("model").agg(pl.col("score_n").sum() if "score_n" in rows.columns else pl.col("item").n_unique())
    count = dict(size.iter_rows())
    return own * (1 - own) / np.array([count[m] for m in case.left_out])


@dataclasses.dataclass
class Tally:
    """Errors, hits and squared errors of probabilities, by method."""

    error: dict[str, list] = dataclasses.field(default_factory=lambda: {m: [] for m in METHODS})
    inside: dict[str, list] = dataclasses.field(default_factory=lambda: {m: [] for m in METHODS})
    width: dict[str, list] = dataclasses.field(default_factory=lambda: {m: [] for m in METHODS})
    brier: dict[str, list] = dataclasses.field(default_factory=lambda: {m: [] for m in METHODS})


def judge(known: dict[str, np.ndarray], law: np.ndarray, into: Tally) -> None:
    """The left-out models of one case under one law; every model that stayed is an incumbent in its turn.

    A baseline's interval and probabilities: the bench's binomial noise, and for the mean gap also the sd of the gaps.
    """
    rng = np.random.default_rng(0)
    truth, noise = known["truth"][:, :, 0] @ law, known["truth"][:, :, 1] @ law
    draws = {"forecast": known["forecast"] @ law, "joint model's cell": known["joint"] @ law}
    normal = rng.standard_normal((2000, len(truth)))
    sd = np.sqrt(known["bench_variance"])
    draws["bench"] = known["bench"] + normal * sd
    draws["bench + mean gap"] = known["bench"] + known["gap"] @ law + normal * np.hypot(sd, known["spread"] @ law)
    incumbents = known["others"] @ law
    for method, mine in draws.items():
        seen = mine + rng.standard_normal(mine.shape) * np.sqrt(noise)
        low, high = np.quantile(seen, [0.05, 0.95], axis=0)
        into.error[method].append(np.median(mine, 0) - truth)
        into.inside[method].append((truth >= low) & (truth <= high))
        into.width[method].append(np.subtract(*np.quantile(mine, [0.95, 0.05], axis=0)))
        compared = known["bench_others"] if method == "bench" else incumbents
        beats = (seen[:, :, None] > compared).mean(0)
        into.brier[method].append((beats - (truth[:, None] > incumbents)) ** 2)


def line(name: str, what: str, tally: Tally) -> list[str]:
    """A row of the table for each method."""
    rows = []
    for method in METHODS:
        error, inside, width, brier = (
            np.concatenate([np.ravel(v) for v in getattr(tally, part)[method]])
            for part in ("error", "inside", "width", "brier")
        )
        rows.append(
            f"| {name} | {what} | {method} | {len(error)} | {100 * np.sqrt(np.mean(error**2)):.2f} | "
            f"{100 * np.mean(error):+.2f} | {inside.mean():.3f} | {100 * width.mean():.1f} | {brier.mean():.4f} |"
        )
    return rows


HEADER = (
    "| log | level | method | left out | rmse, points | bias | inside 90 % | width | Brier against incumbents |\n"
    + "|---" * 9
    + "|"
)


def main(arguments: list[str] | None = None) -> None:
    """Fit what is missing, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--splits", type=int, default=10, help="random halves of the items for each model of serving-lab")
    parser.add_argument(
        "--models", type=int, nargs="+", default=[100, 1555], help="models of timm; of many, 100 leave at once"
    )
    given = asked(parser, arguments)
    print(HEADER)
    rows: list[str] = []
    many = [timm_cases(count, 10 if count <= FEW else 100) for count in given.models]
    for cases in (lab_cases(given.splits), *many, aider_cases()):
        each, mixed, name = Tally(), Tally(), ""
        for case in cases:
            known, name = fitted(case, given.records), case.log
            contexts = known["truth"].shape[1]
            for c in range(contexts):
                judge(known, np.eye(contexts)[c], each)
            judge(known, np.full(contexts, 1 / contexts), mixed)
        rows += line(name, "one context", each)
        if name != "aider":
            rows += line(name, "all contexts alike", mixed)
        print("\n".join(rows[-4 if name == "aider" else -8 :]), flush=True)
    if given.write:
        write_table(
            HERE / "forecast.md",
            "Forecasts of models that were never deployed",
            "Made by `benchmarks/forecast.py`, one left out in turn.",
            [HEADER, *rows],
        )


if __name__ == "__main__":
    main()
