"""Read a log: find its files, name and type its columns, judge every row, and say what was set aside.

Reading makes a few streaming passes over the files, of text over a packed copy: one for the rules, the values and the
factors, and one for duplicates where execution ids are given. Large Parquet files are first counted by their distinct
rows, in one pass, and the rules and values are then those of the distinct rows. The rows themselves stay on disk until
`Executions.scan` is collected.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path

import polars as pl

from divergence.calling import sentences
from divergence.configuration import Configuration
from divergence.errors import InputError
from divergence.executions import contexts, foreign
from divergence.executions.columns import sampled
from divergence.executions.counted import Counted, distinct_rows
from divergence.executions.declared_log import DeclaredLog, assembled, assembled_apart
from divergence.executions.declared_names import check_features, not_in_the_log
from divergence.executions.duplicates import (
    COPIES_BYTES_MAX,
    COPIES_ROWS_MAX,
    copied_rows,
    copies_under_ids,
    duplicate_rows,
    with_copies,
    with_duplicates,
)
from divergence.executions.executions import ALWAYS, Counts, Executions, Tallied
from divergence.executions.files import Source, local_paths, open_sources, unreadable
from divergence.executions.guess import advice
from divergence.executions.held_sources import held
from divergence.executions.importers.one_import import of_one_import
from divergence.executions.importers.registry import formats
from divergence.executions.model_names import suggestions
from divergence.executions.names import BROKEN, FAILED, FILE_NUMBER, GROUP, TIMES
from divergence.executions.on_scale import scale_notes
from divergence.executions.outcome import infer_kind, usable, usable_values
from divergence.executions.profile import Profile, profile
from divergence.executions.recognise import (
    check_names,
    check_regime,
    extra_columns,
    listed,
    of_no_regime,
    recognise,
    unknown_columns,
)
from divergence.executions.rejection import ACCEPT_REJECTED, refuse_rejected
from divergence.executions.remarks import cautions, notes
from divergence.executions.rules import NEEDED, row_rules, with_broken
from divergence.executions.schema import COLUMNS, SERVING_FACTORS, Column
from divergence.executions.shaped import weighed
from divergence.executions.twice_named import ROWS_MAX, two_settings
from divergence.executions.unchanged import unchanged

DAMAGED_DATA = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)


@sentences
def read(
    source: object = None,
    *,
    configuration: Configuration | None = None,
    evaluation: object = None,
    deployment: object = None,
    accept_rejected: float = ACCEPT_REJECTED,
    progress: Callable[[str], None] | None = None,
    ray: str | None = None,
) -> Executions:
    """Read an execution log: one row an execution, every row checked, none dropped in silence.

    `source`: paths, folders, globs, addresses, data frames or logs of other tools, one or a list of them. `evaluation` and
    `deployment` name files whose rows all belong to that regime. `configuration`: what is declared; without one, the
    `divergence.toml` beside the log is used if there is one. Raises InputError, with a sentence, for a file that cannot be
    read, a name that does not exist, or more than `accept_rejected` (a fraction) of the rows rejected. `progress` is told
    how far the reading of a large log is. `ray`: address of a Ray cluster whose nodes see the files under the same paths; it
    counts and sums the log file by file, with the same numbers. Returns `Executions`, whose rows stay on disk: a file that
    changes later (one at a remote address excepted) is refused where it is read again.

    >>> import polars as pl
    >>> rows = {"regime": ["evaluation", "deployment"], "model": "m", "item": "i", "score": [1, 0], "context": "c"}
    >>> read(pl.DataFrame(rows)).counts.valid
    2
    """
    if not 0 <= accept_rejected <= 1:
        raise InputError(f"accept_rejected is a fraction between 0 and 1, seen {accept_rejected}.")
    given = [(source, None), (evaluation, "evaluation"), (deployment, "deployment")]
    given = [(entry, regime) for entry, regime in given if entry is not None]
    if configuration is None:
        configuration = Configuration.beside(local_paths(entry for entry, _ in given))
    sources, skipped, others = [], [], {}
    for entry, regime in given:
        others[regime] = foreign.among(entry, regime, configuration)
        opened, left = open_sources(entry, regime, frozenset(others[regime]))
        sources += opened
        skipped += left
    brought = foreign.imported(others, configuration, accept_rejected)
    sources, strays = of_one_import(sources)
    with unchanged(sources):
        sources = held(sources, here=ray is None)
        log = _recognised([*sources, *brought.sources], [*skipped, *strays], configuration, accept_rejected, progress, ray)
        return log if not brought.sources else _with_imports(log, brought)


def _recognised(
    sources: list[Source],
    skipped: list[tuple[str, str]],
    configuration: Configuration,
    accept_rejected: float,
    progress: Callable[[str], None] | None,
    ray: str | None,
) -> Executions:
    """The log that the sources are, each taken for the table that it is."""
    tables, left = recognise(sources, configuration)
    tables["executions"], others_own = of_no_regime(tables["executions"], configuration)
    skipped = [*skipped, *others_own, *left]
    if not tables["executions"]:
        seen = "; ".join(f"{Path(file).name}: {reason}" for file, reason in skipped[:3]) or "no file was found"
        other = f"Name a file with models; {len(formats())} formats of other tools are read as well: docs/formats.md."
        raise InputError(f"There is no execution log ({seen})." + advice(sources, other))
    extra = extra_columns(configuration)
    check_names(tables, configuration, extra)
    check_features(configuration)
    check_regime(tables["executions"], configuration)
    rules = row_rules(configuration.outcome, configuration.grades)
    return _judged(DeclaredLog(tables, configuration, extra, rules, accept_rejected, progress, ray=ray), skipped)


def _with_imports(log: Executions, brought: foreign.Foreign) -> Executions:
    """The log with what its imports have to say, and the rows that they set aside."""
    models = log.distinct().select("model").unique().collect(engine="streaming")["model"].to_list()
    rejected = [frame for frame in (log.rejected_elsewhere, brought.rejected) if frame is not None and frame.height]
    return dataclasses.replace(
        log,
        notes=(*brought.notes, *suggestions(models), *log.notes),
        rejected_elsewhere=pl.concat(rejected, how="diagonal_relaxed") if rejected else None,
    )


def _judged(log: DeclaredLog, skipped: list[tuple[str, str]]) -> Executions:
    """Type and judge all rows; a file whose data turn out to be damaged is named."""
    try:
        return _executions(log, skipped)
    except DAMAGED_DATA as error:
        for source in log.sources:
            try:
                source.frame.select(pl.all().count()).collect(engine="streaming")
            except DAMAGED_DATA as cause:
                raise unreadable(source.file, cause, source.address) from None if source.address else cause
        addresses = [source.address for source in log.sources]
        raise unreadable(", ".join(source.file for source in log.sources), error, *addresses) from None


def _executions(log: DeclaredLog, skipped: list[tuple[str, str]]) -> Executions:
    frame, present = assembled(log, log.sources)
    columns = {**COLUMNS, **log.extra}
    columns = {name: column for name, column in columns.items() if name in present or name in ALWAYS}
    factors = [name for name in log.configuration.factors or SERVING_FACTORS if name in columns]
    counted = distinct_rows(log.sources, log.configuration, log.where("executions"), log.progress, log.ray)
    apart = {name: columns[name] for name in present & columns.keys() - counted.columns} if counted else {}

    def look(checked: pl.LazyFrame) -> Profile:
        asked = {name: column for name, column in columns.items() if name not in apart}
        combinations = with_broken(assembled(log, counted.sources)[0], log.rules) if counted else checked
        return profile(combinations, asked, factors, log.configuration.outcome, log.rules, apart, checked)

    def marked(frame: pl.LazyFrame) -> pl.LazyFrame:
        frame = with_duplicates(frame, duplicates) if duplicates.height else frame
        return with_broken(with_copies(frame, copies) if copies.height else frame, log.rules)

    duplicates, copies, told = pl.DataFrame(), pl.DataFrame(), ""
    seen = look(marked(frame))
    if seen.columns["execution_id"].values:
        duplicates = duplicate_rows(marked(frame))
        if duplicates.height:
            counted, apart = None, {}
            seen = look(marked(frame))
    elif counted is None and _may_hold_copies(seen, log.sources):
        copies, told = copied_rows(log.sources, _numbered(seen), _measured_times(log))
        seen = look(marked(frame)) if copies.height else seen
    lost = _check_counts(seen, log, marked(frame))
    log = dataclasses.replace(log, copies=told, cautions=(*lost, *_looks_alike(seen, log)))
    return _finished(frame, marked, counted, seen, columns, log, skipped)


def _looks_alike(seen: Profile, log: DeclaredLog) -> tuple[str, ...]:
    """What columns say that no question reads: rows that are copies but for their ids, and models with two settings."""
    if log.ray is not None or not _may_hold_copies(seen, log.sources):
        return ()
    identity = log.configuration.columns.get("execution_id", "execution_id")
    copies = copies_under_ids(log.sources, _measured_times(log), identity) if seen.columns["execution_id"].values else ()
    return (*copies, *two_settings(log.sources, log.configuration)) if seen.rows <= ROWS_MAX else copies


def _measured_times(log: DeclaredLog) -> list[str]:
    """The files' names of columns that hold measured times."""
    return [log.configuration.columns.get(name, name) for name in ("latency_s", "ttft_s", "queue_s")]


