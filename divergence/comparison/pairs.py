"""Which items did both runs answer, and what did each score there? Only these decide.

A pair is one (model, task, item), and where a side holds several serving contexts of one item, one context. A side with one
model is paired with a side with one model whatever they are called; several models are paired by name. A side's score
of a pair is the mean over its replicates.

Identification: items with the same id are the same item. Unit of the scores: that of the outcome.
"""

from __future__ import annotations

import dataclasses

import polars as pl

from divergence.comparison import near_ids
from divergence.comparison.sides import Side
from divergence.errors import InputError
from divergence.executions.contexts import NOT_LOGGED

REPEATED_SHARE_MIN = 0.5  # of the items: fewer that stand twice are a resumed or doubled file, and no replicates
SHOWN = 5  # examples in a sentence


@dataclasses.dataclass(frozen=True, eq=False)
class Pairs:
    """The shared items of two runs."""

    table: pl.DataFrame
    """One row a pair: `model`, strata, `task`, `item`, `cluster`; `before`, `before_n`, `before_variance` and the same of
    `after`: mean score, replicates, variance between replicates (null for one); `answer_before`, `answer_after`: the
    first answer; `gold`."""
    before: pl.DataFrame
    """Rows of the shared pairs in the first run, with `pair`, the place in the table."""
    after: pl.DataFrame
    """Rows of the shared pairs in the second run, with `pair`."""
    lone_before: pl.DataFrame
    """`model` and `task` of the items that only the first run has, a row an item."""
    lone_after: pl.DataFrame
    """The same of the second run."""
    strata: tuple[str, ...]
    """Further columns that tell pairs apart, because one side holds several levels of them for one item."""
    binary: bool
    """Is every score 0 or 1?"""
    single: bool
    """Is every pair one run a side?"""
    clusters: str | None
    """What the units of the interval are, if not items."""
    notes: tuple[str, ...]
    """Sentences about the pairing."""


def paired(before: Side, after: Side, cluster: str | None = None) -> Pairs:
    """Pair two sides. Raises InputError where no item is shared, or where an item stands twice in one run."""
    first, second, notes = _same_models(before, after)
    tasks = all(rows["task"].null_count() < rows.height for rows in (first, second))
    names = ["model", *(["task"] if tasks else []), "item"]
    factors = [factor for factor in before.factors if factor in after.factors]
    strata = _strata(first, second, names, factors, before.context_given and after.context_given)
    keys = [*names[:1], *strata, *names[1:]]
    first, second = (
        rows.with_columns(pl.col(name).fill_null(NOT_LOGGED) for name in (*strata, "task")) for rows in (first, second)
    )
    summaries = [_summary(rows, keys, which, cluster) for rows, which in ((first, "before"), (second, "after"))]
    for side, rows, summary in zip((before, after), (first, second), summaries, strict=True):
        notes += _replicated(side.name, rows, keys) if summary.height < rows.height else []
    table = summaries[0].join(summaries[1], on=keys, how="inner", maintain_order="left")
    if not table.height:
        raise InputError(_nothing_shared(before, after, first, second, tasks))
    table = table.with_columns(gold=pl.coalesce("gold_before", "gold_after")).drop("gold_before", "gold_after")
    lone = [summary.select(keys).join(table, on=keys, how="anti") for summary in summaries]
    notes += _left_over(before, after, lone, (first, second) if tasks else None)
    if not tasks:
        table = table.with_columns(task=pl.lit(None, pl.String))
        lone = [side.with_columns(task=pl.lit(None, pl.String)) for side in lone]
    table, clusters = _clustered(table.sort(keys), cluster, keys)
    table = table.with_row_index("pair")
    kept = [rows.join(table.select(*keys, "pair"), on=keys, how="inner") for rows in (first, second)]
    values = [rows["outcome"] for rows in kept]
    return Pairs(
        table=table,
        before=kept[0],
        after=kept[1],
        lone_before=lone[0],
        lone_after=lone[1],
        strata=strata,
        binary=all(bool(((v == 0) | (v == 1)).all()) for v in values),
        single=bool(((table["before_n"] == 1) & (table["after_n"] == 1)).all()),
        clusters=clusters,
        notes=tuple(notes),
    )


