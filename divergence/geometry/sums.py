"""Which sums of paired rows are enough? Second moments of both sides and a few of fourth order, additive and shiftable.

For rows x (p numbers) and y (q numbers), a = |x|^2 and b = |y|^2, all relative to a fixed shift:

    n, sum x, sum y, sum xx', sum yy', sum xy'                          second order: O(p^2 + q^2 + pq)
    sum a^2, sum b^2, sum ab, sum ax, sum ay, sum bx, sum by            fourth order: O(p + q)

Sums add over rows. A change of shift is exact algebra, so sums taken about different shifts can be added, and centring
is a shift to the mean. A side of zero columns (q = 0) makes it a one-sample state at no cost. float64 throughout.
"""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Sums:
    """The sums of one group of rows, or of K groups along a leading axis."""

    n: np.ndarray
    """Number of rows."""
    x: np.ndarray
    """sum x, (..., p)."""
    y: np.ndarray
    """sum y, (..., q)."""
    xx: np.ndarray
    """sum xx', (..., p, p)."""
    yy: np.ndarray
    """sum yy', (..., q, q)."""
    xy: np.ndarray
    """sum xy', (..., p, q)."""
    aa: np.ndarray
    """sum |x|^4."""
    bb: np.ndarray
    """sum |y|^4."""
    ab: np.ndarray
    """sum |x|^2 |y|^2."""
    ax: np.ndarray
    """sum |x|^2 x, (..., p)."""
    ay: np.ndarray
    """sum |x|^2 y, (..., q)."""
    bx: np.ndarray
    """sum |y|^2 x, (..., p)."""
    by: np.ndarray
    """sum |y|^2 y, (..., q)."""

    @classmethod
    def zeros(cls, groups: int, p: int, q: int) -> Sums:
        """K groups without rows."""
        shapes = dict(
            n=(), x=(p,), y=(q,), xx=(p, p), yy=(q, q), xy=(p, q), aa=(), bb=(), ab=(), ax=(p,), ay=(q,), bx=(p,), by=(q,)
        )
        return cls(**{name: np.zeros((groups, *shape)) for name, shape in shapes.items()})

    def _each(self, function) -> Sums:
        return Sums(**{name: function(getattr(self, name), name) for name in NAMES})

    def __add__(self, other: Sums) -> Sums:
        return self._each(lambda value, name: value + getattr(other, name))

    def __sub__(self, other: Sums) -> Sums:
        return self._each(lambda value, name: value - getattr(other, name))

    def __getitem__(self, index) -> Sums:
        return self._each(lambda value, _: value[index])

    def pooled(self) -> Sums:
        """The sums over all groups."""
        return self._each(lambda value, _: value.sum(0))

    def add_at(self, slots: np.ndarray, other: Sums) -> None:
        """Add group j of `other` into group `slots[j]` of this one, in place: for states that merge."""
        for name in NAMES:
            target, values = getattr(self, name), getattr(other, name)
            for j, slot in enumerate(slots.tolist()):  # np.add.at is several times slower on whole matrices
                target[slot] += values[j]

    def trace_x(self) -> np.ndarray:
        """sum |x|^2."""
        return np.trace(self.xx, axis1=-2, axis2=-1)

    def trace_y(self) -> np.ndarray:
        """sum |y|^2."""
        return np.trace(self.yy, axis1=-2, axis2=-1)

    def shifted(self, c: np.ndarray, e: np.ndarray) -> Sums:
        """The sums of x - c and y - e, by expanding |x - c|^2 = a - 2 c.x + |c|^2 and |y - e|^2 likewise."""
        n, (C, E) = self.n, (c @ c, e @ e)
        a, b, cx, ey = self.trace_x(), self.trace_y(), self.x @ c, self.y @ e
        xx_c, yy_e, xy_e, yx_c = self.xx @ c, self.yy @ e, self.xy @ e, c @ self.xy
        new_a, new_b = a - 2 * cx + n * C, b - 2 * ey + n * E

        def outer(u, v):
            return u[..., :, None] * v[..., None, :]

        def column(value):
            return np.asarray(value)[..., None]

        return Sums(
            n=n,
            x=self.x - column(n) * c,
            y=self.y - column(n) * e,
            xx=self.xx - outer(self.x, c) - outer(c, self.x) + column(column(n)) * np.outer(c, c),
            yy=self.yy - outer(self.y, e) - outer(e, self.y) + column(column(n)) * np.outer(e, e),
            xy=self.xy - outer(self.x, e) - outer(c, self.y) + column(column(n)) * np.outer(c, e),
            aa=self.aa + 4 * xx_c @ c + n * C**2 - 4 * self.ax @ c + 2 * C * a - 4 * C * cx,
            bb=self.bb + 4 * yy_e @ e + n * E**2 - 4 * self.by @ e + 2 * E * b - 4 * E * ey,
            ab=(
                self.ab
                - 2 * self.ay @ e
                + E * a
                - 2 * self.bx @ c
                + 4 * xy_e @ c
                - 2 * E * cx
                + C * b
                - 2 * C * ey
                + n * C * E
            ),
            ax=self.ax - 2 * xx_c + C * self.x - column(new_a) * c,
            ay=self.ay - 2 * yx_c + C * self.y - column(new_a) * e,
            bx=self.bx - 2 * xy_e + E * self.x - column(new_b) * c,
            by=self.by - 2 * yy_e + E * self.y - column(new_b) * e,
        )

    def centred(self) -> Sums:
        """The sums about the means of the group (one group only)."""
        return self.shifted(self.x / self.n, self.y / self.n)

    def side(self, name: str) -> Sums:
        """Only `x`, or only `y` in the place of x: a one-sample state."""
        keep = slice(None), slice(0, 0)
        if name == "x":
            return dataclasses.replace(
                self,
                y=self.y[..., :0],
                yy=self.yy[..., :0, :0],
                xy=self.xy[..., *keep],
                bb=0 * self.bb,
                ab=0 * self.ab,
                ay=self.ay[..., :0],
                bx=0 * self.bx,
                by=self.by[..., :0],
            )
        return Sums(
            n=self.n,
            x=self.y,
            y=self.x[..., :0],
            xx=self.yy,
            yy=self.xx[..., :0, :0],
            xy=np.swapaxes(self.xy, -1, -2)[..., *keep],
            aa=self.bb,
            bb=0 * self.aa,
            ab=0 * self.ab,
            ax=self.by,
            ay=self.bx[..., :0],
            bx=0 * self.ay,
            by=self.ax[..., :0],
        )


