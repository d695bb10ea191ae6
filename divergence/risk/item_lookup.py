"""Which requests repeat an item that is known, and what is known of it? One gather a request more than strata need.

The posterior of f (`item_factors`) of an item in a (model, context) has two numbers, so a place in a fixed table of them
answers a request: `POINTS` values of the risk's probit times `SPREADS` standard deviations, which rounds a risk by .0032 at
most. Places are kept for every known item in every model and context of the table, the never seen included: four bytes
each. What an answer rests on is its evidence:

    here            this model was asked this item in this context, in deployment
    other context   in other contexts only
    other model     other models were asked, in deployment
    bench           the item was seen on the bench only
    stratum         the item is not known
    other prompt    the id is known, for a prompt of another hash: the stratum answers

An id that comes with another task than the item had is another item, and so is one with another hash of its prompt, where
both are logged. Reading and scoring need NumPy and Arrow only.
"""

from __future__ import annotations

import dataclasses
import functools
import math

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from divergence.numerics import NORMAL_95
from divergence.risk.lookup import _same, coded, looked_up

EVIDENCE = ("here", "other context", "other model", "bench", "stratum", "other prompt")
POINTS, SPREADS = 512, 64
PROBIT_MAX = 4.0
SPREAD_MIN, SPREAD_MAX = 0.02, 25.0
ARRAYS = ("item_place", "item_evidence", "item_plain", "item_task", "item_names", "item_ends")
PROMPT = "item_prompt"  # saved where prompts were hashed
KINDS = ("uint16", "uint8", "uint8", "int32", "uint8", "int64")
PLAIN = 255  # steps of a plain rate
LETTERS = 4096  # places of a text with a number of their own
BUCKETS = 20  # bits of a hash by which names are found: about one of a million names in each


def place_of(risk_probit: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Place in the table of a risk's probit and the standard deviation of f, uint16."""
    point = np.rint((np.clip(risk_probit, -PROBIT_MAX, PROBIT_MAX) + PROBIT_MAX) / (2 * PROBIT_MAX) * (POINTS - 1))
    along = np.log(np.clip(sd, SPREAD_MIN, SPREAD_MAX) / SPREAD_MIN) / math.log(SPREAD_MAX / SPREAD_MIN)
    return (point * SPREADS + np.rint(along * (SPREADS - 1))).astype(np.uint16)


def probits() -> np.ndarray:
    """Probits of the risks, ascending."""
    return np.linspace(-PROBIT_MAX, PROBIT_MAX, POINTS)


def spreads() -> np.ndarray:
    """Standard deviations of f, ascending."""
    return SPREAD_MIN * (SPREAD_MAX / SPREAD_MIN) ** (np.arange(SPREADS) / (SPREADS - 1))


@functools.cache
def answers() -> dict[str, np.ndarray]:
    """`risk`, `lower` and `upper` of every place: its mean and the 5 % and 95 % points of Phi(f)."""
    probit, sd = probits(), spreads()
    middle = probit[:, None] * np.sqrt(1 + sd**2)
    risk = np.repeat(_normal(probit), SPREADS)
    lower, upper = (_normal((middle + side * NORMAL_95 * sd).ravel()) for side in (-1, 1))
    return {"risk": risk, "lower": np.minimum(lower, risk), "upper": np.maximum(upper, risk)}


def _normal(x: np.ndarray) -> np.ndarray:
    return np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in x.tolist()])