def _may_hold_copies(seen: Profile, sources: list[Source]) -> bool:
    """Are equal rows of this log one answer, and can they be looked for? Requests without an item may be different ones."""
    small = seen.rows <= COPIES_ROWS_MAX and sum(source.bytes or 0 for source in sources) <= COPIES_BYTES_MAX
    return small and seen.columns["item"].values == seen.rows


def _numbered(seen: Profile) -> bool:
    """Does every row have a number among the runs of its item, or a place in its session?"""
    told = [seen.columns[name].values if name in seen.columns else 0 for name in ("trial", "session", "turn")]
    return seen.rows in (told[0], min(told[1:]))


def _check_counts(seen: Profile, log: DeclaredLog, checked: pl.LazyFrame) -> tuple[str, ...]:
    """Raise InputError where the rows cannot be a log; else sentences on what was set aside."""
    if seen.rows == 0:
        kept = ", ".join(f"{name} = {' or '.join(levels)}" for name, levels in log.configuration.where.items())
        raise InputError("The log has no rows" + (f" where {kept}: check the levels." if kept else "."))
    lost = refuse_rejected(checked, seen, log.rules, log.accept_rejected, bool(log.on_scale)) if seen.broken else ()
    rule = log.configuration.regime
    if rule and not seen.regimes["evaluation"]:
        raise InputError(
            f"No row has one of the levels {listed(rule.evaluation)} of {rule.column} that [regime] calls evaluation: "
            "check how they are written."
        )
    return lost


