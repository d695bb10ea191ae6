"""Does the score tell requests apart, beside plain rates and learners with item target encoding, on held-out rows of real
logs? Section `Known items, beside plain rates` of `benchmarks/risk.md`.

Splits of `datasets/serving-lab`: wave 1 scores wave 2; each deployed context, and each model, is scored by a fit of the
others; half of the items by a fit of the other half. Of `llm_stability_items`, `llm_drift` and `tau_bench_episodes` (where
at hand) the same, as far as they have several: the first half of each cell's repeats scores the rest, of `tau-bench` each
pair of four, too, and in `llm_drift` the other snapshot. Every tool learns from the same rows and is asked about the same.

    plain rates    failures over rows of (model, context, task), (item), (model, item), (model, item, context), each falling
                   back to the coarser ones where it has no row; the best of them in each split by Brier score
    learners       logistic regression, and gradient boosting (scikit-learn), on model, context, task and serving factors as
                   categories and the smoothed rate of each of the groups above, the row itself left out (target encoding)

Log loss takes every risk no nearer to 0 and 1 than .005. NannyML gives no risk of a request. With `--tabpfn PYTHON`
TabPFN is tried, and what it says is written down. `--records FOLDER` keeps what was predicted of each part, so that a run
goes on where another ended.

    python benchmarks/risk_items.py [--only SPLIT] [--halves 3] [--first 0] [--parts 100] [--records FOLDER]
        [--tabpfn PYTHON]
"""

import argparse
import itertools
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator

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
from divergence.numerics import expit, logit
from divergence.risk.build import risk_model
from divergence.risk.moved_draws import drawn_of_batch
from divergence.risk.reliability import reliability

ROOT = pathlib.Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"
TABLES = {
    "llm_stability": "llm_stability_items.parquet",
    "llm_drift": "llm_drift.parquet",
    "tau-bench": "tau_bench_episodes.parquet",
}
HEADING = "## Known items, beside plain rates"
GROUPS = (("model", "context", "task"), ("item",), ("model", "item"), ("model", "item", "context"))
SMOOTH, EDGE, BUDGET, GROUPS_LEFT = 2.0, 0.005, 0.05, 16


def lab() -> pl.DataFrame:
    """The log of the embedded lab."""
    return pl.read_parquet(ROOT / "datasets" / "serving-lab" / "data.parquet")


def repeated(name: str) -> pl.DataFrame:
    """A table of others: deployment all of it, `rank` numbers the trials of a cell."""
    rows = pl.read_parquet(SHARED / TABLES[name]).filter(pl.col("score").is_not_null())
    rows = rows.filter("parsed") if "parsed" in rows.columns else rows  # their own parser failed on the others
    rows = rows if "task" in rows.columns else rows.with_columns(task=pl.lit("all"))
    answers = ["answer"] if "answer" in rows.columns else []
    rows = rows.select("model", "context", "item", "task", "score", "trial", *answers, regime=pl.lit("deployment"))
    return rows.with_columns(rank=pl.col("trial").rank("ordinal").over("model", "context", "item"))


def splits(name: str, halves: range, parts: int) -> Iterator[tuple[str, Callable[[], tuple[pl.DataFrame, pl.DataFrame]]]]:
    """The parts of a split: a name, and what gives rows to learn from and requests."""
    table, _, what = name.rpartition(": ")
    deployed = pl.col("regime") == "deployment"
    rows = repeated(table) if table else lab()

    def both(learnt: pl.Expr) -> Callable[[], tuple[pl.DataFrame, pl.DataFrame]]:
        return lambda: (rows.filter(learnt), rows.filter(~learnt & deployed))

    if what == "wave 1 scores wave 2":
        yield "wave", lambda: (rows.filter(wave="1"), rows.filter(deployed & (pl.col("wave") == "2")))
    elif what == "first repeats score the others":
        yield "repeats", both(pl.col("rank") <= pl.col("rank").max().over("model", "context", "item") / 2)
    elif what == "every two of four repeats score the others":
        for pair in itertools.combinations(range(1, 5), 2):
            yield "repeats-" + "".join(map(str, pair)), both(pl.col("rank").is_in(pair))
    elif what == "half of the items held out":
        for seed in halves:
            yield f"half-{seed}", both(pl.col("item").hash(seed=100 + seed) % 2 == 0)
    else:
        key = what.split()[1]
        levels = rows.filter(deployed)[key].unique().sort()
        for at in np.unique(np.linspace(0, len(levels) - 1, min(parts, len(levels))).round().astype(int)):
            yield f"{key}-{at}", both(pl.col(key) != levels[int(at)])


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


