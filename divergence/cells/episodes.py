"""Work in several steps as counts: episodes by their length and how they ended, task lengths, and right answers.

An episode is a row that says how many model calls it made (`calls`), or a session whose rows have a `turn`. It ended

| how | when | counted at |
|---|---|---|
| failed | its outcome is below 1/2 at the end: the failure that was not recovered | the call (turn) after the last success |
| solved | its outcome is 1/2 or more at the end | its last call |
| censored | a cap ended it (`CAPS`), or nothing was judged at the end | its last call |

A budget or a time limit that runs out is no failure of the model: what would have come is unknown. Episodes of one step
count: without them every hazard would be that of the survivors of step 1. `agent_episodes` leaves out tasks in which
nothing ever takes a second step: those are single executions. `lengths` counts outcomes by the task's *declared* length,
`golds` by the right answer's label. Units: calls or turns; the declared unit of `task_length`. Sessions must lie whole in
one partition for a merge to be exact.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from divergence.cells.cells import Cells, Table
from divergence.cells.trials import trial_sums
from divergence.executions import Executions
from divergence.executions.random_groups import block

CAPS = ("calls", "budget", "time", "timeout", "length", "limit", "max_turns", "max_calls", "max_tokens", "cut", "censored")
"""Finish reasons that are caps and not failures."""
KEYS = ("model", "regime", "context", "task", "item")


def episode_tables(log: Executions) -> dict[str, pl.DataFrame]:
    """The tables `episodes`, `lengths` and `golds` of a log, those that it has rows for."""
    if log.kind not in ("binary", "fraction"):
        return {}
    frame = log.scan()
    columns = log.present
    if not columns & {"calls", "turn", "task_length", "gold"}:
        return {}
    keys = [pl.col(k).cast(pl.String) for k in KEYS]
    frame = frame.with_columns(block=block(frame.collect_schema().names()))
    found = {"episodes": _episodes(frame, columns, keys)}
    if "task_length" in columns:
        length = pl.col("task_length").cast(pl.String)
        judged = frame.filter((pl.col("task_length") > 0) & pl.col("outcome").is_not_null())
        found["lengths"] = (
            judged.select(*keys, length, *trial_sums(log))
            .group_by(*KEYS, "task_length")
            .agg(pl.col("n").sum(), pl.col("y").sum())
            .collect(engine="streaming")
        )
    if log.kind == "binary" and "gold" in columns:
        gold = pl.col("gold").cast(pl.String)
        known = frame.filter(gold.is_not_null()).select(*keys, "block", gold, *trial_sums(log))
        found["golds"] = (
            known.group_by(*KEYS, "block", "gold").agg(pl.col("n").sum(), pl.col("y").sum()).collect(engine="streaming")
        )
    return {name: table for name, table in found.items() if table is not None and table.height}


def agent_episodes(cells: Cells) -> Table:
    """The episodes of tasks in which some episode takes several steps."""
    steps = np.array([int(name) for name in cells.levels["length"]] or [0])[cells.episodes["length"]]
    longest = np.zeros(len(cells.levels["task"]) + 1, np.int64)
    np.maximum.at(longest, cells.episodes["task"], steps)  # task -1, none, takes the last place
    return cells.episodes.take(longest[cells.episodes["task"]] > 1)


def _episodes(frame: pl.LazyFrame, columns: frozenset[str], keys: list[pl.Expr]) -> pl.DataFrame | None:
    parts = []
    finish = pl.col("finish_reason") if "finish_reason" in columns else pl.lit(None, pl.String)
    capped = finish.is_in(CAPS).fill_null(False)
    good, bad = pl.col("outcome") >= 0.5, pl.col("outcome") < 0.5
    in_turns = pl.col("turn").is_not_null() & pl.col("session").is_not_null() if "turn" in columns else pl.lit(False)
    if "calls" in columns:
        whole = frame.filter((pl.col("calls") >= 1) & ~in_turns)
        parts.append(
            whole.select(
                *keys,
                "block",
                length=pl.col("calls").cast(pl.Int64),
                capped=capped,
                solved=good.fill_null(False),
                failed=bad.fill_null(False),
            )
        )
    if "turn" in columns:
        turn, judged = pl.col("turn").cast(pl.Int64), pl.col("outcome").is_not_null()
        step = turn + (turn.min() == 0).cast(pl.Int64)  # a session that counts from 0 has one step more than its last turn
        last = pl.col("outcome").filter(judged).sort_by(pl.col("turn").filter(judged)).last()
        ends = (
            frame.filter(in_turns)
            .with_columns(capped=capped)
            .group_by(*KEYS[:3], "session")
            .agg(
                task=pl.col("task").cast(pl.String).first(),
                item=pl.lit(None, pl.String).first(),
                block=pl.col("block").first(),
                last_turn=step.max(),
                last_good=step.filter(good).max(),
                last=last,
                capped=pl.col("capped").filter(turn == turn.max()).any(),
            )
        )
        failed = (pl.col("last") < 0.5).fill_null(False)
        parts.append(
            ends.select(
                *[pl.col(k).cast(pl.String) for k in KEYS],
                "block",
                # The first failure that was not recovered: the turn after the last success.
                length=pl.when(failed & ~pl.col("capped")).then(pl.col("last_good").fill_null(0) + 1).otherwise("last_turn"),
                capped="capped",
                solved=(pl.col("last") >= 0.5).fill_null(False),
                failed=failed,
            )
        )
    if not parts:
        return None
    failed = pl.col("failed") & ~pl.col("capped")
    counted = (
        pl.concat(parts)
        .group_by(*KEYS, "block", "length")
        .agg(
            n=pl.len().cast(pl.Float64), failed=failed.sum().cast(pl.Float64), solved=pl.col("solved").sum().cast(pl.Float64)
        )
    )
    return counted.with_columns(pl.col("length").cast(pl.String)).collect(engine="streaming")