def _finished(
    frame: pl.LazyFrame,
    marked: Callable[[pl.LazyFrame], pl.LazyFrame],
    counted: Counted | None,
    seen: Profile,
    columns: dict[str, Column],
    log: DeclaredLog,
    skipped: list[tuple[str, str]],
) -> Executions:
    configuration, outcome = log.configuration, log.configuration.outcome
    unused = _unused(seen, columns, outcome, configuration.grades)
    kind, reason = infer_kind(configuration, seen.outcome)
    factors = contexts.varying(seen, configuration.factors)
    kept = [name for name in columns if name not in dict(unused)]
    missing = [name for name in ALWAYS if name not in kept]
    floats = [name for name in kept if columns[name].dtype == pl.Float64 and name not in NEEDED]

    def finish(frame: pl.LazyFrame) -> pl.LazyFrame:
        names = frame.collect_schema()
        frame = frame.with_columns(
            *(pl.col(name).fill_nan(None) for name in floats if name in names),
            *(pl.lit(None, COLUMNS[name].dtype).alias(name) for name in missing),
        )
        value = usable(outcome, kind, len(configuration.grades))
        return contexts.with_context(frame, factors).with_columns(value.alias("outcome"))

    def sample(clusters: tuple[str, ...], every: int) -> pl.LazyFrame:
        some = [sampled(source, configuration, clusters, every) for source in log.sources]
        return finish(marked(assembled(log, some)[0])).filter(pl.col(BROKEN).is_null()).select(whole)

    def by_file(clusters: tuple[str, ...], every: int) -> list[pl.LazyFrame]:
        some = log.sources if every == 1 else [sampled(source, configuration, clusters, every) for source in log.sources]
        return [finish(marked(f)).filter(pl.col(BROKEN).is_null()).select(whole) for f in assembled_apart(log, some)]

    present = frozenset(name for name in kept if seen.columns[name].values)
    ignored = unknown_columns(log.sources, configuration, columns)
    absent = not_in_the_log(counted.sources if counted else log.sources, configuration, present, ignored)
    valid = seen.rows - sum(seen.broken.values())
    used = usable_values(kind, seen.outcome)
    if not used:
        raise InputError(f"The outcome {outcome} has no usable value in {valid} valid rows: name another one.")
    others = [table for table in (log.outcomes, log.telemetry) if table is not None]
    whole = [
        *kept,
        *missing,
        "outcome",
        "file",
        "row",
        BROKEN,
        FILE_NUMBER,
        *dict.fromkeys(FAILED + rule.column for rule in log.rules),
    ]
    return Executions(
        frame=finish(marked(frame)).select(whole),
        rules=log.rules,
        configuration=configuration,
        factors=factors,
        outcome=outcome,
        kind=kind,
        kind_reason=reason,
        counts=Counts(seen.rows, valid, dict(seen.broken), valid - used, dict(seen.regimes)),
        sources=tuple(log.sources),
        skipped=tuple(skipped),
        unused=tuple(unused),
        notes=(*([log.copies] if log.copies else []), *notes(seen, dict(unused)), *absent, *_said(log)),
        cautions=(*log.cautions, *cautions(seen, configuration, kind, finish(marked(frame)))),
        ignored=ignored,
        outcomes=log.outcomes.frame if log.outcomes else None,
        telemetry=log.telemetry.frame if log.telemetry else None,
        embeddings=log.embeddings,
        rejected_elsewhere=pl.concat(table.rejected for table in others) if others else None,
        all_named=seen.columns["execution_id"].values == seen.rows,
        present=present,
        tally=_tallied(lambda some: finish(marked(assembled(log, some)[0])), counted, configuration) if counted else None,
        sample=sample,
        by_file=by_file,
        ray=log.ray,
        beside=tuple(source for name, of in log.tables.items() if name != "executions" for source in of),
    )