def _same_models(before: Side, after: Side) -> tuple[pl.DataFrame, pl.DataFrame, list[str]]:
    """The rows of the models that are compared, under one name each."""
    first, second = (side.rows["model"].unique().sort().to_list() for side in (before, after))
    if len(first) == len(second) == 1:
        return before.rows, after.rows.with_columns(model=pl.lit(first[0])), []
    shared = [model for model in first if model in second]
    if not shared:
        raise InputError(
            f"{before.name} holds {_counted(first, 'model')} and {after.name} {_counted(second, 'model')}, none of which is "
            "on both sides: keep one a side with --where model=NAME, or give one log with --by model --before NAME "
            "--after NAME."
        )
    left = [model for model in (*first, *second) if model not in shared]
    notes = [f"Models on one side only, not compared: {_listed(left)}."] if left else []
    return (
        before.rows.filter(pl.col("model").is_in(shared)),
        after.rows.filter(pl.col("model").is_in(shared)),
        notes,
    )


def _strata(
    first: pl.DataFrame, second: pl.DataFrame, keys: list[str], columns: list[str], context_given: bool
) -> tuple[str, ...]:
    """Columns of the serving that differ among the rows of one item on one side: contexts are never replicates."""
    varying = {c for rows in (first, second) for c in _varying(rows, keys, [*columns, "context", "regime"])}
    found = ["regime"] if "regime" in varying else []
    if context_given and "context" in varying and _levels(first, "context") & _levels(second, "context"):
        return (*found, "context")
    found += [c for c in columns if c in varying]
    for column in found:
        if not _levels(first, column) & _levels(second, column):
            raise InputError(
                f"One side has several levels of {column} for one item and the sides share none of them "
                f"({_listed(first[column].unique().to_list())} against {_listed(second[column].unique().to_list())}): keep "
                f"one a side with --where {column}=LEVEL, or compare two levels with --by."
            )
    return tuple(found)


def _levels(rows: pl.DataFrame, column: str) -> set:
    return set(rows[column].unique())


def _varying(rows: pl.DataFrame, keys: list[str], columns: list[str]) -> list[str]:
    several = [c for c in columns if rows[c].n_unique() > 1]
    if not several or rows.select(keys).is_unique().all():
        return []
    most = rows.group_by(keys).agg(pl.col(several).n_unique()).select(pl.col(several).max())
    return [column for column in several if most[column][0] > 1]


def _replicated(name: str, rows: pl.DataFrame, keys: list[str]) -> list[str]:
    """Sentences about repeats that carry no number of their own. Raises InputError where they are no replicates."""
    if rows["scorer"].n_unique() > 1 and _varying(rows, keys, ["scorer"]):
        raise InputError(
            f"{name} has one answer judged by several scorers ({_listed(rows['scorer'].unique().to_list())}): choose one "
            "with --scorer NAME."
        )
    repeated = rows.group_by([*keys, "trial"]).len().filter(pl.col("len") > 1)
    if not repeated.height:
        return []
    items = rows.select(keys).n_unique()
    again = repeated.select(keys).n_unique()
    if again < REPEATED_SHARE_MIN * items:
        row = repeated.sort(keys).row(0, named=True)
        raise InputError(
            f"{name} has the item {row['item']!r} {row['len']} times in one run, and {again} of {items} items in all: take "
            "the doubles out, or number repeats in a column trial."
        )
    return [f"{name}: {again} of {items} items stand several times; they are taken as replicates."]


def _summary(rows: pl.DataFrame, keys: list[str], which: str, cluster: str | None) -> pl.DataFrame:
    asked = []
    if cluster is not None:
        asked = [
            pl.col(cluster).cast(pl.String).first().alias(f"cluster_{which}"),
            pl.col(cluster).n_unique().alias(f"clusters_{which}"),
        ]
    return rows.group_by(keys).agg(
        pl.col("outcome").mean().alias(which),
        pl.col("outcome").len().alias(f"{which}_n"),
        pl.col("outcome").var().alias(f"{which}_variance"),
        pl.col("answer").drop_nulls().first().alias(f"answer_{which}"),
        pl.col("gold").first().alias(f"gold_{which}"),
        *asked,
    )


