"""The density of `numpyro_model.joint_model` on the host, in LAPACK: what the default method evaluates thousands of times.

    value ~ N(0, S(x)),    S = V + sum_k s_k(x) P_k,    x ~ N(0, I)

with `P_k = Z_k Z_k'` of each term and `s_k` its variance (of theta: two variances and a covariance). One Cholesky factor of
`[[S, value], [value', c]]` holds both what the density needs: the determinant of S in its first diagonal elements, and
`c - value' S^-1 value` in the square of its last. Of each only the lower half is made, in LAPACK's rectangular full packed
form (Gustavson, Wasniewski, Dongarra and Langou 2010). Matrices of this size (arms x arms) never repay a compilation, so
none is made. Tested against the NumPyro model, which NUTS samples.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import scipy.linalg

from divergence.joint.coordinates import Layout

dpotrf, dpotri, dpotrs = scipy.linalg.get_lapack_funcs(("potrf", "potri", "potrs"), dtype="d")
dpftrf, dtrttf = scipy.linalg.get_lapack_funcs(("pftrf", "trttf"), dtype="d")

STEP = 1e-4  # of the differences, in prior standard deviations: error 1e-8 of the third derivative
# Of the systems that are made at once: what the cache of a core holds. Of 32 MiB, twice the time goes to fresh pages.
BATCH_BYTES = 2**21
# Arms from which on matrices are factored one by one where they stand. NumPy's stacks copy each in and out, which costs two
# thirds of the factor of 80 arms, and less than a call from Python does of ten.
IN_PLACE_MIN = 32


@dataclasses.dataclass(frozen=True)
class Hierarchy:
    """The marginal density of the coordinates x given arm levels."""

    value: np.ndarray
    """Working responses less the prior mean of alpha, shape (A,)."""
    noise: np.ndarray
    """`V` and the prior covariance of alpha, shape (A, A)."""
    products: np.ndarray
    """`P_k`: theta_E, theta_D, their cross product, the free terms, then levels and models with scales of their own,
    (K, A * A)."""
    layout: Layout
    """Coordinates, and the variances they make, in the order of the products."""
    start: np.ndarray | None = None
    """Where the search of the mode starts, shape (dims,); None: where the prior is largest."""

    @classmethod
    def of(cls, data: dict[str, np.ndarray]) -> Hierarchy:
        """From the arrays of `problem.problem`."""
        own = data.get("own", data["local"][:0])
        parts = np.stack([data["bench"], data["deployed"], data["cross"]]), data["products"], data["local"], own
        every = np.concatenate(parts)
        layout = Layout(
            float(data["ability"]),
            data["widths"],
            float(data["outlier"]),
            len(data["local"]),
            len(own),
            int(data.get("own_term", 0)),
            float(data.get("instability", 0.0)),
        )
        noise, every = data["covariance"] + data["fixed"], every.reshape(len(every), -1)
        return cls(data["value"], noise, every, layout, data.get("start"))

    @property
    def dims(self) -> int:
        """Number of coordinates."""
        return self.layout.dims

    def variances(self, x: np.ndarray) -> np.ndarray:
        """`s_k` at points x (n, dims), shape (n, K)."""
        return self.layout.variances(x)

    def covariances(self, x: np.ndarray) -> np.ndarray:
        """`S` at points x (n, dims), shape (n, A, A)."""
        out = (self.variances(x) @ self.products).reshape(len(x), *self.noise.shape)
        out += self.noise
        return out

    def density(self, x: np.ndarray) -> np.ndarray:
        """Log density at points x (n, dims), up to a constant, shape (n,)."""
        size = len(self.value)
        root = scipy.linalg.cholesky(self.noise, lower=True)
        bound = 1 + np.square(scipy.linalg.solve_triangular(root, self.value, lower=True)).sum()  # S >= V
        parts = np.zeros((len(self.products) + 1, size + 1, size + 1))  # the last one, once a point, is what x leaves alone
        parts[:-1, :size, :size] = self.products.reshape(-1, size, size)
        parts[-1] = np.block([[self.noise, self.value[:, None]], [self.value, bound]])
        parts, diagonal = _packed(parts)
        step = max(1, BATCH_BYTES // (8 * parts.shape[1]))
        room = np.empty((min(step, len(x)), parts.shape[1]))
        out = -0.5 * np.square(x).sum(1)
        shares = np.pad(self.variances(x), ((0, 0), (0, 1)), constant_values=1.0)
        for begin in range(0, len(x), step):
            s = shares[begin : begin + step]
            every = np.matmul(s, parts, out=room[: len(s)])
            for matrix in every:
                _, failed = dpftrf(size + 1, matrix, uplo="L", overwrite_a=1)
                _check(failed)
            factors = every[:, diagonal]
            out[begin : begin + len(s)] -= np.log(factors[:, :size]).sum(1) + 0.5 * (bound - factors[:, size] ** 2)
        return out

    def gradient(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """Log density and its gradient at one point x (dims,)."""
        size = len(self.value)
        s = self.variances(x[None])[0]
        total = (s @ self.products).reshape(size, size)
        total += self.noise
        factor = _factored(total)
        inverse = dpotrs(factor, np.eye(size), lower=1)[0]
        solved = inverse @ self.value
        density = -np.log(np.diag(factor)).sum() - 0.5 * self.value @ solved - 0.5 * x @ x
        by_variance = 0.5 * (self.products @ (np.outer(solved, solved) - inverse).ravel())
        return float(density), self.layout.slope(x, s, by_variance)

    def curvature(self, x: np.ndarray) -> np.ndarray:
        """Minus the Hessian at one point, by central differences of the exact gradient, shape (dims, dims)."""
        return curvature(self.gradient, x)


def _factored(matrix: np.ndarray) -> np.ndarray:
    """The lower Cholesky factor of a symmetric matrix (A, A), above it anything; one in Fortran's order is written over."""
    factor, failed = dpotrf(matrix, lower=1, clean=0, overwrite_a=1)
    _check(failed)
    return factor


def _check(failed: int) -> None:
    if failed:
        raise np.linalg.LinAlgError("a covariance of arm levels is not positive definite")


def _packed(matrices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The lower halves of symmetric matrices (n, A, A), packed, (n, A (A + 1) / 2), and where their diagonals are, (A,)."""
    size = matrices.shape[1]
    halves = np.stack([dtrttf(matrix, uplo="L")[0] for matrix in matrices])
    return halves, np.argsort(dtrttf(np.diag(np.arange(1.0, size + 1)), uplo="L")[0])[-size:]


def inverses(stack: np.ndarray) -> np.ndarray:
    """Inverses of symmetric positive definite matrices (n, A, A), same shape; what `stack` holds is lost."""
    if stack.shape[1] < IN_PLACE_MIN:
        return np.linalg.inv(stack)
    below = np.tri(stack.shape[1], k=-1, dtype=bool)
    for matrix in stack:
        dpotri(_factored(matrix.T), lower=1, overwrite_c=1)  # in C's order: on the diagonal and above it
        np.copyto(matrix, matrix.T, where=below)
    return stack


def curvature(gradient: Callable[[np.ndarray], tuple[float, np.ndarray]], x: np.ndarray) -> np.ndarray:
    """Minus the Hessian at one point (dims,), by central differences of an exact gradient, shape (dims, dims)."""
    steps = STEP * np.eye(len(x))
    rows = np.stack([gradient(x - e)[1] - gradient(x + e)[1] for e in steps]) / (2 * STEP)
    return (rows + rows.T) / 2
