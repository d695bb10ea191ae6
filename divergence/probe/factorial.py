"""Which serving contexts does a factorial stand for, and which of its effects can be told apart?

A factorial names factors and what the runner does for each of their levels; its cells are contexts. `design = "full"`
takes every cell, `"fraction"` the `runs` cells that say most about the main effects and the declared pairs (D-optimal:
the largest determinant of the information matrix, found by exchange; Fedorov 1972).

    X = [1, effects-coded levels of every factor, products of declared pairs],    choose rows to maximise |X'X|

Whatever the design, and for contexts that are listed by hand too, `aliases` says before anything is sent which effects
will be confounded: an effect is aliased where its columns lie in the span of others.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from divergence.errors import InputError

CELLS_MAX = 4096  # cells of a factorial that the exchange looks at; a larger one is not run by anybody
STARTS = 8  # random starts of the exchange, of which the best is kept
SPAN = 1e-8  # relative length at which a residual counts as nothing: double precision, a few dozen columns


@dataclasses.dataclass(frozen=True)
class Factorial:
    """Crossed serving factors, from a context that is listed in full."""

    base: str
    """Label of the context that gives everything that the levels do not say."""
    factor: Mapping[str, Mapping[str, Mapping[str, Any]]]
    """Factor -> level -> the fields of a context that this level sets (`{}` = as the base has it)."""
    design: str = "full"
    """`full`, or `fraction` with `runs` cells."""
    runs: int = 0
    """Cells of a fraction."""
    pairs: tuple[tuple[str, ...], ...] = ()
    """Pairs of factors whose interaction must be estimable."""
    forbid: tuple[Mapping[str, str], ...] = ()
    """Combinations of levels that no server accepts."""
    seed: int = 0
    """Seed of the exchange."""


Cell = dict[str, str]


def cells(factorial: Factorial, listed: Sequence[Mapping[str, str]]) -> list[Cell]:
    """The chosen combinations of levels, in order, without those of the `listed` contexts (the base is one of them).

    A fraction is chosen beside the listed contexts whose levels all belong to the factorial: it adds what they do not
    say. Raises `InputError` where a fraction is too small for its effects.
    """
    names = list(factorial.factor)
    every = [dict(zip(names, levels, strict=True)) for levels in itertools.product(*factorial.factor.values())]
    allowed = [c for c in every if not any(all(c.get(f) == lv for f, lv in rule.items()) for rule in factorial.forbid)]
    given = [{f: row.get(f, "") for f in names} for row in listed]
    given = [row for row in given if row in every]
    allowed = [c for c in allowed if c not in given]
    if factorial.design == "full":
        return allowed
    if len(allowed) > CELLS_MAX:
        raise InputError(f"The factorial has {len(allowed)} cells; a fraction is chosen from at most {CELLS_MAX}.")
    rows = [*given, *allowed]
    whole = np.column_stack([np.ones(len(rows)), *_blocks(rows, factorial.factor, factorial.pairs).values()])
    known, matrix = whole[: len(given)], whole[len(given) :]
    least = int(np.linalg.matrix_rank(whole)) - (int(np.linalg.matrix_rank(known)) if given else 0)
    if not max(least, 1) <= factorial.runs <= len(allowed):
        raise InputError(
            f"A fraction of {factorial.runs} runs cannot be drawn: its effects need at least {least} beside the listed "
            f"contexts, and the factorial has {len(allowed)} other cells."
        )
    chosen = _exchange(matrix, factorial.runs, known, np.random.default_rng(factorial.seed))
    return [allowed[k] for k in chosen]


def _blocks(
    rows: Sequence[Cell], factors: Mapping[str, Sequence[str] | Mapping], pairs: Sequence[Sequence[str]]
) -> dict[str, np.ndarray]:
    """Columns of every effect: level minus last level, products for pairs; keys are `a` and `a x b`."""
    out = {}
    for name, levels in factors.items():
        levels = list(levels)
        code = np.array([levels.index(row[name]) for row in rows])
        out[name] = (code[:, None] == np.arange(len(levels) - 1)).astype(float) - (code == len(levels) - 1)[:, None]
    for first, second in pairs:
        product = out[first][:, :, None] * out[second][:, None, :]
        out[f"{first} x {second}"] = product.reshape(len(rows), -1)
    return out


def _exchange(matrix: np.ndarray, runs: int, known: np.ndarray, rng: np.random.Generator) -> list[int]:
    """Rows with the largest determinant of X'X, known rows included, by exchanging one at a time until none improves."""
    ridge = 1e-6 * np.eye(matrix.shape[1]) + known.T @ known  # starts may be singular
    best, chosen = -np.inf, []
    for _ in range(STARTS):
        inside = list(rng.choice(len(matrix), runs, replace=False))
        while True:
            moved = False
            for place in range(runs):
                others = matrix[[k for n, k in enumerate(inside) if n != place]]
                inverse = np.linalg.inv(others.T @ others + ridge)
                gain = np.einsum("ij,jk,ik->i", matrix, inverse, matrix)
                gain[[k for n, k in enumerate(inside) if n != place]] = -np.inf
                candidate = int(np.argmax(gain))
                if gain[candidate] > gain[inside[place]] * (1 + 1e-9):
                    inside[place], moved = candidate, True
            if not moved:
                break
        value = np.linalg.slogdet(matrix[inside].T @ matrix[inside] + ridge)[1]
        if value > best + 1e-9:
            best, chosen = value, sorted(inside)
    return [int(k) for k in chosen]


