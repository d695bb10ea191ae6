"""Embeddings of a log to the answers of geometry: where behaviour went, beside what became of the score.

| question | answers |
|---|---|
| `context_displacement` | how far each model moved in each context, and its change of score |
| `behaviour_map` | where models and contexts lie, seen from the evaluation |
| `displacement_regression` | what each serving factor moves |
| `explained_by_displacement` | how much of what contexts do to success goes with movement |

Without embeddings each is refused with what is missing.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import polars as pl

from divergence.errors import InputError
from divergence.estimate import Estimate
from divergence.executions.unchanged import one_pass

if TYPE_CHECKING:
    from divergence.executions import Executions

WORDS = {
    "context_displacement": "movement of the answers",
    "behaviour_map": "map of behaviour",
    "displacement_regression": "what each serving factor moves",
    "explained_by_displacement": "success that goes with movement",
}
"""The questions that embeddings answer, with their names in plain words."""
TEXTS = {
    "context_displacement": "squared movement of the answers to the same items, in noise floors",
    "behaviour_map": "where models in contexts lie, seen from the evaluation",
    "displacement_regression": "squared movement of the answers due to each serving factor",
    "explained_by_displacement": "share of the contexts' effects on success that goes with movement of the answers",
}


@one_pass
def behaviour(log: Executions) -> dict[str, Estimate]:
    """The four answers of a log, refusals included; items are the independent units."""
    try:
        rows, vectors = log.embedded_texts()
        from divergence import geometry  # a log without embeddings does not wait for it

        labels = dict(
            model=rows["model"],
            context=rows["context"],
            item=rows["item"],
            evaluation=rows["regime"] == "evaluation",
            score=rows["score"],
        )
        state = geometry.movement(vectors, rows["text"], cluster=None, **labels)
    except InputError as error:
        return {
            question: Estimate.refused(question, text, "ratio", str(error), outcome="embedding", words=WORDS[question])
            for question, text in TEXTS.items()
        }
    runs = geometry.run_movement(state, vectors, rows["text"], **labels)
    found = {
        "context_displacement": geometry.context_displacement(state),
        "behaviour_map": geometry.behaviour_map(state),
        "displacement_regression": geometry.displacement_regression(state, _factors(log, rows)),
        "explained_by_displacement": geometry.explained_by_displacement(runs),
    }
    return {question: dataclasses.replace(answer, words=WORDS[question]) for question, answer in found.items()}


def _factors(log: Executions, rows: pl.DataFrame) -> pl.DataFrame:
    """One row a context with its factor levels; where only the label is known it is the one factor."""
    named = [name for name in log.factors if name != "context"]
    if not named:
        return rows.select("context", context_label="context").unique(maintain_order=True)
    usual = pl.col(named).cast(pl.String).drop_nulls().mode().sort().first()
    return rows.group_by("context", maintain_order=True).agg(usual)
