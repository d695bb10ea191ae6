"""Does the score tell requests apart, beside plain rates and learners with item target encoding, on held-out rows of real
logs? Section `Known items, beside plain rates` of `benchmarks/risk.md`.

Splits of `datasets/serving-lab`: wave 1 scores wave 2; each deployed context, and each model, is scored by a fit of the
others; half of the items by a fit of the other half. Of `llm_stability_items` (where at hand): the first half of each cell's
repeats scores the rest; half of the items. Every tool learns from the same rows and is asked about the same ones.

    plain rates    failures over rows of (model, context, task), (item), (model, item), (model, item, context), each falling
                   back to the coarser ones where it has no row; the best of them in each split by Brier score
    learners       logistic regression, and gradient boosting (scikit-learn), on model, context, task and serving factors as
                   categories and the smoothed rate of each of the groups above, the row itself left out (target encoding)

Log loss takes every risk no nearer to 0 and 1 than .005. NannyML gives no risk of a request. With `--tabpfn PYTHON`
TabPFN is tried, and what it says is written down.

    python benchmarks/risk_items.py [--only SPLIT] [--halves 3] [--parts 100] [--tabpfn PYTHON]
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import polars as pl
from risk_throughput import PAGE, replace_section
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import divergence as dv
from divergence.executions import SERVING_FACTORS
from divergence.risk.build import risk_model
from divergence.risk.moved_draws import drawn_of_batch
from divergence.risk.reliability import reliability

ROOT = pathlib.Path(__file__).parents[1]
STABILITY = ROOT.parent / "shared" / "data" / "llm_stability_items.parquet"
HEADING = "## Known items, beside plain rates"
GROUPS = (("model", "context", "task"), ("item",), ("model", "item"), ("model", "item", "context"))
SMOOTH, EDGE, BUDGET = 2.0, 0.005, 0.05


def lab() -> pl.DataFrame:
    """The log of the embedded lab."""
    return pl.read_parquet(ROOT / "datasets" / "serving-lab" / "data.parquet")


def stability() -> pl.DataFrame:
    """Repeats of one request: five trials at most, all of them deployment."""
    rows = pl.read_parquet(STABILITY).filter(pl.col("score").is_not_null())
    rows = rows.select("model", "context", "item", "task", "score", "trial", regime=pl.lit("deployment"))
    return rows.with_columns(rank=pl.col("trial").rank("ordinal").over("model", "context", "item"))


def splits(name: str, halves: int, parts: int) -> list[tuple[pl.DataFrame, pl.DataFrame]]:
    """Rows to learn from and requests, of each part of a split."""
    deployed = pl.col("regime") == "deployment"
    rows = stability() if name.startswith("stability") else lab()
    if name == "wave 1 scores wave 2":
        return [(rows.filter(wave="1"), rows.filter(deployed & (pl.col("wave") == "2")))]
    if name == "stability: first repeats score the others":
        first = pl.col("rank") <= pl.col("rank").max().over("model", "context", "item") / 2
        return [(rows.filter(first), rows.filter(~first))]
    if "half of the items" in name:
        out = []
        for seed in range(halves):
            mine = pl.col("item").hash(seed=100 + seed) % 2 == 0
            out.append((rows.filter(mine), rows.filter(~mine & deployed)))
        return out
    key = "context" if "context" in name else "model"
    levels = rows.filter(deployed)[key].unique().sort()
    levels = levels.gather(np.unique(np.linspace(0, len(levels) - 1, min(parts, len(levels))).round().astype(int)))
    return [(rows.filter(pl.col(key) != level), rows.filter(deployed & (pl.col(key) == level))) for level in levels]


def plain_rates(train: pl.DataFrame, test: pl.DataFrame) -> dict[str, np.ndarray]:
    """Failure rate of each group, with what is coarser where it has no row."""
    out, last = {}, np.full(test.height, 1 - train["score"].mean())
    for keys in GROUPS:
        rates = train.group_by(keys).agg(rate=1 - pl.col("score").mean())
        found = test.join(rates, on=keys, how="left", maintain_order="left")["rate"].to_numpy()
        last = np.where(np.isnan(found), last, found)
        out[", ".join(keys)] = last
    return out


def encoded(train: pl.DataFrame, test: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Smoothed rates of every group: of training rows without themselves, of requests with all."""
    base = 1 - train["score"].mean()
    parts = ([], [])
    for keys in GROUPS:
        sums = train.group_by(keys).agg(n=pl.len(), failed=(1 - pl.col("score")).sum())
        for k, rows in enumerate((train, test)):
            joined = rows.join(sums, on=keys, how="left", maintain_order="left").fill_null(0)
            own = (1 - k) * np.stack([np.ones(rows.height), 1 - rows["score"].to_numpy()])
            n, failed = joined["n"].to_numpy() - own[0], joined["failed"].to_numpy() - own[1]
            parts[k].append((failed + SMOOTH * base) / (n + SMOOTH))
    return np.stack(parts[0], 1), np.stack(parts[1], 1)


