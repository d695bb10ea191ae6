"""The sum of two collapses: what makes partitions, processes and machines give the same numbers as one pass."""

from __future__ import annotations

import numpy as np

from divergence.calling import sentences
from divergence.cells.cells import KEYS, MISSING, ROWS_OF, TABLES, Cells, Table, thinned_by
from divergence.cells.mixed import without_partly_known
from divergence.cells.thinning import thinned
from divergence.errors import InputError


@sentences
def merge(first: Cells, second: Cells) -> Cells:
    """The cells of two logs together: `collapse(a + b)` from `collapse(a)` and `collapse(b)`.

    `first`, `second`: `Cells` of the same outcome, of logs that share no row. Returns `Cells`. Commutative; exact for
    counted outcomes. Raises InputError when the two are not about the same outcome, or were read under different laws.

    >>> import divergence as dv
    >>> from divergence.simulate import simulate, world
    >>> one, other = (dv.collapse(dv.read(simulate(world("baseline"), seed)[0])) for seed in (0, 1))
    >>> dv.merge(one, other).counts["rows"].sum() == 2 * one.counts["rows"].sum()
    np.True_
    """
    for field in ("outcome", "kind", "declared_law", "grade_names", "items", "better", "zero_cost"):
        a, b = getattr(first, field), getattr(second, field)
        if a != b:
            raise InputError(f"cells of {field} {a!r} and {b!r} cannot be merged; collapse both logs in the same way")
    levels = {k: tuple(sorted({*first.levels[k], *second.levels[k]})) for k in KEYS}
    tables = {name: _sum(name, first, second, levels) for name in TABLES}
    for name, rows in ROWS_OF.items():
        tables[name] = thinned(tables[name], levels, thinned_by(tables["counts"][rows].sum()))
    tables["mixed"] = without_partly_known(tables["mixed"], tables["designs"])
    levels, tables = _without_unused(levels, tables)
    notes = tuple(dict.fromkeys([*first.notes, *second.notes]))
    return Cells(
        first.outcome,
        first.kind,
        levels,
        **tables,
        grade_names=first.grade_names,
        declared_law=first.declared_law,
        items=first.items,
        better=first.better,
        zero_cost=first.zero_cost,
        notes=notes,
        cautions=tuple(dict.fromkeys([*first.cautions, *second.cautions])),
    )


def _without_unused(levels: dict[str, tuple[str, ...]], tables: dict[str, Table]) -> tuple[dict, dict[str, Table]]:
    """Names and tables without the sessions and answers that thinning left out."""
    for key in ("session", "answer"):
        holding = [name for name in ROWS_OF if key in TABLES[name][0]]
        used = np.unique(np.concatenate([tables[name][key] for name in holding]))
        used = used[used != MISSING]
        if len(used) == len(levels[key]):
            continue
        code = np.full(len(levels[key]) + 1, MISSING)
        code[used] = np.arange(len(used))
        levels = levels | {key: tuple(levels[key][k] for k in used)}
        tables = tables | {
            name: Table(tables[name].keys | {key: code[tables[name][key]]}, tables[name].sums) for name in holding
        }
    return levels, tables


def _sum(name: str, first: Cells, second: Cells, levels: dict[str, tuple[str, ...]]) -> Table:
    keys, sums = TABLES[name]
    both = [recoded(cells, name, levels) for cells in (first, second)]
    codes = {k: np.concatenate([table[k] for table in both]) for k in keys}
    return summed(name, codes, {s: np.concatenate([getattr(c, name)[s] for c in (first, second)]) for s in sums})


def summed(name: str, codes: dict[str, np.ndarray], values: dict[str, np.ndarray]) -> Table:
    """A table with its rows sorted by key, rows of one key added up."""
    keys, sums = TABLES[name]
    if not len(values[sums[0]]):
        return Table(codes, values)
    order = np.lexsort([codes[k] for k in reversed(keys)])
    stacked = np.stack([codes[k][order] for k in keys])
    starts = np.flatnonzero(np.r_[True, (np.diff(stacked, axis=1) != 0).any(0)])
    return Table({k: codes[k][order][starts] for k in keys}, {s: np.add.reduceat(values[s][order], starts) for s in sums})


def recoded(cells: Cells, name: str, levels: dict[str, tuple[str, ...]]) -> Table:
    """A table of cells with its codes into other levels, which have all of its own names."""
    table = getattr(cells, name)
    return Table({key: _recode(cells, table[key], key, levels) for key in table.keys}, table.sums)


def _recode(cells: Cells, codes: np.ndarray, key: str, levels: dict[str, tuple[str, ...]]) -> np.ndarray:
    place = {name: k for k, name in enumerate(levels[key])}
    table = np.array([place[name] for name in cells.levels[key]] + [MISSING], dtype=np.int64)
    return table[codes]  # code -1 takes the last entry
