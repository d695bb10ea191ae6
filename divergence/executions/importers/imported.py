"""What an import gives, and how it is written: canonical tables, and everything that could not be carried over."""

from __future__ import annotations

import dataclasses
import datetime
import difflib
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from divergence.errors import InputError
from divergence.executions import schema
from divergence.executions.importers import claims, convert, foreign_files, run_settings
from divergence.executions.importers.drafted_rows import BESIDE, RESPONSE
from divergence.executions.importers.format import Format
from divergence.executions.importers.mapping import Draft
from divergence.executions.model_names import suggestions
from divergence.executions.names import SEEN
from divergence.plain_text import blank

IDENTITY = ("regime", "model", "item", "score", "execution_id")  # kept in the table even where every value is null
REJECTED = pl.Schema({"file": pl.String(), "row": pl.Int64(), "rule": pl.String(), "sentence": pl.String()})
RESPONSES = pl.Schema({"execution_id": pl.String(), "response": pl.String()})
TEXTS = pl.Schema({"execution_id": pl.String(), "role": pl.String(), "text": pl.String()})


@dataclasses.dataclass(frozen=True)
class Imported:
    """A foreign log as canonical tables."""

    frame: pl.LazyFrame
    """One row an execution; canonical columns only, those that the log fills."""
    judged: pl.LazyFrame
    """Every judgement of every execution: execution_id, metric, value, label, scorer."""
    rows: int
    """Number of executions."""
    format: str
    """Name of the foreign format."""
    rejected: pl.DataFrame
    """What was set aside: file, row (line, or position in the log, from 1), rule, sentence."""
    unmapped: tuple[str, ...]
    """Foreign fields that carried data and have no canonical column, sorted."""
    missing: tuple[str, ...]
    """Canonical columns that the log does not fill."""
    notes: tuple[str, ...]
    """Sentences that a reader of the import must know."""
    sources: dict[str, str]
    """The files read, with the SHA-256 of each."""
    telemetry: pl.DataFrame = dataclasses.field(default_factory=lambda: _empty("telemetry"))
    """Numbers of windows, as the canonical table `telemetry` has them."""
    texts: pl.DataFrame = dataclasses.field(default_factory=lambda: pl.DataFrame(schema=TEXTS))
    """Prompts and completions, if they were asked for: execution_id, role, text."""
    responses: pl.LazyFrame = dataclasses.field(default_factory=lambda: pl.LazyFrame(schema=RESPONSES))
    """The ids that servers gave to their answers, beside those of the rows: execution_id, response."""
    holds: tuple[Any, ...] = ()
    """What must live as long as the frames do."""

    @functools.cached_property
    def executions(self) -> pl.DataFrame:
        """The executions in memory."""
        return self.frame.collect(engine="streaming")

    @functools.cached_property
    def models(self) -> list[str]:
        """Sentences that suggest which names may be one model; none is merged."""
        names = self.frame.select("model").unique().collect(engine="streaming")["model"].drop_nulls()
        return suggestions(names.to_list())

    @functools.cached_property
    def outcomes(self) -> pl.DataFrame:
        """The judgements in memory."""
        return self.judged.collect(engine="streaming")


def _empty(table: str) -> pl.DataFrame:
    return pl.DataFrame(schema=schema.polars_schema(table))


