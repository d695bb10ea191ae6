"""What did a context label mean when the model was made? A request that was served otherwise is not of that context.

A label is a name, the serving factors beside it are what was done: where a request's factors hold a level, or a combination,
that its label did not have among the deployed rows of the fit, the request is one of a context that was never seen. Factors
that did not vary are looked at too (where factors were not declared): a new level of one is as new. A factor that is not
logged, then or now, contradicts nothing. Each factor's level is looked up as the set of its context's combinations that have
it, 64 bits; what is left of the sets of all factors is empty for a contradiction. Unit: none.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from divergence.risk.lookup import coded, looked_up, places

TOGETHER_MAX = 64  # combinations of a context beyond which its factors are looked at one by one: bits of a number
EVERY = ~np.uint64(0)
# How a missing level is written; the text is `executions.contexts.NOT_LOGGED`, whose import would load Polars.
UNKNOWN = (None, "not logged", "NaN", "nan")


@dataclasses.dataclass(frozen=True)
class Served:
    """The factor levels, and their combinations, that each deployed context had."""

    factors: tuple[str, ...] = ()
    """Serving factors that were logged."""
    together: dict[str, tuple[tuple[str | None, ...], ...]] = dataclasses.field(default_factory=dict)
    """Context label -> its combinations of levels, None = not logged."""
    apart: dict[str, tuple[tuple[str | None, ...], ...]] = dataclasses.field(default_factory=dict)
    """Context label -> the levels of each factor, for contexts of which combinations are too many or not known."""

    @classmethod
    def of(cls, factors: tuple[str, ...], rows: Iterable[tuple[str, *tuple[str | None, ...]]]) -> Served:
        """From distinct rows: the context, then the level of each factor."""
        found: dict[str, set[tuple[str | None, ...]]] = {}
        for context, *levels in rows:
            found.setdefault(context, set()).add(tuple(levels))
        ordered = {context: tuple(sorted(found[context], key=_order)) for context in sorted(found)}
        few = {context: all_of for context, all_of in ordered.items() if len(all_of) <= TOGETHER_MAX}
        many = {
            context: tuple(tuple(sorted(set(levels), key=lambda one: _order([one]))) for levels in zip(*all_of, strict=True))
            for context, all_of in ordered.items()
            if context not in few
        }
        return cls(factors, few, many)

    @functools.cached_property
    def _contexts(self) -> tuple[str, ...]:
        return (*self.together, *self.apart)

    @functools.cached_property
    def _sets(self) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
        """Per factor its known levels and the set of combinations for each context and level, shape (contexts + 1, levels
        + 2): a context that is not known allows all; the last two levels are one never seen, and none."""
        out = {}
        for f, factor in enumerate(self.factors):
            named = {combination[f] for all_of in self.together.values() for combination in all_of}
            named |= {level for levels in self.apart.values() for level in levels[f]}
            known = tuple(sorted(level for level in named if level is not None))
            sets = np.full((len(self._contexts) + 1, len(known) + 2), EVERY)
            for c, context in enumerate(self._contexts):
                mine = [{all_of[f]} for all_of in self.together.get(context, ())] or [set(self.apart[context][f])]
                for k, level in enumerate((*known, "")):
                    fits = [None in one or (k < len(known) and level in one) for one in mine]
                    sets[c, k] = EVERY if all(fits) else sum(1 << bit for bit, fit in enumerate(fits) if fit)
            out[factor] = known, sets
        return out

    def unlike(self, batch: pa.RecordBatch) -> np.ndarray | None:
        """Which factor contradicts the context label of each row: its place in `factors`, their number for a combination,
        -1 for none; None where no row is contradicted."""
        names = [f for f in self.factors if f in batch.schema.names]
        if not names or not self._contexts or "context" not in batch.schema.names:
            return None
        context = coded(batch.column("context"))
        contexts = places(context.dictionary, self._contexts)
        row = looked_up(context, np.arange(len(contexts)))
        left, parts = None, []
        for name in names:
            known, sets = self._sets[name]
            column = coded(batch.column(name))
            where = places(column.dictionary, known)
            where[-1] = len(known) + 1
            where[:-1][[level in UNKNOWN for level in column.dictionary.cast(pa.string()).to_pylist()]] = len(known) + 1
            here = sets[contexts][:, where]
            if (here == EVERY).all():
                continue
            place = row * here.shape[1]
            place += looked_up(column, np.arange(len(where)))
            found = here.reshape(-1).take(place)
            parts.append((self.factors.index(name), found))
            left = found.copy() if left is None else np.bitwise_and(left, found, out=left)
        if left is None or left.all():
            return None
        out = np.full(batch.num_rows, -1)
        out[left == 0] = len(self.factors)
        for f, found in reversed(parts):
            out[found == 0] = f
        return out

    def sentences(self) -> list[str]:
        """What is said of a context that is contradicted, by the numbers of `unlike`."""
        return [
            *(f"new context (its label had another {factor})" for factor in self.factors),
            "new context (its label had no such combination of factors)",
        ]

    def to_json(self) -> dict:
        """Plain lists."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, words: dict) -> Served:
        """What `to_json` wrote."""
        together, apart = (
            {context: tuple(map(tuple, rows)) for context, rows in words[name].items()} for name in ("together", "apart")
        )
        return cls(tuple(words["factors"]), together, apart)


def _order(levels: Iterable[str | None]) -> list[tuple[bool, str]]:
    return [(level is not None, level or "") for level in levels]
