"""What does a known item do under a model that was never seen? What it would do under another draw of the models that were.

    f_i = m + lambda . z_i + w,    lambda ~ N(mean of lambda_a, (1 + 1/k) Sigma),    m ~ N(mean of m_a, variance of m_a),
    w ~ N(0, mean psi_a)

over the k models that answered in the context (`item_factors`), each the mean of its arms a. What only a seen model made of
the item (its own w) does not carry over, and how far models differ in their items and levels is added to the uncertainty: a
mean over the seen models' own risks has neither, and is too sure. Sigma is the covariance of the loadings between models,
with one further model that shares half of an item's variance with the others, as two or three say little.
Unit: probits. Source: prediction of a new group in a random-effects model (Searle, Casella and McCulloch 1992, chapter 7).
"""

from __future__ import annotations

import numpy as np

from divergence.risk.item_factors import Factors

SHARED, FURTHER = 0.5, 1.0  # what the further model shares of an item's variance, and how many of it there are


def another_model(
    z: np.ndarray, covariance: np.ndarray, factors: Factors, level: np.ndarray, arms: np.ndarray, model: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of f of every item under a new model, shape (items,).

    `z`, `covariance`: posteriors of the items; `level`: m_a sqrt(1 + v_a) of every item and arm; `arms`: those that answer
    for it; `model`: whose each of these is, of two models at least. A model counts once, in however many contexts it was.
    """
    whose = np.unique(model, return_inverse=True)[1]
    each = (whose == np.arange(whose.max() + 1)[:, None]) / np.bincount(whose)[:, None]  # means over a model's arms
    models = len(each)
    loading, unique, level = each @ factors.loadings[arms], each @ factors.unique[arms], level[:, arms] @ each.T
    middle = loading.mean(0)
    apart = loading - middle
    between = models / (models - 1 + FURTHER)
    spread = apart.T @ apart / models * between
    typical = (loading**2).sum(1).mean() / loading.shape[1]
    spread += FURTHER / (models - 1 + FURTHER) * (1 - SHARED) * typical * np.eye(loading.shape[1])
    square = covariance + z[:, :, None] * z[:, None, :]
    variance = np.einsum("r,irs,s->i", middle, covariance, middle) + np.einsum("irs,rs->i", square, spread) * (
        1 + 1 / models
    )
    variance += unique.mean() + level.var(1) * models / (models - 1)
    return z @ middle + level.mean(1), variance