def assemble(draft: Draft, format: Format) -> Imported:
    """The tables of a finished draft, in canonical types.

    Scores that leave the range 0 to 1 anywhere in a task are kept as outcomes only, for the whole of that task and
    scorer: a selection of rows by their value would bias what is left. Run settings that differ are put into
    `scaffold`; what the log states about itself is compared with the rows.
    """
    draft.settle()
    executions, outcomes = draft.rows.frames()
    executions = executions.with_columns(**constants_of(draft.constants))
    if "regime" not in draft.constants:
        executions = executions.with_columns(pl.col("regime").fill_null(format.regime))
    repeats = _repeats(draft, executions)
    for sentence in claims.differences(
        [c for c in draft.claims if c.scope.get("file") not in repeats], executions, outcomes
    ):
        draft.note(sentence)
    executions = _within_unit(executions, draft)
    executions, sentences = run_settings.with_settings(executions, draft.runs)
    for sentence in (*sentences, *_empty_answers(executions), *run_settings.told(draft.told)):
        draft.note(sentence)
    if draft.privacy.keep_text and not draft.texts:
        draft.note(f"No text is kept: these logs of {format.name} hold none, or none is read from that format.")
    responses = executions.select("execution_id", response=RESPONSE).drop_nulls()
    executions = executions.drop(BESIDE)
    counts = executions.select(pl.all().count(), pl.len().alias("__rows")).collect(engine="streaming").row(0, named=True)
    rows = counts.pop("__rows")
    filled = [name for name, count in counts.items() if count]
    if {"cached_tokens", "input_tokens"} <= {*filled}:
        apart = executions.filter(pl.col("cached_tokens") > pl.col("input_tokens")).select(pl.len())
        if beyond := apart.collect(engine="streaming").item():
            draft.note(f"In {beyond} rows more tokens are cached than read: there input_tokens leaves cached ones out.")
    if not rows and not draft.rejected and not draft.telemetry:
        draft.note(f"There is no execution in these logs of {format.name}: is this what the tool wrote?")
    return Imported(
        frame=executions.select(name for name in counts if name in filled or name in IDENTITY),
        judged=outcomes,
        rows=rows,
        format=format.name,
        rejected=_in_order_of_place(draft),
        unmapped=tuple(sorted(draft.unmapped)),
        missing=tuple(name for name in counts if name not in filled and name not in draft.constants),
        notes=draft.sentences(),
        sources={convert.printable(path): foreign_files.sha256(path) for path in sorted(set(draft.sources))},
        telemetry=pl.DataFrame(draft.telemetry, schema=schema.polars_schema("telemetry"), orient="row"),
        texts=pl.DataFrame(draft.texts, schema=TEXTS, orient="row"),
        responses=responses,
        holds=(draft.rows,),
    )


def _in_order_of_place(draft: Draft) -> pl.DataFrame:
    """What was set aside, file by file as they were read, row by row: whenever it was found out."""
    files = {convert.printable(path): number for number, path in reversed(list(enumerate(draft.sources)))}
    rejected = sorted(
        draft.rejected, key=lambda row: (files.get(row["file"], len(files)), row["file"] or "", row["row"] or 0, row["rule"])
    )
    return pl.DataFrame(rejected, schema=REJECTED, orient="row")


def together(parts: Sequence[Imported]) -> Imported:
    """Several imports as one: the tables below each other, the reports side by side.

    An execution id that two formats share is kept in the first of them, and set aside in the other.
    """
    if len(parts) == 1:
        return parts[0]
    named = pl.concat([part.frame.select("execution_id") for part in parts]).collect(engine="streaming")["execution_id"]
    again = ~named.is_first_distinct()
    twice = named.filter(again)
    executions = pl.concat([part.frame for part in parts], how="diagonal")
    if len(twice):
        executions = executions.filter(~again)
    sentences = [f"execution_id {convert.named(name)} was already seen in another format of this import." for name in twice]
    rejected = pl.DataFrame(
        {
            "file": [", ".join(part.format for part in parts)] * len(twice),
            "row": [None] * len(twice),
            "rule": [SEEN] * len(twice),
            "sentence": sentences,
        },
        schema=REJECTED,
    )
    return Imported(
        frame=executions,
        judged=pl.concat([part.judged for part in parts]),
        rows=len(named) - len(twice),
        format=", ".join(part.format for part in parts),
        rejected=pl.concat([*(part.rejected for part in parts), rejected]),
        unmapped=tuple(f"{part.format}: {name}" for part in parts for name in part.unmapped),
        missing=tuple(name for name in schema.COLUMNS if all(name in part.missing for part in parts)),
        notes=(*dict.fromkeys(note for part in parts for note in part.notes), *_joined(executions)),
        sources={name: digest for part in parts for name, digest in part.sources.items()},
        telemetry=pl.concat([part.telemetry for part in parts]),
        texts=pl.concat([part.texts for part in parts]),
        holds=tuple(held for part in parts for held in part.holds),
    )


