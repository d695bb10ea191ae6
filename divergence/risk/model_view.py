"""How is a risk model shown in a notebook? Its known combinations, the riskiest first, and the notes of its log."""

from __future__ import annotations

import numpy as np

from divergence.shown import card, fold, html_table, listing

SHOWN = ("risk", "excess", "lower", "upper", "novelty")


def shown_table(model) -> str:
    """The card of a `RiskModel`, as HTML."""
    head = [*model.levels, *SHOWN, "known", "reason"]
    names = [(*v, "(never seen)") for v in model.levels.values()]
    places = np.stack(np.unravel_index(np.arange(len(model.table["risk"])), [len(n) for n in names]), 1)
    order = np.argsort(-model.table["risk"], kind="stable")
    body = [
        [
            *(n[p] for n, p in zip(names, places[k], strict=True)),
            *("" if np.isnan(model.table[n][k]) else f"{model.table[n][k]:.3g}" for n in SHOWN),
            "yes" if model.table["known"][k] else "no",
            model.reasons[model.table["reason"][k]],
        ]
        for k in order[model.table["known"][order]]
    ]
    notes = [str(note) for note in model.provenance.get("notes", ())]
    return card(
        "RiskModel",
        repr(model).partition(" ")[2],
        fold("known combinations, the riskiest first", html_table(head, body)),
        fold("notes of the log", listing(notes)),
    )
