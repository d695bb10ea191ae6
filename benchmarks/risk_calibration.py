"""How right are the risks, and how fast do they come, beside other tools on the same rows? Section `Calibration` of
`benchmarks/risk.md`.

Worlds with known risks (`risk_worlds.py`: levels, strata that move with model and context, items): every tool learns
from the same judged rows and is asked about the same fresh ones. scikit-learn is a logistic regression on indicator
columns (main effects, or all pairs with the penalty that cross-validation likes best), its intervals 5 % and 95 % of 200
refits on resampled items. NannyML and evidently run in an environment of their own (`risk_peers.py`) and take the
regression's out-of-fold probabilities, for they bring none.

    python benchmarks/risk_calibration.py [--worlds 20] [--peers PYTHON]
"""

import argparse
import json
import os
import pathlib
import subprocess
import tempfile
import time

import numpy as np
import polars as pl
import risk_worlds as worlds
from risk_throughput import PAGE, replace_section
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.model_selection import GroupKFold, StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, PolynomialFeatures

ROOT = pathlib.Path(__file__).parents[1]


import divergence as dv  # noqa: E402
from divergence.risk.labelfree import expected_failures  # noqa: E402
from divergence.risk.reliability import reliability  # noqa: E402

HEADING = "## Calibration, beside other tools"
KEYS = ["model", "context", "task"]
FRESH, REFITS, FOLDS = 20_000, 200, 5
SPEED_ROWS = 200_000
TOOLS = {"ours": "divergence", "main": "scikit-learn, main effects", "pairs": "scikit-learn, all pairs"}


def regression(pairs: bool):
    """Logistic regression on indicator columns."""
    if not pairs:
        return make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression(C=1.0, max_iter=1000))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    return make_pipeline(
        OneHotEncoder(handle_unknown="ignore", sparse_output=False),
        PolynomialFeatures(2, interaction_only=True, include_bias=False),
        LogisticRegressionCV(Cs=5, cv=folds, scoring="neg_log_loss", max_iter=2000, use_legacy_attributes=False),
    )


def refits(rows: pl.DataFrame, fresh: np.ndarray, pairs: bool, seed: int) -> np.ndarray:
    """Probabilities of 200 refits on resampled items, shape (refits, fresh rows)."""
    random, strength = np.random.default_rng(seed), None
    items, where = np.unique(rows["item"], return_inverse=True)
    of_item = [np.flatnonzero(where == k) for k in range(len(items))]
    x, y = rows.select(KEYS).to_numpy(), (1 - rows["score"]).to_numpy().astype(int)
    out = np.empty((REFITS, len(fresh)))
    model = regression(pairs)
    if pairs:  # the penalty is chosen once
        model.fit(x, y)
        strength = float(np.ravel(model[-1].C_)[0])
        model.steps[-1] = ("last", LogisticRegression(C=strength, max_iter=2000))
    for k in range(REFITS):
        drawn = np.concatenate([of_item[i] for i in random.integers(len(items), size=len(items))])
        out[k] = model.fit(x[drawn], y[drawn]).predict_proba(fresh)[:, 1]
    return out


