"""What may a risk be that no row of the table has exactly? Draws of the nearest one, moved to it.

    logit draw' = logit draw + logit to - logit of

An answer of a known item in a new context, or a risk that was rounded in counting, shares with the rows of its context how
far the level is off. Unit: probability.
"""

from __future__ import annotations

import numpy as np

from divergence.numerics import expit, logit

EDGE = 1e-6


def moved_to(draws: np.ndarray, of: np.ndarray, to: np.ndarray) -> np.ndarray:
    """Draws around the risks `of`, moved to lie around the risks `to`; shape (draws, risks).

    >>> moved_to(np.array([[0.5]]), np.array([0.5]), np.array([0.8])).round(3).tolist()
    [[0.8]]
    """
    step = logit(np.clip(to, EDGE, 1 - EDGE)) - logit(np.clip(of, EDGE, 1 - EDGE))
    return np.where(of == to, draws, expit(logit(np.clip(draws, EDGE, 1 - EDGE)) + step))


def nearest_draws(draws: np.ndarray, risk: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Draws of each asked risk: those of the rows whose risk is nearest, rows of one risk taken together.

    `draws` has shape (draws, rows), `risk` are the rows' risks.
    """
    order = np.argsort(risk, kind="stable")
    known, first, n = np.unique(risk[order], return_index=True, return_counts=True)
    drawn = np.add.reduceat(draws[:, order], first, axis=1, dtype=float) / n
    nearest = np.abs(known - asked[:, None]).argmin(1)
    return moved_to(drawn[:, nearest], known[nearest], asked)


def drawn(model, rows: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Draws of each kind of request, shape (draws, kinds), and each request's kind, by its row of the model's table and its
    place in the model's answers."""
    kinds, kind = np.unique(index * (len(model.table["risk"]) + 1) + rows, return_inverse=True)
    place, row = np.divmod(kinds, len(model.table["risk"]) + 1)
    return moved_to(
        model.plausible[:, row].astype(float), model.table["risk"][row], model.answers["risk"][place]
    ), kind.ravel()


def drawn_of_batch(model, batch) -> tuple[np.ndarray, np.ndarray]:
    """The same for the requests of a batch. What a known item in a new context or of a new model shares with its stratum is
    how far the level is off; where model and context are known its error is its own, and no draw moves it."""
    rows, (scores, index) = model.rows(batch), model.answer(batch)
    own = model.of_items(index) & np.asarray(scores.column("known"))
    draws, kind = drawn(model, rows, index)
    settled = np.bincount(kind, own) > 0
    risk = np.bincount(kind, model.answers["risk"].take(index)) / np.bincount(kind)
    return np.where(settled, risk, draws), kind
