"""Small formulas that several folders need, each with a value that a reader can check."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import scipy.sparse as sp

NORMAL_95 = 1.6448536269514722
"""95 % quantile of the standard normal law: half of a 90 % equal-tailed interval, in standard deviations."""


ROUNDING = 1e-12  # of a score; a single failure of 1e9 items moves it a thousand times as far


@contextlib.contextmanager
def one_blas_thread() -> Iterator[None]:
    """One thread for matrix products, so that the numbers of a job do not depend on the machine's; threads that wait for
    small matrices took four times the work of one. SciPy's library is loaded first: a limit holds for what is there."""
    import scipy.linalg  # noqa: F401
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1, user_api="blas"):
        yield


def rankdata(values: np.ndarray, method: str = "average", axis: int | None = None) -> np.ndarray:
    """Places from 1 for the smallest, equal values sharing theirs; rankdata([5, 2, 5]) = [2.5, 1, 2.5].

    `method`: of equal values the `average` place, the `min`, or places without gaps (`dense`). As SciPy's, without the half
    a second of statistics that come with it and that most commands never use. A NaN makes all places of its row NaN.
    """
    x = np.asarray(values)
    x, axis = (x.ravel(), -1) if axis is None else (x, axis)
    x = np.swapaxes(x, axis, -1)
    order = np.argsort(x, axis=-1, kind="stable")
    ranked = np.take_along_axis(x, order, -1)
    fresh = np.ones(x.shape, bool)
    fresh[..., 1:] = ranked[..., 1:] != ranked[..., :-1]
    at = np.flatnonzero(fresh)
    times = np.diff(at, append=x.size)
    if method == "dense":
        place = np.cumsum(fresh, axis=-1)[fresh]
    else:
        place = at % max(x.shape[-1], 1) + 1 + ((times - 1) / 2 if method == "average" else 0)
    found = np.empty(x.shape, place.dtype)
    np.put_along_axis(found, order, np.repeat(place, times).reshape(x.shape), -1)
    if x.dtype.kind == "f" and np.isnan(x).any():
        found = np.where(np.isnan(x).any(-1, keepdims=True), np.nan, found)
    return np.swapaxes(found, axis, -1)


def is_finite(value: float) -> bool:
    """Is it a number that arithmetic can use? An integer of 400 digits is none (`math.isfinite` fails at it)."""
    return abs(value) <= sys.float_info.max


def few_clusters(count: int) -> float:
    """Factor that a bootstrap over few clusters is too narrow by: its own divisor, and t for normal quantiles; 12: 1.140."""
    from scipy.special import stdtrit

    return float(np.sqrt(count / (count - 1)) * stdtrit(count - 1, 0.95) / NORMAL_95)


def logit(p: np.ndarray) -> np.ndarray:
    """log(p / (1 - p)); logit(0.75) = 1.0986123."""
    p = np.asarray(p, dtype=float)
    return np.log(p) - np.log1p(-p)


def expit(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)); expit(1.0986123) = 0.75. Does not overflow."""
    x = np.asarray(x, dtype=float)
    return 0.5 * (1 + np.tanh(0.5 * x))


def on_scale(levels: np.ndarray) -> np.ndarray:
    """Scores within 0 and 1; what misses an end by rounding lies at it, as weights that sum to nearly 1 are no failure;
    on_scale([1 + 2e-16, 1 - 2e-16, .5]) = [1, 1, .5]."""
    levels = np.clip(levels, 0.0, 1.0)
    end = levels.round()
    return np.where(np.abs(levels - end) < ROUNDING, end, levels)


def nearest_psd(matrix: np.ndarray, floor: float = 1e-9) -> np.ndarray:
    """The symmetric matrix with eigenvalues raised to `floor` times the largest; [[1, 2], [2, 1]] -> about 1.5."""
    matrix = (matrix + matrix.T) / 2
    values, vectors = np.linalg.eigh(matrix)
    if values[0] >= floor * max(values[-1], 0):
        return matrix
    values = np.maximum(values, floor * max(values[-1], 1e-300))
    return (vectors * values) @ vectors.T


def square_root(covariance: np.ndarray) -> np.ndarray:
    """A matrix whose cross product is the covariance, shape (A, A)."""
    values, vectors = np.linalg.eigh(covariance)
    return np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T


def column_squares(matrix: np.ndarray | sp.csr_array) -> np.ndarray:
    """Sums of squares of the columns; column_squares([[3, 0], [4, 2]]) = [25, 4]."""
    if isinstance(matrix, np.ndarray):
        return np.square(matrix).sum(0)
    return np.bincount(matrix.indices, matrix.data**2, size_of(matrix)[1])


def size_of(matrix: np.ndarray | sp.csr_array) -> tuple[int, int]:
    """Rows and columns; size_of([[3, 0], [4, 2]]) = (2, 2)."""
    rows, columns = matrix.shape  # pyright: ignore[reportGeneralTypeIssues] - SciPy's own type says None
    return int(rows), int(columns)


def together(*codes: np.ndarray) -> np.ndarray:
    """One number for each distinct combination of whole numbers, in order; together([5, 5, 2], [1, 0, 7]) = [2, 1, 0]."""
    number = np.zeros(len(codes[0]), np.int64)
    for code in codes if len(number) else ():
        low = int(code.min())
        size = int(code.max()) - low + 1
        number = _ranks(number * size + (code - low), (int(number.max()) + 1) * size)
    return number


def combinations(*codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct combinations of whole numbers, in order, shape (codes, K), and which one each place holds.

    What `numpy.unique(numpy.stack(codes), axis=1, return_inverse=True)` gives, ten times as fast at 10,000 places of two
    codes; combinations([5, 5, 2], [1, 0, 7]) = ([[2, 5, 5], [7, 0, 1]], [2, 1, 0]).
    """
    place = together(*codes)
    last = np.zeros(int(place.max()) + 1 if len(place) else 0, np.int64)
    last[place] = np.arange(len(place))
    return np.stack([np.asarray(code)[last] for code in codes]), place


def _ranks(number: np.ndarray, size: int) -> np.ndarray:
    """The rank of each number among the distinct ones; all lie in [0, size). Counted where there is room, else sorted."""
    if size > 4 * len(number) + 2**16:
        return np.unique(number, return_inverse=True)[1]
    seen = np.zeros(size, bool)
    seen[number] = True
    return (np.cumsum(seen) - 1)[number]


def exact_sum(values: Iterable[float]) -> float:
    """The sum, rounded once; infinite where it lies beyond the largest number.

    >>> exact_sum([1e16, 1.0, -1e16]), exact_sum([1e308, 1e308]), exact_sum([-1e308] * 3)
    (1.0, inf, -inf)
    """
    values = list(values)
    try:
        return math.fsum(values)
    except (OverflowError, ValueError):  # ValueError: infinities of both signs
        with np.errstate(over="ignore", invalid="ignore"):
            return float(np.sum(np.asarray(values, float)))
