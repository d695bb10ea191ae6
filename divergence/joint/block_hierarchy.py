"""The density of `hierarchy` for thousands of arms: exact within a model, of low rank between models.

    S(x) = blockdiag_m( N_m + sum_k s_k P_mk )  +  W diag(t(x)) W'

`N_m` is the noise of model m's arms that no other model knows, `P_mk` what its own effects (abilities, interactions,
residuals) do to them; the p columns of `W` are the intercepts, the effects of factors and contexts, and the noise that bench
levels, or the contrasts of one context, share. With `D` the blocks, `R = diag(t)^1/2`, `G = W' D^-1 W` and `h = W' D^-1 v`,

    C = I + R G R,     log det S = log det D + log det C,     v' S^-1 v = v' D^-1 v - h' R C^-1 R h

(the matrix determinant lemma, and Woodbury's identity), so that a point costs M factors of size K and one of size p: it
grows with the number of models, not with its cube. A column that only one model's arms load on belongs to its block.
It is the same density as the dense one to rounding, and a test holds one against the other.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.linalg
import scipy.sparse as sp

from divergence.joint.blocks import Bucket, backward, buckets, factor, forward, in_blocks, log_determinant
from divergence.joint.coordinates import Layout
from divergence.joint.design import Design, free_terms, layout_of, local_term, model_term
from divergence.joint.hierarchy import curvature
from divergence.joint.link import Response
from divergence.joint.noise_in_blocks import by_model, noise_blocks
from divergence.joint.paired import Measured
from divergence.joint.thin_blocks import Columns, Thin, inverses, projected, shared_columns, thin
from divergence.joint.thin_blocks import solved as thin_solved
from divergence.numerics import size_of

BATCH_BYTES = 2**23  # of a stack of points: what stays in a processor's cache is worked on fastest


@dataclasses.dataclass(frozen=True)
class Part:
    """One bucket's matrices."""

    bucket: Bucket
    """Its models and arms."""
    noise: np.ndarray
    """`N_m`, shape (K, K, M); 1 on the diagonal where there is no arm."""
    fixed: np.ndarray
    """What a prior adds whatever x is, (K, K, M): of the intercept, where one model is all there is."""
    products: np.ndarray
    """`P_mk` of the variances that enter blocks, shape (T, K * K * M)."""
    own: np.ndarray
    """`P_m` of the term in which each model has a scale of its own, (K, K, M); empty where none has."""
    columns: np.ndarray
    """`W` at these arms, shape (K, M, p)."""
    thin: Thin | None
    """The same blocks as a diagonal and a few columns, where that is faster."""


@dataclasses.dataclass(frozen=True)
class Shared:
    """The columns of `W`."""

    variance: np.ndarray
    """Which of the variances each has, shape (p,); -1 where it is 1."""
    noise: np.ndarray
    """Which of them are noise of the levels, shape (p,)."""

    def variances(self, s: np.ndarray) -> np.ndarray:
        """`t` of variances s (n, count), shape (n, p)."""
        return np.where(self.variance >= 0, s[:, np.maximum(self.variance, 0)], 1.0)


