"""What changed since an earlier report? Both reports' results tables, number by number.

Of a number with estimate `a` (interval `l_a`, `u_a`) then and `b` (`l_b`, `u_b`) now the change is `b - a`, with limits

    b - a - sqrt((b - l_b)^2 + (u_a - a)^2),    b - a + sqrt((u_b - b)^2 + (a - l_a)^2)

(Zou and Donner 2008: limits of a difference from the limits of its parts, which need not be symmetric). They hold for
independent estimates. Two reports that share rows, or items, err alike: then the limits are wider than they need be, and
what they call a change is one with more certainty than stated. Limits for all rows at once: the same distances as of a
normal law at a level of Bonferroni. Only the levels, gaps and costs of models are compared, not every number of the page.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from statistics import NormalDist

import polars as pl

from divergence.errors import InputError
from divergence.estimate import COORDINATES, SCHEMA
from divergence.report.changes import Changes
from divergence.sealed import COUNT, DAMAGE, check_form

COMPARED = ("bench_level", "deployed_level", "gap", "cost_per_success")
"""Questions whose numbers are compared: the levels, what lies between them, what a success takes."""
FILES = ("estimates.parquet", "run.json")
_RUN = {
    "fits": [{"outcome": str, "n_rows?": COUNT}],
    "interval": float,
    "configuration?": {None: (object, bool)},
    "provenance?": {"versions?": {None: str}},
    "data?": [{"sha256?": (str, type(None))}],
}
"""What is asked of the record of an earlier run."""


@dataclasses.dataclass(frozen=True)
class Earlier:
    """A report that was written before."""

    folder: str
    """Its folder, as it was named."""
    table: pl.DataFrame
    """Its results table."""
    run: Mapping
    """Its record, `run.json`."""


def earlier(folder: str | pathlib.Path) -> Earlier:
    """The report that a folder holds. Raises InputError where the folder holds none."""
    folder = pathlib.Path(folder)
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise InputError(f"{folder} holds no report to compare with: it has no {' and no '.join(missing)}")
    try:
        table, run = pl.read_parquet(folder / FILES[0]), json.loads((folder / FILES[1]).read_text("utf-8"))
    except (OSError, ValueError, RecursionError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        said = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(f"the report in {folder} cannot be read: {said[:160]}") from None
    absent = [name for name, kind in SCHEMA.items() if table.schema.get(name) != kind]
    if absent:
        raise InputError(f"the report in {folder} was made by another version: its results table has no {', '.join(absent)}")
    try:
        check_form(run, _RUN, "record")
        json.dumps(run, ensure_ascii=False).encode()  # half of a surrogate pair cannot stand in a page
        if not (run["fits"] and 0 < run["interval"] < 1):
            raise ValueError("it has no fit, or no interval")
        if not all(column.drop_nulls().is_finite().all() for column in table.select(pl.col(pl.Float64))):
            raise ValueError(f"{FILES[0]} has numbers that are none")
    except DAMAGE as error:
        raise InputError(
            f"the report in {folder} cannot be read: its run.json is no record of a run, or its table is damaged "
            f"({str(error)[:100]}); make that report again, or leave --since out"
        ) from None
    return Earlier(str(folder), table, run)


def changes(before: Earlier, table: pl.DataFrame, run: Mapping) -> Changes:
    """What changed from an earlier report to the one with this results table and record (`run.json`).

    Raises InputError where the earlier one is about another outcome, about other items, or has intervals of another
    probability: their numbers are not of one kind.
    """
    old = before.run
    for what, was, now in (
        ("is about the outcome", _outcome(old), _outcome(run)),
        ("has intervals of probability", old.get("interval"), run.get("interval")),
        ("is about items", _items(old), _items(run)),
    ):
        if was != now:
            raise InputError(f"the report in {before.folder} {what} {was!r}, this one {now!r}: they cannot be compared")
    keys = ["question", *COORDINATES, "outcome", "unit"]
    of = [frame.filter(pl.col("question").is_in(COMPARED), "identified") for frame in (before.table, table)]
    limits = [
        frame.select(*keys, **{name: pl.col("median")}, **{f"{name}_{end}": pl.col(end) for end in ("lower", "upper")})
        for frame, name in zip(of, ("before", "now"), strict=True)
    ]
    both = limits[1].join(limits[0], on=keys, how="inner", nulls_equal=True, maintain_order="left")
    both = both.drop_nulls([name for frame in limits for name in frame.columns if name not in keys])  # none: infinite
    return Changes(
        before.folder,
        _differences(both, float(run["interval"])),
        _facts(before.table, table, old, run),
        bool(run.get("data")) and _hashes(old) == _hashes(run),
    )


def _differences(both: pl.DataFrame, interval: float) -> pl.DataFrame:
    """The changes with their limits, for each row alone and for all at once."""
    half = (1 - interval) / 2
    wider = NormalDist().inv_cdf(1 - half / max(both.height, 1)) / NormalDist().inv_cdf(1 - half)
    low = ((pl.col("now") - pl.col("now_lower")) ** 2 + (pl.col("before_upper") - pl.col("before")) ** 2).sqrt()
    high = ((pl.col("now_upper") - pl.col("now")) ** 2 + (pl.col("before") - pl.col("before_lower")) ** 2).sqrt()
    change = pl.col("now") - pl.col("before")
    return both.with_columns(
        median=change,
        lower=change - low,
        upper=change + high,
        outer_lower=change - wider * low,
        outer_upper=change + wider * high,
    )


def _facts(before: pl.DataFrame, table: pl.DataFrame, old: Mapping, run: Mapping) -> tuple[str, ...]:
    """What differs beside the numbers."""
    rows = [record["fits"][0].get("n_rows") for record in (old, run)]
    told = [f"The earlier report rests on {rows[0]:,} rows, this one on {rows[1]:,}."] if all(rows) else []
    for column, noun in (("model", "Models"), ("context", "Contexts")):
        was, now = (set(frame[column].drop_nulls()) for frame in (before, table))
        told += [f"{noun} that are new: {_some(now - was)}."] * bool(now - was)
        told += [f"{noun} that are gone: {_some(was - now)}."] * bool(was - now)
    was, now = (set(frame.filter("identified")["question"]) for frame in (before, table))
    asked = set(before["question"]) & set(table["question"])
    told += [f"Answered now, and not then: {_some(_spoken(now - was & asked))}."] * bool((now - was) & asked)
    told += [f"Answered then, and no longer: {_some(_spoken((was - now) & asked))}."] * bool((was - now) & asked)
    was, now = (record.get("configuration") or {} for record in (old, run))
    for name in sorted(was.keys() | now.keys()):
        if was.get(name) != now.get(name):
            told.append(f"Declared otherwise: {name.replace('_', ' ')}.")
    was, now = (record.get("provenance", {}).get("versions", {}).get("eval-divergence") for record in (old, run))
    told += [f"Made by version {was} then, by {now} now."] * (was != now)
    return tuple(told)


def _some(names: set[str]) -> str:
    shown = sorted(names)
    return ", ".join(shown[:6]) + (f" and {len(shown) - 6} more" if len(shown) > 6 else "")


def _spoken(questions: set[str]) -> set[str]:
    return {name.replace("_", " ") for name in questions}


def _outcome(run: Mapping) -> object:
    return run["fits"][0]["outcome"]


def _items(run: Mapping) -> object:
    return (run.get("configuration") or {}).get("items", "new")


def _hashes(run: Mapping) -> list[str]:
    return sorted(str(source.get("sha256")) for source in run.get("data") or [])
