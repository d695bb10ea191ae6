"""How far did each model move in each serving context, and did its score move with it?

Of every place (model, context), on the same items as the evaluation, from a `Movement`:

    headline       mean_i delta2_i / V_m     squared movement in noise floors: 1 = as far as reruns scatter
    share          mean_i delta2_i / S_m     the same, 1 = as far as answers to different items lie apart
    score_change   mean_i of the change of the item's mean score, over items judged on both sides, with the same weights

Rows without a model are the mean over the models of a context that have a value. Silent drift is a headline beyond its
floor with a score_change about 0. `noise_floor` is the upper 95 % limit of the model's rerun variance (`movement.py` says
how it is taken where reruns are copies). Identified for items with 2 runs here and 2 in the evaluation. Draws: Bayesian
bootstrap over items (Rubin 1981), not over models or contexts.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from divergence.estimate import Estimate
from divergence.geometry.movement import Movement, over

QUESTION, TEXT = "context_displacement", "squared movement of the answers to the same items, in noise floors"
DRAWS = 2000  # limits of a 90 % interval to 4 % of a standard deviation
METHOD = "Bayesian bootstrap over items"
UNDEFINED = "nothing to compare: no score on both sides, or no distance between answers"


def context_displacement(state: Movement) -> Estimate:
    """Movement of every place in noise floors and as a share of the spread, with its change of score."""
    weights = state.weights(DRAWS)
    squared = state.squared(weights)
    score = over(weights @ state.score, weights @ state.judged)
    noise, high, spread = (of[state.home] for of in (state.noise, state.noise_high, state.spread))
    with np.errstate(divide="ignore", invalid="ignore"):
        values = {None: squared / noise, "share": squared / spread, "score_change": score}
        floors = {None: high / noise, "share": high / spread, "score_change": np.full(len(noise), np.nan)}
    unit = {None: "ratio", "share": "ratio", "score_change": "fraction"}
    number = state.items.sum(0).diagonal().astype(int)
    contexts = list(dict.fromkeys(state.context))
    rows, draws, floor = [], [], []
    for statistic, value in values.items():
        lacking = [
            statistic != "score_change" and f"{m}, {c}" in state.missing
            for m, c in zip(state.model, state.context, strict=True)
        ]
        defined = np.isfinite(value).all(0) & ~np.array(lacking)
        for k, (model, context) in enumerate(zip(state.model, state.context, strict=True)):
            why = state.missing.get(f"{model}, {context}") if statistic != "score_change" else None
            reason = None if defined[k] else why or UNDEFINED
            rows.append((statistic, model, context, unit[statistic], int(number[k]), reason))
            draws.append(value[:, k])
            floor.append(floors[statistic][k])
        for context in contexts:
            inside = [k for k, name in enumerate(state.context) if name == context and defined[k]]
            rows.append(
                (
                    statistic,
                    None,
                    context,
                    unit[statistic],
                    int(number[inside].max()) if inside else 0,
                    None if inside else UNDEFINED,
                )
            )
            draws.append(value[:, inside].mean(1) if inside else np.full(DRAWS, np.nan))
            floor.append(floors[statistic][inside].mean() if inside else np.nan)
    table = np.stack(draws, 1)
    reason = tuple(r[-1] for r in rows)
    table[:, [r is not None for r in reason]] = np.nan
    frame = pl.DataFrame(
        [r[:-1] for r in rows],
        orient="row",
        schema={"statistic": pl.String, "model": pl.String, "context": pl.String, "unit": pl.String, "n_items": pl.Int64},
    )
    return Estimate(
        QUESTION,
        TEXT,
        "ratio",
        frame,
        table,
        "embedding",
        reason=reason,
        noise_floor=np.array(floor),
        counts=state.counts,
        method=method(state),
    )


def method(state: Movement) -> str:
    """How the draws were made, and what the reruns of the evaluation did."""
    changed, items = state.changed.sum(0)
    told = f"{changed} of {items} answers of the evaluation changed between its reruns"
    told += "; the floor is half an item that changes" if not changed else ""
    absent = [
        f"; {name} is not measured: {why}"
        for name, why in state.missing.items()
        if name not in {f"{m}, {c}" for m, c in zip(state.model, state.context, strict=True)}
    ]
    return f"{METHOD}; {told}" + "".join(absent)
