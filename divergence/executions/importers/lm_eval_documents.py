"""One document of an lm-eval samples file: its lines under several filters put together into outcomes and an answer.

In multiple choice every choice is one request, its response a pair of texts, log-likelihood and greediness; the answer
is the likeliest choice, as in the harness's `acc`. A choice is named by its text where all texts of the document differ
and are short, else by its position. A right answer that is written as digits is a position there, as the harness itself
reads it. In generation the answer is the text that the filter left.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from divergence.executions.importers import convert, foreign_files
from divergence.executions.importers.mapping import Outcome

FRAME = frozenset(
    ["doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics"]
    + [f"{part}_hash" for part in ("doc", "prompt", "target")]
)
"""The keys of a line that are no metrics; older versions list no `metrics`, and there every other number is one."""


class Document:
    """The lines of one document, gathered one by one: row of the first, outcomes, answers by filter, right answer."""

    def __init__(self, row: int, sample: Mapping[str, Any]):
        self.row = row
        self.doc_id = sample["doc_id"]
        self.doc_hash = sample.get("doc_hash")
        self.outcomes: list[Outcome] = []
        self.problems: dict[str, str] = {}
        self.answers: dict[str | None, str | None] = {}
        choices = _choices(sample)
        self.gold = _right_choice(sample.get("target"), choices) if choices else _right_text(sample.get("target"))
        settings = [value for request in _requests(sample) for value in request if isinstance(value, dict)]
        self.sampler: Mapping[str, Any] | None = settings[0] if settings else None

    def take(self, sample: Mapping[str, Any]) -> bool:
        """Add the line of one filter; False where that filter was seen already."""
        name = sample.get("filter")
        name = None if name in (None, "none") else convert.printable(name)
        if name in self.answers:
            return False
        choices = _choices(sample)
        self.answers[name] = _likeliest(sample, choices) if choices else _text(sample)
        for metric in metric_names(sample):
            full = convert.printable(metric) if name is None else f"{convert.printable(metric)},{name}"
            outcome, problem = _judged(full, sample.get(metric), name)
            if outcome is not None:
                self.outcomes.append(outcome)
            if problem is not None:
                self.problems[full] = problem
        return True


def problem(sample: Any) -> str | None:
    """What keeps a line from being a sample of the harness, as a sentence; None where nothing does."""
    if not isinstance(sample, dict):
        return "The line is not an object."
    doc_id = sample.get("doc_id")
    if isinstance(doc_id, bool) or not isinstance(doc_id, int | str):
        return f"doc_id is not a number or a name: {convert.shown(doc_id)}."
    if not isinstance(sample.get("doc_hash"), str | None):
        return f"doc_hash is not text: {convert.shown(sample['doc_hash'])}."
    return None if metric_names(sample) else "The line has no metric."


def metric_names(sample: Mapping[str, Any]) -> list[str]:
    """Names of the metrics of one line, in the harness's order."""
    listed = sample.get("metrics")
    if isinstance(listed, list):
        return [name for name in dict.fromkeys(n for n in listed if isinstance(n, str)) if name not in FRAME]
    return [name for name, value in sample.items() if name not in FRAME and isinstance(value, int | float)]


def derived(document: Document, primary: str | None, task: str | None, prefix: str) -> dict[str, Any]:
    """The `derived` part of a record; `problem` is a sentence where the primary outcome is broken or absent."""
    score = next((o for o in document.outcomes if o.metric == primary), None)
    broken = document.problems.get(primary or "")
    if primary is not None and score is None and broken is None:
        broken = f"The line with {primary} is absent."
    filter_name = (primary or "").partition(",")[2] or None
    digest = f"-{document.doc_hash[:8]}" if document.doc_hash else ""
    return {
        "execution_id": f"{prefix}-{document.doc_id}{digest}",
        "item": f"{task}/{document.doc_id}{digest}" if task else f"{document.doc_id}{digest}",
        "score": score.value if score else None,
        "scorer": primary,
        "answer": document.answers.get(filter_name),
        "gold": document.gold,
        "problem": broken,
    }


def file_identity(path: Path) -> str:
    """The start of the file's SHA-256: the same file makes the same execution ids."""
    return foreign_files.sha256(path)[:16]


def _judged(metric: str, value: Any, filter_name: str | None) -> tuple[Outcome | None, str | None]:
    if isinstance(value, int | float):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return Outcome(metric, number, None, filter_name), None
        return None, f"{metric} is not a finite number: {convert.shown(number)}."
    if value is None:
        return None, f"{metric} is absent."
    return Outcome(metric, None, convert.compact(value), filter_name), None


def _requests(sample: Mapping[str, Any]) -> list[list[Any]]:
    """The arguments of every request of a document: dictionaries of arg_0, arg_1 on disk, lists in older files."""
    arguments = sample.get("arguments")
    requests = list(arguments.values()) if isinstance(arguments, dict) else arguments
    requests = requests if isinstance(requests, list) else []
    return [list(r.values()) if isinstance(r, dict) else r if isinstance(r, list) else [] for r in requests]


def _likelihoods(sample: Mapping[str, Any]) -> list[float]:
    """Log-likelihoods of the choices; empty where the responses are not such pairs."""
    responses = sample.get("filtered_resps")
    found = []
    for response in responses if isinstance(responses, list) else []:
        pair = isinstance(response, list) and len(response) == 2 and str(response[1]) in ("True", "False")
        number = convert.finite_number(str(response[0])) if pair else None
        if number is None:
            return []
        found.append(number)
    return found


def _choices(sample: Mapping[str, Any]) -> list[str]:
    """Names of the choices of a multiple-choice document, empty for generation and for single continuations."""
    size = len(_likelihoods(sample))
    if "acc_mutual_info" in metric_names(sample):
        size //= 2  # the second half scores the same choices without the question
    continuations = [request[-1] for request in _requests(sample)[:size] if request]
    texts = [text.strip() for text in continuations if isinstance(text, str) and len(text) <= convert.LABEL_LIMIT]
    if size < 2:
        return []
    named = len(set(texts)) == size and all(texts)
    return [convert.printable(text) for text in texts] if named else [str(place) for place in range(size)]


def _likeliest(sample: Mapping[str, Any], choices: list[str]) -> str:
    likelihoods = _likelihoods(sample)[: len(choices)]
    return choices[likelihoods.index(max(likelihoods))]


def _right_choice(target: Any, choices: list[str]) -> str | None:
    written = str(target).strip()
    if written.isdecimal():
        return choices[int(written)] if int(written) < len(choices) else None
    return written if written in choices else None


def _right_text(target: Any) -> str | None:
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
    return convert.label(convert.printable(response)) if isinstance(response, str) else None
