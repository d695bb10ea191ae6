"""Small logs of known laws that the tests of several questions share."""

import numpy as np
import polars as pl

from divergence.simulate import simulate, world


def bench_and_traffic(rng, overlap=1.0, tokens=(100, 100), contexts=3, models=5, items=60, waves=2):
    """Bench and traffic; a share of the traffic's items are the bench's; tokens and costs by regime."""
    rows = []
    live = [f"c{k}" for k in range(contexts)]
    for regime, labels, size in (("evaluation", ["bench"], tokens[0]), ("deployment", live, tokens[1])):
        for m in range(models):
            for label in labels:
                for i in range(items):
                    name = f"i{i}" if regime == "evaluation" or i < overlap * items else f"new{i}"
                    for w in range(waves):
                        rows.append(
                            (
                                regime,
                                f"m{m}",
                                label,
                                name,
                                str(w),
                                float(rng.random() < 0.4 + 0.1 * m),
                                int(rng.poisson(size)),
                                0.01 * (m + 1),
                            )
                        )
    return pl.DataFrame(
        rows, orient="row", schema=["regime", "model", "context", "item", "wave", "score", "input_tokens", "cost_usd"]
    )


def steps_to_the_end(rng, size, hazard, cap, solve=0.05):
    """Every step fails with `hazard` or solves with `solve`; a cap censors."""
    length, score, finish = [], [], []
    for _ in range(size):
        for step in range(1, cap + 1):
            u = rng.random()
            if u < hazard + solve or step == cap:
                ended = u < hazard + solve
                length.append(step)
                score.append(float(ended and u >= hazard))
                finish.append("done" if ended else "calls")
                break
    return length, score, finish


def episodes(length, score, finish=None, **more):
    """One episode a row, of one model in one context, with its number of calls and how it ended."""
    size = len(length)
    frame = {
        "regime": "evaluation",
        "model": "m",
        "context": "c",
        "item": [f"i{k}" for k in range(size)],
        "calls": length,
        "score": score,
        "finish_reason": finish or ["done"] * size,
    } | more
    return pl.DataFrame({k: [v] * size if isinstance(v, str) else v for k, v in frame.items()})


def priced(rng, size=200, success=0.6, cost=0.02, regime="deployment", context="c", model="m", **more):
    """Requests with a score, of two trials an item, at a cost whose log has a standard deviation of a half."""
    score = (rng.random(size) < success).astype(float)
    frame = {
        "regime": [regime] * size,
        "model": [model] * size,
        "context": [context] * size,
        "item": [f"i{k // 2}" for k in range(size)],
        "trial": [k % 2 for k in range(size)],
        "score": score,
        "cost_usd": cost * rng.lognormal(0, 0.5, size),
    }
    return pl.DataFrame(frame | {k: [v] * size if isinstance(v, int | float | str) else v for k, v in more.items()})


def tasks_by_length(rng, size=400, middle=4.0, slope=-1.2, lengths=(1, 2, 4, 8, 16, 32), **more):
    """Tasks of lengths that double; the chance of success is logistic in their log, a half at `middle`."""
    length = rng.choice(lengths, size).astype(float)
    p = 1 / (1 + np.exp(-slope * np.log2(length / middle)))
    frame = {
        "regime": ["evaluation"] * size,
        "model": ["m"] * size,
        "context": ["c"] * size,
        "item": [f"i{k}" for k in range(size)],
        "task_length": length,
        "score": (rng.random(size) < p).astype(float),
    }
    return pl.DataFrame(frame | more)


def trials_of_items(successes, trials, **more):
    """A log of one model in one context: item i succeeds in the first successes[i] of its trials."""
    rows = [(f"i{i}", t, float(t < y)) for i, y in enumerate(successes) for t in range(trials)]
    item, trial, score = zip(*rows, strict=True)
    frame = {"regime": "evaluation", "model": "m", "context": "c", "item": item, "trial": trial, "score": score} | more
    return pl.DataFrame({k: [v] * len(rows) if isinstance(v, str) else v for k, v in frame.items()})


def timed_and_priced(kind="baseline", seed=5, **sizes):
    """A simulated log; failures take longer, and a second costs a cent."""
    log, _ = simulate(world(kind, **({"n_models": 3, "n_contexts": 3, "n_items": 60} | sizes)), seed)
    rng = np.random.default_rng(seed)
    latency = np.exp(0.4 * (1 - log["score"].to_numpy()) + 0.5 * rng.standard_normal(log.height))
    return log.with_columns(latency_s=pl.Series(latency), cost_usd=pl.Series(0.01 * latency))
