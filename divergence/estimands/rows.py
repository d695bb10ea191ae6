"""Rows and refusals that several estimands share."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any, Concatenate, ParamSpec, cast

import numpy as np
import polars as pl

from divergence.calling import check_call, nearest
from divergence.errors import InputError, NotIdentifiedError
from divergence.estimands.documented import documented
from divergence.estimate import COORDINATES, Estimate
from divergence.identification.question import Question
from divergence.joint.laws import Law
from divergence.joint.posterior import Fit, Posterior
from divergence.joint.posterior import models_with_rows as models_with_rows
from divergence.joint.predict import NO_POPULATION, POPULATIONS, Levels, in_logged_contexts
from divergence.outcome_names import unit_named

Parameters = ParamSpec("Parameters")
Answering = Callable[Concatenate[Posterior, Parameters], Estimate]


OBSERVED_ITEMS = "on the items of the log themselves"


def answered(
    question: Question, unit: str | Callable[[Fit], str], check: Callable[[Fit, Mapping], None] | None = None
) -> Callable[[Answering], Answering]:
    """Ask what a question needs of the log's design before the function that answers it: `check` asks the same.

    `unit`: of the refusal, or a function of the fit that gives it. `check`: raises InputError for arguments that cannot be
    meant, before the log is asked.
    """

    def decorate(function: Answering) -> Answering:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def asked(*args: Any, **kwargs: Any) -> Estimate:
            check_call(question.name, signature, args, kwargs, plain=False)
            posterior: Posterior = args[0] if args else kwargs["posterior"]
            outcome = kwargs.get("outcome")
            items = kwargs.get("items")
            if items is not None:
                posterior = about(posterior, items)
                if items == "observed" and kwargs.get("contexts") == "new":
                    raise InputError(NO_POPULATION)
            fit = posterior[outcome if isinstance(outcome, str) else None]
            if check is not None:
                check(fit, kwargs)
            given = kwargs.get("acceptance")
            named = given.items() if isinstance(given, Mapping) else [("what was given", given or None)]
            bounds = tuple(name for name, value in named if value is not None)
            design = fit.log_design.declaring(priced=bool(kwargs.get("prices")), required=bounds)
            need = question.needs(design)
            if not (need.met or need.bounds):
                of = unit if isinstance(unit, str) else unit(fit)
                found = refuse(fit, question.name, question.text, of, need.sentence)
            else:
                found = function(*args, **kwargs)
            if fit.cells.items == "observed" and question.of_levels:
                found = dataclasses.replace(found, text=f"{found.text.replace(', for new items', '')} ({OBSERVED_ITEMS})")
            return dataclasses.replace(found, words=question.words, better=fit.cells.better)

        asked.__doc__ = documented(question, function, sys.modules[function.__module__].__doc__)
        return cast(Answering, asked)

    return decorate


def about(posterior: Posterior, items: str | None) -> Posterior:
    """The same posterior about `new` items or those of the log (`observed`); None: as its configuration declares.

    Draws are shared, and each population is made once. Raises InputError for any other.
    """
    if items is None or items == posterior.fits[0].cells.items:
        return posterior
    if items not in POPULATIONS:
        raise InputError(f"items is one of {', '.join(POPULATIONS)}, seen {items!r}{nearest(str(items), POPULATIONS)}.")
    made = posterior.__dict__.setdefault("_about", {})
    if items not in made:
        fits = []
        for fit in posterior.fits:
            other = dataclasses.replace(fit, cells=dataclasses.replace(fit.cells, items=items))
            shared = ("levels_of_new_items", "levels_of_observed_items")
            other.__dict__.update({name: fit.__dict__[name] for name in shared if name in fit.__dict__})
            fits.append(other)
        made[items] = dataclasses.replace(posterior, fits=tuple(fits))
    return made[items]


def unit_of(fit: Fit) -> str:
    """Unit of a difference of levels: points for scores; else what the outcome's name says."""
    if fit.cells.kind != "positive":
        return "fraction"
    return unit_named(fit.cells.outcome)


def level_unit(fit: Fit) -> str:
    """Unit of a level: a share of 0 to 1 for scores of every kind, else the unit of differences."""
    return "probability" if fit.cells.kind != "positive" else unit_of(fit)


def frame(**columns) -> pl.DataFrame:
    """Coordinate rows; every column is text and of one length."""
    return pl.DataFrame(columns, schema={name: pl.String if name in COORDINATES else pl.Int64 for name in columns})


