"""The structure of the outcome: what about the answers changed, told apart.

A drop of accuracy, another length of answers, another mix of answers, a preference for one of two answers, and items that
flip at equal accuracy are different findings and often come together; each is named with its own numbers.
"""

from __future__ import annotations

from divergence.drift.verdict import Edge, Verdict

_LENGTHS = ("output_tokens", "reasoning_tokens", "answer_tokens", "answer_chars")


def _aspect(edge: Edge) -> str | None:
    if edge.kind == "answer_bias":
        return "answer bias"
    if edge.kind in ("competence", "item_flips"):
        return edge.kind.replace("_", " ")
    if edge.a in _LENGTHS and edge.b is None:
        return "verbosity"
    if edge.a == "answer" and edge.b is None:
        return "answer mix"
    if edge.a == "score" and edge.b is None:
        return "accuracy"
    if edge.a in ("log_probability", "logprob", "entropy") and edge.b is None:
        return "confidence"
    return None


def outcome_structure(verdict: Verdict) -> dict[str, str]:
    """Aspect of the outcome -> what changed, for the settled edges that describe it; {} where the outcome is as it was."""
    out: dict[str, str] = {}
    for edge in verdict.edges:
        aspect = _aspect(edge)
        if aspect and edge.settled and aspect not in out:
            out[aspect] = edge.sentence
    return out
