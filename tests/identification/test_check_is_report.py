"""What `check` says of a question is what the report does: logs of designs crossed at random."""

import numpy as np
import polars as pl
import pytest

import divergence as dv
from divergence.errors import InputError
from divergence.executions import read
from divergence.results import answer_all


def random_log(seed: int) -> pl.DataFrame:
    """A small log whose design is drawn: regimes, missing cells, scorers, replicates, sessions, waves, aliases, costs."""
    random = np.random.default_rng(seed)

    def often(p: float) -> bool:
        return bool(random.random() < p)

    models = [f"m{k}" for k in range(random.integers(1, 6))]
    contexts = [f"c{k}" for k in range(random.integers(1, 4))]
    items = [f"i{k}" for k in range(random.integers(3, 15))]
    regimes = ["evaluation", "deployment"] if often(0.75) else [str(random.choice(["evaluation", "deployment"]))]
    trials, waves = int(random.integers(1, 3)), int(random.integers(1, 3))
    keep, overlap, constant = random.choice([1.0, 0.7]), often(0.8), often(0.1)
    scorer = str(random.choice(["none", "regime", "context", "one"]))
    rows = []
    for regime in regimes:
        for context in contexts if regime == "deployment" else ["bench"]:
            for model in models:
                if not often(keep):
                    continue
                for item in items:
                    for wave in range(waves):
                        for trial in range(trials):
                            rows.append((regime, context, model, item, wave, trial))
    frame = pl.DataFrame(rows, schema=["regime", "context", "model", "item", "wave", "trial"], orient="row")
    if not frame.height:
        return frame
    n = frame.height
    level = random.choice([0.0, 0.5, 1.0], p=[0.05, 0.9, 0.05])
    score = pl.Series((random.random(n) < (level if level in (0.0, 1.0) else 0.6)).astype(float))
    frame = frame.with_columns(
        score=pl.when(pl.Series(random.random(n) < 0.9)).then(score) if often(0.3) else score,
        wave=pl.col("wave").cast(pl.String),
    )
    if not overlap:
        frame = frame.with_columns(item=pl.when(regime="deployment").then("live " + pl.col("item")).otherwise("item"))
    if constant:
        frame = frame.with_columns(item=pl.lit("probe"))
    if scorer != "none":
        of = {"regime": pl.col("regime"), "context": pl.col("context"), "one": pl.lit("exact")}[scorer]
        frame = frame.with_columns(scorer=of)
    if often(0.3):
        frame = frame.with_columns(session=pl.Series(random.integers(0, 6, n)).cast(pl.String))
    if often(0.4):
        cost = pl.Series(random.gamma(2, 0.1, n))
        frame = frame.with_columns(cost_usd=pl.when(regime="deployment").then(cost) if often(0.5) else cost)
    if often(0.3):
        frame = frame.with_columns(calls=pl.Series(random.integers(1, 6, n)))
    if often(0.2):
        frame = frame.with_columns(task_length=pl.Series(random.choice([1.0, 4.0, 16.0], n)))
    if often(0.3):
        frame = frame.with_columns(input_tokens=pl.lit(10), output_tokens=pl.Series(random.integers(1, 9, n)))
    if often(0.4):  # logged factors, some of them aliases of each other or of the model
        frame = frame.with_columns(engine="context", hardware=pl.col("context") if often(0.3) else pl.lit("h"))
        frame = frame.with_columns(sampler="model") if often(0.3) else frame
    return frame


def disagreements(seed: int) -> list[str]:
    """Questions that `check` and the report tell differently, and that do not depend on the values."""
    frame = random_log(seed)
    if not frame.height:
        return []
    try:
        log = read(frame)
        posterior = dv.fit(log.cells, seed=0, method=dv.Importance())
    except InputError:
        return []  # nothing to fit: a sentence, and no report
    reported = {name: estimate.identified for name, estimate in answer_all(posterior).items()}
    return [
        f"seed {seed}: {a.question}: check {a.identified} ({a.reason}), report {reported[a.question]}"
        for a in log.answers()
        if a.identified != reported[a.question] and not (a.identified and a.depends)
    ]


@pytest.mark.parametrize("seed", range(16))
def test_check_says_what_the_report_does(seed):
    assert disagreements(seed) == []


@pytest.mark.prove
def test_check_says_what_the_report_does_over_four_hundred_logs():
    told = [line for seed in range(1000, 1400) for line in disagreements(seed)]
    assert told == []
