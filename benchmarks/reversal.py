"""Is the risk that a test set reverses a pair calibrated on a test set that no fit has seen? All models of timm.

    python benchmarks/reversal.py --write

One test set is the bench, others are deployment, one is held out. What `reversal` says of a pair by its bench gap is held
against the order of that pair in the held-out set, over 20,000 random pairs of all models, and over all pairs of the best
50 on the bench. `pair` is the probability that deployment as logged reverses it, `curve` the risk of its gap there, `new
context` that in one more test set like those logged; `logged` is the share that deployment as fitted does reverse.
`counted` has no line: of random pairs with about that gap, the share that a deployment context as fitted reverses, as the
answer itself counts it (`all_pairs_new_context`; of one logged context it is its `all_pairs`): in each draw, against the
order that the bench has in that draw.
Calibration slope: of a logistic regression of "was reversed" on the logit of the risk; 1 = as sure as it should be, below 1
too sure. Pairs share their models and one held-out set, so a right law has slopes other than 1, too: 5 to 95 % of those that
it gives in `WORLDS` held-out sets drawn from itself (a draw of the fit, for `new context` and `counted` one of its contexts,
for `pair` deployment as logged), and `p`, how often it gives one as far out (two-sided). Beside the Brier score stands that
of the plain rate of reversals, which knows the outcome. Writes `benchmarks/reversal.md`.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import pathlib
import time

import numpy as np
import polars as pl
from forecast import PUBLIC
from pages import asked, write_table
from scipy.special import expit, logit

import divergence as dv
from divergence.estimands.projection_instability import Projection, project, regress
from divergence.estimands.reversal import bench_gaps, over_pairs, reversed_order, risk

HERE = pathlib.Path(__file__).parent
VAL, V2, REAL, SKETCH, R = "imagenet-val", "imagenet-v2-mf", "imagenet-real", "imagenet-sketch", "imagenet-r"
CASES = (  # bench, deployment, held out
    (VAL, (V2,), REAL),
    (VAL, (REAL,), V2),
    (REAL, (V2,), VAL),
    (VAL, (V2, SKETCH, R), REAL),
    (VAL, (REAL, SKETCH, R), V2),
    (VAL, (V2, REAL, R), SKETCH),
    (VAL, (V2, REAL, SKETCH), R),
)
PAIRS, BEST, DRAWS = 20_000, 50, 400
WORLDS = 200  # held-out sets drawn from each law
EDGE = 1e-6  # a risk of 0 is one in a million


def rows_of(bench: str, deployment: tuple[str, ...], held: str) -> tuple[pl.DataFrame, dict[str, float]]:
    """The rows that are fitted, and the held-out score of each model; models that have all of these sets."""
    rows = pl.read_parquet(PUBLIC / "timm_accuracy.parquet")
    rows = rows.with_columns(model=pl.concat_str("model", "img_size", "crop_pct", separator="|"), score_n="n_items")
    whole = rows.group_by("model").agg(pl.col("context").n_unique()).filter(pl.col("context") == 8)["model"]
    rows = rows.filter(pl.col("model").is_in(whole.implode()))
    regime = pl.when(pl.col("context") == bench).then(pl.lit("evaluation")).otherwise(pl.lit("deployment"))
    fitted = rows.filter(pl.col("context").is_in((bench, *deployment))).with_columns(regime=regime)
    truth = dict(rows.filter(pl.col("context") == held).group_by("model").agg(pl.col("score").mean()).iter_rows())
    return fitted.select("regime", "model", "context", "item", "score", "score_n"), truth


def slope(p: np.ndarray, happened: np.ndarray) -> tuple[float, float]:
    """Intercept and slope of the logistic regression on the logit of p."""
    x = np.stack([np.ones(len(p)), logit(np.clip(p, EDGE, 1 - EDGE))], 1)

    b = np.array([0.0, 0.0])
    for _ in range(50):  # Newton's steps, none longer than 1 in either number
        fitted = expit(x @ b)
        weight = np.maximum(fitted * (1 - fitted), 1e-12)
        step = np.linalg.solve((x.T * weight) @ x + 1e-9 * np.eye(2), x.T @ (happened - fitted))
        b += step / max(1.0, np.abs(step).max())
        if np.abs(step).max() < 1e-8:
            break
    return float(b[0]), float(b[1])


@dataclasses.dataclass(frozen=True)
class Law:
    """What says how likely a pair is reversed."""

    risk: np.ndarray
    """Of each pair."""
    lines: tuple[tuple[float, np.ndarray, np.ndarray], ...] = ()
    """Weight, slope and spread (of pairs) in every draw, of the held-out sets that it expects: lines on the bench; none:
    logged levels."""
    levels: np.ndarray | None = None
    """Of those, (draws, models, sets)."""


def expected(law: Law, bench: np.ndarray, pairs: np.ndarray, up: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Slopes in held-out sets drawn from the law itself, shape (WORLDS,); `bench` are draws of levels (draws, models), `up`
    the sign of the bench gap of each pair."""
    out = np.empty(WORLDS)
    for w in range(WORLDS):
        k = rng.integers(len(bench))
        if law.levels is not None:
            held = law.levels[k, :, rng.integers(law.levels.shape[2])]
        else:
            weights = np.array([line[0] for line in law.lines])
            _, beta, tau = law.lines[rng.choice(len(weights), p=weights / weights.sum())]
            held = beta[k] * bench[k] + tau[k] / np.sqrt(2) * rng.standard_normal(bench.shape[1])
        out[w] = slope(law.risk, (up != np.sign(held[pairs[0]] - held[pairs[1]])).astype(float))[1]
    return out