def _joined(executions: pl.LazyFrame) -> list[str]:
    """A sentence about the items that both regimes have, where there are both."""
    named = executions.select("regime", "item").drop_nulls("regime").unique().collect(engine="streaming")
    sides = {regime: set(named.filter(regime=regime)["item"].drop_nulls()) for regime in named["regime"].unique()}
    if len(sides) < 2:
        return []
    evaluation, deployment = (sides.get(regime, set()) for regime in schema.REGIMES)
    both = len(evaluation & deployment)
    sentence = f"{both} of {len(evaluation)} evaluation items are among the {len(deployment)} of deployment"
    if both:
        return [f"{sentence}."]
    return [f"{sentence}: levels can be compared, items not. Tools that log the prompt join by it with --item-key prompt."]


def _repeats(draft: Draft, executions: pl.LazyFrame) -> set[str]:
    """The files of which every execution was seen before, which is said; their aggregates are those of other files."""
    again = {row["file"] for row in draft.rejected if row["rule"] == SEEN}
    if not again:
        return again
    again -= set(executions.select(pl.col("__file").unique()).collect(engine="streaming")["__file"])
    for file in sorted(again):
        draft.note(f"{file} repeats executions of other files, and gives none of its own.")
    return again


def _within_unit(executions: pl.LazyFrame, draft: Draft) -> pl.LazyFrame:
    group = ["task", "scorer"]
    beyond = executions.filter(~pl.col("score").is_between(0, 1)).group_by(group, maintain_order=True)
    ranges = beyond.agg(low=pl.col("score").min(), high=pl.col("score").max()).collect(engine="streaming")
    for task, scorer, low, high in ranges.iter_rows():
        draft.note(
            f"{scorer} of task {task} gives values from {low:g} to {high:g} outside 0 to 1: it is kept in the outcomes,"
            " and score is null for the whole task."
        )
    if not ranges.height:
        return executions
    marked = ranges.lazy().select(*group, pl.lit(True).alias("__beyond"))
    joined = executions.join(marked, on=group, how="left", nulls_equal=True, maintain_order="left")
    return joined.with_columns(score=pl.when(pl.col("__beyond").is_null()).then("score")).drop("__beyond")


def _empty_answers(executions: pl.LazyFrame) -> list[str]:
    """A sentence for every task in which answers are empty: often a cut or a failed reply, and judged as wrong."""
    counts = executions.group_by("task", maintain_order=True).agg((pl.col("answer") == "").sum(), pl.len())
    return [
        f"{empty} of {rows} answers{f' of task {task}' if task else ''} are empty."
        for task, empty, rows in counts.collect(engine="streaming").iter_rows()
        if empty
    ]


def checked_constants(constants: Mapping[str, str]) -> dict[str, str]:
    """Constants whose names and values the canonical table can hold; InputError otherwise."""
    allowed = [name for name in schema.COLUMNS if name not in ("execution_id", "embedding", "prompt_embedding")]
    for name, value in constants.items():
        if name not in allowed:
            near = difflib.get_close_matches(name, allowed, 1)
            hint = f"; did you mean {near[0]}?" if near else f". Choose from: {', '.join(allowed)}."
            raise InputError(f"{name!r} cannot be set: it is not a canonical column of one value{hint}")
        if name == "regime" and value not in schema.REGIMES:
            raise InputError(f"regime cannot be set to {value!r}: choose {' or '.join(schema.REGIMES)}.")
        if blank(value):
            raise InputError(f"{name} cannot be set to {value!r}: of that nothing is to be seen.")
    constants_of(constants)
    return dict(constants)


def constants_of(constants: Mapping[str, str]) -> dict[str, pl.Expr]:
    """The columns that the caller sets, as expressions of canonical type; InputError for a value that has not that type."""
    return {name: pl.lit(_typed(name, value), schema.COLUMNS[name].dtype) for name, value in constants.items()}


def _typed(name: str, value: str) -> Any:
    column = schema.COLUMNS[name]
    try:
        if isinstance(column.dtype, pl.Datetime):
            instant = convert.moment(value)
            return instant.astimezone(datetime.UTC) if instant else None
        if column.dtype.is_integer():
            return convert.count(int(value))
        return convert.amount(float(value)) if column.dtype.is_float() else convert.text(value)
    except ValueError as error:
        raise InputError(f"{name} cannot be set to {value!r}: the column holds {column.dtype} values.") from error
