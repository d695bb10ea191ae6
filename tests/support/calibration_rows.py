"""Simulation-based calibration through the rows: truth from the prior, log from an item-response model, fit as usual.

`calibration.py` draws arm levels; here single answers are drawn, so that the step from rows to arm levels is calibrated too:

    x, effects ~ prior;   level_a = expit(eta_a);   mu_a with E_b expit(mu_a - b) = level_a,   b_i ~ N(0, sigma_b)
    y_ai ~ Binomial(trials, expit(mu_a - b_i))

for the items that arm `a` tries. This is the item-level method's own model, so that its ranks should be uniform; the
arm-level method knows nothing of it and can be held against the same worlds.

    python tests/support/calibration_rows.py item --fits 500 --share .5 --records build/sbc-item.jsonl
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
import time
from typing import NamedTuple

import calibration as sbc
import numpy as np
import polars as pl
from scipy.optimize import brentq
from scipy.special import expit

import divergence as dv
from divergence.joint import Fit, ItemLevel
from divergence.joint.design import arm_loadings
from divergence.joint.posterior import standard_deviations
from divergence.simulate import simulate, world

SPEC = dv.Spec(intercept=1.0, ability=0.8)  # narrower than the default: half of its levels lie beyond .08 and .92
SIZES = {"n_models": 4, "n_contexts": 4, "n_items": 80, "n_trials": 2}
DIFFICULTY = 1.2  # sd of b
METHODS = {"arm": dv.Importance, "item": ItemLevel}


class Template(NamedTuple):
    """The rows that every simulated log has, and the fit that gives their arms a meaning."""

    log: pl.DataFrame
    """One row a trial."""
    fit: Fit
    """Of that log, with `SPEC`."""
    arm: np.ndarray
    """Arm of each row, in the order of `fit.arms`."""
    item: np.ndarray
    """Item of each row."""


def template(share: float) -> Template:
    """Rows in which each arm tries that share of the items."""
    log, _ = simulate(world("baseline", **SIZES), 12)
    rng = np.random.default_rng(5)
    items = log["item"].unique(maintain_order=True)
    parts = []
    for _, part in log.group_by("model", "regime", "context", maintain_order=True):
        keep = items.gather(np.sort(rng.choice(len(items), round(share * len(items)), replace=False)))
        parts.append(part.filter(pl.col("item").is_in(keep.to_list())))
    log = pl.concat(parts)
    fit = dv.fit(dv.collapse(dv.read(log)), spec=SPEC, seed=0).fits[0]
    levels, place = fit.cells.levels, {}
    for a, (m, d, c) in enumerate(zip(fit.arms.model, fit.arms.deployed, fit.arms.context, strict=True)):
        place[levels["model"][m], "deployment" if d else "evaluation", levels["context"][c]] = a
    named = [key for key in place if key[1] == "evaluation"]
    arm = [
        place.get((m, r, c)) if r == "deployment" else place[next(k for k in named if k[0] == m)]
        for m, r, c in log.select("model", "regime", "context").iter_rows()
    ]
    code = {name: k for k, name in enumerate(items)}
    return Template(log, fit, np.array(arm), np.array([code[name] for name in log["item"]]))


def difficulty_shift(level: np.ndarray) -> np.ndarray:
    """`mu` whose mean success over items is `level`."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(41)
    weights = weights / weights.sum()
    return np.array([brentq(lambda mu, p=p: weights @ expit(mu - DIFFICULTY * nodes) - p, -30, 30) for p in level])


def one_fit(base: Template, method: str, seed: int) -> dict:
    """Ranks of all quantities in one simulated log, CPU seconds of its fit, and did it pass?"""
    rng = np.random.default_rng([seed, 3])
    fit = base.fit
    x = rng.standard_normal((1, fit.x.shape[1]))
    effects = sbc.prior_effects(fit, standard_deviations(fit.design, x), rng)
    level = np.clip(expit(arm_loadings(fit.design, fit.arms) @ effects), 1e-6, 1 - 1e-6)
    b = DIFFICULTY * rng.standard_normal(base.item.max() + 1)
    score = rng.random(len(base.arm)) < expit(difficulty_shift(level)[base.arm] - b[base.item])
    log = base.log.with_columns(score=pl.Series(score.astype(float)))
    cells = dv.collapse(dv.read(log))
    begin = time.process_time()
    fitted = dv.fit(cells, spec=SPEC, method=METHODS[method](), seed=seed)
    spent = time.process_time() - begin
    one = fitted.fits[0]
    keep = rng.choice(len(one.x), sbc.DRAWS, replace=False)
    true = sbc.quantities(dataclasses.replace(fit, x=x, effects=effects[None]))
    seen = sbc.quantities(dataclasses.replace(one, x=one.x[keep], effects=one.effects[keep]))
    return {"ranks": {name: int((seen[name] < true[name]).sum()) for name in true}, "CPU s": spent, "passed": fitted.passed}


def run(
    method: str, share: float, fits: int, records: pathlib.Path | None = None
) -> tuple[dict[str, np.ndarray], list[dict]]:
    """Ranks by quantity of that many fits; those that `records` holds are not made again."""
    base = template(share)
    seen = [json.loads(line) for line in records.read_text().splitlines()] if records and records.exists() else []
    for seed in range(len(seen), fits):
        seen.append(one_fit(base, method, seed))
        if records:
            with records.open("a") as out:
                out.write(json.dumps(seen[-1]) + "\n")
    seen = seen[:fits]
    return {name: np.array([r["ranks"][name] for r in seen]) for name in seen[0]["ranks"]}, seen


def main() -> None:
    """Print coverage and uniformity by kind of quantity."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method", choices=list(METHODS))
    parser.add_argument("--fits", type=int, default=500)
    parser.add_argument("--share", type=float, default=0.5, help="of the items that an arm tries")
    parser.add_argument("--records", type=pathlib.Path)
    given = parser.parse_args()
    rank, seen = run(given.method, given.share, given.fits, given.records)
    spent = np.mean([r["CPU s"] for r in seen])
    print(
        f"{given.method}, {given.share:g} of the items: {len(seen)} fits, {spent:.2f} CPU s each, "
        f"{np.mean([r['passed'] for r in seen]):.3f} passed the gates, {len(rank)} quantities"
    )
    for name, (count, share, p) in sbc.summary(rank).items():
        print(f"| {name} | {count} | {share:.3f} | {p:.3f} |")


if __name__ == "__main__":
    main()
