"""What is the risk of a request? A table with one row a (model, context, stratum), a place for every known item in every
(model, context), both made once from the posterior, and a lookup.

    risk    P(failure), the posterior mean; of a stratum calibrated where calibration rows said that this helps, of a known
            item given all that its answers said (`known_items`)
    lower, upper    the 90 % equal-tailed interval of that probability: what the posterior does not know about it
    excess  risk minus what the bench promised for this model and stratum; null without a bench. Points as a fraction
    novelty q_D / (q_D + q_E) of the stratum's shares of traffic and bench: 1/2 = as common in both, 1 = never on the
            bench, or a model or context that no log has; null where no strata are logged
    known   was this model seen in this context in deployment, and this stratum anywhere? A context label that the request's
            serving factors contradict is no known one (`context_definitions`)
    reason  what is new, or the largest contributions to the stratum's risk: `+chat_template=chatml; -task=capital` (+ raises
            the risk)
    evidence    what the risk rests on: the item was seen `here` (this model and context), in an `other context`, with an
            `other model`, on the `bench`, or not at all and the `stratum` answers, as for an id that now
            stands for an `other prompt` (`item_lookup`)
    audit   which requests to look at first: the share of the requests that the model was made from with at least this risk.
            .01 = as risky as the riskiest hundredth

Saved as `risk.json` and `risk.npz` with a hash over both; nothing is ever unpickled. A score is a gather: it depends on
no other row, so cutting a log differently changes no bit. Reading a model and scoring needs NumPy and Arrow only.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib

import numpy as np
import pyarrow as pa

from divergence.risk.calibrate import Calibrator
from divergence.risk.context_definitions import Served
from divergence.risk.item_lookup import ARRAYS, EVIDENCE, PLAIN, POINTS, PROMPT, SPREADS, ItemRisks, answers
from divergence.risk.like_contexts import LikeContexts
from divergence.risk.lookup import LookupGrid, coded, looked_up, take
from divergence.risk.model_view import shown_table
from divergence.risk.moved_draws import drawn, nearest_draws
from divergence.risk.prompt_neighbours import ARRAYS as NEIGHBOURS
from divergence.risk.saved_table import PLAUSIBLE, check_table, check_words
from divergence.risk.unseen_shift import AGREE, NEAR, SOURCES, UnseenShift, shifted_places
from divergence.sealed import DAMAGE, RISK_FILES, Sealed
from divergence.staging import move_into, staging

FORMAT = 4  # 1 had a design effect of the whole log, 2 did not say how contexts were served, 3 had no items
SEALED = Sealed(
    *RISK_FILES,
    FORMAT,
    "risk model",
    "make it again with divergence fit LOG -o FOLDER, from a log with judged deployment rows",
)
COLUMNS = ("risk", "excess", "lower", "upper", "novelty", "known", "reason", "evidence", "audit")
STRATUM = np.int8(EVIDENCE.index("stratum"))


@dataclasses.dataclass(frozen=True, eq=False)
class RiskModel:
    """Risk of every (model, context, stratum), and how far it was checked.

    `risk_model(posterior, log)` makes it. `score(batch)` takes an Arrow batch with the columns `model`, `context` and,
    where strata are known, `task`, and returns `risk`, `lower`, `upper`, `excess`, `novelty` (0..1), `known` and `reason`
    for each row; `check` is how calibrated that was. `save(folder)` writes it, `RiskModel.load(folder)` reads it. Raises
    InputError for a folder that holds none.

    >>> import pyarrow as pa
    >>> import divergence as dv
    >>> from divergence.simulate import simulate, world
    >>> log = dv.read(simulate(world("baseline", n_models=3, n_contexts=3, n_items=40), 0)[0])
    >>> model = dv.risk_model(dv.fit(dv.collapse(log), seed=0), log)
    >>> asked = pa.record_batch({"model": ["model-0"], "context": [model.levels["context"][0]]})
    >>> 0 < model.score(asked)["risk"][0].as_py() < 1
    True
    """

    outcome: str
    """Name of the outcome whose failure is the risk."""
    kind: str
    """`binary` (also counted rates) or `fraction` (then risk is the expected shortfall from 1)."""
    factors: tuple[str, ...]
    """Serving factors in the order in which context labels name them."""
    levels: dict[str, tuple[str, ...]]
    """Known levels of `model`, `context` and, where strata are logged, `task`."""
    table: dict[str, np.ndarray]
    """`risk`, `excess`, `lower`, `upper`, `novelty` (float64, NaN = not identified), `known` (bool), `reason` (int32 codes),
    one row a combination; each axis has one place more than levels, for what was never seen."""
    reasons: tuple[str, ...]
    """The texts of the reason codes."""
    calibrator: Calibrator
    """What was done to the posterior's risks, as plain numbers."""
    check: dict
    """What calibration was measured on rows that took part in nothing else, or why not; see `reliability`."""
    conformal: dict
    """Thresholds of prediction sets by context; see `conformal`."""
    traffic: dict
    """How outcomes hang together, and how well contexts were known, when the model was made; see `stale`."""
    provenance: dict
    """Seed, versions, sentences about the log."""
    served: Served = dataclasses.field(default_factory=Served)
    """How each deployed context was served: what contradicts its label is another context."""
    interval: float = 0.9
    """Probability of the interval, equal-tailed."""
    plausible: np.ndarray | None = None
    """Joint draws of `risk` from the posterior, calibrated, float32, shape (draws, rows): what its calibration error may be
    where the posterior is right (`reliability`). None where the table is too large to keep them."""
    items: ItemRisks | None = None
    """What is known of items; None where the log repeats none, or they tell nothing."""
    near: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    """Arrays of the prompts that lend to those alike; empty where none do."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Further columns that a score reads: features, embeddings of prompts; answers are read before."""
        return () if self.unseen is None else tuple(SOURCES.get(n, n) for n in self.unseen.names if n != AGREE)

    @property
    def tells(self) -> tuple[str, ...]:
        """What moves requests whose items are not known, as a batch that has it at hand names it."""
        return () if self.unseen is None else self.unseen.names

    @functools.cached_property
    def unseen(self) -> UnseenShift | None:
        """What moves requests whose items are not known; None where nothing does."""
        features = self.traffic.get("features")
        return UnseenShift.from_json(features, self.near) if features else None

    @property
    def beside(self) -> tuple[str, ...]:
        """What is read where it is logged: serving factors that no context label names, hashes of prompts, embedders."""
        further = ("prompt_hash",) if self.items is not None and self.items.prompt is not None else ()
        further += ("embedder",) if self.unseen is not None and NEAR in self.unseen.names else ()
        return *(f for f in self.served.factors if f not in self.factors), *further

    @functools.cached_property
    def _grid(self) -> LookupGrid:
        shape = tuple(len(v) + 1 for v in self.levels.values())
        return LookupGrid(self.levels, np.arange(np.prod(shape), dtype=np.int32).reshape(shape))

    @functools.cached_property
    def _columns(self) -> dict[str, np.ndarray | pa.Array]:
        numbers = {
            n: self.table[n] if not np.isnan(self.table[n]).any() else pa.array(self.table[n], from_pandas=True)
            for n in ("excess", "novelty")
        }
        codes = pa.DictionaryArray.from_arrays(pa.array(self.table["reason"], pa.int32()), self._reasons[0])
        return {**numbers, "known": self.table["known"], "reason": codes}

    @functools.cached_property
    def answers(self) -> dict[str, np.ndarray]:
        """`risk`, `lower`, `upper` and `audit` of the rows of the table, the places of known items, and those of strata that
        features moved."""
        parts = [self.table, *[answers()] * ((self.items is not None) + (self.unseen is not None))]
        out = {name: np.concatenate([part[name] for part in parts]) for name in ("risk", "lower", "upper")}
        seen = np.array(self.traffic.get("risks", ()), float)
        below = np.searchsorted(seen, out["risk"]) / len(seen) if len(seen) else np.full(len(out["risk"]), np.nan)
        return {**out, "audit": 1 - below}

    @property
    def items_from(self) -> int:
        """The first place of `answers` that is of a known item."""
        return len(self.table["risk"])

    def of_items(self, index: np.ndarray) -> np.ndarray:
        """Which of these places of `answers` are of known items."""
        size = POINTS * SPREADS if self.items is not None else 0
        return (index >= self.items_from) & (index < self.items_from + size)

    @functools.cached_property
    def _of_row(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of each row of the table: its (model, context), its stratum, and what the bench promised."""
        strata = len(self.levels["task"]) + 1 if "task" in self.levels else 1
        return *np.divmod(np.arange(len(self.table["risk"])), strata), self.table["risk"] - self.table["excess"]

    @functools.cached_property
    def _without_bench(self) -> tuple[bool, bool]:
        """Have all rows of the table no excess, and has any none?"""
        none = np.isnan(self.table["excess"])
        return bool(none.all()), bool(none.any())

    @functools.cached_property
    def _reasons(self) -> tuple[pa.Array, np.ndarray]:
        """All texts, and for each reason with a new context its codes by what contradicts a label (`Served.unlike`)."""
        texts = {text: code for code, text in enumerate(self.reasons)}
        said = self.served.sentences() if self.served.factors else []
        codes = np.tile(np.arange(len(self.reasons), dtype=np.int32)[:, None], len(said))
        for code, text in enumerate(self.reasons):
            if "new context" in text.split("; "):
                codes[code] = [texts.setdefault(text.replace("new context", what), len(texts)) for what in said]
        return pa.array(texts, pa.string()), codes

    def rows(self, batch: pa.RecordBatch) -> np.ndarray:
        """The row of the table that answers each request of a batch."""
        return self._answers(batch)[0]

    def _answers(self, batch: pa.RecordBatch) -> tuple[np.ndarray, np.ndarray | None]:
        """The rows, and what contradicts each request's context label."""
        missing = [key for key in self.levels if key not in batch.schema.names]
        if missing:
            none = pa.nulls(batch.num_rows, pa.string())
            batch = pa.record_batch([*batch.columns, *[none] * len(missing)], names=[*batch.schema.names, *missing])
        unlike = self.served.unlike(batch)
        if unlike is not None:  # then the label says nothing
            context = coded(batch.column("context"))
            none = len(context.dictionary)
            codes = looked_up(context, np.arange(none + 1))
            other = pa.DictionaryArray.from_arrays(pa.array(codes, mask=(unlike >= 0) | (codes == none)), context.dictionary)
            batch = batch.set_column(batch.schema.get_field_index("context"), "context", other)
        return self._grid.rows(batch), unlike

    def _known_items(self, batch: pa.RecordBatch, rows: np.ndarray) -> np.ndarray | None:
        """Which combination of item, model and context each request has, -1 for an item that is not known, -2 for a prompt
        that its id did not stand for; None where there is none."""
        if self.items is None or "item" not in batch.schema.names:
            return None
        item = self.items.rows(batch.column("item"))
        pair, stratum, _ = self._of_row
        if (item == len(self.items.task)).all():
            return None
        known, other = self.items.known(batch, item, stratum.take(rows) if "task" in self.levels else None)
        place = item * self.items.place[0].size + pair.take(rows)
        place = place if known.all() else (place + 1) * known - 1
        return place if other is None else np.where(other, -2, place)

    @functools.cached_property
    def _like(self) -> tuple[LikeContexts | None, np.ndarray]:
        """Mixtures for contexts that were never seen, and which rows of the table are of one."""
        told, contexts = self.traffic.get("items", {}), len(self.levels["context"])
        new = self._of_row[0] % (contexts + 1) == contexts
        if not told.get("likeness") or not told.get("served") or self.items is None:
            return None, new
        return LikeContexts(self.items, Served.from_json(told["served"]), self.levels["context"], told["likeness"]), new

    def _new_contexts(self, batch: pa.RecordBatch, rows: np.ndarray, place: np.ndarray, index: np.ndarray) -> None:
        """Known items in new contexts are answered by the contexts most alike."""
        like, new = self._like
        if like is None:
            return
        mine = np.flatnonzero(new.take(rows) & (place >= 0))
        if len(mine):
            contexts = len(self.levels["context"]) + 1
            item, pair = np.divmod(place[mine], self.items.place[0].size)  # pyright: ignore[reportOptionalMemberAccess]
            found = like.places(batch.take(pa.array(mine)), item, pair // contexts)
            index[mine] = found.astype(np.intp) + self.items_from

    def _by_features(
        self, unseen: UnseenShift, batch: pa.RecordBatch, rows: np.ndarray, index: np.ndarray, lacking: dict[str, int]
    ) -> np.ndarray:
        """Places, with requests moved of which more is known and that their stratum answers."""
        mine = np.flatnonzero(~self.of_items(index))
        values = unseen.values(batch if len(mine) == len(rows) else batch.take(pa.array(mine)))
        for name, missing in zip(unseen.names, np.isnan(values).sum(0).tolist(), strict=True):
            lacking[name] = lacking.get(name, 0) + missing
        shift, sd = unseen.of(values)
        there = sd > 0
        first = self.items_from + (POINTS * SPREADS if self.items is not None else 0)
        out = index.astype(np.intp)
        out[mine[there]] = first + shifted_places((shift[there], sd[there]), rows[mine[there]], unseen.probits(self.table))
        return out

    def answer(self, batch: pa.RecordBatch, lacking: dict[str, int] | None = None) -> tuple[pa.RecordBatch, np.ndarray]:
        """The scores of a batch, and each place in `answers`. `lacking` counts requests without what would move them."""
        rows, unlike = self._answers(batch)
        place = self._known_items(batch, rows)
        if place is None:
            index, evidence = rows, np.full(len(rows), STRATUM)
        else:
            places, kinds, _ = self.items.flat  # pyright: ignore[reportOptionalMemberAccess] - there are places
            index = np.add(places.take(place, mode="wrap"), self.items_from, dtype=np.intp)
            self._new_contexts(batch, rows, place, index)
            evidence = kinds.take(place, mode="wrap").view(np.int8)
            if place.min() < 0:  # sums of products: choosing by a mask costs three times as much
                known = (place >= 0).astype(np.int8)
                index = rows + (index - rows) * known
                evidence = STRATUM + (evidence - STRATUM) * known
                np.copyto(evidence, EVIDENCE.index("other prompt"), where=place == -2)
        if self.unseen is not None:
            index = self._by_features(self.unseen, batch, rows, index, {} if lacking is None else lacking)
        found = {name: values.take(index) for name, values in self.answers.items()}
        moved = (place is not None or self.unseen is not None) and not self._without_bench[0]
        columns = take({n: v for n, v in self._columns.items() if not (moved and n == "excess")}, rows)
        if moved:
            excess = self._of_row[2].take(rows)
            np.subtract(found["risk"], excess, out=excess)
            columns["excess"] = pa.array(excess, from_pandas=self._without_bench[1])
        columns |= {name: pa.array(values) for name, values in found.items()}
        columns["evidence"] = pa.DictionaryArray.from_arrays(pa.array(evidence), pa.array(EVIDENCE))
        if unlike is not None:
            texts, codes = self._reasons
            reason = self.table["reason"][rows]
            reason = np.where(unlike >= 0, codes[reason, unlike], reason)
            columns["reason"] = pa.DictionaryArray.from_arrays(pa.array(reason, pa.int32()), texts)
        identity = {"execution_id": batch.column("execution_id")} if "execution_id" in batch.schema.names else {}
        return pa.record_batch({**identity, **{name: columns[name] for name in COLUMNS}}), index

    def score(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Risk of every row of a batch with the columns `model`, `context` and, where they are known, `task` and `item`.

        A column that the batch lacks counts as never seen; serving factors are compared with what the context's label stood
        for where the batch has them. The result has `execution_id` where the batch has it.
        """
        return self.answer(batch)[0]

    def plain(self, batch: pa.RecordBatch) -> np.ndarray:
        """The failure rate of the most specific group that the log had for each request: what a group-by says; NaN where it
        had none."""
        rows = self.rows(batch)
        place = self._known_items(batch, rows)
        strata = np.array(self.traffic.get("rates") or [np.nan] * len(self.table["risk"]), float).take(rows)
        if place is None:
            return strata
        return np.where(place < 0, strata, self.items.flat[2].take(place, mode="wrap") / PLAIN)  # pyright: ignore[reportOptionalMemberAccess]

    def draws(self, context: str, risk: np.ndarray) -> np.ndarray | None:
        """Plausible values of each of these risks of a context's requests, shape (draws, risks); None where none are kept.
        Rows of one risk are taken together; one that none has has those of the nearest (`nearest_draws`). Rows of a new
        context are among them: requests may contradict their label."""
        if self.plausible is None:
            return None
        names = self.levels["context"]
        axis = list(self.levels).index("context")
        place = names.index(context) if context in names else len(names)
        places = [place, len(names)] if self.served.factors else [place]
        rows = self._grid.place.take(places, axis=axis).ravel()
        return nearest_draws(self.plausible[:, rows], self.table["risk"][rows], np.asarray(risk))

    def mean_draws(self, batch: pa.RecordBatch) -> np.ndarray | None:
        """Plausible values of the mean risk of a batch's requests, shape (draws,); None where no draws are kept. Errors of
        known items in known contexts are each their own and vanish in a mean."""
        if self.plausible is None:
            return None
        rows, (scores, index) = self.rows(batch), self.answer(batch)
        own = self.of_items(index) & np.asarray(scores.column("known"))
        strata = index < self.items_from
        shared = ~own & ~strata
        n = np.bincount(rows[strata], minlength=self.plausible.shape[1])
        total = self.plausible @ n + self.answers["risk"].take(index[own]).sum()
        if shared.any():
            draws, kind = drawn(self, rows[shared], index[shared])
            total = total + draws @ np.bincount(kind)
        return total / len(rows)

    def save(self, folder: str | os.PathLike) -> None:
        """Write `risk.json` and `risk.npz` into the folder; a reader never sees a half-written one."""
        folder = pathlib.Path(folder)
        draws = {} if self.plausible is None else {PLAUSIBLE: self.plausible}
        draws |= self.near | ({} if self.items is None else self.items.arrays())
        kept = [f.name for f in dataclasses.fields(self) if f.name not in ("table", PLAUSIBLE, "items", "near")]
        words = {name: getattr(self, name) for name in kept}
        words |= {"calibrator": self.calibrator.to_json(), "served": self.served.to_json()}
        with staging(folder) as fresh:
            for name, content in SEALED.contents(words, {**self.table, **draws}).items():
                (fresh / name).write_bytes(content)
            move_into(fresh, folder)

    @classmethod
    def load(cls, folder: str | os.PathLike) -> RiskModel:
        """Read a saved risk model. Raises InputError where it is missing, changed, or of another format."""
        folder = pathlib.Path(folder)
        words, arrays = SEALED.open(folder)
        try:
            model = cls._of(words, arrays)
            model.score(pa.record_batch({key: pa.array(levels[:1], pa.string()) for key, levels in model.levels.items()}))
            repr(model)
            return model
        except (*DAMAGE, pa.ArrowException) as error:
            raise SEALED.damaged(folder, error) from None

    @classmethod
    def _of(cls, words: dict, table: dict[str, np.ndarray]) -> RiskModel:
        """The model of what `save` wrote. Raises anything for what it did not write."""
        check_words(words)
        plausible = table.pop(PLAUSIBLE, None)
        levels = {name: tuple(v) for name, v in words["levels"].items()}
        items, near = (
            {name: table.pop(name) for name in names if name in table} for names in ((*ARRAYS, PROMPT), NEIGHBOURS)
        )
        check_table(words, table, plausible)
        shape = (len(levels["model"]) + 1, len(levels["context"]) + 1)
        return cls(
            **words
            | {
                "table": table,
                PLAUSIBLE: plausible,
                "items": ItemRisks.of_arrays(items, shape) if items else None,
                "near": near,
                "levels": levels,
                "calibrator": Calibrator.from_json(words["calibrator"]),
                "served": Served.from_json(words["served"]),
                "factors": tuple(words["factors"]),
                "reasons": tuple(words["reasons"]),
            }
        )

    def _repr_html_(self) -> str:
        return shown_table(self)

    def __repr__(self) -> str:
        sizes = ", ".join(f"{len(v)} {name}s" for name, v in self.levels.items())
        return f"RiskModel of {self.outcome}: {sizes}; {self.check.get('sentence', 'not checked')}"