def ours(train: pl.DataFrame, test: pl.DataFrame) -> dict[str, np.ndarray]:
    """Risks of `divergence fit` and `score`, which of them rest on an item's own history, draws of the risks with each
    request's kind, and what is said of items."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "log.parquet"
        train.write_parquet(path)
        log = dv.read(path)
        model = risk_model(dv.fit(dv.collapse(log), seed=0), log, seed=0)
    columns = [n for n in ("model", "context", "task", "item", *model.served.factors) if n in test.columns]
    batch = test.select(pl.col(columns).cast(pl.String)).to_arrow().combine_chunks().to_batches()[0]
    scores = model.score(batch)
    draws, kind = drawn_of_batch(model, batch)
    said = f"{model.check['items']}; {model.check['sentence']}"
    seen = ~np.isin(scores.column("evidence").to_pylist(), ("stratum", "other prompt"))
    risk = scores.column("risk").to_numpy()
    return {"risk": risk, "seen": seen, "draws": draws.astype(np.float32), "kind": kind, "said": np.array(said)}


def predicted(train: pl.DataFrame, test: pl.DataFrame) -> dict[str, np.ndarray]:
    """What every tool says of the requests of a part, and what came."""
    cell = test.select(pl.concat_str(pl.col("model", "context", "task").fill_null(""), separator="|").alias("cell"))["cell"]
    others = {**plain_rates(train, test), **learners(train, test)}
    return {
        **ours(train, test),
        **{f"tool {tool}": risk for tool, risk in others.items()},
        "failure": 1 - test["score"].to_numpy(),
        "item": test["item"].to_numpy().astype(str),
        "cell": cell.to_numpy().astype(str),
    }


def together(parts: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Draws of all parts side by side, drawn apart, and each request's kind."""
    random, first = np.random.default_rng(0), np.cumsum([0, *(draws.shape[1] for draws, _ in parts)])
    mixed = [draws[random.integers(len(draws), size=200)] for draws, _ in parts]
    return np.concatenate(mixed, axis=1), np.concatenate([kind + k for (_, kind), k in zip(parts, first, strict=False)])


def caught(risk: np.ndarray, failure: np.ndarray, part: np.ndarray) -> float:
    """Share of the failures among the riskiest 5 % of each part, mean over parts; ties as in a random order."""
    found = []
    for one in np.unique(part):
        mine = part == one
        values, where = np.unique(-risk[mine], return_inverse=True)
        n, failed = np.bincount(where, minlength=len(values)), np.bincount(where, failure[mine], len(values))
        most = np.interp(BUDGET * mine.sum(), np.r_[0, np.cumsum(n)], np.r_[0, np.cumsum(failed)])
        found.append(most / failed.sum() if failed.sum() else np.nan)
    return float(np.nanmean(found))


def measured(risk: np.ndarray, failure: np.ndarray, part: np.ndarray) -> dict[str, float]:
    """Brier score, log loss, AUC and the share of failures among the riskiest 5 %."""
    edged = np.clip(risk, EDGE, 1 - EDGE)
    return {
        "brier": float(((risk - failure) ** 2).mean()),
        "log": float(-(failure * np.log(edged) + (1 - failure) * np.log1p(-edged)).mean()),
        "auc": float(roc_auc_score(failure > 0.5, risk)),
        "caught": caught(risk, failure, part),
    }


def caught_difference(
    one: np.ndarray, other: np.ndarray, failure: np.ndarray, part: np.ndarray, item: np.ndarray
) -> tuple[float, float, float]:
    """Failures found by one less those by the other, with 90 % limits: one of `GROUPS_LEFT` groups of items left out at a
    time."""
    group = np.random.default_rng(0).permutation(item.max() + 1)[item] % GROUPS_LEFT
    less = caught(one, failure, part) - caught(other, failure, part)
    left = [[caught(r[group != g], failure[group != g], part[group != g]) for r in (one, other)] for g in range(GROUPS_LEFT)]
    left = np.array(left)[:, 0] - np.array(left)[:, 1]
    error = _half(left)
    return less, less - error, less + error


