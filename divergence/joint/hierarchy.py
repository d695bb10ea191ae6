"""The density of `numpyro_model.joint_model` on the host, in LAPACK: what the default method evaluates thousands of times.

    value ~ N(0, S(x)),    S = V + sum_k s_k(x) P_k,    x ~ N(0, I)

with `P_k = Z_k Z_k'` of each term and `s_k` its variance (of theta: two variances and a covariance). One Cholesky factor of
`[[S, value], [value', c]]` holds both what the density needs: the determinant of S in its first diagonal elements, and
`c - value' S^-1 value` in the square of its last. Matrices of this size (arms x arms) never repay a compilation, so none is
made. Tested against the NumPyro model, which NUTS samples.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.linalg

from divergence.joint.coordinates import X_MAX, correlation, correlation_slope, half_normal, half_normal_slope

STEP = 1e-4  # of the differences, in prior standard deviations: error 1e-8 of the third derivative
BATCH_BYTES = 2**25  # of the systems that are factored at once


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
    ability: float
    """Prior width of both standard deviations of theta."""
    widths: np.ndarray
    """Prior widths of the free terms, shape (T,)."""
    outlier: float
    """Sd of the log of a level's own scale."""
    models: int = 0
    """Models with scales of their own: the last of the products."""
    own_term: int = 0
    """The free term in which they have them."""
    instability: float = 0.0
    """Prior width of the sd of the log of these scales."""

    @classmethod
    def of(cls, data: dict[str, np.ndarray]) -> Hierarchy:
        """From the arrays of `problem.problem`."""
        own = data.get("own", data["local"][:0])
        parts = np.stack([data["bench"], data["deployed"], data["cross"]]), data["products"], data["local"], own
        every = np.concatenate(parts)
        return cls(
            data["value"],
            data["covariance"] + data["fixed"],
            every.reshape(len(every), -1),
            float(data["ability"]),
            data["widths"],
            float(data["outlier"]),
            len(own),
            int(data.get("own_term", 0)),
            float(data.get("instability", 0.0)),
        )

    @property
    def dims(self) -> int:
        """Number of coordinates."""
        return len(self.products) + (self.models > 0)

    def variances(self, x: np.ndarray) -> np.ndarray:
        """`s_k` at points x (n, dims), shape (n, K)."""
        terms = len(self.widths)
        sigma = half_normal(x[:, :2], self.ability)
        sd = half_normal(x[:, 3 : 3 + terms], self.widths)
        cross = correlation(x[:, 2]) * sigma[:, 0] * sigma[:, 1]
        first = len(self.products) - self.models
        own = sd[:, :1] ** 2 * np.exp(2 * self.outlier * np.minimum(x[:, 3 + terms : first], X_MAX))
        parts = [sigma**2, cross[:, None], sd**2, own]
        if self.models:
            spread = half_normal(x[:, first : first + 1], self.instability)
            unstable = np.exp(2 * spread * np.minimum(x[:, first + 1 :], X_MAX))
            parts.append(sd[:, self.own_term, None] ** 2 * unstable)
        return np.concatenate(parts, axis=1)

    def covariances(self, x: np.ndarray) -> np.ndarray:
        """`S` at points x (n, dims), shape (n, A, A)."""
        return (self.variances(x) @ self.products).reshape(len(x), *self.noise.shape) + self.noise

    def density(self, x: np.ndarray) -> np.ndarray:
        """Log density at points x (n, dims), up to a constant, shape (n,)."""
        size = len(self.value)
        factor = scipy.linalg.cholesky(self.noise, lower=True)
        bound = 1 + np.square(scipy.linalg.solve_triangular(factor, self.value, lower=True)).sum()  # S >= V
        step = max(1, BATCH_BYTES // (8 * (size + 1) ** 2))
        whole = np.empty((min(step, len(x)), size + 1, size + 1))
        whole[:, size, :size] = whole[:, :size, size] = self.value
        whole[:, size, size] = bound
        out = -0.5 * np.square(x).sum(1)
        for begin in range(0, len(x), step):
            s = self.variances(x[begin : begin + step])
            part = whole[: len(s)]
            part[:, :size, :size] = (s @ self.products).reshape(-1, size, size) + self.noise
            diagonal = np.diagonal(np.linalg.cholesky(part), axis1=1, axis2=2)
            out[begin : begin + step] -= np.log(diagonal[:, :size]).sum(1) + 0.5 * (bound - diagonal[:, size] ** 2)
        return out

    def gradient(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """Log density and its gradient at one point x (dims,)."""
        size, terms = len(self.value), len(self.widths)
        s = self.variances(x[None])[0]
        total = (s @ self.products).reshape(size, size) + self.noise
        factor = scipy.linalg.cho_factor(total, lower=True)
        inverse = scipy.linalg.cho_solve(factor, np.eye(size))
        solved = inverse @ self.value
        density = -np.log(np.diag(factor[0])).sum() - 0.5 * self.value @ solved - 0.5 * x @ x
        by_variance = 0.5 * self.products @ (np.outer(solved, solved) - inverse).ravel()
        sigma, rho = half_normal(x[:2], self.ability), correlation(x[2])
        slope = half_normal_slope(x[:2], self.ability)
        out = -x.copy()
        out[:2] += slope * (2 * sigma * by_variance[:2] + rho * sigma[::-1] * by_variance[2])
        out[2] += correlation_slope(x[2]) * sigma[0] * sigma[1] * by_variance[2]
        sd = half_normal(x[3 : 3 + terms], self.widths)
        per_sd = 2 * half_normal_slope(x[3 : 3 + terms], self.widths)  # of s, once times sd: sd itself may round to 0
        first = len(s) - self.models
        own = s[3 + terms : first] * by_variance[3 + terms : first]
        out[3 : 3 + terms] += per_sd * sd * by_variance[3 : 3 + terms]
        wide = np.exp(2 * self.outlier * np.minimum(x[3 + terms : first], X_MAX))
        out[3:4] += per_sd[:1] * sd[:1] * (wide @ by_variance[3 + terms : first])
        out[3 + terms : first] += 2 * self.outlier * own
        if self.models:
            k, spread, z = self.own_term, half_normal(x[first], self.instability), np.minimum(x[first + 1 :], X_MAX)
            out[3 + k] += per_sd[k] * sd[k] * (np.exp(2 * spread * z) @ by_variance[first:])
            unstable = s[first:] * by_variance[first:]
            out[first] += 2 * half_normal_slope(x[first], self.instability) * (z @ unstable)
            out[first + 1 :] += 2 * spread * unstable
        return float(density), out

    def curvature(self, x: np.ndarray) -> np.ndarray:
        """Minus the Hessian at one point, by central differences of the exact gradient, shape (dims, dims)."""
        steps = STEP * np.eye(len(x))
        rows = np.stack([self.gradient(x - e)[1] - self.gradient(x + e)[1] for e in steps]) / (2 * STEP)
        return (rows + rows.T) / 2
