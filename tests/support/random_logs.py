"""Small logs of designs crossed at random: regimes, missing cells, near ties, scorers, replicates, sessions, waves, aliases,
constant items, tasks, answers, costs, times, and what is declared beside them."""

import numpy as np
import polars as pl

import divergence as dv
from divergence.errors import InputError
from divergence.executions import read
from divergence.joint.outcomes import fit_outcomes
from divergence.results import answer_all, page_content
from divergence.run_record import run_record

GRADES = ("bad", "poor", "good", "great")
FEW = dv.Importance(draws=400, proposals=400, last=600, rounds=(2, 6))  # what is identified does not depend on the draws


def random_log(seed: int) -> pl.DataFrame:
    """A log whose design is drawn; empty where every cell is missing."""
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
        for context in contexts if regime == "deployment" or often(0.15) else ["bench"]:
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
    score = _score(random, frame, often)
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
    return _more(random, frame, often)


def _score(random, frame: pl.DataFrame, often) -> pl.Series:
    """0 and 1 at one rate (near ties), at rates of the models, or one value in every row; seldom fractions."""
    n = frame.height
    level = random.choice([0.0, 0.5, 1.0], p=[0.05, 0.9, 0.05])
    if level in (0.0, 1.0):
        return pl.Series(np.full(n, level))
    apart = often(0.5)
    rates = dict(zip(sorted(set(frame["model"])), random.uniform(0.1, 0.95, 9) if apart else np.full(9, 0.6), strict=False))
    shift = {context: random.uniform(-0.3, 0.3) if often(0.3) else 0.0 for context in sorted(set(frame["context"]))}
    pairs = frame.select("model", "context").iter_rows()
    rate = np.clip([rates[m] + shift[c] for m, c in pairs], 0.02, 0.98)
    if often(0.1):
        return pl.Series(np.clip(rate + random.normal(0, 0.2, n), 0, 1))
    return pl.Series((random.random(n) < rate).astype(float))


def _more(random, frame: pl.DataFrame, often) -> pl.DataFrame:
    """What else is logged."""
    n = frame.height
    if often(0.3):
        frame = frame.with_columns(session=pl.Series(random.integers(0, 6, n)).cast(pl.String))
    if often(0.4):
        cost = pl.Series(random.gamma(2, 0.1, n))
        frame = frame.with_columns(cost_usd=pl.when(regime="deployment").then(cost) if often(0.5) else cost)
        if often(0.2):
            frame = frame.with_columns(cost_usd=pl.when(context="c0").then(0.0).otherwise("cost_usd"))
    if often(0.3):
        frame = frame.with_columns(calls=pl.Series(random.integers(1, 6, n)))
    if often(0.3):
        frame = frame.with_columns(latency_s=pl.Series(random.lognormal(0, 0.3, n)))
    if often(0.2):
        frame = frame.with_columns(task_length=pl.Series(random.choice([1.0, 4.0, 16.0], n)))
    if often(0.3):
        frame = frame.with_columns(input_tokens=pl.lit(10), output_tokens=pl.Series(random.integers(1, 9, n)))
    if often(0.2):
        said = pl.Series(random.choice(["yes", "no"], n))
        frame = frame.with_columns(answer=said, gold=pl.lit("yes"))
    if often(0.2):
        tasks = random.choice(["t0", "t1"], frame["item"].n_unique())
        frame = frame.with_columns(task=pl.Series(tasks[_code(frame["item"])]))
    if often(0.4):  # logged factors, some of them aliases of each other or of the model
        frame = frame.with_columns(engine="context", hardware=pl.col("context") if often(0.3) else pl.lit("h"))
        frame = frame.with_columns(sampler="model") if often(0.3) else frame
    return _partly_judged(random, frame, often)


def _partly_judged(random, frame: pl.DataFrame, often) -> pl.DataFrame:
    """Rows without a score that say how long they took, and the reverse; seldom grades in place of scores."""
    n = frame.height
    if often(0.25):
        if "latency_s" not in frame.columns:
            frame = frame.with_columns(latency_s=pl.Series(random.lognormal(0, 0.3, n)))
        kept = {
            "one regime": pl.col("regime") == str(random.choice(["evaluation", "deployment"])),
            "some contexts": pl.col("context") != "c0",
            "some rows": pl.Series(random.random(n) < 0.5),
            "some items": pl.col("item") != "i1",
        }[str(random.choice(["one regime", "some contexts", "some rows", "some items"]))]
        partly = "latency_s" if often(0.3) else "score"
        frame = frame.with_columns(pl.when(kept).then(partly).alias(partly))
    if often(0.08):
        place = (pl.col("score") + pl.Series(random.integers(0, 3, n))).round().cast(pl.Int64)
        frame = frame.with_columns(score=place.replace_strict(dict(enumerate(GRADES)), return_dtype=pl.String))
    return frame


def _code(items: pl.Series) -> np.ndarray:
    return np.unique(items.to_numpy(), return_inverse=True)[1]


def random_configuration(seed: int, models: list[str], graded: bool = False) -> dv.Configuration:
    """What is declared: seldom anything, else requirements, prices, an incumbent; the grades of a score that has some."""
    random = np.random.default_rng([seed, 1])
    table: dict = {}
    if random.random() < 0.3:
        table["acceptance"] = {"quality_min": float(random.uniform(0.2, 0.8)), "bench_gap_max": 0.3}
        if random.random() < 0.4:
            table["acceptance"]["cost_per_success_max_usd"] = 0.5
    if random.random() < 0.2:
        table["prices"] = {"date": "2026-01-01"} | {model: {"input": 1.0, "output": 4.0} for model in models}
    if random.random() < 0.3:
        table["items"] = "observed"
    if graded:
        table["grades"] = list(GRADES)
    return dv.Configuration.from_table(table)


def fitted(seed: int, declare: bool = True, outcomes: bool = False):
    """(log, posterior, answers) of a random log, or None where there is nothing to fit; `outcomes`: what a report fits
    beside the log's own, too."""
    frame = random_log(seed)
    if not frame.height:
        return None
    graded = frame["score"].dtype == pl.String
    plain = dv.Configuration.from_table({"grades": list(GRADES)} if graded else {})
    setting = random_configuration(seed, frame["model"].unique().sort().to_list(), graded) if declare else plain
    try:
        log = read(frame, configuration=setting)
        posterior = fit_outcomes(log, method=FEW) if outcomes else dv.fit(log.cells, seed=0, method=FEW)
    except InputError:
        return None  # nothing to fit: a sentence, and no report
    return log, posterior, answer_all(posterior, None, setting)


def content_of(log, posterior, answers):
    """The content of its page."""
    return page_content(posterior, {posterior.fits[0].cells.outcome: answers}, log, "log", run_record(posterior, log))