def answer(fit: Fit, question: str, text: str, unit: str, rows: pl.DataFrame, draws: np.ndarray, **fields) -> Estimate:
    """An estimate that carries the fit's outcome, counts and method."""
    return Estimate(
        question,
        text,
        unit,
        rows,
        draws,
        outcome=fit.cells.outcome,
        counts=fit.counts,
        method=fit.described_method,
        **fields,
    )


def refuse(fit: Fit, question: str, text: str, unit: str, reason: str) -> Estimate:
    """A refusal that carries the fit's outcome, counts and method."""
    return Estimate.refused(
        question, text, unit, reason, outcome=fit.cells.outcome, counts=fit.counts, method=fit.described_method
    )


def logged_levels(fit: Fit, regime: str, law: Law | None = None) -> Levels:
    """Levels in a regime's contexts where it is known that the log has them. Raises NotIdentifiedError where it has not."""
    mu = in_logged_contexts(fit, regime, law)
    if mu is None:
        raise NotIdentifiedError(f"the log has no {regime} rows")
    return mu


def deployed_contexts(
    posterior: Posterior, outcome: str | None, law: Law | None, least: int
) -> tuple[Fit, Levels | None, str]:
    """The fit, the deployment levels, and why a law that was given leaves fewer than `least` contexts ('' = it does not)."""
    fit = posterior[outcome]
    mu = in_logged_contexts(fit, "deployment", law)
    assert mu is not None  # the questions' needs: judged deployment rows, in two contexts where two are asked for
    if int((mu.law.max(0) > 0).sum()) < least:
        return fit, None, f"the deployment law gives weight to one context; how a score moves over contexts needs {least}"
    return fit, mu, ""


def context_codes(fit: Fit) -> np.ndarray:
    """(regime, context) codes of the cells for the design's contexts, shape (contexts, 2)."""
    names = fit.cells.levels["regime"]
    code = [names.index("deployment" if deployed else "evaluation") for deployed in fit.design.contexts[:, 0]]
    return np.stack([np.array(code), fit.design.contexts[:, 1]], 1)


def levels_seen(fit: Fit, factor: str) -> np.ndarray:
    """Which model was judged at which level of a factor, shape (models, levels)."""
    seen = np.zeros((fit.design.n_models, len(fit.design.contexts)), bool)
    for place, (deployed, context) in enumerate(fit.design.contexts):
        seen[fit.arms.model[(fit.arms.deployed == deployed) & (fit.arms.context == context)], place] = True
    return seen.astype(float) @ fit.design.mixtures[factor] > 0


def tried_levels(fit: Fit, factor: str) -> np.ndarray:
    """Which model was judged at which level and at another one too, shape (models, levels); else it is its prior there."""
    at = levels_seen(fit, factor)
    return at & (at.sum(1, keepdims=True) > 1)


class Rows:
    """An answer that is collected number by number."""

    def __init__(self, fit: Fit, question: str, unit: str, coordinates: tuple[str, ...]) -> None:
        self.fit, self.question, self.unit, self.coordinates = fit, question, unit, coordinates
        self._rows: list[dict] = []
        self._draws: list[np.ndarray] = []
        self._reasons: list[str | None] = []
        self._bounds: list[bool] = []

    def add(
        self, draws: np.ndarray, *, unit: str | None = None, bound: str | None = None, **coordinates: str | None
    ) -> None:
        """One number with its draws (S,); `bound`: why the number that it bounds is not identified."""
        self._rows.append(coordinates | {"unit": unit or self.unit})
        self._draws.append(draws)
        self._reasons.append(bound)
        self._bounds.append(bound is not None)

    def refuse(self, reason: str, *, unit: str | None = None, **coordinates: str | None) -> None:
        """One number that is not identified."""
        self.add(np.full(len(self.fit.effects), np.nan), unit=unit, bound=reason, **coordinates)
        self._bounds[-1] = False

    def estimate(self, text: str, method: str) -> Estimate:
        """The answer."""
        table = frame(**{name: [row.get(name) for row in self._rows] for name in self.coordinates}).with_columns(
            unit=pl.Series([row["unit"] for row in self._rows])
        )
        return Estimate(
            self.question,
            text,
            self.unit,
            table,
            np.stack(self._draws, 1),
            outcome=self.fit.cells.outcome,
            reason=tuple(self._reasons),
            counts=self.fit.counts,
            method=method,
            bounds=np.array(self._bounds),
        )