NAMES = tuple(field.name for field in dataclasses.fields(Sums))


def add_segments(into: Sums, slots: list[int], x: np.ndarray, y: np.ndarray, starts: np.ndarray) -> None:
    """Add consecutive segments of rows (segment j begins at row `starts[j]`) to the groups `slots[j]`, in place.

    Products of a segment are made in the type of the rows (float32 rows: fast, and exact enough once shifted); squares
    of lengths and everything that is added across segments are float64.
    """
    ends = [*starts[1:].tolist(), len(x)]
    a = np.einsum("ij,ij->i", x, x, dtype=np.float64)
    b = np.einsum("ij,ij->i", y, y, dtype=np.float64)
    weights = np.stack([np.ones(len(x)), a, b])
    for j, start, end in zip(slots, starts.tolist(), ends, strict=True):
        rows = slice(start, end)
        u, v, w = x[rows], y[rows], weights[:, rows]
        squares = w @ w.T
        into.n[j] += end - start
        into.xx[j] += u.T @ u
        into.yy[j] += v.T @ v
        into.xy[j] += u.T @ v
        into.aa[j] += squares[1, 1]
        into.bb[j] += squares[2, 2]
        into.ab[j] += squares[1, 2]
        for side, names in ((u, ("x", "ax", "bx")), (v, ("y", "ay", "by"))):
            for name, total in zip(names, w @ side.astype(np.float64), strict=True):
                getattr(into, name)[j] += total
