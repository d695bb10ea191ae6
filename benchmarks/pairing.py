"""How wide the fit's context effects are beside those of a paired comparison of the same rows, at the same level.

`datasets/serving-lab`, labels only: each model by itself, and all six in one fit. Half-widths of `dv.context_effect` at 90 %
over half-widths of `dv.compare` of bench and context, 90 % two-sided. Pairing gives the smallest that the items allow; a fit
that is wider gives some of that away, one that is narrower has learnt from the other contexts. Writes `pairing.md`.

    python benchmarks/pairing.py
"""

import pathlib
import warnings

import numpy as np
import polars as pl

import divergence as dv

ROOT = pathlib.Path(__file__).parents[1]
LEVEL = 0.9
KEPT = ("regime", "context", "model", "item", "score", "task", "scorer", "session", "wave", "execution_id", "trial")


def paired(rows: pl.DataFrame, context: str) -> float:
    """Width of the interval of one context less the bench, on the items that both tried."""
    bench = rows.filter(pl.col("regime") == "evaluation")
    there = rows.filter((pl.col("regime") == "deployment") & (pl.col("context") == context))
    found = dv.compare(dv.read(bench), dv.read(there), confidence=LEVEL).difference
    return found.upper - found.lower


def ratios(rows: pl.DataFrame, model: str) -> dict[str, float]:
    """Width of the fit of these rows over that of the comparison, by context, of one of its models."""
    effect = dv.context_effect(dv.fit(dv.collapse(dv.read(rows)))).where(model=model, context_b=None, statistic=None)
    low, high = np.asarray(effect.interval(LEVEL)).T
    mine = rows.filter(pl.col("model") == model)
    return {c: float(w / paired(mine, c)) for c, w in zip(effect.rows["context"], high - low, strict=True)}


def main() -> None:
    """Compare and write the table."""
    warnings.filterwarnings("ignore")
    log = dv.read(str(ROOT / "datasets" / "serving-lab")).scan().collect()
    log = log.select([c for c in KEPT if c in log.columns])
    lines = []
    models = log["model"].unique().sort()
    for model, whole in ((m, whole) for whole in (False, True) for m in models):
        found = ratios(log if whole else log.filter(pl.col("model") == model), model)
        least, most = min(found, key=found.__getitem__), max(found, key=found.__getitem__)
        middle = float(np.median(list(found.values())))
        name = f"{model}, {'of a fit of all six' if whole else 'by itself'}"
        ends = [f"{found[c]:.2f} ({c.split('|')[0]})" for c in (least, most)]
        lines.append(f"| {name} | {len(found)} | {ends[0]} | {middle:.2f} | {ends[1]} |")
        print(lines[-1], flush=True)
    text = [
        "# Context effects beside paired comparisons",
        "",
        "Made by `benchmarks/pairing.py`: `datasets/serving-lab`, 204 items; widths of 90 % of `context_effect` over those",
        "of `compare` (bench against that context, the same rows). Target: 1.25 at most for every context.",
        "",
        "| log | contexts | least | median | most |",
        "|---|---|---|---|---|",
        *lines,
    ]
    (ROOT / "benchmarks" / "pairing.md").write_text("\n".join(text) + "\n")


if __name__ == "__main__":
    main()
