"""What the verbs that fit a log have in common: the fit, its gates, its risk model, and what may be asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from divergence.calling import nearest
from divergence.errors import InputError, NotIdentifiedError

if TYPE_CHECKING:
    from divergence.executions import Executions
    from divergence.joint import Posterior
    from divergence.risk.model import RiskModel


def fitted(log: Executions, seed: int, tell: Callable[[str], None]) -> Posterior:
    """The posterior of the log's outcome and of what serving it took."""
    from divergence.joint.outcomes import fit_outcomes

    return fit_outcomes(log, seed=seed, progress=tell)


def risk_of(posterior: Posterior, log: Executions, seed: int) -> tuple[RiskModel | None, dict]:
    """The risk model, and what its calibration was measured to be, or why there is none. Nothing is written."""
    from divergence.risk.build import risk_model

    try:
        model = risk_model(posterior, log, seed=seed)
    except NotIdentifiedError as error:
        return None, {"sentence": f"no risk model: {error}"}
    return model, model.check


UNDER_LOAD = "load_curve"
"""The question of `divergence.under_load`, whose answer takes no fit."""


def known_question(question: str | None, *further: str) -> None:
    """InputError where a question is asked for that does not exist; `further` may be asked beside those of a posterior."""
    from divergence.estimands import QUESTIONS

    known = [*(room.name for room in QUESTIONS), *further]
    if question is not None and question not in known:
        raise InputError(
            f"the question {question!r} is not known{nearest(question, known)}; choose one of {', '.join(known)}"
        )


def answerable(log: Executions, question: str | None) -> None:
    """NotIdentifiedError where the design answers nothing, or not the question asked for."""
    answers = log.answers()
    if question:
        answers = tuple(a for a in answers if a.question == question)
        answers = answers or (log.answer_under_load(),)  # told of its own accord only where a load is logged
    if not any(a.identified for a in answers):
        raise NotIdentifiedError(
            f"{question or 'no question'} can{'not' if question else ''} be answered from this log: "
            + "; ".join(dict.fromkeys(a.reason for a in answers))
        )


def gates(posterior: Posterior) -> int:
    """Say which gates failed; the exit code that follows."""
    failed = [d for d in posterior.diagnostics if not d.passed]
    for gate in failed:
        click.echo(
            f"FAILED {gate.name} = {gate.value:.3g} (limit {gate.threshold:g}): {gate.meaning}; "
            "the results are written and marked",
            err=True,
        )
    return 1 if failed else 0
