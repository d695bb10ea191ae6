"""What is a whole state? The form of every value of its header, the kind and shape of every array, and what they share.

A header that was damaged and sealed anew is found here, before a monitor is made of it: what passes is a monitor that works.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from divergence.drift.baseline import DIMENSIONS
from divergence.drift.chunking import FEWEST_CHUNKS
from divergence.drift.evidence import WINSOR
from divergence.drift.layout import FAMILIES, MOST_SIGNALS, Layout
from divergence.sealed import COUNT, check_form

INSTANT = range(-62_135_596_800_000_000, 253_402_300_800_000_000)
"""Microseconds of the years 1 to 9999: what has a date."""
_HEADER = {
    "asked": {"alpha": float, "horizon": (int, type(None)), "margin": float, "signals": [str]},
    "layout": {
        "numeric": [str],
        "classes": [list],
        "smooth": [bool],
        "spread": [bool],
        "dimensions": range(DIMENSIONS + 1),
        **dict.fromkeys(("flips", "two_answers", "timed", "aggregated"), bool),
    },
    "chunking": {"rows": COUNT, "autocorrelation_time": float, "neighbours": float, "sentence": str},
    "daily": {"parts": range(1, 25), "sentence": str},
    "items": (list, type(None)),
    "answers": (dict, type(None)),
    "reference": {"end": INSTANT, "columns": [str], "notes": [str]},
    "chunks": COUNT,
    "counted_to": INSTANT,
    "alarms": [{"family": str, "chunk": COUNT, "time": str, "change_from": str, "change_to": str}],
    "peak": dict.fromkeys(FAMILIES, float),
    "notes": [str],
    "known": {None: [str]},
    "changed": [{"column": str, "before": str, "after": str, "time": INSTANT}],
    "rows": COUNT,
    "skipped": COUNT,
}
_ROUNDED = 1 + 1e-4  # sums before a restart are kept in single precision
_PENDING = ("time", "identity", "numeric", "classes", "embedding", "flip", "answer")


def check_header(header: dict[str, Any]) -> None:
    """ValueError where the header is none that `save` writes."""
    check_form(header, _HEADER, "header")
    json.dumps(header, allow_nan=False)
    asked, layout = header["asked"], header["layout"]
    for name, levels in layout["classes"]:
        check_form([name, *levels], [str], "header.layout.classes")
        _hold(isinstance(levels, list) and len(levels) > 0, f"the levels of {name}")
    check_form(header["items"] or [], [str], "header.items")
    check_form(header["answers"] or {"first": "", "second": ""}, {"first": str, "second": str}, "header.answers")
    signals = {len(layout[name]) for name in ("numeric", "smooth", "spread")}
    _hold(len(signals) == 1 and max(signals) <= MOST_SIGNALS, "the numeric signals")
    _hold(layout["flips"] == (header["items"] is not None), "the items")
    _hold(len(set(header["items"] or [])) == len(header["items"] or []), "the items")
    _hold(layout["two_answers"] == (header["answers"] is not None), "the answers")
    _hold(0 < asked["alpha"] < 1 and asked["margin"] >= 0, "the promise")
    _hold(asked["horizon"] is None or 0 < asked["horizon"] in COUNT, "the horizon")
    _hold(header["chunking"]["rows"] > 0 and header["rows"] == header["chunks"] * header["chunking"]["rows"], "the rows")
    _hold(all(header["known"].values()), "the settings")
    families = [alarm["family"] for alarm in header["alarms"]]
    _hold(set(families) <= set(FAMILIES) and len(set(families)) == len(families), "the alarms")


def check_arrays(arrays: Mapping[str, np.ndarray], header: dict[str, Any]) -> None:
    """ValueError where an array is missing, of another kind or shape than the header needs, or holds what none can hold."""
    forms = _forms(header, any(name.startswith("pending.") for name in arrays))
    _hold(arrays.keys() == forms.keys(), f"the arrays, {', '.join(sorted(arrays.keys() ^ forms.keys()))[:100]}")
    free: dict[str, int] = {}
    for name, (kinds, shape) in forms.items():
        array = arrays[name]
        _hold(array.dtype.kind in kinds and array.ndim == len(shape), f"the array {name}")
        for size, wanted in zip(array.shape, shape, strict=True):
            _hold(size == (free.setdefault(wanted, size) if isinstance(wanted, str) else wanted), f"the array {name}")
    _hold(free["chunks of the reference"] >= FEWEST_CHUNKS, "the chunks of the reference")
    chunks = header["chunks"]
    for sums in ([arrays[f"evidence.{name}"] for name in ("count", "total", "square")], arrays["evidence.before"]):
        _check_sums(sums, free["chunks of the reference"] + chunks)
    mixture, by_restart = (arrays[f"evidence.{name}"] for name in ("mixture", "by_restart"))
    _hold(np.isfinite(mixture).all() and (mixture >= 0).all() and (by_restart >= 0).all(), "evidence.mixture")
    _hold((np.diff(arrays["evidence.restarts"], prepend=0, append=chunks + 1) > 0).all(), "evidence.restarts")
    number, kept = arrays["history.number"], free["kept chunks"]
    _hold(kept > 0 if chunks else kept == 0, "the history")
    _hold(np.array_equal(number, np.arange(chunks - kept + 1, chunks + 1)), "history.number")
    for name in ("reference.centre", "reference.spread", "daily.centre", "daily.count"):
        _hold(np.isfinite(arrays[name]).all(), name)
    _hold((arrays["reference.spread"] > 0).all() and (arrays["daily.count"] >= 0).all(), "reference.spread")
    for name in ("history.start", "history.end", "reference.middle", *(["pending.time"] * ("pending.time" in arrays))):
        _hold(all(int(end(arrays[name])) in INSTANT for end in (np.min, np.max) if arrays[name].size), name)
    for name in (name for name in arrays if name.startswith("grid.")):
        grid = arrays[name]
        _hold(len(grid) > 0 and np.isfinite(grid).all() and (np.diff(grid) >= 0).all(), name)
    if "pending.time" in arrays:
        levels = np.array([len(levels) for _, levels in header["layout"]["classes"]])
        _hold(((arrays["pending.classes"] >= -1) & (arrays["pending.classes"] < levels)).all(), "pending.classes")
        _hold(((arrays["pending.answer"] >= -1) & (arrays["pending.answer"] < 4)).all(), "pending.answer")


def _check_sums(sums: Iterable[np.ndarray], most: int) -> None:
    """ValueError where count, sum and sum of squares cannot be those of so many chunks, whose statistics are cut."""
    count, total, square = sums
    right = (count >= 0) & (count <= most) & (square >= 0)  # and none is NaN
    right &= (np.abs(total) <= WINSOR * count * _ROUNDED) & (square <= WINSOR**2 * count * _ROUNDED)
    _hold(right.all(), "the sums of the evidence")


def _forms(header: dict[str, Any], waiting: bool) -> dict[str, tuple[str, tuple[int | str, ...]]]:
    """Every array that a state of this header has: kinds of its numbers, and its shape; a name is a size that is free."""
    layout = header["layout"]
    classes = tuple((name, tuple(levels)) for name, levels in layout["classes"])
    lists: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in layout.items()}
    lists["classes"] = classes
    made = Layout(**lists)
    p, signals, dimensions = len(made.statistics()), len(made.numeric), made.dimensions
    parts = header["daily"]["parts"]
    of_reference, kept, restarts = "chunks of the reference", "kept chunks", "restarts"
    forms: dict[str, tuple[str, tuple[int | str, ...]]] = {
        **{f"evidence.{name}": ("f", (p,)) for name in ("count", "total", "square", "mixture")},
        "evidence.restarts": ("i", (restarts,)),
        "evidence.before": ("f", (3, restarts, p)),
        "evidence.by_restart": ("f", (restarts, p)),
        "history.values": ("f", (kept, p)),
        "history.margins": ("f", (kept, signals)),
        **{f"history.{name}": ("i", (kept,)) for name in ("start", "end", "number")},
        "history.evidence": ("f", (kept, len(FAMILIES))),
        "reference.values": ("f", (of_reference, p)),
        "reference.margins": ("f", (of_reference, signals)),
        "reference.middle": ("i", (of_reference,)),
        **{f"reference.{name}": ("f", (p,)) for name in ("centre", "spread")},
        "reference.followed": ("b", (p,)),
        "reference.last": ("u", ("rows at its end",)),
        **{f"grid.{number}": ("f", (f"grid {number}",)) for number in range(signals)},
        **{f"daily.{name}": ("f", (parts, p)) for name in ("centre", "count")},
        "counted": ("u", ("rows counted last",)),
        "held": ("b", (p,)),
    }
    if waiting:
        rest = {"numeric": signals, "classes": len(classes), "embedding": dimensions + 1 if dimensions else 0}
        kinds = {"time": "i", "identity": "u", "classes": "i", "answer": "i"}
        forms |= {
            f"pending.{name}": (kinds.get(name, "f"), ("rows that wait", *([rest[name]] if name in rest else [])))
            for name in _PENDING
        }
    if dimensions:
        forms |= {"embedding.centre": ("f", ("embedding",)), "embedding.basis": ("f", ("embedding", dimensions))}
    if header["items"] is not None:
        forms |= {f"items.{name}": ("iuf", (len(header["items"]),)) for name in ("right", "judged")}
    return forms


def _hold(held: object, what: str) -> None:
    if not held:
        raise ValueError(f"{what} cannot be as they stand there")