def one_world(seed: int, peers: str | None) -> dict[str, dict[str, float]]:
    """What each tool says of one world's fresh rows."""
    log, truth = worlds.make(seed)
    models, contexts, tasks = truth.shape
    random = np.random.default_rng(1000 + seed)
    m, c, t = (random.integers(low, high, FRESH) for low, high in ((0, models), (1, contexts), (0, tasks)))
    true = truth[m, c, t]
    failure = (random.random(FRESH) < true).astype(float)
    fresh = pl.DataFrame({"model": m, "context": c, "task": t}).select(
        pl.concat_str(pl.lit("mct"[k]), pl.col(name).cast(pl.String)).alias(name) for k, name in enumerate(KEYS)
    )
    out = {}
    begin = time.process_time()
    read = dv.read(log)
    model = dv.risk_model(dv.fit(dv.collapse(read), method=dv.Importance(), seed=0), read, seed=0)
    fitted = time.process_time() - begin
    batch = fresh.to_arrow().combine_chunks().to_batches()[0]
    scores = pl.from_arrow(model.score(batch))
    limits = scores["lower"].to_numpy(), scores["upper"].to_numpy()
    out["ours"] = {
        "fit": fitted,
        **measured(
            scores["risk"].to_numpy(),
            *limits,
            true,
            failure,
            seed,
            model.mean_draws(batch),
            model.rows(batch),
            model.plausible,
        ),
    }
    rows = log.filter(pl.col("regime") == "deployment")
    x, y = rows.select(KEYS).to_numpy(), (1 - rows["score"]).to_numpy().astype(int)
    cells, where = np.unique(fresh.to_numpy().astype(str), axis=0, return_inverse=True)
    for name in ("main", "pairs"):
        begin = time.process_time()
        draws = refits(rows, cells, name == "pairs", seed)
        risk = regression(name == "pairs").fit(x, y).predict_proba(cells)[:, 1]
        fitted = time.process_time() - begin
        low, high = np.quantile(draws, [0.05, 0.95], axis=0)
        mean = draws @ (np.bincount(where.ravel()) / FRESH)
        risk, low, high = (v[where.ravel()] for v in (risk, low, high))
        out[name] = {"fit": fitted, **measured(risk, low, high, true, failure, seed, mean, where.ravel(), draws)}
    if peers:
        held_out = cross_val_predict(
            regression(False), x, y, groups=rows["item"].to_numpy(), cv=GroupKFold(FOLDS), method="predict_proba"
        )[:, 1]
        risk = regression(False).fit(x, y).predict_proba(cells)[:, 1][where.ravel()]
        out |= elsewhere(
            peers,
            rows.select(KEYS).with_columns(failure=y, peer_risk=held_out),
            fresh.with_columns(failure=failure.astype(int), peer_risk=risk),
            failure.mean(),
        )
    return out


def measured(risk, lower, upper, true, failure, seed, mean, kind, draws) -> dict[str, float]:
    """Risks against the truth and against what happened; `mean` and `draws` are what the tool holds possible."""
    found = reliability(risk, failure, seed=seed, plausible=(draws, kind))
    rate = expected_failures(risk, plausible=mean)
    return {
        "off": np.abs(risk - true).mean(),
        "inside": ((lower <= true) & (true <= upper)).mean(),
        "width": (upper - lower).mean(),
        "ece": found["ece"],
        "perfect": found["inside_null"],
        "own": found["inside_posterior"],
        "brier": found["brier"],
        "rate_off": abs(rate.value - failure.mean()),
        "rate_inside": rate.lower <= failure.mean() <= rate.upper,
    }


def elsewhere(peers: str, reference: pl.DataFrame, fresh: pl.DataFrame, rate: float) -> dict[str, dict[str, float]]:
    """NannyML and evidently in their own environment."""
    out = {}
    with tempfile.TemporaryDirectory() as folder:
        reference.write_parquet(f"{folder}/reference.parquet")
        fresh.write_parquet(f"{folder}/fresh.parquet")
        for name in ("nannyml", "evidently"):
            script = pathlib.Path(__file__).with_name("risk_peers.py")
            ran = subprocess.run([peers, script, name, folder], capture_output=True, text=True)
            if ran.returncode:
                raise RuntimeError(ran.stderr.strip().splitlines()[-1])
            found = json.loads(ran.stdout.strip().splitlines()[-1])
            if name == "nannyml":
                found |= {"rate_off": abs(found["value"] - rate), "rate_inside": found["lower"] <= rate <= found["upper"]}
            out[name] = found
    return out


def speeds(seed: int = 0) -> list[tuple[str, float]]:
    """Rows a CPU second of texts to risk, and to risk with an interval."""
    log, _ = worlds.make(seed)
    read = dv.read(log)
    model = dv.risk_model(dv.fit(dv.collapse(read), method=dv.Importance(), seed=0), read, seed=0)
    rows = log.filter(pl.col("regime") == "deployment")
    many = rows.select(KEYS).sample(SPEED_ROWS, with_replacement=True, seed=0)
    batch = many.to_arrow().combine_chunks().to_batches()[0]
    coded = many.cast(pl.Categorical).to_arrow().combine_chunks().to_batches()[0]
    y = (1 - rows["score"]).to_numpy().astype(int)
    fitted = regression(False).fit(rows.select(KEYS).to_numpy(), y)
    texts = many.to_numpy()
    draws = [regression(False).fit(rows.select(KEYS).to_numpy()[k::2], y[k::2]) for k in (0, 1)]
    few = texts[:20_000]

    def percentiles():
        np.percentile(np.stack([draws[k % 2].predict_proba(few)[:, 1] for k in range(REFITS)]), [5, 95], axis=0)

    return [
        (words, rows_of / least(function, runs))
        for words, rows_of, function, runs in (
            ("divergence: risk, interval and the other columns, from texts", SPEED_ROWS, lambda: model.score(batch), 5),
            ("the same, from dictionary codes", SPEED_ROWS, lambda: model.score(coded), 5),
            ("scikit-learn `predict_proba`, from texts, risk only", SPEED_ROWS, lambda: fitted.predict_proba(texts), 5),
            (f"scikit-learn, 5 % and 95 % of {REFITS} refits a row", len(few), percentiles, 1),
        )
    ]