def covered(parts: list[dict[str, np.ndarray]]) -> tuple[float, int]:
    """Share of (model, context, task) whose failure rate is as near to its mean risk as draws of the risks and the sampling
    of items allow in nine of ten; an item's rows of one cell are taken as copies."""
    inside = []
    for part in parts:
        cell = np.unique(part["cell"], return_inverse=True)[1].ravel()
        for one in range(cell.max() + 1):
            mine = cell == one
            item = np.unique(part["item"][mine], return_inverse=True)[1].ravel()
            n = np.bincount(item)
            p = np.bincount(item, part["risk"][mine]) / n
            noise = (n**2 * p * (1 - p)).sum() / mine.sum() ** 2
            spread = part["draws"][:, part["kind"][mine]].mean(1).var() + noise
            inside.append(abs((part["failure"] - part["risk"])[mine].mean()) <= 1.645 * np.sqrt(spread))
    return float(np.mean(inside)), len(inside)


def calibration(parts: list[dict[str, np.ndarray]]) -> list[str]:
    """Sentences on calibration, items that were seen and others apart."""
    out = []
    for words, kind in (("known items", True), ("other items", False)):
        rows = ("risk", "kind", "failure", "item", "cell")
        some = [{"draws": p["draws"], **{name: p[name][p["seen"] == kind] for name in rows}} for p in parts]
        some = [p for p in some if len(p["risk"])]
        if not some:
            continue
        risk, failure, item = (np.concatenate([p[n] for p in some]) for n in ("risk", "failure", "item"))
        drawn = together([(p["draws"], p["kind"]) for p in some])
        check = reliability(risk, failure, cluster=item, plausible=drawn, seed=0)
        level = [logit(np.clip(p["risk"], EDGE, 1 - EDGE)) for p in some]
        moved = np.concatenate([_levelled(x, p["failure"].mean()) for x, p in zip(level, some, strict=True)])
        apart = reliability(moved, failure, cluster=item, seed=0)
        share, count = covered(some)
        middle, error = slope(np.concatenate(level), failure, item)
        limits = [
            f"{'within' if check[inside] else 'ABOVE'} the {check[limit]:.3f} of a {of}"
            for inside, limit, of in (
                ("inside_null", "ece_null_95", "perfect score"),
                ("inside_posterior", "ece_posterior_95", "score as unsure of its risks as this one"),
            )
        ]
        out.append(
            f"{words}: {risk.mean():.3f} expected, {failure.mean():.3f} failed, slope of the logit {middle:.2f} "
            f"({middle - error:.2f} to {middle + error:.2f}); ECE "
            f"{check['ece']:.3f}, {', '.join(limits)}; with the level of each part right {apart['ece']:.3f}; {share:.2f} of "
            f"{count} rates of (model, context, task) in their 90 % intervals"
        )
    return out


def slope(x: np.ndarray, failure: np.ndarray, item: np.ndarray) -> tuple[float, float]:
    """Slope of the outcome's logit by the risk's, and half of its 90 % interval, groups of items left out in turn."""

    def fitted(rows: np.ndarray) -> float:
        return float(LogisticRegression(C=1e6).fit(x[rows, None], failure[rows] > 0.5).coef_[0, 0])

    code = np.unique(item, return_inverse=True)[1].ravel()
    group = np.random.default_rng(0).permutation(code.max() + 1)[code] % GROUPS_LEFT
    left = np.array([fitted(group != g) for g in range(GROUPS_LEFT)])
    return fitted(group >= 0), _half(left)


def _half(left: np.ndarray) -> float:
    """Half of a 90 % interval from what is found with each group left out."""
    return 1.753 * float(np.sqrt((GROUPS_LEFT - 1) / GROUPS_LEFT * ((left - left.mean()) ** 2).sum()))


def _levelled(x: np.ndarray, rate: float) -> np.ndarray:
    """Risks of these logits, moved together so that their mean is the rate."""
    low, high = -15.0, 15.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if expit(x + middle).mean() < rate else (low, middle)
    return expit(x + low)