def aliases(rows: Sequence[Mapping[str, str]], pairs: Sequence[Sequence[str]] = ()) -> list[str]:
    """Sentences on the effects that these contexts cannot tell apart, main effects first; empty = all are estimable.

    `rows` are the factor levels of every context. A main effect is compared with the other main effects and with the
    interactions of the factors that are not part of it; a declared pair with all main effects and the other pairs.
    """
    varying = {f: sorted({r[f] for r in rows}) for f in rows[0] if len({r[f] for r in rows}) > 1} if rows else {}
    plain = [dict(r) for r in rows]
    main = _blocks(plain, varying, [])
    said = []
    for name, columns in main.items():
        others = {n: b for n, b in main.items() if n != name}
        if _inside(columns, others.values()):
            whole = [n for n, b in others.items() if _inside(columns, [b])]
            said.append(
                f"the effect of {name} cannot be told apart from that of {' or '.join(whole)}"
                if whole
                else f"the effect of {name} cannot be told apart from those of the other factors together"
            )
    known = [p for p in pairs if all(f in varying for f in p)]
    products = {f"{a} x {b}": _blocks(plain, varying, [(a, b)])[f"{a} x {b}"] for a, b in itertools.combinations(varying, 2)}
    for name, columns in main.items():
        inside = [n for n, b in products.items() if name not in n.split(" x ") and _inside(columns, [b])]
        if inside:
            said.append(f"the effect of {name} is mixed with the interaction of {' and of '.join(inside)}")
    for first, second in known:
        label = f"{first} x {second}"
        block = products.get(label, products.get(f"{second} x {first}"))
        if block is not None and _partly(block, main.values()):
            said.append(f"the interaction of {label} cannot be estimated apart from the main effects")
    return said


def _residual(columns: np.ndarray, others) -> np.ndarray:
    """What intercept and other effects leave of these columns."""
    basis = np.column_stack([np.ones(len(columns)), *others])
    return columns - basis @ np.linalg.lstsq(basis, columns, rcond=None)[0]


def _inside(columns: np.ndarray, others) -> bool:
    """Do all columns lie in the span of the intercept and the others?"""
    return bool(np.linalg.norm(_residual(columns, others)) <= SPAN * max(np.linalg.norm(columns), 1.0))


def _partly(columns: np.ndarray, others) -> bool:
    """Does any combination of the columns lie in that span?"""
    left = np.linalg.svd(_residual(columns, others), compute_uv=False)
    return bool(left.min() <= SPAN * max(np.linalg.norm(columns), 1.0)) or len(columns) <= columns.shape[1]
