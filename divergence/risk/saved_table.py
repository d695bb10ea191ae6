"""Are the arrays of a saved risk model those that its words need? Looked at before any of them is used.

    risk.json    what `SAVED` says, and under `traffic.features` what moves unseen items: `names`, `centre`, `scale`, `slope`
                 (one number a name), `covariance` (a square of them), `embedder` (a text or null), `agreement` (`mean`,
                 `noise`, or null)
    risk.npz     one array a column of the table; `plausible` (draws x rows); `item_*` (`item_lookup`); `near_vectors` (int8,
                 items x numbers) and `near_lent` (one number an item) where prompt neighbours are used (`prompt_neighbours`)

Whatever else is found is damage, and one InputError of one sentence.
"""

from __future__ import annotations

import math

import numpy as np

from divergence.sealed import check_form

NUMBERS = ("risk", "excess", "lower", "upper", "novelty")
PLAUSIBLE = "plausible"
SAVED = {
    "outcome": str,
    "kind": str,
    "factors": [str],
    "levels": {None: [str]},
    "reasons": [str],
    "calibrator": {},
    "check": {},
    "conformal": {},
    "traffic": {},
    "provenance": {},
    "served": {},
    "interval": float,
}
"""What the words of a saved model are; its parts look at the rest."""


def check_words(words: dict) -> None:
    """Raise ValueError where the words are of another form."""
    check_form(words, SAVED, "words")


def check_table(words: dict, table: dict[str, np.ndarray], plausible: np.ndarray | None) -> None:
    """Raise ValueError where the table and its draws are not those of these levels and reasons."""
    rows = math.prod(len(v) + 1 for v in words["levels"].values())
    kinds = {**dict.fromkeys(NUMBERS, "f"), "known": "b", "reason": "i"}
    found = {name: (a.dtype.kind, a.shape) for name, a in table.items()}
    if found != {name: (kind, (rows,)) for name, kind in kinds.items()}:
        raise ValueError(f"its arrays are {found}, its levels need {rows} rows of {', '.join(kinds)}")
    if plausible is not None and (plausible.dtype.kind != "f" or plausible.shape[1:] != (rows,)):
        raise ValueError(f"its draws have shape {plausible.shape}, its levels need {rows} columns")
    if not ((table["reason"] >= 0) & (table["reason"] < len(words["reasons"]))).all():
        raise ValueError("a reason has no text")
