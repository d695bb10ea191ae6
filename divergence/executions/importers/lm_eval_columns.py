"""The lines of an lm-eval samples file by columns, where every document has one line.

Most files have one filter, and most lines of a file are alike: whole numbers and hashes, the same metrics, each a finite
number, one text left by the filter or one pair a choice. Blocks of such lines are turned into columns without a look at
single lines. A block with anything else in it is cut into pieces, and the lines of a piece that is still unlike are read
one by one by `lm_eval_documents`, which says what each line means: both ways give the same rows.

What was read waits in columns, on disk where it is much: which metric is the score is known only after the last line.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from divergence.executions.importers import convert
from divergence.executions.importers.lm_eval_documents import GREEDY, HASH_DIGITS, Lines, right_choice, right_text
from divergence.executions.importers.seen_hashes import SeenHashes
from divergence.temporary_folders import TemporaryFolder

BLOCK = 64  # lines that are turned into columns together: few enough that what was parsed is still in the cache
BLOCK_BYTES = 2**24  # of lines that wait for that: parsed JSON takes some five times as much memory
PIECE = 8  # lines of a block that are read one by one where any of them is unlike the others
FRAME = 8192  # documents that are held as lists
PART = 50_000  # documents that wait in memory, about 15 MB, and are written together
TEXTS = ("name", "base", "answer", "gold")
DOCUMENTS = pl.Schema({"row": pl.Int64(), **dict.fromkeys(TEXTS, pl.String()), "settings": pl.UInt32()})
JUDGED = pl.Schema({"__place": pl.UInt32(), "metric": pl.String(), "value": pl.Float64(), "label": pl.String()})

UNREAD = frozenset({"doc", "resps", "prompt_hash", "target_hash"})
"""What no column is made of."""
Line = tuple[int, Mapping[str, Any]]


class OtherFilter(Exception):
    """A line stands under another filter than the lines before it."""


class Unlike(Exception):
    """A block holds a line that has to be read by itself."""


@dataclasses.dataclass(frozen=True)
class DocumentPart:
    """Documents that were read one after the other."""

    documents: pl.DataFrame
    """One row a document: its line, its name in the file, the base of its item, answer, gold, number of its settings."""
    judged: pl.DataFrame
    """One row an outcome: place in `documents`, metric, value or label."""
    problems: dict[int, dict[str, str]]
    """Place in `documents` -> metric -> what keeps it from being a number."""


class Columns:
    """The documents of one file under one filter, gathered block by block."""

    def __init__(self, lines: Lines) -> None:
        self.lines = lines
        self.filter: str | None = None
        self._raw: Any = None
        self._block: list[Line] = []
        self._bytes = 0
        self._begun = False
        self._seen = SeenHashes()
        self._parts: list[DocumentPart] = []
        self._height = 0
        self._open: list[list[Any]] = [[] for _ in DOCUMENTS]
        self._metrics: tuple[str, ...] = ()
        self._values: list[np.ndarray] = []
        self._files: list[tuple[Path, dict[int, dict[str, str]]]] = []
        self._folder: TemporaryFolder | None = None

    @property
    def metrics(self) -> Mapping[str, None]:
        """The outcomes that any document has, in the order in which they came first."""
        return self.lines.metrics

    @property
    def not_numbers(self) -> Mapping[str, int]:
        """Metric -> documents in which it is a list or a text."""
        return self.lines.not_numbers

    def take(self, row: int, sample: dict[str, Any], size: int) -> list[Line]:
        """Take one line of so many bytes; gives lines, of this and earlier calls, whose document was seen before.

        Raises OtherFilter where a line is under another filter: nothing of this file may then be used.
        """
        for name in UNREAD & sample.keys():
            del sample[name]  # now, while it is in the cache
        self._block.append((row, sample))
        self._bytes += size
        return self.settle() if len(self._block) >= BLOCK or self._bytes > BLOCK_BYTES else []

    def settle(self) -> list[Line]:
        """Turn the lines at hand into columns; to be called once more after the last one. Gives and raises as `take`."""
        block, self._block, self._bytes = self._block, [], 0
        if not block:
            return []
        self._check_filter([sample.get("filter") for _, sample in block])
        hashes = np.array([hash((sample["doc_id"], sample.get("doc_hash"))) for _, sample in block], np.int64)
        fresh = self._seen.first(hashes)
        again = [block[place] for place in np.flatnonzero(~fresh)]
        self._add(block if not again else [block[place] for place in np.flatnonzero(fresh)], PIECE)
        return again

    def parts(self) -> Iterator[DocumentPart]:
        """Everything that was read, in its order, some `PART` documents at once."""
        self._close()
        for folder, problems in self._files:
            yield DocumentPart(pl.read_parquet(folder / "documents"), pl.read_parquet(folder / "judged"), problems)
        if self._parts:
            yield _joined(self._parts)

    def _check_filter(self, filters: list[Any]) -> None:
        if not self._begun:
            self._begun, self._raw = True, filters[0]
            self.filter = None if self._raw in (None, "none") else convert.printable(self._raw)
        if filters.count(self._raw) != len(filters):
            raise OtherFilter

    def _add(self, block: Sequence[Line], piece: int | None) -> None:
        if not block:
            return
        try:
            self._extend(*_alike(block, self.lines, self.filter))
        except (Unlike, UnicodeEncodeError, OverflowError):
            if piece is None or len(block) == 1:
                part = _one_by_one(block, self.lines, self.filter)
                self._close()
                self._keep(part)
                return
            for start in range(0, len(block), piece):
                self._add(block[start : start + piece], None)

    def _extend(self, metrics: tuple[str, ...], values: np.ndarray, columns: tuple[list[Any], ...]) -> None:
        if metrics != self._metrics or len(self._open[0]) > FRAME:
            self._close()
        self._metrics = metrics
        self._values.append(values)
        for known, new in zip(self._open, columns, strict=True):
            known += new

    def _close(self) -> None:
        """Turn what came by `_extend` into frames."""
        if self._open[0]:
            self._keep(_framed(self._metrics, self._values, self._open))
        self._open, self._values = [[] for _ in DOCUMENTS], []

    def _keep(self, part: DocumentPart) -> None:
        self._parts.append(part)
        self._height += part.documents.height
        if self._height < PART:
            return
        whole = _joined(self._parts)
        self._parts, self._height = [], 0
        path = self._temporary() / f"{len(self._files):06d}"
        path.mkdir()
        whole.documents.write_parquet(path / "documents", compression="lz4")
        whole.judged.write_parquet(path / "judged", compression="lz4")
        self._files.append((path, whole.problems))

    def _temporary(self) -> Path:
        """The folder of what waits on disk, removed with this object."""
        if self._folder is None:
            self._folder = TemporaryFolder("import")
        return self._folder.path


def _joined(parts: Sequence[DocumentPart]) -> DocumentPart:
    starts = np.cumsum([0, *(part.documents.height for part in parts)]).tolist()
    judged = [
        part.judged.with_columns(pl.col("__place") + pl.lit(start, pl.UInt32))
        for part, start in zip(parts, starts, strict=False)
    ]
    problems = {
        start + place: said for part, start in zip(parts, starts, strict=False) for place, said in part.problems.items()
    }
    return DocumentPart(pl.concat([part.documents for part in parts]), pl.concat(judged), problems)


def _one_by_one(block: Sequence[Line], lines: Lines, name: str | None) -> DocumentPart:
    """The columns of any lines, each read by itself."""
    documents = [lines.alone(row, sample) for row, sample in block]
    rows = [
        (
            *(document.row, document.name),
            convert.printable(document.doc_hash[:HASH_DIGITS] if document.doc_hash else document.doc_id),
            *(convert.verbatim(document.answers.get(name)), document.gold, document.settings),
        )
        for document in documents
    ]
    judged = [
        (place, metric, value, label)
        for place, document in enumerate(documents)
        for metric, value, label, _ in document.outcomes
    ]
    problems = {place: document.problems for place, document in enumerate(documents) if document.problems}
    return DocumentPart(
        pl.DataFrame(rows, schema=DOCUMENTS, orient="row"), pl.DataFrame(judged, schema=JUDGED, orient="row"), problems
    )


Alike = tuple[tuple[str, ...], np.ndarray, tuple[list[Any], ...]]


def _alike(block: Sequence[Line], lines: Lines, name: str | None) -> Alike:
    """Metrics, values and the columns of `DOCUMENTS` of lines that are all alike. Raises Unlike where they are not."""
    samples = [sample for _, sample in block]
    metrics, values = _values(samples, lines, name)
    names, bases = _names(samples)
    responses: list[Any] = [sample.get("filtered_resps") for sample in samples]
    if set(map(type, responses)) != {list} or not all(responses):
        raise Unlike
    if set(map(len, responses)) == {1}:
        answers, golds = _texts(samples, [response[0] for response in responses])
    else:
        answers, golds = _choices(samples, responses)
    "".join(filter(None, chain(answers, golds, names, bases))).encode()  # raises where a text is no Unicode
    for metric in metrics:
        lines.metrics.setdefault(metric)
    settings = [lines.settings_of(sample) for sample in samples]  # last: it takes note of new ones
    return tuple(metrics), values, ([row for row, _ in block], names, bases, answers, golds, settings)


def _framed(metrics: Sequence[str], values: Sequence[np.ndarray], columns: Sequence[list[Any]]) -> DocumentPart:
    """Columns of lines that list the same metrics as frames."""
    height = len(columns[0])
    judged = {
        "__place": np.repeat(np.arange(height, dtype=np.uint32), len(metrics)),
        "metric": pl.Series(metrics, dtype=pl.String).gather(np.tile(np.arange(len(metrics)), height)),
        "value": np.concatenate(values, axis=1).T.ravel(),
        "label": pl.Series([None], dtype=pl.String).new_from_index(0, height * len(metrics)),
    }
    documents = pl.DataFrame(dict(zip(DOCUMENTS, columns, strict=True)), schema=DOCUMENTS)
    return DocumentPart(documents, pl.DataFrame(judged, schema=JUDGED), {})


def _values(samples: Sequence[Mapping[str, Any]], lines: Lines, name: str | None) -> tuple[list[str], np.ndarray]:
    """The metrics that all lines list, and their values: one row a metric, one column a line."""
    listed = samples[0].get("metrics")
    if type(listed) is not list or not listed or [sample.get("metrics") for sample in samples].count(listed) != len(samples):
        raise Unlike
    named = lines.full_names(samples[0], name)
    columns = [[sample.get(metric) for sample in samples] for metric, _ in named]
    if not named or "acc_mutual_info" in listed or any(set(map(type, column)) != {float} for column in columns):
        raise Unlike
    values = np.array(columns)
    if not np.isfinite(values).all():
        raise Unlike
    return [full for _, full in named], values


def _names(samples: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[str]]:
    """What tells the documents apart in their file, and their items without the task."""
    hashes: list[Any] = [sample.get("doc_hash") for sample in samples]
    if {type(sample["doc_id"]) for sample in samples} != {int} or set(map(type, hashes)) != {str} or not all(hashes):
        raise Unlike
    names = [f"{sample['doc_id']}-{digest[:8]}" for sample, digest in zip(samples, hashes, strict=True)]
    return names, [digest[:HASH_DIGITS] for digest in hashes]


def _texts(samples: Sequence[Mapping[str, Any]], texts: list[Any]) -> tuple[list[str | None], list[str | None]]:
    """Answers and right answers of generation: what the filter left, and the target."""
    if set(map(type, texts)) != {str}:
        raise Unlike
    limit = convert.LABEL_LIMIT
    answers = [
        text.strip() if len(text) <= limit and text.isascii() else convert.verbatim(convert.printable(text))
        for text in texts
    ]
    targets: list[Any] = [sample.get("target") for sample in samples]
    golds = [
        target.strip() or None
        if type(target) is str and target[:1] != "[" and len(target) <= limit and target.isascii()
        else right_text(target)
        for target in targets
    ]
    return answers, golds


def _choices(samples: Sequence[Mapping[str, Any]], responses: list[Any]) -> tuple[list[str], list[str | None]]:
    """Answers and right answers of multiple choice: the likeliest choice, and the one that the target names."""
    sizes = list(map(len, responses))
    requests: list[Any] = [sample.get("arguments") for sample in samples]
    if min(sizes) < 2 or set(map(type, requests)) != {dict} or list(map(len, requests)) != sizes:
        raise Unlike
    pairs, asked = list(chain.from_iterable(responses)), list(chain.from_iterable(map(dict.values, requests)))
    if not set(map(type, pairs)) == {list} or not set(map(type, asked)) == {dict}:
        raise Unlike
    if not set(map(len, pairs)) == set(map(len, asked)) == {2}:
        raise Unlike
    written, greedy = list(chain.from_iterable(pairs)), list(chain.from_iterable(map(dict.values, asked)))
    texts, greedy, written = greedy[1::2], written[1::2], written[0::2]
    if {*map(type, written), *map(type, greedy), *map(type, texts)} != {str} or not set(greedy) <= set(GREEDY):
        raise Unlike
    "".join(texts).encode()  # raises where a text is no Unicode
    numbers, names, start = _numbers(written), list(map(str.strip, texts)), 0
    long = max(map(len, texts)) > convert.LABEL_LIMIT
    answers: list[str] = []
    golds: list[str | None] = []
    for sample, size in zip(samples, sizes, strict=True):
        stop = start + size
        choices, values = names[start:stop], numbers[start:stop]
        if len(set(choices)) != size or "" in choices or (long and max(map(len, texts[start:stop])) > convert.LABEL_LIMIT):
            choices = [str(place) for place in range(size)]
        answers.append(choices[values.index(max(values))])
        golds.append(right_choice(sample.get("target"), choices))
        start = stop
    return answers, golds


def _numbers(written: Sequence[str]) -> list[float]:
    try:
        numbers = list(map(float, written))
    except ValueError as error:
        raise Unlike from error
    if not all(map(math.isfinite, numbers)) or "_" in "".join(written):  # Python alone writes 1_000
        raise Unlike
    return numbers
