"""The design of a log: how many models, contexts, items and replicates it has and how they cross. No outcome is used
beyond whether a row was judged.

Items are counted where they have an identity: a row that stands for several trials (`score_n` above 1) or that names
no item is one draw from its stratum and shares its items with no other row.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl

from divergence.executions.names import TIMES

ITEM_ARMS = 2_000_000  # (arm, item) pairs held at most, about 50 MB; above that every k-th item is looked at
SPENT = frozenset({"cost_usd", "input_tokens", "output_tokens", "turn", "calls", "task_length"})
ARM = ["regime", "model", "context"]


@dataclasses.dataclass(frozen=True)
class FactorDesign:
    """How one serving factor varies."""

    levels: int
    """Levels in the log."""
    within_model: int
    """Most levels that one model has within one regime."""
    same_as: tuple[str, ...] = ()
    """Factors that change exactly together with this one."""
    fixed_by: tuple[str, ...] = ()
    """Finer factors whose level fixes this one's."""


@dataclasses.dataclass(frozen=True)
class LogDesign:
    """Counts of judged rows and how they cross."""

    rows: dict[str, int]
    """Judged rows by regime."""
    models: dict[str, int]
    """Models by regime."""
    contexts: dict[str, int]
    """Contexts by regime."""
    models_in_both: int
    """Models with rows in both regimes."""
    most_contexts: int
    """Most deployment contexts that one model was seen in."""
    models_in_several: int
    """Models seen in two deployment contexts or more."""
    crossed: bool
    """Do two models share two deployment contexts?"""
    items: dict[str, int]
    """Items with an identity, by regime."""
    items_in_both: int
    """Items that one model answered in both regimes."""
    items_in_several: int
    """Items that one model answered in two contexts (or regimes) or more."""
    items_replicated: int
    """Those of them with two replicates or more in at least two of these contexts."""
    every: int
    """Item counts are of every k-th item; 1 = all were counted."""
    waves: int
    """Measuring campaigns."""
    shared_waves: int
    """Most waves that one model and context (of one regime) was measured in."""
    factors: dict[str, FactorDesign]
    """By serving factor."""
    blurred: int
    """Context labels that stand for several combinations of the factors."""
    scorers: dict[str, tuple[str, ...]]
    """What judged, by regime."""
    repeated: int
    """Items with two trials of one model in one context."""
    logged: dict[str, dict[str, int]]
    """Judged rows by regime that have a cost (`cost_usd`), tokens (`tokens`: input and output), an episode of several calls
    or turns (`episode`), a declared task length (`task_length`)."""
    priced: bool = False
    """Are prices of tokens declared?"""