@dataclasses.dataclass(frozen=True, eq=False)
class ItemRisks:
    """What is known of each item in each (model, context)."""

    names: pa.Array
    """Ids of the known items, each once."""
    place: np.ndarray
    """Places in `answers`, uint16, shape (items, models + 1, contexts + 1)."""
    evidence: np.ndarray
    """Places in `EVIDENCE`, uint8, of the same shape."""
    plain: np.ndarray
    """The failure rate of the most specific group that the log has (item, model and context; item and model; item), in
    `PLAIN`ths, uint8, of the same shape: what a line of group-by would say."""
    task: np.ndarray
    """Place of each item's task among the known ones, their number where it has none, int32."""
    prompt: np.ndarray | None = None
    """`text_hashes` of each item's `prompt_hash`, 0 = not logged, uint64; None where the log had none."""
    held: list = dataclasses.field(default_factory=list, init=False, repr=False)
    """The last dictionary of items and where its values are."""

    @functools.cached_property
    def _index(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Hashes of the names, sorted, whose they are, and where each bucket of them begins."""
        found = text_hashes(self.names)
        order = np.argsort(found, kind="stable")
        found = found[order]
        edges = np.arange(2**BUCKETS, dtype=np.uint64) << np.uint64(64 - BUCKETS)
        return found, order, np.append(np.searchsorted(found, edges), len(found))

    def find(self, dictionary: pa.Array) -> np.ndarray:
        """Code of each name, the number of items for one that is not known; one more entry at the end, for nulls."""
        known, order, begin = self._index
        texts = dictionary if dictionary.type == pa.large_string() else dictionary.cast(pa.large_string())
        asked = text_hashes(texts)
        bucket = (asked >> np.uint64(64 - BUCKETS)).astype(np.intp)
        out = np.full(len(asked) + 1, len(self.names), np.intp)
        left, at = np.arange(len(asked)), begin[bucket]
        while len(left):
            inside = at < begin[bucket[left] + 1]
            left, at = left[inside], at[inside]
            same = known[at] == asked[left]
            out[left[same]] = order[at[same]]
            left, at = left[~same], at[~same] + 1
        there = np.flatnonzero(out[:-1] < len(self.names))
        alike = pc.call_function("equal", [texts.take(pa.array(there)), self.names.take(pa.array(out[there]))])
        out[there[~np.asarray(alike.fill_null(False).to_numpy(zero_copy_only=False), bool)]] = len(self.names)
        return out

    def rows(self, item: pa.Array) -> np.ndarray:
        """Code of each request's item, the number of items for one that is not known."""
        column = coded(item)
        if not self.held or not _same(self.held[0], column.dictionary):
            self.held[:] = column.dictionary, self.find(column.dictionary)
        return looked_up(column, self.held[1])

    def known(
        self, batch: pa.RecordBatch, item: np.ndarray, given: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Which requests ask for the known item of their id, and which for another prompt (None = none does).

        `item` are the codes of `rows`, `given` those of the requests' tasks, None where the model has no tasks.
        """
        known, names = item < len(self.task), batch.schema.names
        if given is not None:
            other = self.task.take(item, mode="clip") != given
            other &= known
            if other.any():  # a task that is not logged contradicts nothing
                other &= ~np.asarray(batch.column("task").is_null()) if "task" in names else False
                known &= ~other
        if self.prompt is None or "prompt_hash" not in names:
            return known, None
        column = coded(batch.column("prompt_hash"))
        asked = looked_up(column, np.append(prompt_hashes(column.dictionary), np.uint64(0)))
        own = self.prompt.take(item, mode="clip")
        other = known & (own != asked) & (own != 0) & (asked != 0)
        return known & ~other, other if other.any() else None

    @functools.cached_property
    def flat(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """`place`, `evidence` and `plain` as one row a combination."""
        return self.place.reshape(-1), self.evidence.reshape(-1), self.plain.reshape(-1)

    def arrays(self) -> dict[str, np.ndarray]:
        """What is saved."""
        names = self.names.to_pylist()
        texts = [text.encode() for text in names]
        ends = np.cumsum([len(text) for text in texts], dtype=np.int64)
        joined = np.frombuffer(b"".join(texts), np.uint8)
        parts = self.place, self.evidence, self.plain, self.task, joined, ends
        saved: dict[str, np.ndarray] = dict(zip(ARRAYS, parts, strict=True))
        return saved if self.prompt is None else saved | {PROMPT: self.prompt}

    @classmethod
    def of_arrays(cls, arrays: dict[str, np.ndarray], shape: tuple[int, int]) -> ItemRisks:
        """What `arrays` gave; `shape` = (models + 1, contexts + 1). Raises ValueError for anything else."""
        place, evidence, plain, task, texts, ends = (arrays[name] for name in ARRAYS)
        kinds = tuple(arrays[name].dtype.name for name in ARRAYS)
        if kinds != KINDS or any(a.shape != (len(ends), *shape) for a in (place, evidence, plain)):
            raise ValueError(f"its items are {kinds} of shape {place.shape} for {len(ends)} names and {shape}")
        prompt = arrays.get(PROMPT)
        if prompt is not None and (prompt.dtype != np.uint64 or prompt.shape != ends.shape):
            raise ValueError(f"its items' prompts are {prompt.dtype.name} of shape {prompt.shape}")
        starts = np.r_[0, ends]
        if (np.diff(starts) < 0).any() or starts[-1] != len(texts) or len(task) != len(ends):
            raise ValueError("its items do not fit together")
        if len(ends) and (place.max() >= POINTS * SPREADS or evidence.max() >= len(EVIDENCE)):
            raise ValueError("an item has no answer")
        names = pa.Array.from_buffers(pa.large_string(), len(ends), [None, pa.py_buffer(starts), pa.py_buffer(texts)])
        names.validate(full=True)
        return cls(names, place, evidence, plain, task, prompt)


def prompt_hashes(texts: pa.Array) -> np.ndarray:
    """A number of each hash of a prompt, 0 for none.

    >>> prompt_hashes(pa.array(["", None])).tolist()
    [0, 0]
    """
    texts = texts.cast(pa.large_string())
    there = np.asarray(pc.call_function("binary_length", [texts]).fill_null(0)) > 0
    return np.where(there, text_hashes(texts) | np.uint64(1), np.uint64(0))


def text_hashes(texts: pa.Array) -> np.ndarray:
    """A 64-bit hash of each text, alike on every machine: the sum of (byte + 1) times a number of the byte's place."""
    texts = texts.cast(pa.large_string())
    _, offsets, content = texts.buffers()
    if not len(texts):
        return np.zeros(0, np.uint64)
    ends = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    letters = np.frombuffer(content, np.uint8)[ends[0] : ends[-1]] if content is not None else np.zeros(0, np.uint8)
    ends = ends - ends[0]
    length = np.diff(ends)
    factors = np.random.default_rng(LETTERS).integers(0, 2**64, LETTERS, np.uint64)
    within = np.arange(len(letters)) - np.repeat(ends[:-1], length)
    summed = np.append(np.uint64(0), np.cumsum((letters + np.uint64(1)) * factors[within % LETTERS], dtype=np.uint64))
    found = summed[ends[1:]] - summed[ends[:-1]] + length.astype(np.uint64)
    found = (found ^ (found >> np.uint64(31))) * np.uint64(0x9E3779B97F4A7C15)
    return found ^ (found >> np.uint64(29))
