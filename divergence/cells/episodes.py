"""Work in several steps as counts: episodes by their length and how they ended, task lengths, and right answers.

An episode is a row that says how many model calls it made (`calls`), or a session whose rows have a `turn`. A row's steps
are its calls, and it ended

| how | when | counted at |
|---|---|---|
| failed | its outcome is below 1/2 | its last call |
| solved | its outcome is 1/2 or more | its last call |
| censored | a cap ended it (`CAPS`), or nothing was judged | its last call |

A session's steps are the judged turns at which it is at work: its first, and every turn after a good one (1/2 or more). It
breaks down at a step that fails and is not made good within the next `ALLOWANCE` turns; steps whose allowance reaches
beyond the last turn show neither and are no steps. Nothing looks further ahead, to how the session ended: that hazard would
rise by construction, as the last failure of any session is never made good. Where turns are independent it is flat.

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
from divergence.cells.grouped import grouped
from divergence.cells.trials import trial_sums
from divergence.executions import Executions
from divergence.executions.random_groups import block

CAPS = ("calls", "budget", "time", "timeout", "length", "limit", "max_turns", "max_calls", "max_tokens", "cut", "censored")
"""Finish reasons that are caps and not failures."""
ALLOWANCE = 1
"""Turns within which a failed turn may be made good: one more try. With none, a slip that the next turn mends would be a
breakdown; with many, little of a short session is left to show one."""
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
        found["lengths"] = _trials(judged.select(*keys, length, *trial_sums(log)), (*KEYS, "task_length"))
    if log.kind == "binary" and "gold" in columns:
        gold = pl.col("gold").cast(pl.String)
        known = frame.filter(gold.is_not_null()).select(*keys, "block", gold, *trial_sums(log))
        found["golds"] = _trials(known, (*KEYS, "block", "gold"))
    return {name: table for name, table in found.items() if table is not None and table.height}


def _trials(frame: pl.LazyFrame, keys: tuple[str, ...]) -> pl.DataFrame:
    return grouped([frame], keys, {}, {"n": pl.col("n"), "y": pl.col("y")})


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
        parts.append(_sessions(frame.filter(in_turns)))
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


def _sessions(frame: pl.LazyFrame) -> pl.LazyFrame:
    """One row a session: the steps up to its breakdown or its end, and whether it broke down."""
    turn = pl.col("turn").cast(pl.Int64)
    good = (pl.col("outcome") >= 0.5).sort_by(turn)
    at_work = good.shift(1).fill_null(True)
    made_good, seen = good, good.is_not_null()
    for ahead in range(1, ALLOWANCE + 1):
        later = good.shift(-ahead)
        made_good, seen = made_good | later.fill_null(False), seen & later.is_not_null()
    step = at_work & seen
    broken = step & ~made_good
    before = broken.cum_sum() - broken.cast(pl.UInt32) == 0  # up to the first breakdown, itself included
    ends = (
        frame.filter(pl.col("outcome").is_not_null())
        .group_by(*KEYS[:3], "session")
        .agg(
            task=pl.col("task").cast(pl.String).first(),
            item=pl.lit(None, pl.String).first(),
            block=pl.col("block").first(),
            length=(step & before).sum().cast(pl.Int64),
            failed=broken.any(),
            solved=good.last(),
        )
    )
    return ends.select(
        *[pl.col(k).cast(pl.String) for k in KEYS], "block", "length", capped=pl.lit(False), solved="solved", failed="failed"
    )