def counted(line: Projection, gap: np.ndarray, seed: int) -> np.ndarray:
    """The share that the answer itself reports at each gap (n,): of random pairs that a context reverses. Of a gap that no
    sampled pair has, that of the next smaller one that some have."""
    gaps = bench_gaps(line.bench)
    shares = over_pairs(line.bench, line.within, gaps, seed, line.law)[0].mean(0)
    known = np.flatnonzero(np.isfinite(shares))
    place = np.searchsorted(gaps[known], np.abs(gap), side="right") - 1
    return shares[known[np.maximum(place, 0)]]


def judged(bench: str, deployment: tuple[str, ...], held: str) -> list[list[str]]:
    """Lines of the table for one held-out set."""
    frame, truth = rows_of(bench, deployment, held)
    begin = time.process_time()
    posterior = dv.fit(dv.collapse(dv.read(frame)), seed=0)
    spent = time.process_time() - begin
    _, line = project(posterior, None, None, "logged")
    keep = np.linspace(0, len(line.bench) - 1, min(DRAWS, len(line.bench))).astype(int)
    levels, score = line.bench[keep], np.array([truth[name] for name in line.models])
    order = np.argsort(-levels.mean(0))
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, len(line.models), (2, PAIRS))
    best = np.array(list(itertools.combinations(order[:BEST], 2))).T
    lines = {"curve": ((1.0, line.beta[keep], line.tau[keep]),)}
    if len(line.law) > 1:
        lines["new context"] = tuple(
            (w, *(part[keep] for part in regress(line.bench, line.within[:, :, c])[1:])) for c, w in enumerate(line.law)
        )
    found = []
    for what, pairs in (("random pairs of all", drawn[:, drawn[0] != drawn[1]]), (f"best {BEST}", best)):
        first, second = pairs
        gap = levels.mean(0)[first] - levels.mean(0)[second]
        happened = (np.sign(gap) != np.sign(score[first] - score[second])).astype(float)
        served = line.deployed[keep][:, first] - line.deployed[keep][:, second]
        apart = reversed_order(levels[:, first] - levels[:, second], served).mean(0)
        logged = np.mean(np.sign(gap) != np.sign(served.mean(0)))
        laws = {"pair": Law(apart, levels=line.deployed[keep][:, :, None])}
        for name, parts in lines.items():
            p = np.zeros(len(gap))
            for k in range(len(levels)):
                apart_by = np.abs(levels[k, first] - levels[k, second])[None]
                p += sum(w * risk(beta[k : k + 1], tau[k : k + 1], apart_by)[0] for w, beta, tau in parts) / len(levels)
            laws[name] = Law(p, parts)
        laws["counted"] = Law(counted(line, gap, posterior[None].seed), levels=line.within[keep])
        for name, law in laws.items():
            p, (a, b) = law.risk, slope(law.risk, happened)
            null = expected(law, levels, pairs, np.sign(gap), rng)
            low, high = np.quantile(null, [0.05, 0.95])
            chance = min(1.0, 2 * (min((null <= b).sum(), (null >= b).sum()) + 1) / (WORLDS + 1))
            rate = happened.mean()
            brier = np.mean((p - happened) ** 2), rate * (1 - rate)
            shown = [f"{v:.3f}" for v in (p.mean(), logged, rate, b)]
            shown += [f"{low:.2f} to {high:.2f}", f"{chance:.2f}", *(f"{v:.3f}" for v in (a, *brier))]
            sets = ", ".join(s.removeprefix("imagenet-") for s in deployment)
            where = [bench.removeprefix("imagenet-"), sets, held.removeprefix("imagenet-")]
            found.append([*where, what, name, *shown, f"{spent:.1f}"])
    return found


COLUMNS = (
    "bench",
    "deployment",
    "held out",
    "pairs",
    "risk",
    "said",
    "logged",
    "reversed",
    "slope",
    "of the law itself",
    "p",
    "intercept",
    "Brier",
    "of the rate",
    "fit, CPU-s",
)
HEADER = "| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|"


def main(arguments: list[str] | None = None) -> None:
    """Print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given = asked(parser, arguments)
    lines = []
    print(HEADER)
    for case in CASES:
        for each in judged(*case):
            lines.append("| " + " | ".join(each) + " |")
            print(lines[-1], flush=True)
    if given.write:
        text = "Made by `benchmarks/reversal.py`: 1,555 image classifiers, one test set held out; see there."
        write_table(HERE / "reversal.md", "Reversals in a held-out test set", text, [HEADER, *lines])


if __name__ == "__main__":
    main()
