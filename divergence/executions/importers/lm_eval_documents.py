"""One document of an lm-eval samples file: its lines under several filters put together into outcomes and an answer.

In multiple choice every choice is one request, its response a pair of texts, log-likelihood and greediness; the answer
is the likeliest choice, as in the harness's `acc`. A choice is named by its text where all texts of the document differ
and are short, else by its position. A right answer that is written as digits is a position there, as the harness itself
reads it. In generation the answer is the text that the filter left.
"""

from __future__ import annotations

import ast
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from divergence.executions.importers import convert
from divergence.executions.importers.prompt_texts import prompt_text
from divergence.executions.quoted import quoted

FRAME = frozenset(
    ["doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics"]
    + [f"{part}_hash" for part in ("doc", "prompt", "target")]
)
"""The keys of a line that are no metrics; older versions list no `metrics`, and there every other number is one."""
GREEDY = ("True", "False")  # how the harness writes whether a continuation is the greedy one
HASH_DIGITS = 12  # of the hash of a document that its item shows: 48 bits tell the documents of a task apart


class Document:
    """The lines of one document: row of the first, outcomes, answers by filter, right answer, number of its settings."""

    __slots__ = (
        "answers",
        "choices",
        "doc_hash",
        "doc_id",
        "gold",
        "outcomes",
        "problems",
        "prompt",
        "response",
        "row",
        "settings",
    )

    def __init__(self, row: int, doc_id: Any, doc_hash: str | None):
        self.row = row
        self.doc_id = doc_id
        self.doc_hash = doc_hash
        self.outcomes: list[tuple[str, float | None, str | None, str | None]] = []
        self.problems: dict[str, str] | None = None
        self.answers: dict[str | None, str | None] = {}
        self.choices: list[str] = []
        self.gold: str | None = None
        self.settings = 0
        self.prompt: str | None = None
        self.response: str | None = None

    @property
    def name(self) -> str:
        """What tells the document apart in its file."""
        return convert.printable(f"{self.doc_id}-{self.doc_hash[:8]}" if self.doc_hash else self.doc_id)


class Lines:
    """The documents of one file, gathered line by line; what most lines have alike is worked out once.

    `run` tells the run apart: two runs may write the same lines. `texts`: are prompts and completions kept for a while?
    """

    def __init__(self, run: str, texts: bool = False) -> None:
        self.run = run
        self.texts = texts
        self.by_key: dict[Any, Document] = {}
        self.metrics: dict[str, None] = {}
        self.settings: list[Mapping[str, Any] | None] = [None]
        self.not_numbers: Counter[str] = Counter()
        self._names: dict[Any, list[tuple[str, str]]] = {}

    @property
    def documents(self) -> list[Document]:
        """In the order of their first lines."""
        return list(self.by_key.values())

    def alone(self, row: int, sample: Mapping[str, Any]) -> Document:
        """The document of one line, which is not kept: for files in which every document has one line."""
        self.take(row, sample)
        return self.by_key.popitem()[1]

    def items(self, task: str | None) -> list[str]:
        """The identity of each document: task and hash; a document that stands twice in the file is numbered."""
        times: Counter[str] = Counter()
        prefix, found = f"{task}/" if task else "", []
        for document in self.by_key.values():
            name = convert.printable(document.doc_hash[:HASH_DIGITS] if document.doc_hash else document.doc_id)
            times[name] += 1
            found.append(f"{prefix}{name}" if times[name] == 1 else f"{prefix}{name}#{times[name]}")
        return found

    def take(self, row: int, sample: Mapping[str, Any]) -> bool:
        """Add one line; False where the document was seen under that filter already."""
        doc_id, doc_hash, name = sample["doc_id"], sample.get("doc_hash"), sample.get("filter")
        document = self.by_key.get((doc_id, doc_hash))
        likelihoods = _likelihoods(sample)
        if document is None:
            document = self.by_key[doc_id, doc_hash] = Document(row, doc_id, doc_hash)
            document.choices = choices = _choices(sample, likelihoods)
            document.gold = right_choice(sample.get("target"), choices) if choices else right_text(sample.get("target"))
            document.settings = self.settings_of(sample)
            if self.texts:
                document.prompt = prompt_text(next(iter(_first_request(sample)), None))
                document.response = prompt_text(sample.get("resps"))
        name = None if name == "none" or name is None else convert.printable(name)
        if name in document.answers:
            return False
        choices = document.choices
        document.answers[name] = _likeliest(likelihoods, choices) if choices else _text(sample)
        for metric, full in self.full_names(sample, name):
            value = sample.get(metric)
            if type(value) is not float or not math.isfinite(value):
                self._judge(document, full, value, name)
                continue
            document.outcomes.append((full, value, None, name))
            if full not in self.metrics:
                self.metrics[full] = None
        return True

    def metric_names(self, sample: Mapping[str, Any]) -> list[str]:
        """Names of the metrics of one line, in the harness's order."""
        return [metric for metric, _ in self.full_names(sample, None)]

    def full_names(self, sample: Mapping[str, Any], name: str | None) -> list[tuple[str, str]]:
        """The metrics of a line and their names as outcomes; worked out once for lines that list the same ones."""
        listed = sample.get("metrics")
        if type(listed) is not list:
            return [(metric, _full(metric, name)) for metric in metric_names(sample)]
        try:
            key = (*listed, name)
            known = self._names.get(key)
        except TypeError:  # a list in the list
            return [(metric, _full(metric, name)) for metric in metric_names(sample)]
        if known is None:
            known = self._names[key] = [(metric, _full(metric, name)) for metric in metric_names(sample)]
        return known

    def _judge(self, document: Document, full: str, value: Any, name: str | None) -> None:
        if isinstance(value, int | float):
            try:
                number = float(value)
            except OverflowError:
                number = math.inf
            if math.isfinite(number):
                document.outcomes.append((full, number, None, name))
                self.metrics.setdefault(full)
                return
            problem = f"{full} is not a finite number: {quoted(number)}."
        elif value is None:
            problem = f"{full} is absent."
        else:
            self.not_numbers[full] += 1
            self.metrics.setdefault(full)
            document.outcomes.append((full, None, convert.compact(value), name))
            return
        document.problems = {**(document.problems or {}), full: problem}

    def settings_of(self, sample: Mapping[str, Any]) -> int:
        """The number of the generation settings of a document; most documents have those of the one before."""
        request: Any
        first: Any
        try:
            request = sample["arguments"]["gen_args_0"]
            first = request["arg_1"]  # as the harness writes it today
        except (KeyError, TypeError, IndexError):
            request, first = None, None
        if type(first) is str and len(request) == 2 and type(request.get("arg_0")) is str:
            first = None  # a choice: it is not generated
        elif type(first) is not dict:
            first = next((value for value in _first_request(sample) if type(value) is dict), None)
        if self.settings[-1] == first:
            return len(self.settings) - 1
        if first not in self.settings:
            self.settings.append(first)
        return self.settings.index(first)