def design(
    frame: pl.LazyFrame,
    factors: tuple[str, ...],
    trials: bool = True,
    priced: bool = False,
    spent: pl.LazyFrame | None = None,
) -> LogDesign:
    """Count the design of the valid rows (`Executions.distinct()`), in three streaming passes.

    `trials`: does `score_n` count trials of the outcome (it does of a score, not of a latency)? `priced`: are prices of
    tokens declared? `spent`: the valid rows themselves, where one of the columns in `SPENT` holds anything.
    """
    judged = frame.filter(pl.col("outcome").is_not_null())
    single = pl.col("item").is_not_null()
    if trials:
        single &= pl.col("score_n").fill_null(1) <= 1
    named = [factor for factor in factors if factor != "context"]
    rows = pl.col(TIMES).sum() if TIMES in frame.collect_schema() else pl.len()
    arms = (
        judged.group_by(*dict.fromkeys((*ARM, *named, "wave", "scorer")))
        .agg(rows.alias("rows"), pl.when(single).then(pl.col("item").hash()).approx_n_unique().alias("pairs"))
        .collect(engine="streaming")
    )
    every = max(1, -(-_total(arms["pairs"]) // ITEM_ARMS))
    items = _items(judged.filter(single), every, rows)
    deployed = arms.filter(pl.col("regime") == "deployment")
    per_model = deployed.group_by("model").agg(pl.col("context").n_unique())["context"]
    regimes = ("evaluation", "deployment")
    by_regime = {regime: arms.filter(pl.col("regime") == regime) for regime in regimes}
    waves = arms.filter(pl.col("wave").is_not_null())
    return LogDesign(
        rows={regime: _total(rows["rows"]) for regime, rows in by_regime.items()},
        models={regime: rows["model"].n_unique() for regime, rows in by_regime.items()},
        contexts={regime: rows["context"].n_unique() for regime, rows in by_regime.items()},
        models_in_both=arms.group_by("model").agg(pl.col("regime").n_unique()).filter(pl.col("regime") == 2).height,
        most_contexts=_most(per_model),
        models_in_several=_total(per_model >= 2),
        crossed=_crossed(deployed),
        **items,
        every=every,
        waves=waves["wave"].n_unique(),
        shared_waves=_most(waves.group_by(ARM).agg(pl.col("wave").n_unique())["wave"]),
        factors=_factors(arms, factors),
        blurred=_total(arms.select("context", *named).unique()["context"].value_counts()["count"] > 1),
        logged=_logged(spent),
        priced=priced,
        scorers={r: tuple(rows["scorer"].drop_nulls().unique().sort()) for r, rows in by_regime.items()},
    )


def _logged(spent: pl.LazyFrame | None) -> dict[str, dict[str, int]]:
    """Judged rows by regime that have what questions about work in several steps and about cost need."""
    if spent is None:
        return {
            regime: dict.fromkeys(("cost_usd", "tokens", "episode", "task_length"), 0)
            for regime in ("evaluation", "deployment")
        }
    columns = spent.collect_schema().names()
    judged = spent.filter(pl.col("outcome").is_not_null())

    def has(*names: str) -> pl.Expr:
        return pl.all_horizontal(pl.col(n).is_not_null() if n in columns else pl.lit(False) for n in names)

    episode = has("turn", "session") | ((pl.col("calls") > 1).fill_null(False) if "calls" in columns else pl.lit(False))
    asked = {
        "cost_usd": has("cost_usd"),
        "tokens": has("input_tokens", "output_tokens"),
        "episode": episode,
        "task_length": has("task_length"),
    }
    counted = judged.group_by("regime").agg(**{k: v.sum() for k, v in asked.items()}).collect(engine="streaming")
    rows = {row.pop("regime"): row for row in counted.to_dicts()}
    return {regime: rows.get(regime, dict.fromkeys(asked, 0)) for regime in ("evaluation", "deployment")}


def _total(counts: pl.Series) -> int:
    return int(counts.to_numpy().sum())


def _most(counts: pl.Series) -> int:
    return int(counts.to_numpy().max(initial=0))


def _items(single: pl.LazyFrame, every: int, rows: pl.Expr) -> dict:
    """Counts of items by how they are shared, from one row per model, item, regime and context."""
    item = pl.col("item").hash()
    counted = (
        single.filter(item % every == 0)
        .group_by(pl.col("regime") == "evaluation", pl.col("model").hash(), pl.col("context").hash(), item.alias("item"))
        .agg(rows.alias("replicates"))
        .collect(engine="streaming")
    )
    shared = counted.group_by("model", "item").agg(
        pl.len().alias("arms"),
        (pl.col("replicates") >= 2).sum().alias("replicated"),
        (pl.col("regime").n_unique() == 2).alias("both"),
    )

    def items(rows: pl.DataFrame) -> int:
        return rows["item"].n_unique()

    evaluation = pl.col("regime")
    return {
        "items": {"evaluation": items(counted.filter(evaluation)), "deployment": items(counted.filter(~evaluation))},
        "items_in_both": items(shared.filter("both")),
        "items_in_several": items(shared.filter(pl.col("arms") >= 2)),
        "items_replicated": items(shared.filter(pl.col("replicated") >= 2)),
        "repeated": items(counted.filter(pl.col("replicates") >= 2)),
    }


def _crossed(deployed: pl.DataFrame) -> bool:
    """Do two models share two contexts? Looked up in the smaller of the two co-occurrence tables."""
    seen = deployed.select("model", "context").unique()
    model = seen["model"].rank("dense").to_numpy() - 1
    context = seen["context"].rank("dense").to_numpy() - 1
    if not len(model):
        return False
    table = np.zeros((model.max() + 1, context.max() + 1), np.float32)
    table[model, context] = 1
    together = table @ table.T if table.shape[0] <= table.shape[1] else table.T @ table
    np.fill_diagonal(together, 0)
    return bool(together.max() >= 2)


def _factors(arms: pl.DataFrame, factors: tuple[str, ...]) -> dict[str, FactorDesign]:
    levels = {factor: arms[factor].n_unique() for factor in factors}
    found = {}
    for factor in factors:
        joint = {other: arms.select(factor, other).n_unique() for other in factors if other != factor and levels[other] > 1}
        within = arms.group_by("regime", "model").agg(pl.col(factor).n_unique())[factor]
        varies = levels[factor] > 1
        found[factor] = FactorDesign(
            levels=levels[factor],
            within_model=_most(within),
            same_as=tuple(o for o, n in joint.items() if varies and n == levels[factor] == levels[o]),
            fixed_by=tuple(o for o, n in joint.items() if varies and n == levels[o] > levels[factor]),
        )
    return found
