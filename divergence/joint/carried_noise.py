"""How much of what models deviate from the lines of `carry_over` is noise of their levels, and how much is their own?

    e_mc = deviation of the measured levels from the mean line,    Var(e_mc) = sigma^2 + n_mc

A drawn level has the noise of the measured one, and the error of the draw once more; so a drawn deviation is wider than a
model's own. In 120 simulated worlds of five models the mean deviation over four contexts was .153 in the draws and .061 in
truth (logit scale), and forecasts held 99 % where 90 % were due. Drawn deviations are therefore made smaller, by one factor
for what the contexts of a model share and one for the rest, until their mean square is `sigma^2`: its restricted maximum
likelihood estimate, given the measured levels and their noise n. How little few models say about `sigma` is in Student's t,
which `fitted_lines` draws. Deviations are never made larger, and where noise is small beside what is the models' own
nothing changes. Source: prediction intervals of random-effects meta-analysis (Higgins, Thompson and Spiegelhalter 2009).
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from divergence.joint.link import Response
from divergence.numerics import column_squares, size_of, square_root

GRID = 400  # values of sigma that are tried; the interval of a forecast moves by less than a per cent between two


def without_noise(y: np.ndarray, line: np.ndarray, seen: np.ndarray, measured: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Deployed levels y (S, models, contexts) moved towards their `line` (of the same shape), link scale.

    `seen`: which combinations have rows (models, contexts); `measured`: deviations of their measured levels, of the same
    shape; `noise`: variances of what contexts share in these, and of the rest, shape (2, models).
    """
    left = (y - line) * seen
    number = np.maximum(seen.sum(1), 1)
    shared, told = left.sum(2) / number, measured.sum(1) / number
    rest, own = (left - shared[:, :, None]) * seen, (measured - told[:, None]) * seen
    each = len(seen) / max(len(seen) - 2, 1)  # a line has two coefficients
    factors = []
    for drawn, squares, freedom, variance in (
        (np.square(shared).mean(0), told**2 * each, (seen.sum(1) > 0).astype(float), noise[0]),
        (np.square(rest).sum(2).mean(0), np.square(own).sum(1) * each, seen.sum(1) - 1.0, noise[1]),
    ):
        whole = each * drawn.sum() / max(freedom.sum(), 1.0)
        true = likeliest_variance(squares, np.maximum(freedom, 0), variance, 1 / each)
        factors.append(np.sqrt(min(true / whole, 1.0)) if whole > 0 else 1.0)
    return np.where(seen, line + factors[0] * shared[:, :, None] + factors[1] * rest, y)


def likeliest_variance(squares: np.ndarray, freedom: np.ndarray, noise: np.ndarray, weight: float = 1.0) -> float:
    """The sigma^2 >= 0 under which these are likeliest: `squares / (sigma^2 + noise)` are chi-square of so much `freedom`,
    each counted `weight` times; all of shape (n,). Without noise their sum over that of the freedom."""
    largest = float((squares / np.maximum(freedom, 1)).max(initial=0.0))
    variance = np.linspace(0, np.sqrt(largest), GRID)[:, None] ** 2
    total = np.maximum(variance + noise, 1e-12 * max(largest, 1e-300))
    log = -0.5 * weight * (freedom * np.log(total) + squares / total).sum(1)
    return float(variance[log.argmax(), 0])


def contrast_noise(response: Response, deployed: sp.csr_array, bench: sp.csr_array, slope: np.ndarray) -> np.ndarray:
    """Variances of the noise in each model's deviation from a line of this `slope` (contexts,): of what its contexts share,
    and of the rest, less what the noise of all models has in common, shape (2, models).

    `deployed` (A, models * contexts) and `bench` (A, models): the weight of every arm in those levels.
    """
    root = response.root if response.root is not None else square_root(response.matrix)
    models, contexts = size_of(bench)[1], len(slope)
    number = (np.asarray(deployed.sum(0)).reshape(models, contexts) > 0).astype(int)
    seen = number.sum(1)
    carried = sp.csr_array(sp.kron(bench, slope[None])) @ sp.diags_array(number.ravel().astype(float))
    contrast = root @ sp.csr_array(deployed - carried)
    share = sp.csr_array(sp.kron(sp.eye_array(models), np.ones((contexts, 1)))) @ sp.diags_array(1 / np.maximum(seen, 1))
    middle = contrast @ share
    of_each, whole = (_squares(m) for m in (middle, contrast))
    rest = whole.reshape(models, contexts).sum(1) - seen * of_each
    together = float(np.square(np.asarray(middle.sum(1))).sum())
    alike = (together - of_each.sum()) / max(models * (models - 1), 1)
    return np.stack([np.maximum(of_each - max(alike, 0.0), 0.0), np.maximum(rest, 0.0) / np.maximum(seen - 1, 1)])


def _squares(matrix: np.ndarray | sp.csr_array) -> np.ndarray:
    return column_squares(matrix if isinstance(matrix, np.ndarray) else sp.csr_array(matrix))
