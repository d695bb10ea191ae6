"""What a gate that looks every night keeps between its looks: the judgements so far, and the looks.

One Parquet file: a row a judgement (no answers, no texts), and in its metadata the looks and the first look's information.
A side that was seen before adds nothing, so that the same reference run can be given every night.
"""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from divergence.comparison.changes import Change
from divergence.comparison.sides import BOUNDED, Side, settings_of
from divergence.errors import InputError
from divergence.sealed import COUNT, DAMAGE, check_form, check_seal, with_seal
from divergence.staging import staging

METADATA = "divergence.compare"
LOOK_TRIALS = 1_000_000  # trial numbers of one look: a repeat in another look is another replicate
KEPT = ("model", "task", "item", "trial", "scorer", "regime", "context", "outcome")

_WORDS = {
    "about": {
        "outcome": str,
        "confidence": float,
        "cluster": (str, type(None)),
        "before": {None: str},
        "after": {None: str},
    },
    "first_information": float,
    "looks": [
        {"look": COUNT, "before": str, "after": str, "verdict": str}
        | dict.fromkeys(("information", "estimate", "lower", "upper"), float)
    ],
}
"""What the metadata hold."""


@dataclasses.dataclass(frozen=True, eq=False)
class State:
    """Everything that earlier looks left."""

    path: Path
    """Where it lies."""
    rows: pl.DataFrame | None
    """Judgements so far: `side`, `look` and the columns of `KEPT` and more; None before the first look."""
    about: dict[str, Any]
    """What the looks are about: outcome, confidence, cluster, settings of both sides; empty before the first look."""
    first_information: float | None
    """Information of the first look; None before it."""
    looks: tuple[dict[str, Any], ...]
    """One record a look: sides, information, difference, verdict."""

    def merged(self, side: Side, which: str) -> tuple[Side, bool]:
        """A side with the judgements of earlier looks, and whether it adds any; `which` is `before` or `after`."""
        seen = {look[which]: look["look"] for look in reversed(self.looks)}
        number = seen.get(side.fingerprint, len(self.looks) + 1)
        trial = pl.col("trial").fill_null(0) % LOOK_TRIALS + number * LOOK_TRIALS
        tonight = side.rows.with_columns(trial, look=pl.lit(number, pl.Int64))
        parts = [tonight]
        if self.rows is not None:
            earlier = self.rows.filter((pl.col("side") == which) & (pl.col("look") != number)).drop("side")
            self._check_like(earlier, tonight, side.kind)
            parts.insert(0, earlier)
        rows = pl.concat(parts, how="diagonal")
        return dataclasses.replace(side, rows=rows), side.fingerprint not in seen

    def _check_like(self, earlier: pl.DataFrame, tonight: pl.DataFrame, kind: str) -> None:
        """InputError where earlier judgements cannot stand beside those of tonight."""
        for name in earlier.columns:
            if name in tonight.columns and earlier.schema[name] != tonight.schema[name]:
                was, now = earlier.schema[name], tonight.schema[name]
                raise _none(self.path, ValueError(f"its column {name} is {was}, that of this run is {now}"))
        if kind in BOUNDED and not earlier["outcome"].is_between(0, 1).all():
            raise _none(self.path, ValueError("its outcomes do not lie between 0 and 1, as those of this run do"))

    def after(self, sides: tuple[Side, Side], about: dict[str, Any], look: dict[str, Any]) -> State:
        """The state with one more look; the sides hold the judgements of all of them."""
        kept = []
        for side, which in zip(sides, ("before", "after"), strict=True):
            columns = [name for name in side.rows.columns if name not in ("answer", "gold", "execution_id", "file", "row")]
            kept.append(side.rows.select(columns).with_columns(side=pl.lit(which)))
        rows = pl.concat(kept, how="diagonal")
        first = self.first_information or look["information"]
        return dataclasses.replace(self, rows=rows, about=about, first_information=first, looks=(*self.looks, look))

    def save(self) -> None:
        """Write the file, whole or not at all."""
        if self.rows is None:
            return
        words = {"about": self.about, "first_information": self.first_information, "looks": list(self.looks)}
        with staging(self.path) as fresh:
            self.rows.write_parquet(fresh / "state", metadata={METADATA: json.dumps(with_seal(words))})
            os.replace(fresh / "state", self.path)


def load(path: Path) -> State:
    """The state in a file; an empty one where there is none. Raises InputError for a file that is something else."""
    if not path.exists():
        return State(path, None, {}, None, ())
    try:
        words = json.loads(pl.read_parquet_metadata(path)[METADATA])
        check_form(words, _WORDS, "state")
        check_seal(words)
        rows = pl.read_parquet(path)
        _check(words, rows)
    except (OSError, *DAMAGE, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise _none(path, error) from None
    return State(path, rows, words["about"], words["first_information"], tuple(words["looks"]))


def _check(words: dict[str, Any], rows: pl.DataFrame) -> None:
    """ValueError where looks and judgements are none that `save` writes."""
    looks = words["looks"]
    if not looks or [look["look"] for look in looks] != list(range(1, len(looks) + 1)):
        raise ValueError("its looks are not numbered")
    if not all(0 < each < np.inf for each in (words["first_information"], *(look["information"] for look in looks))):
        raise ValueError("a look has no information")
    kinds = {name: pl.String() for name in (*KEPT, "side")} | {
        "look": pl.Int64(),
        "trial": pl.Int64(),
        "outcome": pl.Float64(),
    }
    for name, kind in kinds.items():
        if rows.schema[name] != kind:
            raise ValueError(f"its column {name} is {rows.schema[name]}, not {kind}")
    whole = rows.select(
        side=pl.col("side").is_in(["before", "after"]),
        look=pl.col("look").is_between(1, len(looks)),
        outcome=pl.col("outcome").is_finite(),
        **{name: pl.col(name).is_not_null() for name in ("model", "context", "trial")},
    )
    wrong = [name for name in whole.columns if not whole[name].fill_null(False).all()]
    if wrong or not rows.height:
        raise ValueError(f"its column {wrong[0]} has values that none can have" if wrong else "it has no judgements")


def _none(path: Path, error: BaseException) -> InputError:
    said = next(iter(str(error).splitlines()), "")[:120]
    return InputError(
        f"{path} is no state of a comparison ({type(error).__name__}: {said}): name another --state, or a file that is not "
        "there."
    )


def about(sides: tuple[Side, Side], confidence: float, cluster: str | None) -> dict[str, Any]:
    """What a look is about, to be the same at every look."""
    settings = [
        {name: value for name, value in settings_of(side, side.rows).items() if Change(name, None, None).counts}
        for side in sides
    ]
    return {
        "outcome": sides[0].outcome,
        "confidence": confidence,
        "cluster": cluster,
        "before": settings[0],
        "after": settings[1],
    }


def check(state: State, now: dict[str, Any]) -> None:
    """Raises InputError where the state follows another change than this look."""
    for name, value in now.items():
        kept = state.about.get(name)
        if not state.about or kept == value:
            continue
        if isinstance(value, dict) and isinstance(kept, dict):
            field = next(f for f in [*kept, *value] if kept.get(f) != value.get(f))
            name, kept, value = f"{field} of {name.upper()}", kept.get(field), value.get(field)
        raise InputError(
            f"{state.path} follows another comparison: {name} was {kept!r} there and is {value!r} here. Repeated looks are "
            "at one change; name a new --state for another one."
        )