@dataclasses.dataclass(frozen=True)
class BlockHierarchy:
    """The marginal density of the coordinates x given the levels of many arms."""

    value: np.ndarray
    """Working responses less the prior mean of alpha, shape (A,)."""
    layout: Layout
    """Coordinates, and the variances they make."""
    parts: tuple[Part, ...]
    """One a bucket."""
    inner: np.ndarray
    """Which variances enter blocks, in the order of `Part.products`, shape (T,)."""
    shared: Shared
    """What models share."""
    start: np.ndarray | None = None
    """Where the search of the mode starts, shape (dims,); None: where the prior is largest."""

    @classmethod
    def of(
        cls,
        design: Design,
        response: Response,
        loadings: sp.csr_array,
        centre: float = 0.0,
        own: np.ndarray | None = None,
    ) -> BlockHierarchy:
        """From what `problem.problem` is made of; `loadings` are sparse, the response has its noise in parts. `own`: a
        variance of each model's shift beside that of all, (models,)."""
        noise = response.parts
        if noise is None:
            raise ValueError("blocks are made of the parts of the noise (`link.linearise` of sparse arms)")
        size, free = len(response.value), free_terms(design)
        local, each = local_term(design), model_term(design)
        layout = layout_of(design)
        of = {t.name: sp.csr_array(loadings[:, t.columns]) for t in design.terms}
        cross = of["theta_E"] @ of["theta_D"].T
        inside = {0: of["theta_E"] @ of["theta_E"].T, 1: of["theta_D"] @ of["theta_D"].T, 2: cross + cross.T}
        of_models: Columns = []
        given = [t for t in design.terms if t.kind.given]
        columns: Columns = [(sp.csr_array(of[t.name] * t.width), np.array([-1]), False) for t in given]
        if own is not None and own.any():
            mine = sp.csr_array(of["theta_D"] @ sp.diags_array(np.sqrt(own)))
            columns.append((mine, np.full(design.n_models, -1), False))
        for k, term in enumerate(free):
            mine = of[term.name]
            if term is local:
                columns.append((mine, np.arange(layout.count)[layout.own_levels], False))
            elif term.kind.of_model:
                inside[layout.term(k)] = mine @ mine.T
                variance = np.full(size_of(mine)[1], layout.term(k))
                if term is each:
                    variance = np.repeat(np.arange(layout.count)[layout.own_models], len(variance) // design.n_models)
                of_models.append((mine, variance, False))
            else:
                columns.append((mine, np.full(size_of(mine)[1], layout.term(k)), False))
        spots = np.unique(noise.place, return_inverse=True)[1].ravel()
        there = sp.csr_array((noise.moved, (np.arange(size), spots)), shape=(size, int(spots.max()) + 1))
        columns += [
            (sp.csr_array(noise.easy[:, None]), np.array([-1]), True),
            (there, np.full(size_of(there)[1], -1), True),
        ]
        scaled = None if each is None else layout.term(layout.own_term)
        return cls._laid_out(
            response.value - centre, layout, noise, inside, columns, scaled, (of["theta_E"], of["theta_D"]), of_models
        )

    @classmethod
    def _laid_out(
        cls,
        value: np.ndarray,
        layout: Layout,
        noise: Measured,
        inside: dict[int, sp.csr_array],
        columns: Columns,
        own: int | None,
        abilities: tuple[sp.csr_array, sp.csr_array],
        of_models: Columns,
    ) -> BlockHierarchy:
        """`inside`: products of variances, `columns`: columns, their variances, and are they noise?; `own`: the term of
        `inside` in which each model has a scale of its own; `of_models`: the columns of `inside` but for `abilities`."""
        parts = buckets(noise.model)
        every = sp.csc_array(sp.hstack([c for c, _, _ in columns]))
        variance = np.concatenate([v for _, v, _ in columns])
        of_noise = np.concatenate([np.full(len(v), n) for _, v, n in columns])
        several = _several_models(every, noise.model)
        used = np.diff(every.indptr) > 0
        nothing = sp.csr_array((len(value), len(value)))
        for k in np.unique(variance[used & ~several]):
            mine = sp.csr_array(every[:, used & ~several & ~of_noise & (variance == k)])
            inside[int(k)] = inside.get(int(k), nothing) + mine @ mine.T
        mine = sp.csr_array(every[:, used & ~several & of_noise])
        more, fixed = in_blocks(mine @ mine.T, parts), in_blocks(inside.pop(-1, nothing), parts)
        each = in_blocks(inside.pop(own), parts) if own is not None else [np.zeros((0, 0, 0))] * len(parts)
        inner = np.array(sorted(inside), int)
        products = [in_blocks(sp.csr_array(inside[k]), parts) for k in inner]
        shared = sp.csr_array(every[:, several])
        within = [*of_models, *by_model(noise)]
        for noisy in (False, True):
            lone = used & ~several & (of_noise == noisy)
            within.append((sp.csr_array(every[:, lone]), variance[lone], noisy))
        found = []
        for b, bucket in enumerate(parts):
            rows = np.where(bucket.there.ravel(), bucket.arms.ravel(), 0)
            w = shared[rows].toarray().reshape(*bucket.arms.shape, -1) * bucket.there[:, :, None]
            flat = np.stack([p[b].ravel() for p in products])
            few = thin(bucket, abilities, within, noise.own, (shared, of_noise[several]), layout.own_models.start)
            found.append(Part(bucket, noise_blocks(noise, bucket) + more[b], fixed[b], flat, each[b], w, few))
        return cls(value, layout, tuple(found), inner, Shared(variance[several], of_noise[several]))

    @property
    def dims(self) -> int:
        """Number of coordinates."""
        return self.layout.dims

    def variances(self, x: np.ndarray) -> np.ndarray:
        """`s_k` at points x (n, dims), shape (n, count)."""
        return self.layout.variances(x)

    def density(self, x: np.ndarray) -> np.ndarray:
        """Log density at points x (n, dims), up to a constant, shape (n,)."""
        out = -0.5 * np.square(x).sum(1)
        width = len(self.shared.variance)
        for begin in range(0, len(x), self.step):
            s = self.variances(x[begin : begin + self.step])
            gram, log = np.zeros((len(s), width + 1, width + 1)), np.zeros(len(s))
            for part in self.parts:
                if part.thin is not None:
                    at = projected(part.thin, s, part.bucket.take(self.value)[None])
                    gram += at.gram
                    log += at.log
                    continue
                low = factor(self.effects(part, s) + part.noise)
                right = np.concatenate([part.columns, part.bucket.take(self.value)[:, :, None]], 2)
                solved = forward(low, right[None]).reshape(len(s), -1, width + 1)
                gram += np.matmul(solved.swapaxes(1, 2), solved)
                log += log_determinant(low)
            # With the levels as one more column of variance 1, the last pivot's square is 1 + v' S^-1 v.
            inner = self.capacity(gram, np.pad(self.shared.variances(s), ((0, 0), (0, 1)), constant_values=1.0))[0]
            pivots = np.einsum("nkk->nk", inner)
            log += np.log(pivots[:, :width]).sum(1)
            out[begin : begin + self.step] -= log + 0.5 * (pivots[:, width] ** 2 - 1)
        return out

    def gradient(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """Log density and its gradient at one point x (dims,)."""
        s = self.variances(x[None])
        at = self._conditional(s)
        density = -at.log - 0.5 * self.value @ at.pulled - 0.5 * x @ x
        by_variance = np.zeros(self.layout.count)
        for part, precision in zip(self.parts, at.precision, strict=True):
            a = part.bucket.take(at.pulled)
            left = a[:, None] * a[None] - precision
            by_variance[self.inner] += 0.5 * part.products @ left.ravel()
            if self.layout.models:
                first = self.layout.own_models.start
                by_variance[first + part.bucket.models] += 0.5 * (part.own * left).sum((0, 1))
        known = self.shared.variance >= 0
        np.add.at(by_variance, self.shared.variance[known], 0.5 * (at.along**2 - at.own)[known])
        return float(density), self.layout.slope(x, s[0], by_variance)

    def curvature(self, x: np.ndarray) -> np.ndarray:
        """Minus the Hessian at one point, by central differences of the exact gradient, shape (dims, dims)."""
        return curvature(self.gradient, x)

    def precision(self, x: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        """`S^-1 value` (A,) and the blocks of `S^-1` within models, (K, K, M) a bucket, at one point x (dims,)."""
        at = self._conditional(self.variances(x[None]))
        return at.pulled, at.precision

    def solve(self, s: np.ndarray, gap: np.ndarray, wide: np.ndarray) -> np.ndarray:
        """`S^-1 gap` for variances s (n, count) and gaps (n, A), shape (n, A); the noise of arms is `wide` (n, 1 or A) times
        as large."""
        out = np.empty_like(gap)
        width = len(self.shared.variance)
        plain = bool((wide == 1).all())
        for begin in range(0, len(s), self.step):
            piece = slice(begin, begin + self.step)
            mine, t = s[piece], self.shared.variances(s[piece])
            gram, kept = np.zeros((len(mine), width + 1, width + 1)), []
            for part in self.parts:
                noise, columns, by = part.noise[None], part.columns[None], None
                if not plain:
                    by = part.bucket.take(np.broadcast_to(wide[piece], (len(mine), len(self.value))))
                    by = np.where(part.bucket.there, by, 1.0)
                if part.thin is not None:
                    at = projected(part.thin, mine, part.bucket.take(gap[piece]), by)
                    gram += at.gram
                    kept.append((at, shared_columns(part.thin, by)))
                    continue
                if by is not None:
                    noise = noise * by[:, :, None] * by[:, None]
                    columns = np.where(self.shared.noise, columns * by[..., None], columns)
                low = factor(self.effects(part, mine) + noise)
                right = part.bucket.take(gap[piece])[..., None]
                shape = (len(mine), *columns.shape[1:])
                solved = forward(low, np.concatenate([np.broadcast_to(columns, shape), right], 3))
                flat = solved.reshape(len(mine), -1, width + 1)
                gram += np.matmul(flat.swapaxes(1, 2), flat)
                kept.append((low, solved))
            inner, root = self.capacity(gram, t)
            pulled = np.linalg.solve(inner, (root * gram[:, :width, width])[:, :, None])
            weight = root * np.linalg.solve(inner.swapaxes(1, 2), pulled)[:, :, 0]
            for part, (low, solved) in zip(self.parts, kept, strict=True):
                if part.thin is not None:
                    carried = np.einsum("nkmp,np->nkm", np.broadcast_to(solved, (len(mine), *solved.shape[1:])), weight)
                    left = part.bucket.take(gap[piece]) - carried
                    part.bucket.put(thin_solved(part.thin, low, left), out[piece])
                    continue
                left = solved[..., width] - np.einsum("nkmp,np->nkm", solved[..., :width], weight)
                part.bucket.put(backward(low, left[..., None])[..., 0], out[piece])
        return out

    def _conditional(self, s: np.ndarray) -> _Conditional:
        width = len(self.shared.variance)
        gram, log, kept = np.zeros((width + 1, width + 1)), 0.0, []
        for part in self.parts:
            size, models = part.bucket.arms.shape
            if part.thin is not None:
                inverse, half = inverses(part.thin, s)
                right = np.concatenate([part.thin.shared, part.bucket.take(self.value).T[:, :, None]], 2)
                across = inverse[0] @ right
                gram += right.reshape(-1, width + 1).T @ across.reshape(-1, width + 1)
                log += half[0]
                kept.append((inverse[0].transpose(1, 2, 0), across.swapaxes(0, 1)))
                continue
            low = factor(self.effects(part, s) + part.noise)
            unit = np.repeat(np.eye(size)[:, None], models, 1)
            right = np.concatenate([unit, part.columns, part.bucket.take(self.value)[:, :, None]], 2)
            solved = forward(low, right[None])
            flat = solved[0, :, :, size:].reshape(-1, width + 1)
            gram += flat.T @ flat
            log += log_determinant(low)[0]
            kept.append((low, solved))
        inner, root = self.capacity(gram[None], self.shared.variances(s))
        inner, root = inner[0], root[0]
        log += np.log(np.diag(inner)).sum()
        h, g = gram[:width, width], gram[:width, :width]
        middle = scipy.linalg.solve_triangular(inner, root * h, lower=True) if width else h
        weight = root * scipy.linalg.solve_triangular(inner, middle, lower=True, trans=1) if width else h
        carried = scipy.linalg.solve_triangular(inner, root[:, None] * g, lower=True) if width else g
        pulled, precision = np.empty(len(self.value)), []
        for part, (low, solved) in zip(self.parts, kept, strict=True):
            if part.thin is not None:
                inverse, across = low, solved[..., :width]
                part.bucket.put(solved[..., width] - across @ weight, pulled)
            else:
                size = len(part.bucket.arms)
                left = solved[..., size + width] - solved[..., size : size + width] @ weight
                part.bucket.put(backward(low, left[..., None])[0, ..., 0], pulled)
                inverse = np.einsum("kmi,kmj->ijm", solved[0, ..., :size], solved[0, ..., :size], optimize=True)
                across = backward(low, solved[..., size : size + width])[0] if width else solved
            if width:
                shape = across.shape
                flat = scipy.linalg.solve_triangular(inner, root[:, None] * across.reshape(-1, width).T, lower=True)
                across = flat.T.reshape(shape)
                inverse = inverse - np.einsum("imp,jmp->ijm", across, across, optimize=True)
            precision.append(inverse)
        return _Conditional(log, pulled, precision, h - g @ weight, np.diag(g) - np.square(carried).sum(0))

    @property
    def step(self) -> int:
        """Points of a stack."""
        width = len(self.shared.variance) + 1
        each = 0
        for part in self.parts:
            size, models = part.bucket.arms.shape
            rank = 0 if part.thin is None else len(part.thin.columns)
            each += models * (3 * rank * (size + width) if rank else 2 * size * (size + width))
        return max(1, BATCH_BYTES // (8 * (each + 2 * width**2)))

    def effects(self, part: Part, s: np.ndarray) -> np.ndarray:
        """What a model's own effects add to its block, shape (n, K, K, M)."""
        size, models = part.bucket.arms.shape
        out = (s[:, self.inner] @ part.products).reshape(len(s), size, size, models) + part.fixed
        if self.layout.models:
            first = self.layout.own_models.start
            out += s[:, None, None, first + part.bucket.models] * part.own
        return out

    def inverses(self, part: Part, s: np.ndarray) -> np.ndarray:
        """`D^-1` of a bucket's models at variances s (n, count), shape (n, M, K, K)."""
        if part.thin is not None:
            return inverses(part.thin, s)[0]
        size, models = part.bucket.arms.shape
        low = factor(self.effects(part, s) + part.noise)
        half = forward(low, np.repeat(np.eye(size)[:, None], models, 1)[None]).swapaxes(1, 2)
        return np.matmul(half.swapaxes(2, 3), half)

    def capacity(self, gram: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The lower factor of C, and R, of Gram matrices (n, p + 1, p + 1) and t (n, p)."""
        root, width = np.sqrt(t), t.shape[1]
        inner = root[:, :, None] * gram[:, :width, :width]
        inner *= root[:, None]
        np.einsum("nkk->nk", inner)[:] += 1.0
        return np.linalg.cholesky(inner), root


@dataclasses.dataclass(frozen=True)
class _Conditional:
    """What one point knows."""

    log: float
    """Half the log determinant of S."""
    pulled: np.ndarray
    """`S^-1 value`, shape (A,)."""
    precision: list[np.ndarray]
    """Blocks of `S^-1`, (K, K, M) a bucket."""
    along: np.ndarray
    """`w' S^-1 value` of each shared column, shape (p,)."""
    own: np.ndarray
    """`w' S^-1 w`, shape (p,)."""


def _several_models(columns: sp.csc_array, model: np.ndarray) -> np.ndarray:
    """Which columns arms of several models load on, shape (p,)."""
    rows, place = columns.tocoo().coords
    low = np.full(len(columns.indptr) - 1, np.iinfo(np.int64).max)
    high = np.full(len(columns.indptr) - 1, -1)
    np.minimum.at(low, place, model[rows])
    np.maximum.at(high, place, model[rows])
    return high > low
