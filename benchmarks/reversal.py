"""Is the risk that a test set reverses a pair calibrated on a test set that no fit has seen? All models of timm.

    python benchmarks/reversal.py --write

One test set is the bench, others are deployment, one is held out. What `reversal` says of a pair by its bench gap is held
against the order of that pair in the held-out set, over 20,000 random pairs of all models, and over all pairs of the best
50 on the bench. `pair` is the probability that deployment as logged reverses it, `curve` the risk of its gap there, `new
context` that in one more test set like those logged; `logged` is the share that deployment as fitted does reverse.
Calibration slope: of a logistic regression of "was reversed" on the logit of the risk; 1 = as sure as it should be, below 1
too sure. Beside the Brier score stands that of the plain rate of reversals, which knows the outcome. Writes
`benchmarks/reversal.md`.
"""

from __future__ import annotations

import argparse
import itertools
import pathlib
import time

import numpy as np
import polars as pl
import scipy.optimize
from forecast import PUBLIC
from pages import asked, write_table
from scipy.special import expit, logit

import divergence as dv
from divergence.estimands.projection_instability import project, regress
from divergence.estimands.reversal import reversed_order, risk

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

    def loss(b: np.ndarray) -> tuple[float, np.ndarray]:
        eta = x @ b
        return float(np.mean(np.logaddexp(0, eta) - happened * eta)), x.T @ (expit(eta) - happened) / len(x)

    a, b = scipy.optimize.minimize(loss, [0.0, 1.0], jac=True, method="BFGS").x
    return float(a), float(b)


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
    laws = {"curve": [(1.0, line.beta[keep], line.tau[keep])]}
    if len(line.law) > 1:
        laws["new context"] = [
            (w, *(part[keep] for part in regress(line.bench, line.within[:, :, c])[1:])) for c, w in enumerate(line.law)
        ]
    found = []
    for what, pairs in (("random pairs of all", drawn[:, drawn[0] != drawn[1]]), (f"best {BEST}", best)):
        first, second = pairs
        gap = levels.mean(0)[first] - levels.mean(0)[second]
        happened = (np.sign(gap) != np.sign(score[first] - score[second])).astype(float)
        served = line.deployed[keep][:, first] - line.deployed[keep][:, second]
        apart = reversed_order(levels[:, first] - levels[:, second], served).mean(0)
        logged = np.mean(np.sign(gap) != np.sign(served.mean(0)))
        for name, parts in {"pair": [], **laws}.items():
            p = apart if name == "pair" else np.zeros(len(gap))
            for w, beta, tau in parts:
                p += (
                    w
                    * sum(
                        risk(beta[k : k + 1], tau[k : k + 1], np.abs(levels[k, first] - levels[k, second])[None])[0]
                        for k in range(len(levels))
                    )
                    / len(levels)
                )
            a, b = slope(p, happened)
            rate = happened.mean()
            brier = np.mean((p - happened) ** 2), rate * (1 - rate)
            shown = [f"{v:.3f}" for v in (p.mean(), logged, rate, b, a, *brier)]
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