def least(function, runs: int = 5) -> float:
    """Least CPU seconds of several runs."""
    seconds = []
    for _ in range(runs):
        begin = time.process_time()
        function()
        seconds.append(time.process_time() - begin)
    return min(seconds)


HEAD = (
    "tool",
    "risk off the truth, points",
    "true risks in 90 % interval",
    "width, points",
    "ECE",
    "within a perfect score's null",
    "within its own null",
    "Brier",
    "rate off, points",
    "rate inside",
    "CPU s to fit",
)
WORDS = """\
Made by `make bench-risk` (`risk_calibration.py`): {worlds} worlds, {rows:,} fresh requests each. Points are hundredths of
probability. A null of one's own adds what the draws or refits hold possible to what chance does. The rate is the share of
failures of the fresh requests, predicted without their labels; inside = in its 95 % limits, draws or refits included where
a tool has them."""


def table(head: tuple[str, ...], rows: list[tuple]) -> list[str]:
    """A Markdown table."""
    return [f"| {' | '.join(map(str, row))} |" for row in (head, ("---",) * len(head), *rows)]


def page(results: list[dict], speed: list[tuple[str, float]], peers: str | None) -> str:
    """The section."""

    def mean(tool: str, name: str) -> float:
        return float(np.mean([r[tool][name] for r in results]))

    def rate(tool: str) -> tuple[str, ...]:
        return f"{100 * mean(tool, 'rate_off'):.2f}", f"{mean(tool, 'rate_inside'):.2f}"

    rows = [
        (
            words,
            f"{100 * mean(tool, 'off'):.2f}",
            f"{mean(tool, 'inside'):.3f}",
            f"{100 * mean(tool, 'width'):.1f}",
            f"{mean(tool, 'ece'):.4f}",
            f"{mean(tool, 'perfect'):.2f}",
            f"{mean(tool, 'own'):.2f}",
            f"{mean(tool, 'brier'):.4f}",
            *rate(tool),
            f"{mean(tool, 'fit'):.1f}",
        )
        for tool, words in TOOLS.items()
    ]
    if peers:
        first = results[0]
        rows += [
            (
                f"NannyML {first['nannyml']['version']}, CBPE on the first regression's probabilities",
                "gives none",
                "gives none",
                *[""] * 5,
                *rate("nannyml"),
                f"{mean('nannyml', 'fit'):.1f}",
            ),
            (
                f"evidently {first['evidently']['version']}, the same",
                "gives none",
                "gives none",
                "",
                f"gives none (log loss {mean('evidently', 'log_loss'):.4f})",
                *[""] * 3,
                "needs labels",
                "",
                "",
            ),
        ]
        speed = [
            *speed,
            *(
                (words, FRESH / mean(tool, "seconds"))
                for tool, words in (
                    ("nannyml", "NannyML CBPE: one failure rate of all rows, no risk a row"),
                    ("evidently", "evidently: classification report of labelled rows, no risk a row"),
                )
            ),
        ]
    lines = [HEADING, "", WORDS.format(worlds=len(results), rows=FRESH).replace("\n", " "), "", *table(HEAD, rows)]
    if not peers:
        lines += ["", "NannyML and evidently were not at hand (`--peers` names a Python that has them)."]
    rates = table(("from memory, one process", "rows a CPU s"), [(words, f"{rate:.2g}") for words, rate in speed])
    return "\n".join([*lines, "", *rates, ""])


def main() -> None:
    """Measure, and write the section."""
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--worlds", type=int, default=20)
    flags.add_argument("--peers", help="a Python that has nannyml and evidently")
    given = flags.parse_args()
    peers = given.peers if given.peers and os.access(given.peers, os.X_OK) else None
    results = [one_world(seed, peers) for seed in range(given.worlds)]
    section = page(results, speeds(), peers)
    PAGE.write_text(replace_section(PAGE.read_text(), section))
    print(section)


if __name__ == "__main__":
    main()
