"""Reading spans of any tool: calls are mapped by columns as they come, all spans make the tree, leaves become executions.

A span is a flat record with the paths `span.trace`, `span.id`, `span.parent` beside those of the tool's mapping. Spans
may come in any order, children before parents and traces over several files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import polars as pl

from divergence.executions.importers import blocks, span_tree, trace_buckets
from divergence.executions.importers.held_tables import HeldTables
from divergence.executions.importers.mapping import Draft

OF_A_SPAN = {name: pl.String() for name in (span_tree.TRACE, span_tree.SPAN, span_tree.PARENT)}

NEEDED = (
    *("execution_id", "model", "provider", "engine", "engine_version", "scaffold", "router", "sampler", "task", "session"),
    *("time", "latency_s", "ttft_s", "tpot_s", "input_tokens", "output_tokens", "cached_tokens", "cost_usd", "item"),
    *("error_type", "finish_reason", "regime", "score", "scorer", "turn"),
)
"""Columns that are worked on even where no call fills them. The others are left away: empty columns take memory, too."""


PLACED = {blocks.FILE: pl.String(), blocks.ROW: pl.Int64()}
HELD = 40_000
"""Calls of an import that are held in memory, some 40 MB; more wait on disk until all spans are known."""
PART = 10_000  # calls that are finished together
Narrow = Callable[[pl.DataType], list[pl.Expr]]
"""The columns that a format looks at over all calls, worked out of whole ones; names in them become the given type."""


class TraceReading:
    """What was read so far of the spans of one import. `narrow` gives what `found` has beside the keys of `span_tree`."""

    def __init__(self, draft: Draft, extra: Mapping[str, pl.DataType] | None = None, narrow: Narrow = lambda _: []):
        self.draft = draft
        self.extra = {**OF_A_SPAN, **(extra or {})}
        self.keys = span_tree.Keys()
        self._narrow = narrow(self.keys.dtype)
        self._gathered = self._fresh()
        self._held = HeldTables(HELD)
        self._places: list[tuple[Any, ...]] = []
        calls, tree = span_tree.head(self.keys)
        nothing = self._whole(pl.DataFrame(schema=PLACED))
        head = calls.hstack(nothing.select(self._narrow)).with_row_index(span_tree.PLACE)
        self._buckets = trace_buckets.TraceBuckets(head, tree)
        self._height = 0
        self._traces: list[pl.Series] = []
        self._circular = self._wrappers = 0

    def span(
        self, record: Mapping[str, Any], row: int, file: str, call: bool, named: tuple[Any, Any] = (None, None)
    ) -> None:
        """Take one span, `row` from 1 in its file; `named` are the agent and the conversation that it names itself."""
        self._places.append((record.get(span_tree.TRACE), record.get(span_tree.SPAN), record.get(span_tree.PARENT), *named))
        if call:
            self._gathered.add(row, record, file)
        if len(self._gathered) >= blocks.RECORDS or len(self._places) >= 5 * blocks.RECORDS:
            self.flush()

    def event(self, record: Mapping[str, Any], row: int, file: str) -> None:
        """Take a call that is no span of the tree: an event that stands for one."""
        self._gathered.add(row, record, file)

    def flush(self) -> None:
        """Map the calls gathered so far, of whatever files; to be called at the end."""
        if len(self._gathered):
            self._keep_calls(self._gathered)
            self._gathered = self._fresh()
        if self._places:
            self._keep_spans(pl.DataFrame(map(span_tree.names, span_tree.TREE, zip(*self._places, strict=True))))
            self._places = []

    def columns(self, calls: blocks.GivenColumns, tree: pl.DataFrame) -> None:
        """Take many spans that are columns already: the calls, and all with their places."""
        if len(calls):
            self._keep_calls(calls)
        self._keep_spans(tree)

    def _keep_calls(self, gathered: blocks.Gathered | blocks.GivenColumns) -> None:
        calls = self._whole(blocks.mapped(self.draft, gathered, self.extra))
        self._held.keep(calls)
        narrow = self.keys.calls(calls).hstack(calls.select(self._narrow))
        self._buckets.keep(trace_buckets.CALLS, narrow.with_row_index(span_tree.PLACE, self._height))
        self._height += calls.height
        self._in_traces(calls[span_tree.TRACE])

    def _keep_spans(self, tree: pl.DataFrame) -> None:
        self._in_traces(tree[span_tree.TRACE])
        self._buckets.keep(trace_buckets.SPANS, self.keys.tree(tree))

    def among(self, keys: pl.Series) -> pl.Series:
        """For each key of a span (`key`), is that span read?"""
        found = pl.repeat(False, len(keys), eager=True)
        for _, tree in self._buckets.cut():
            found |= keys.is_in(tree[span_tree.SPAN].implode())
        return found & (keys != span_tree.NO_KEY)

    def key(self, places: pl.DataFrame) -> pl.Series:
        """The keys of spans by trace and span (columns of `span_tree.TREE`)."""
        head = pl.DataFrame(schema=span_tree.TREE)
        return self.keys.tree(pl.concat([head, places], how="diagonal"))[span_tree.SPAN]

    def worked_out(self, first: Callable[[pl.DataFrame], pl.DataFrame] = lambda found: found) -> pl.DataFrame:
        """One narrow row for each leaf among the calls, each once, with its place, its turn and the version that it met.

        `first` is asked of the calls of whole traces before wrappers are looked for.
        """
        parts, again = [], []
        for calls, tree in self._buckets.cut():
            fresh = calls[span_tree.SPAN].is_first_distinct()
            if not fresh.all():
                again.append(calls.filter(~fresh))
                calls = calls.filter(fresh)
            parts.append(self._leaves(first(calls), tree))
        self._seen_before(again)
        return self._over_traces(parts)

    def _leaves(self, calls: pl.DataFrame, tree: pl.DataFrame) -> pl.DataFrame:
        leaves, circular, wrappers = span_tree.leaves(calls, tree)
        self._circular += circular
        self._wrappers += wrappers
        return span_tree.in_traces(leaves)

    def _over_traces(self, parts: list[pl.DataFrame]) -> pl.DataFrame:
        span_tree.say_leaves(self._circular, self._wrappers, self.draft)
        if self._traces:
            self.draft.in_traces(pl.concat(self._traces))
        found = span_tree.in_sessions(trace_buckets.in_places(parts))
        return span_tree.served_version(found, self.draft)

    def _seen_before(self, again: list[pl.DataFrame]) -> None:
        if again:
            columns = (blocks.FILE, blocks.ROW, "execution_id")
            for _, calls in self._parts(pl.concat(again).sort(span_tree.PLACE)):
                self.draft.seen_before(calls.select(columns).iter_rows())

    def finished(self, worked_out: pl.DataFrame) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
        """(rows of `worked_out`, their whole calls), part by part, in the order of their places."""
        for found, calls in self._parts(worked_out.sort(span_tree.PLACE)):
            yield found, span_tree.completed(calls, found)

    def calls(self, first: Callable[[pl.DataFrame], pl.DataFrame] = lambda calls: calls) -> pl.DataFrame:
        """All calls in the order read, each once: the columns that they fill, those of `NEEDED` and of `extra`.

        `first` is asked of all of them before those that repeat an earlier one are set aside.
        """
        nothing = self._whole(pl.DataFrame(schema=PLACED))
        return self.draft.distinct(first(pl.concat([nothing, *self._held.tables()], how="diagonal")))

    def executions(self, calls: pl.DataFrame) -> pl.DataFrame:
        """The leaves of `calls`, with sessions and turns, and with the served version where failed calls name none."""
        tree = pl.concat([tree for _, tree in self._buckets.cut()])
        found = self._over_traces([self._leaves(self.keys.calls(calls).with_row_index(span_tree.PLACE), tree)])
        return span_tree.completed(calls[found[span_tree.PLACE]], found)

    def _parts(self, found: pl.DataFrame) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
        """The rows of `found`, sorted by place, with their whole calls, part by part."""
        start = 0
        slices = (table[at : at + PART] for table in self._held.tables() for at in range(0, table.height, PART))
        for calls in slices:
            low, high = found[span_tree.PLACE].search_sorted(pl.Series([start, start + calls.height]))
            mine = found[low:high]
            if mine.height:
                yield mine, calls[mine[span_tree.PLACE].cast(pl.Int64) - start]
            start += calls.height

    def _whole(self, calls: pl.DataFrame) -> pl.DataFrame:
        """The calls with every column of `NEEDED` and of `extra`, in the order of the schema."""
        head = blocks.canonical(self.extra)
        present = {*NEEDED, *self.extra, *calls.columns}
        return pl.concat([head.select(name for name in head.columns if name in present), calls], how="diagonal")

    def _in_traces(self, names: pl.Series) -> None:
        if self.draft.apart:
            self._traces.append(names.unique())

    def _fresh(self) -> blocks.Gathered:
        return blocks.Gathered({*blocks.paths_of(self.draft.fields), *self.extra})