def learners(train: pl.DataFrame, test: pl.DataFrame) -> dict[str, np.ndarray]:
    """Risks of logistic regression and gradient boosting."""
    labels = ["model", "context", "task", *(f for f in SERVING_FACTORS if f in train.columns)]
    known = {name: {v: k for k, v in enumerate(train[name].cast(pl.String).unique().sort())} for name in labels}
    texts = [rows.select(pl.col(labels).cast(pl.String).fill_null("none")).to_numpy() for rows in (train, test)]
    codes = [
        np.stack([[known[n].get(v, np.nan) for v in rows[n].cast(pl.String)] for n in labels], 1) for rows in (train, test)
    ]
    rates = encoded(train, test)
    failed = (1 - train["score"].to_numpy() > 0.5).astype(int)
    hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(texts[0])
    wide = [np.c_[hot.transform(t), np.log(r / (1 - r))] for t, r in zip(texts, rates, strict=True)]
    line = make_pipeline(LogisticRegression(C=1.0, max_iter=2000)).fit(wide[0], failed)
    boosted = HistGradientBoostingClassifier(
        categorical_features=list(range(len(labels))), max_iter=200, learning_rate=0.06, early_stopping=True, random_state=0
    )
    boosted.fit(np.c_[codes[0], rates[0]], failed)
    bare = HistGradientBoostingClassifier(
        categorical_features=list(range(len(labels))), max_iter=200, learning_rate=0.06, early_stopping=True, random_state=0
    ).fit(codes[0], failed)
    return {
        "logistic regression": line.predict_proba(wide[1])[:, 1],
        "gradient boosting": boosted.predict_proba(np.c_[codes[1], rates[1]])[:, 1],
        "gradient boosting without items": bare.predict_proba(codes[1])[:, 1],
    }


def ours(train: pl.DataFrame, test: pl.DataFrame) -> tuple[np.ndarray, str, tuple[np.ndarray, np.ndarray]]:
    """Risks of `divergence fit` and `score`, what is said of items, and draws of the risks with each request's kind."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "log.parquet"
        train.write_parquet(path)
        log = dv.read(path)
        model = risk_model(dv.fit(dv.collapse(log), seed=0), log, seed=0)
    columns = [n for n in ("model", "context", "task", "item", *model.served.factors) if n in test.columns]
    batch = test.select(pl.col(columns).cast(pl.String)).to_arrow().combine_chunks().to_batches()[0]
    said = f"{model.check['items']}; {model.check['sentence']}"
    return model.score(batch).column("risk").to_numpy(), said, drawn_of_batch(model, batch)


def together(parts: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Draws of all parts side by side, drawn apart, and each request's kind."""
    random, first = np.random.default_rng(0), np.cumsum([0, *(draws.shape[1] for draws, _ in parts)])
    mixed = [draws[random.integers(len(draws), size=200)] for draws, _ in parts]
    return np.concatenate(mixed, axis=1), np.concatenate([kind + k for (_, kind), k in zip(parts, first, strict=False)])


def measured(risk: np.ndarray, failure: np.ndarray) -> dict[str, float]:
    """Brier score, log loss, AUC and the share of failures among the riskiest 5 % (ties in random order)."""
    edged = np.clip(risk, EDGE, 1 - EDGE)
    order = np.lexsort((np.random.default_rng(0).random(len(risk)), -risk))
    return {
        "brier": float(((risk - failure) ** 2).mean()),
        "log": float(-(failure * np.log(edged) + (1 - failure) * np.log1p(-edged)).mean()),
        "auc": float(roc_auc_score(failure > 0.5, risk)),
        "caught": float(failure[order[: round(BUDGET * len(risk))]].sum() / failure.sum()),
    }


