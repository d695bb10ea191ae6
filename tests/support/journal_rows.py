"""A whole row of a probe's journal."""

from typing import Any


def journal_row(**more: Any) -> dict[str, Any]:
    row = {"context": "c", "item": "i", "model": "m", "wave": "1", "trial": 1, "regime": "deployment", "task": None}
    row |= {"time": "2026-01-01T00:00:00+00:00", "scorer": "exact", "score": 1.0, "lenient": 1.0, "error_type": None}
    return row | {"retries": 0, "latency_s": 0.5, "output_tokens": 3, "answer": "4", "gold": "4", "sampler": "greedy"} | more