def _clustered(table: pl.DataFrame, cluster: str | None, keys: list[str]) -> tuple[pl.DataFrame, str | None]:
    """The table with whole numbers `cluster` (null where items are the units), and what the units are."""
    if cluster is not None:
        missing = table.filter(pl.col("cluster_before").is_null() | pl.col("cluster_after").is_null())
        if missing.height:
            raise InputError(
                f"{missing.height} items have no {cluster}, for example {missing['item'][0]!r}: fill the column."
            )
        torn = table.filter(
            (pl.col("clusters_before") > 1)
            | (pl.col("clusters_after") > 1)
            | (pl.col("cluster_before") != pl.col("cluster_after"))
        )
        if torn.height:
            raise InputError(
                f"{torn.height} items lie in several levels of {cluster}, for example {torn['item'][0]!r}: a cluster holds "
                "whole items, the same on both sides."
            )
        number = pl.col("cluster_before").rank("dense").cast(pl.Int64) - 1
        made = table.with_columns(cluster=number)
        return made.drop(*(f"{c}_{s}" for c in ("cluster", "clusters") for s in ("before", "after"))), cluster
    item = [name for name in keys if name in ("task", "item")]
    alone = table["model"].n_unique() == 1 and len(keys) == 1 + len(item)
    if alone or table.select(item).is_unique().all():
        return table.with_columns(cluster=pl.lit(None, pl.Int64)), None
    return table.with_columns(cluster=pl.struct(item).rank("dense").cast(pl.Int64) - 1), "item"


def _nothing_shared(before: Side, after: Side, first: pl.DataFrame, second: pl.DataFrame, tasks: bool) -> str:
    ids = [rows["item"].drop_nulls().unique().sort().to_list() for rows in (first, second)]
    for side, found in zip((before, after), ids, strict=True):
        if not found:
            return f"{side.name} has {side.rows.height} judged rows and none names its item: map the column of ids to item."
    said = f"No item is shared: {before.name} has {_counted(ids[0], 'item')}, {after.name} {_counted(ids[1], 'item')}"
    same = set(ids[0]) & set(ids[1])
    if same and tasks:
        names = [_listed(rows["task"].unique().sort().to_list()) for rows in (first, second)]
        return (
            f"{said}; {len(same)} ids are the same, but the tasks differ ({names[0]} against {names[1]}): name them alike."
        )
    pairs = near_ids.alike(*ids)
    if pairs:
        return f"No item is shared; {near_ids.sentence(pairs)}: write them alike on both sides."
    return f"{said}. Both sides must be runs over the same items, under the same ids."


def _left_over(
    before: Side, after: Side, lone: list[pl.DataFrame], by_task: tuple[pl.DataFrame, pl.DataFrame] | None
) -> list[str]:
    """What does not decide, and why: ids written differently, tasks of one side, answers judged on one side only."""
    notes = []
    if all(side.height for side in lone):
        pairs = near_ids.alike(*(side["item"].to_list() for side in lone))
        if pairs:
            notes.append(f"{near_ids.sentence(pairs)}; they are not compared.")
    if by_task is not None:
        names = [set(rows["task"].unique()) for rows in by_task]
        notes += [
            f"Tasks only in {side.name}, not compared: {_listed(sorted(here - there))}."
            for side, here, there in ((before, *names), (after, *reversed(names)))
            if here - there
        ]
    for side in (before, after):
        failed = side.unjudged
        if failed.height:
            errors = failed["error_type"].drop_nulls().value_counts(sort=True)
            why = f" ({', '.join(f'{n} {e}' for e, n in errors.head(3).iter_rows())})" if errors.height else ""
            notes.append(
                f"{side.name}: {failed.height} answers carry no score{why}; their items do not decide unless another run of "
                "that side was judged."
            )
    return notes


def _counted(names: list[str], what: str) -> str:
    return f"{len(names)} {what}{'' if len(names) == 1 else 's'} ({_listed(names)})"


def _listed(names: list) -> str:
    shown = ", ".join(NOT_LOGGED if name is None else str(name) for name in names[:SHOWN])
    return shown + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
