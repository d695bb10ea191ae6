"""How sure is the noise itself? The variance of a level is an estimate, and from few clusters a poor one.

    z ~ N(0, 1),    level error | z ~ N(sqrt(w) rho sd z, w (1 - rho^2) sd^2),    w = exp(tau^2 / 2 - tau z)

`tau` is the standard deviation of the log of the estimated variance over `q` (see `link`), `rho` its correlation with the
level's own error: where values are skewed, a sample without the large ones has a mean that is too low *and* a variance that
is too small, so that the truth lies above an interval that is too short. Both come from the influence function of
`log(variance / q)`; integrating over the unknown variance with a flat prior on its log gives the law above, of which
Student's t is the case of normal values (`tau^2 = 2 / n`, `rho = 0`).

Third and fourth moments of a few values cannot be estimated (the skewness of n values is at most sqrt(n)). Those of times
and costs are taken from the log-normal law with the coefficient of variation seen; a score's variance is known from its
level, so that only its sessions leave doubt, with the moments of the normal law. All of it is of order 1 / n and vanishes
with hundreds of items. Arms that share items share their z; arms on items of their own have their own. Unit: link scale.
Source: derived here; its normal case is Student's (1908).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from divergence.joint.methods import NOISE_LOG_SD_MAX
from divergence.numerics import column_squares, size_of

if TYPE_CHECKING:
    from divergence.joint.link import Response

TOGETHER_MIN = 1e-3  # correlation from which on the noise of two arms hangs together; below it is rounding
ROWS = 2048  # of a long root that draws are made of at once
LEAN_MAX = 0.9  # of the correlation: what is left of the noise stays a covariance


def noise_of_noise(
    level: np.ndarray,
    variance: np.ndarray,
    of_items: np.ndarray,
    items: np.ndarray,
    link: str,
    between: np.ndarray,
    sessions: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """`tau` and `rho` of each arm, each of shape (A,).

    `variance` of each level, `of_items` the part of it that items give, from `items` of them; `between` the sum of squares
    of the sessions' influence, from `sessions` of them (0 where there are none).
    """
    known = variance > 0
    total = np.where(known, variance, 1.0)
    items, sessions = np.maximum(items, 2.0), np.maximum(sessions, 2.0)
    share = between / total
    if link == "logit":
        tau = np.where(known, share * np.sqrt(2 / sessions), 0.0)
        return np.minimum(tau, NOISE_LOG_SD_MAX), np.zeros(len(level))
    square = np.where(known, level, 1.0) ** 2
    tail, slant = _log_normal(of_items * items / square)
    tail_between, slant_between = _log_normal(between * sessions / square)
    own = of_items / total
    relative = total / square
    leaning = own * slant / items + share * slant_between / sessions  # covariance of log variance and log level
    spread = own**2 * tail / items + share**2 * tail_between / sessions + 4 * relative - 4 * leaning
    spread = np.where(known, np.maximum(spread, 0.0), 0.0)
    whole = np.sqrt(np.where(spread > 0, spread * relative, 1.0))
    lean = np.where(spread > 0, (leaning - 2 * relative) / whole, 0.0)
    return np.minimum(np.sqrt(spread), NOISE_LOG_SD_MAX), np.clip(lean, -LEAN_MAX, LEAN_MAX)


def _log_normal(square: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of the log-normal law with squared coefficient of variation `square`: kurtosis less one, and skewness times the
    coefficient."""
    w = 1 + square
    return w**4 + 2 * w**3 + 3 * w**2 - 4, square * (3 + square)


def pooled_noise(covariance: np.ndarray, log_sd: np.ndarray, rho: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One `tau` and one `rho` for all arms whose noise hangs together, (A,) each, and the code of their group, (A,).

    Arms that tried the same items differ by much less than each is off: were one widened more than its neighbour, what they
    have in common would pass for a difference.
    """
    sd = np.sqrt(np.where(np.diag(covariance) > 0, np.diag(covariance), 1.0))
    return of_groups(
        connected_components(np.abs(covariance) > TOGETHER_MIN * np.outer(sd, sd), directed=False)[1], log_sd, rho
    )


def groups_of_root(root: sp.csr_array) -> np.ndarray:
    """Code of the arms that a sparse root (R, A) ties to each other through any of its rows, shape (A,)."""
    rows, arms = size_of(root)
    links = sp.block_array([[None, root], [root.T, None]]) if rows else sp.csr_array((arms, arms))
    group = connected_components(links, directed=False)[1][rows:]
    return np.unique(group, return_inverse=True)[1].ravel()


def of_groups(group: np.ndarray, log_sd: np.ndarray, rho: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pooled `tau` and `rho` of each arm's group, and the groups."""
    size = np.bincount(group)
    return np.sqrt(np.bincount(group, log_sd**2) / size)[group], (np.bincount(group, rho) / size)[group], group


def draw_noise(response: Response, draws: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Errors of the working responses, and by how much each draw widens them, both (draws, A) or the latter (draws, 1).

    z of each group leans on the group's mean error: an arm follows as far as its own error goes with that mean. w is centred
    on `exp(tau^2 / 2)`, because the log of an unbiased variance is that much too small on average.
    """
    root = np.linalg.cholesky(response.matrix).T if response.root is None else response.root
    error = normal_draws(root, draws, rng)
    log_sd, lean, group = response.noise_log_sd, response.noise_lean, response.noise_group
    if log_sd is None or lean is None or group is None or not log_sd.any():
        return error, np.ones((draws, 1))
    count = int(group.max()) + 1
    if isinstance(root, np.ndarray):
        member = (group[:, None] == np.arange(count)).astype(float)
    else:
        member = sp.csr_array((np.ones(len(group)), (np.arange(len(group)), group)), shape=(len(group), count))
    size = np.sqrt(column_squares(root @ member))
    rho = (lean @ member) / member.sum(0)
    z = rho * (error @ member) / np.where(size > 0, size, 1.0)
    z += np.sqrt(1 - rho**2) * rng.standard_normal(z.shape)
    wide = np.exp(0.5 * log_sd * (0.5 * log_sd - z[:, group]))
    return wide * error, wide


def normal_draws(root: np.ndarray | sp.csr_array, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Draws of `g root` with g standard normal, shape (draws, A); of a long root a stretch of rows at a time."""
    if isinstance(root, np.ndarray):
        return rng.standard_normal((draws, len(root))) @ root
    error = np.zeros((draws, size_of(root)[1]))
    for begin in range(0, size_of(root)[0], ROWS):
        piece = root[begin : begin + ROWS]
        error += rng.standard_normal((draws, piece.shape[0])) @ piece
    return error