def _full(metric: str, name: str | None) -> str:
    return convert.printable(metric) if name is None else f"{convert.printable(metric)},{name}"


def problem(sample: Any) -> str | None:
    """What keeps a line from being a sample of the harness, as a sentence; None where nothing does."""
    if not isinstance(sample, dict):
        return "The line is not an object."
    doc_id = sample.get("doc_id")
    if type(doc_id) is int and type(sample.get("doc_hash")) is str:
        return None
    if isinstance(doc_id, bool) or not isinstance(doc_id, int | str):
        return f"doc_id is not a number or a name: {quoted(doc_id)}."
    if not isinstance(sample.get("doc_hash"), str | None):
        return f"doc_hash is not text: {quoted(sample['doc_hash'])}."
    return None


def metric_names(sample: Mapping[str, Any]) -> list[str]:
    """Names of the metrics of one line, in the harness's order."""
    listed = sample.get("metrics")
    if isinstance(listed, list):
        return [name for name in dict.fromkeys(n for n in listed if isinstance(n, str)) if name not in FRAME]
    return [name for name, value in sample.items() if name not in FRAME and isinstance(value, int | float)]


def _requests(sample: Mapping[str, Any], size: int) -> list[list[Any]]:
    """The arguments of the first requests of a document: dictionaries of arg_0, arg_1 on disk, lists in older files."""
    arguments = sample.get("arguments")
    requests = list(arguments.values()) if isinstance(arguments, dict) else arguments
    requests = requests[:size] if isinstance(requests, list) else []
    return [list(r.values()) if isinstance(r, dict) else r if isinstance(r, list) else [] for r in requests]


def _first_request(sample: Mapping[str, Any]) -> Iterable[Any]:
    arguments = sample.get("arguments")
    requests = arguments.values() if isinstance(arguments, dict) else arguments if isinstance(arguments, list) else ()
    first = next(iter(requests), None)
    return first.values() if isinstance(first, dict) else first if isinstance(first, list) else ()


def _likelihoods(sample: Mapping[str, Any]) -> list[float]:
    """Log-likelihoods of the choices; empty where the responses are not such pairs."""
    responses = sample.get("filtered_resps")
    found = []
    for response in responses if type(responses) is list else ():
        if type(response) is not list or len(response) != 2 or str(response[1]) not in GREEDY:
            return []
        number = response[0] if type(response[0]) is float else convert.finite_number(str(response[0]))
        if number is None or not math.isfinite(number):
            return []
        found.append(number)
    return found


def _choices(sample: Mapping[str, Any], likelihoods: list[float]) -> list[str]:
    """Names of the choices of a multiple-choice document, empty for generation and for single continuations."""
    size = len(likelihoods)
    if size > 2 and "acc_mutual_info" in sample and "acc_mutual_info" in metric_names(sample):
        size //= 2  # the second half scores the same choices without the question
    if size < 2:
        return []
    continuations = [request[-1] for request in _requests(sample, size) if request]
    texts = [text.strip() for text in continuations if isinstance(text, str) and len(text) <= convert.LABEL_LIMIT]
    named = len(set(texts)) == size and all(texts)
    return [convert.printable(text) for text in texts] if named else [str(place) for place in range(size)]


def _likeliest(likelihoods: list[float], choices: list[str]) -> str:
    return choices[max(range(len(choices)), key=likelihoods.__getitem__)]


def right_choice(target: Any, choices: Sequence[str]) -> str | None:
    """The name of the right choice, which the target names by its text or by its place."""
    written = str(target).strip()
    if written.isdecimal():
        return choices[int(written)] if int(written) < len(choices) else None
    return written if written in choices else None


def right_text(target: Any) -> str | None:
    """The right answer of a document without choices, as a label; None where several are right."""
    if not isinstance(target, str | int | float):
        return None
    written = convert.printable(target)
    if written.startswith("[") and written.endswith("]") and len(written) <= convert.LABEL_LIMIT:
        try:
            several = ast.literal_eval(written)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return convert.label(written)
        return convert.label(convert.printable(several[0])) if len(several) == 1 else None
    return convert.label(written)


def _text(sample: Mapping[str, Any]) -> str | None:
    responses = sample.get("filtered_resps")
    response = responses[0] if isinstance(responses, list) and len(responses) == 1 else None
    if isinstance(response, list) and len(response) == 1:
        response = response[0]
    return convert.verbatim(convert.printable(response)) if isinstance(response, str) else None
