"""Drafts of groups put together, as if their files had been read at once.

Rows stand in the order of the groups. An execution that an earlier group has is set aside by the same rule as within one
group; trials go on from the count of the groups before; what is said twice is said once, and numbers of calls are summed.
Where calls of two groups turn out to belong together (a conversation, a trace, feedback, the version that a neighbour
names) the groups are inseparable, and their files have to be read at once.
"""

from __future__ import annotations

import collections
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from divergence.executions.importers.drafted_rows import COUNTED
from divergence.executions.importers.drafting import Drafted, place_of
from divergence.executions.importers.mapping import Draft

SLICE = 250_000  # rows of a group in memory at a time: about 50 MB
NUMBERED = re.compile(r"(\d+) (calls|judgements|events|failed calls) (.+)", re.DOTALL)
OUT_OF_SAMPLER = "is left out of the sampler."


def join(parts: Sequence[Drafted], folder: Path, draft: Draft, traces: bool) -> bool:
    """Put the groups into an empty draft, in their order; False, with the draft in no usable state, where they are
    inseparable. `traces` says that their rows are calls, which may belong together.
    """
    if traces and len(parts) > 1 and inseparable(parts, folder):
        return False
    seen: collections.Counter[str] = collections.Counter()
    for part in parts:
        draft.absorb(part.said)
        again = _executions(place_of(folder, part.number, "executions"), seen, draft)
        if traces and again:
            return False
        seen += part.said["trials"]
        for table in _slices(place_of(folder, part.number, "outcomes")):
            kept = table.filter(~pl.col("execution_id").is_in(again)) if again else table
            draft.rows.extend_outcomes(kept)
    if traces:
        draft.notes[:] = summed(draft.notes)
    return True


def inseparable(parts: Sequence[Drafted], folder: Path) -> bool:
    """Do calls of two groups belong together, or do the groups judge alone what they would judge otherwise together?"""
    if any(part.said["over_calls"] for part in parts) or sum(bool(part.said["telemetry"]) for part in parts) > 1:
        return True
    if any(note.endswith(OUT_OF_SAMPLER) for part in parts for note in part.said["notes"]):
        return True
    frames = [pl.scan_parquet(place_of(folder, part.number, "executions")) for part in parts]
    traces = pl.concat([part.said["traces"] for part in parts])
    if traces.n_unique() < len(traces):
        return True
    within = [frame.select("session").drop_nulls().unique() for frame in frames]
    sessions = pl.concat(within).select(pl.len(), unique=pl.col("session").n_unique()).collect(engine="streaming")
    if sessions["len"].item() != sessions["unique"].item():
        return True
    rows = pl.concat(frames).select(pl.len(), samplers=pl.col("sampler").n_unique()).collect(engine="streaming")
    if rows["samplers"].item() ** 2 > max(1, rows["len"].item()):  # as many values as make one no setting of the serving
        return True
    judged = [
        pl.scan_parquet(place_of(folder, part.number, "outcomes")).filter(pl.col("value").is_not_null()) for part in parts
    ]
    metrics = {
        tuple(table.select("metric").unique(maintain_order=True).collect()["metric"].to_list()) for table in judged
    } - {()}
    return len(metrics) > 1


def summed(notes: Sequence[str]) -> list[str]:
    """Sentences that differ in the number of calls that they begin with, as one with the sum."""
    numbers: dict[tuple[str, str], int] = {}
    for note in notes:
        if found := NUMBERED.fullmatch(note):
            numbers[found[2], found[3]] = numbers.get((found[2], found[3]), 0) + int(found[1])
    said: dict[str, None] = {}
    for note in notes:
        found = NUMBERED.fullmatch(note)
        said[f"{numbers[found[2], found[3]]} {found[2]} {found[3]}" if found else note] = None
    return list(said)


def _executions(path: Path, seen: collections.Counter[str], draft: Draft) -> set[str]:
    """The rows of a group into the draft; the ids of those that were there already."""
    again: set[str] = set()
    counts = pl.DataFrame(list(seen.items()), schema={COUNTED: pl.String(), "__before": pl.Int64()}, orient="row")
    for table in _slices(path):
        if counts.height:
            table = table.join(counts, on=COUNTED, how="left", maintain_order="left")
            table = table.with_columns(
                trial=(pl.col("trial") + pl.col("__before").fill_null(0)).cast(table.schema["trial"])
            ).drop("__before")
        again |= draft.extend(table)
    return again


def _slices(path: Path) -> Iterator[pl.DataFrame]:
    frame = pl.scan_parquet(path)
    for offset in range(0, frame.select(pl.len()).collect().item(), SLICE):
        yield frame.slice(offset, SLICE).collect()