def _tallied(
    finished: Callable[[Iterable[Source]], pl.LazyFrame], counted: Counted, configuration: Configuration
) -> Tallied:
    """The valid combinations, with what a collapse needs of them."""

    def valid(sources: Iterable[Source], *more: str) -> pl.LazyFrame:
        frame = finished(sources)
        told_apart = [name for name in frame.collect_schema().names() if name in counted.columns]
        return frame.filter(pl.col(BROKEN).is_null()).select(*told_apart, "outcome", *more)

    def sessions(every: int) -> pl.LazyFrame | None:
        some = counted.of_sessions(configuration, every)
        return None if some is None else valid(some)

    return Tallied(valid(counted.sources, TIMES, GROUP).collect(), counted.blocks, sessions)


def _unused(seen: Profile, columns: dict[str, Column], outcome: str, grades: tuple[str, ...]) -> list[tuple[str, str]]:
    """Optional columns that hold a value which cannot be typed, or one outside the range of the schema."""
    kinds = {pl.String: "texts", pl.Float64: "numbers", pl.Int64: "whole numbers", pl.Datetime: "instants with a zone"}
    unused = []
    for name, count in seen.columns.items():
        column = columns[name]
        if name in NEEDED and (name != "score" or outcome == "score"):
            continue
        total = count.values + count.failed
        if count.failed:
            what = kinds.get(column.dtype.base_type(), "lists of numbers")
            what = what if name != outcome or not grades else f"grades ({', '.join(grades)})"
            unused.append((name, f"{count.failed} of {total} values are no {what}, for example {count.example!r}"))
        elif count.outside and name != outcome:
            bounds = f"below {column.minimum:g}" if column.minimum is not None else "infinite"
            bounds += f" or above {column.maximum:g}" if column.maximum is not None else ""
            unused.append((name, f"{count.outside} of {total} values are {bounds}"))
    return unused


def _said(log: DeclaredLog) -> list[str]:
    return scale_notes(log.on_scale, log.configuration.values) + weighed(log.configuration.wide)
