"""Read a log: find its files, name and type its columns, judge every row, and say what was set aside.

Reading makes one streaming pass over the files (two where execution ids are given, to find duplicates). The rows
themselves stay on disk until `Executions.scan` is collected.
"""

from __future__ import annotations


import numpy as np
import polars as pl

from divergence.configuration import Configuration, nearest
from divergence.errors import InputError
from divergence.executions import contexts
from divergence.executions.columns import FAILED, FILE_NUMBER, GIVEN_REGIME, canonical, check_names, renamed, typed
from divergence.executions.executions import ALWAYS, Counts, Executions
from divergence.executions.files import Source, local_paths, open_sources, unreadable
from divergence.executions.outcome import infer_kind, usable
from divergence.executions.profile import Profile, profile
from divergence.executions.rules import BROKEN, DUPLICATE, NEEDED, Rule, row_rules, with_broken
from divergence.executions.schema import COLUMNS, OUTCOMES, SERVING_FACTORS, TELEMETRY, Column

ACCEPT_REJECTED = 0.05  # share of rejected rows above which a log is more likely misread than dirty
LOG_COLUMNS = ("score", "item", "regime", "answer", "latency_s", "context")
"""A table with `model` and one of these is an execution log."""


def read(
    source: object = None,
    *,
    configuration: Configuration | None = None,
    evaluation: object = None,
    deployment: object = None,
    accept_rejected: float = ACCEPT_REJECTED,
) -> Executions:
    """Read an execution log from paths, folders, globs, addresses or data frames (one, or a list of them).

    `evaluation` and `deployment` name files whose rows all belong to that regime. Without a configuration, the
    `divergence.toml` beside the log is used if there is one. Raises InputError, with a sentence, for a file that cannot
    be read, a name that does not exist, or more than `accept_rejected` (a fraction) of the rows rejected.

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
    sources, skipped = [], []
    for entry, regime in given:
        opened, left = open_sources(entry, regime)
        sources += opened
        skipped += left
    tables = _recognised(sources, skipped, configuration)
    log = tables["executions"]
    extra = _extra_columns(configuration)
    check_names(log, configuration, extra)
    _check_regime(log, configuration)
    return _judged(tables, skipped, configuration, extra, accept_rejected)


def _recognised(
    sources: list[Source], skipped: list[tuple[str, str]], configuration: Configuration
) -> dict[str, list[Source]]:
    """Tell the three tables apart by their columns; what is none of them is skipped, with the reason."""
    tables: dict[str, list[Source]] = {"executions": [], "outcomes": [], "telemetry": []}
    signs = {*LOG_COLUMNS, configuration.outcome}
    for source in sources:
        names = {*renamed(source, configuration), *configuration.constants}
        if {"window_start", "metric", "value"} <= names:
            tables["telemetry"].append(source)
        elif {"execution_id", "metric"} <= names and names & {"value", "label"} and "model" not in names:
            tables["outcomes"].append(source)
        elif "model" in names and names & signs:
            tables["executions"].append(source)
        else:
            missing = "model" if "model" not in names else " or ".join(sorted(signs))
            reason = f"no execution log: it has no column {missing}{nearest('model', source.columns)}, "
            skipped.append((source.file, reason + f"only {', '.join(source.columns[:12])}"))
    if not tables["executions"]:
        seen = "; ".join(f"{file}: {reason}" for file, reason in skipped[:5]) or "no file was named"
        raise InputError(f"No execution log was found: {seen}. Name its columns with --map model=NAME.")
    return tables


def _extra_columns(configuration: Configuration) -> dict[str, Column]:
    """Columns beyond the schema that are used because the configuration names them."""
    extra = {
        name: Column(name, pl.String(), "a declared factor")
        for name in configuration.factors or ()
        if name not in COLUMNS
    }
    for name in configuration.factors or ():
        if name in COLUMNS and COLUMNS[name].dtype != pl.String or name in ("file", "row", "outcome"):
            raise InputError(f"{name} cannot be a factor: it is a column of the schema that is no label.")
    outcome = configuration.outcome
    if outcome in COLUMNS and COLUMNS[outcome].dtype not in (pl.Float64, pl.Int64):
        raise InputError(f"{outcome} cannot be the outcome: it is no number. Choose score, latency_s, cost_usd, ...")
    if outcome not in COLUMNS:
        extra[outcome] = Column(outcome, pl.Float64(), "the declared outcome")
    return extra


def _check_regime(log: list[Source], configuration: Configuration) -> None:
    for source in log:
        names = {*renamed(source, configuration), *configuration.constants}
        by_level = configuration.regime is not None and configuration.regime.column in source.columns
        if "regime" not in names and source.regime is None and not by_level:
            raise InputError(
                f"The log {source.file} has no column regime: say which world its rows come from with "
                "--set regime=evaluation (or deployment), with --evaluation FILE --deployment FILE, or with [regime] "
                "in divergence.toml."
            )


def _judged(
    tables: dict[str, list[Source]],
    skipped: list[tuple[str, str]],
    configuration: Configuration,
    extra: dict[str, Column],
    accept_rejected: float,
) -> Executions:
    log = tables["executions"]
    columns = {**COLUMNS, **extra}
    rules = row_rules(configuration.outcome)
    frame, present = _assembled(log, configuration, extra)
    columns = {name: column for name, column in columns.items() if name in present or name in ALWAYS}
    factors = [name for name in configuration.factors or SERVING_FACTORS if name in columns]
    checked = with_broken(frame, rules)
    seen = _profiled(checked, columns, factors, configuration.outcome, rules, log)
    broken, rows = dict(seen.broken), seen.rows
    if seen.columns["execution_id"].values:
        duplicates = _duplicate_rows(checked)
        if duplicates.height:
            checked = with_broken(_marked(frame, duplicates), rules)
            seen = _profiled(checked, columns, factors, configuration.outcome, rules, log)
            broken = dict(seen.broken)
    _check_counts(rows, broken, accept_rejected, configuration, checked, rules)
    return _finished(checked, seen, columns, rules, configuration, tables, skipped)


def _assembled(
    log: list[Source], configuration: Configuration, extra: dict[str, Column]
) -> tuple[pl.LazyFrame, set[str]]:
    """All files as one lazy frame of canonical columns, and the names of those that any file has."""
    frames = [canonical(source, number, configuration, extra) for number, source in enumerate(log)]
    frame = pl.concat(frames, how="diagonal") if len(frames) > 1 else frames[0]
    present = set(frame.collect_schema().names())
    needed = {**{name: COLUMNS[name] for name in (*ALWAYS, *NEEDED)}, configuration.outcome: Column("", pl.Float64(), "")}
    for name in (*ALWAYS, configuration.outcome):
        column = COLUMNS.get(name) or needed[name]
        if name not in present:
            frame = frame.with_columns(pl.lit(None, column.dtype).alias(name))
        if FAILED + name not in present:
            frame = frame.with_columns(pl.lit(None, pl.String).alias(FAILED + name))
    frame = frame.with_columns(
        pl.coalesce("regime", GIVEN_REGIME).alias("regime"), pl.lit(False).alias(DUPLICATE),
    )
    return frame, present


def _profiled(
    frame: pl.LazyFrame, columns: dict[str, Column], factors: list[str], outcome: str, rules: tuple[Rule, ...],
    log: list[Source],
) -> Profile:
    try:
        return profile(frame, columns, factors, outcome, rules)
    except (pl.exceptions.PolarsError, OSError) as error:
        for source in log:  # find the file that it was
            try:
                source.frame.select(pl.all().count()).collect(engine="streaming")
            except (pl.exceptions.PolarsError, OSError) as cause:
                raise unreadable(source.file, cause) from cause
        raise unreadable(", ".join(source.file for source in log), error) from error


def _duplicate_rows(checked: pl.LazyFrame) -> pl.DataFrame:
    """File number and row of every row whose given id an earlier valid row has, both in the order of reading.

    Hashes are compared first, eight bytes a row, so that a log of many millions of ids fits in memory.
    """
    given = checked.filter(pl.col(BROKEN).is_null() & pl.col("execution_id").is_not_null())
    hashes = given.select(pl.col("execution_id").hash()).collect(engine="streaming").to_series().to_numpy(writable=True)
    hashes.sort()
    repeated = np.unique(hashes[1:][hashes[1:] == hashes[:-1]])
    place = [FILE_NUMBER, "row"]
    if not len(repeated):
        return pl.DataFrame(schema={FILE_NUMBER: pl.UInt32, "row": pl.Int64})
    candidates = (
        given.filter(pl.col("execution_id").hash().is_in(pl.Series(repeated).implode()))
        .select(*place, "execution_id").collect(engine="streaming").sort(place)
    )
    return candidates.filter(~pl.col("execution_id").is_first_distinct()).select(place)


def _marked(frame: pl.LazyFrame, duplicates: pl.DataFrame) -> pl.LazyFrame:
    key = pl.col(FILE_NUMBER).cast(pl.UInt64) * 2**40 + pl.col("row").cast(pl.UInt64)
    keys = duplicates.select(key.alias("key")).to_series()
    return frame.with_columns(key.is_in(keys.implode()).alias(DUPLICATE))


def _check_counts(
    rows: int, broken: dict[str, int], accept: float, configuration: Configuration, checked: pl.LazyFrame,
    rules: tuple[Rule, ...],
) -> None:
    rejected = sum(broken.values())
    if rows == 0:
        kept = ", ".join(f"{name} = {' or '.join(levels)}" for name, levels in configuration.where.items())
        raise InputError("The log has no rows" + (f" where {kept}." if kept else "."))
    if rejected > accept * rows or rejected == rows:
        counts = ", ".join(f"{number} by {name}" for name, number in broken.items())
        first = checked.filter(pl.col(BROKEN).is_not_null()).head(1)
        example = first.select("file", "row", BROKEN).collect(engine="streaming").row(0, named=True)
        advice = "no valid row is left." if rejected == rows else "accept them with --accept-rejected FRACTION."
        raise InputError(
            f"{rejected} of {rows} rows are rejected ({rejected / rows:.1%}, accepted are {accept:.1%}): {counts}; for "
            f"example row {example['row']} of {example['file']}: {rules[example[BROKEN]].sentence}. Correct them; {advice}"
        )


def _finished(
    checked: pl.LazyFrame, seen: Profile, columns: dict[str, Column], rules: tuple[Rule, ...],
    configuration: Configuration, tables: dict[str, list[Source]], skipped: list[tuple[str, str]],
) -> Executions:
    outcome = configuration.outcome
    kind, reason = infer_kind(configuration, seen.outcome)
    unused = _unused(seen, columns, outcome)
    factors = contexts.varying(seen, configuration.factors)
    kept = [name for name in columns if name not in dict(unused)]
    numbers = [n for n in kept if columns[n].dtype == pl.Float64 and n not in NEEDED]
    frame = checked.with_columns(pl.col(numbers).fill_nan(None)) if numbers else checked
    missing = [name for name in ALWAYS if name not in kept]
    frame = frame.with_columns(*(pl.lit(None, COLUMNS[name].dtype).alias(name) for name in missing))
    frame = contexts.with_context(frame, factors).with_columns(usable(outcome, kind).alias("outcome"))
    failed = [FAILED + rule.column for rule in rules]
    frame = frame.select(
        *dict.fromkeys([*kept, *missing, "outcome", "file", "row", BROKEN, FILE_NUMBER, *failed])
    )
    valid = seen.rows - sum(seen.broken.values())
    used = seen.outcome.positive if kind == "positive" else seen.outcome.zero_or_one + seen.outcome.between
    notes = [
        f"{name}: {count.not_numbers} NaN values are read as missing."
        for name, count in seen.columns.items() if count.not_numbers
    ]
    if not used:
        raise InputError(f"The outcome {outcome} has no usable value in {valid} valid rows: name another one.")
    return Executions(
        frame=frame, rules=rules, configuration=configuration, factors=factors, outcome=outcome, kind=kind,
        kind_reason=reason, counts=Counts(seen.rows, valid, dict(seen.broken), valid - used, dict(seen.regimes)),
        sources=tuple(tables["executions"]), skipped=tuple(skipped), unused=tuple(unused), notes=tuple(notes),
        outcomes=_table(tables["outcomes"], OUTCOMES), telemetry=_table(tables["telemetry"], TELEMETRY),
    )


def _unused(seen: Profile, columns: dict[str, Column], outcome: str) -> list[tuple[str, str]]:
    """Optional columns that hold a value which cannot be typed, or one outside the range of the schema."""
    kinds = {pl.String: "texts", pl.Float64: "numbers", pl.Int64: "whole numbers", pl.Datetime: "instants with a zone"}
    unused = []
    for name, count in seen.columns.items():
        column = columns[name]
        if name in NEEDED and not (name == "score" and outcome != "score"):
            continue
        total = count.values + count.failed
        if count.failed:
            what = kinds.get(column.dtype.base_type(), "lists of numbers")
            unused.append((name, f"{count.failed} of {total} values are no {what}, for example {count.example!r}"))
        elif count.outside and name != outcome:
            bounds = f"below {column.minimum:g}" if column.minimum is not None else "infinite"
            bounds += f" or above {column.maximum:g}" if column.maximum is not None else ""
            unused.append((name, f"{count.outside} of {total} values are {bounds}"))
    return unused


def _table(sources: list[Source], columns: tuple[Column, ...]) -> pl.LazyFrame | None:
    """A second or third table as canonical columns."""
    frames = []
    for source in sources:
        expressions = [
            typed(column, column.name, source.schema[column.name])[0]
            if column.name in source.columns else pl.lit(None, column.dtype).alias(column.name)
            for column in columns
        ]
        frames.append(source.frame.select(*expressions))
    return pl.concat(frames) if frames else None