def one_split(name: str, halves: range, most: int, records: pathlib.Path) -> list[str]:
    """The lines of a split's table."""
    parts = []
    for number, (part, rows) in enumerate(splits(name, halves, most)):
        file = records / f"{name.replace(': ', '-').replace(' ', '_')}--{part}.npz"
        if not file.is_file():
            np.savez_compressed(file, **predicted(*rows()))
        with np.load(file) as saved:
            parts.append({**{k: saved[k] for k in saved.files}, "part": np.full(len(saved["risk"]), number)})
        print(name, part, measured(*(parts[-1][n] for n in ("risk", "failure", "part"))), flush=True)
    failure, names, part = (np.concatenate([p[n] for p in parts]) for n in ("failure", "item", "part"))
    item = np.unique(names, return_inverse=True)[1].ravel()
    apart = part if "half" in name else np.zeros_like(part)  # halves are logs of their own, the others parts of one
    tools = [k for k in parts[0] if k.startswith("tool ")]
    table = {k.removeprefix("tool "): np.concatenate([p[k] for p in parts]) for k in ("risk", *tools)}
    table = {"divergence": table.pop("risk"), **table}
    found = {tool: measured(risk, failure, apart) for tool, risk in table.items()}
    best = min((", ".join(keys) for keys in GROUPS), key=lambda group: found[group]["brier"])
    most_found = max((", ".join(keys) for keys in GROUPS), key=lambda group: found[group]["caught"])
    lines = [f"| **{name}** ({len(parts)} fits, {len(failure):,} requests) | | | | | |"]
    for tool, m in found.items():
        words = (
            f"rate of ({tool})" + (", the best plain one" if tool == best else "")
            if tool in map(", ".join, GROUPS)
            else tool
        )
        ratio = m["brier"] / found[best]["brier"]
        lines.append(f"| {words} | {m['brier']:.4f} | {ratio:.3f} | {m['log']:.3f} | {m['auc']:.3f} | {m['caught']:.4f} |")
    gap = (table["divergence"] - failure) ** 2 - (table[best] - failure) ** 2
    sums = np.bincount(item, gap)
    error = 1.645 * np.sqrt(((sums - sums.mean()) ** 2).sum()) / len(gap)
    less = caught_difference(table["divergence"], table[most_found], failure, apart, item)
    lines.append(
        f"| our Brier less that of the best plain rate: {gap.mean():+.4f} (90 % {gap.mean() - error:+.4f} to "
        f"{gap.mean() + error:+.4f}, items whole); failures in the riskiest 5 % less those by the rate of ({most_found}): "
        f"{less[0]:+.4f} ({less[1]:+.4f} to {less[2]:+.4f}) | | | | | |"
    )
    lines += [f"| {words} | | | | | |" for words in calibration(parts)]
    return [*lines, f"| {parts[-1]['said']} | | | | | |"] if "wave" in name or "half" in name else lines


def tabpfn(python: str) -> str:
    """What TabPFN says when it is fitted to a hundred rows."""
    code = (
        "import numpy as n; from tabpfn import TabPFNClassifier as T; r = n.random.default_rng(0); x = r.random((100, 3)); "
        "print(T(device='cpu').fit(x, x[:, 0] > .5).predict_proba(x)[0])"
    )
    ran = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=300)
    return "ran" if not ran.returncode else "did not run: " + ran.stderr.strip().splitlines()[-1][:160]


WHAT = ("a context held out", "a model held out", "half of the items held out")
NAMES = (
    "wave 1 scores wave 2",
    *WHAT,
    "llm_stability: first repeats score the others",
    *(f"llm_stability: {what}" for what in WHAT),
    *(f"llm_drift: {what}" for what in WHAT),
    "tau-bench: first repeats score the others",
    "tau-bench: every two of four repeats score the others",
    f"tau-bench: {WHAT[-1]}",
)


def main() -> None:
    """Measure, and write the section."""
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--only", choices=NAMES, action="append", help="these splits, and write nothing")
    flags.add_argument("--halves", type=int, default=3)
    flags.add_argument("--first", type=int, default=0, help="number of the first half")
    flags.add_argument("--records", type=pathlib.Path, help="keep what was predicted here, and go on from it")
    flags.add_argument("--parts", type=int, default=100, help="contexts or models that are left out, at most")
    flags.add_argument("--tabpfn", help="a Python that has tabpfn")
    given = flags.parse_args()
    there = {table for table, file in TABLES.items() if (SHARED / file).is_file()}
    names = [n for n in given.only or NAMES if ": " not in n or n.split(": ")[0] in there]
    records = given.records or pathlib.Path(tempfile.mkdtemp())
    records.mkdir(parents=True, exist_ok=True)
    halves = range(given.first, given.first + given.halves)
    head = ["| split and tool | Brier | over the best plain rate | log loss | AUC | failures in the riskiest 5 % |"]
    head += ["|---|---|---|---|---|---|"]
    lines = [line for name in names for line in one_split(name, halves, given.parts, records)]
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