def one_split(name: str, halves: int, parts: int) -> list[str]:
    """The lines of a split's table."""
    risks: dict[str, list[np.ndarray]] = {}
    failures, items, drawn, said = [], [], [], ""
    for train, test in splits(name, halves, parts):
        mine, said, draws = ours(train, test)
        drawn.append(draws)
        for tool, values in {"divergence": mine, **plain_rates(train, test), **learners(train, test)}.items():
            risks.setdefault(tool, []).append(values)
        failures.append(1 - test["score"].to_numpy())
        items.append(test["item"].to_numpy())
        print(
            name,
            len(failures),
            {t: [round(measured(v[-1], failures[-1])[m], 4) for m in ("brier", "log", "caught")] for t, v in risks.items()},
            said,
            flush=True,
        )
    failure, item = np.concatenate(failures), np.concatenate(items)
    table = {tool: np.concatenate(parts) for tool, parts in risks.items()}
    found = {tool: measured(risk, failure) for tool, risk in table.items()}
    best = min((", ".join(keys) for keys in GROUPS), key=lambda group: found[group]["brier"])
    lines = [f"| **{name}** ({len(failures)} fits, {len(failure):,} requests) | | | | | |"]
    for tool, m in found.items():
        words = (
            f"rate of ({tool})" + (", the best plain one" if tool == best else "")
            if tool in map(", ".join, GROUPS)
            else tool
        )
        ratio = m["brier"] / found[best]["brier"]
        lines.append(f"| {words} | {m['brier']:.4f} | {ratio:.3f} | {m['log']:.3f} | {m['auc']:.3f} | {m['caught']:.4f} |")
    check = reliability(table["divergence"], failure, cluster=item, plausible=together(drawn), seed=0)
    gap = (table["divergence"] - failure) ** 2 - (table[best] - failure) ** 2
    sums = np.bincount(np.unique(item, return_inverse=True)[1], gap)
    error = 1.645 * np.sqrt(((sums - sums.mean()) ** 2).sum()) / len(gap)
    lines.append(
        f"| our Brier less that of the best plain rate: {gap.mean():+.4f} (90 % {gap.mean() - error:+.4f} to "
        f"{gap.mean() + error:+.4f}, items whole); ECE {check['ece']:.3f}, "
        f"{'within' if check['inside_null'] else 'ABOVE'} the {check['ece_null_95']:.3f} of a perfect score, "
        f"{'within' if check['inside_posterior'] else 'ABOVE'} the {check['ece_posterior_95']:.3f} of a score as unsure of "
        "its risks as this one | | | | | |"
    )
    return [*lines, f"| {said} | | | | | |"] if name.startswith("wave") or "half" in name else lines


def tabpfn(python: str) -> str:
    """What TabPFN says when it is fitted to a hundred rows."""
    code = (
        "import numpy as n; from tabpfn import TabPFNClassifier as T; r = n.random.default_rng(0); x = r.random((100, 3)); "
        "print(T(device='cpu').fit(x, x[:, 0] > .5).predict_proba(x)[0])"
    )
    ran = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=300)
    return "ran" if not ran.returncode else "did not run: " + ran.stderr.strip().splitlines()[-1][:160]


NAMES = (
    "wave 1 scores wave 2",
    "a context held out",
    "a model held out",
    "half of the items held out",
    "stability: first repeats score the others",
    "stability: half of the items held out",
)


def main() -> None:
    """Measure, and write the section."""
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--only", choices=NAMES, action="append", help="these splits, and write nothing")
    flags.add_argument("--halves", type=int, default=3)
    flags.add_argument("--parts", type=int, default=100, help="contexts or models that are left out, at most")
    flags.add_argument("--tabpfn", help="a Python that has tabpfn")
    given = flags.parse_args()
    names = [n for n in given.only or NAMES if STABILITY.is_file() or not n.startswith("stability")]
    head = ["| split and tool | Brier | over the best plain rate | log loss | AUC | failures in the riskiest 5 % |"]
    head += ["|---|---|---|---|---|---|"]
    lines = [line for name in names for line in one_split(name, given.halves, given.parts)]
    notes = [] if given.tabpfn is None else ["", f"TabPFN {tabpfn(given.tabpfn)}"]
    words = (
        "Made by `python benchmarks/risk_items.py`: "
        + (__doc__ or "").split("\n\n")[1].replace("\n", " ")
        + " Learners have "
        "model, context, task, serving factors, and smoothed rates of all four groups with the row itself left out. Log "
        "loss takes risks no nearer to 0 and 1 than .005. Failures in the riskiest 5 %: share of all failures."
    )
    section = "\n".join([HEADING, "", words, "", *head, *lines, *notes, ""])
    print(section)
    if not given.only:
        PAGE.write_text(replace_section(PAGE.read_text(), section))


if __name__ == "__main__":
    sys.exit(main())
