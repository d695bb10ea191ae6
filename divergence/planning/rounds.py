"""What a loop of plan, probe and fit leaves behind: what each round predicted, and what came.

A prediction is the first design's width (with its 90 % limits) and expected regret, made before the round was asked; what
came is the width and expected regret of the fit that has the round's rows. Levels after an adaptive choice are not biased
in that fit: which cells were asked more depends on rows that are in the fit, so the likelihood given all rows is the same
as if the design had been fixed (Rubin 1976). That does not hold for a plain mean of the winner's rows, or where rows of a
round are left out. Unit: that of the goal.
"""

from __future__ import annotations

import dataclasses
import json

from divergence.planning.result import MeasurementPlan, PlannedDesign

REASONS = {
    "reached": "the goal is reached",
    "requests": "the requests are spent",
    "bank": "the bank holds no more items that were not asked; add items to it",
    "nothing": "nothing that can be asked lowers it further",
}


@dataclasses.dataclass(frozen=True)
class Round:
    """One round."""

    number: int
    """From 1 on; the first is the pilot, which nothing predicts."""
    requests: int
    """Requests of this round."""
    total: int
    """Requests so far."""
    width: float
    """Mean width of the goal's 90 % intervals that came."""
    regret: float | None
    """Expected regret that came; None for goals that are widths."""
    predicted: PlannedDesign | None
    """What was predicted; None for the pilot."""
    best: tuple[str, str] | None
    """Model and context of the best combination so far; None where the goal is no decision."""

    @property
    def inside(self) -> bool | None:
        """Did the width come inside its predicted limits?"""
        if self.predicted is None:
            return None
        return self.predicted.width_lower <= self.width <= self.predicted.width_upper

    def to_dict(self) -> dict:
        """For machines."""
        predicted = self.predicted
        told = None
        if predicted is not None:
            told = {name: getattr(predicted, name) for name in ("width", "width_lower", "width_upper", "regret")}
        return {
            "round": self.number,
            "requests": self.requests,
            "total": self.total,
            "predicted": told,
            "came": {"width": self.width, "regret": self.regret},
            "inside": self.inside,
            "best": None if self.best is None else {"model": self.best[0], "context": self.best[1]},
        }


@dataclasses.dataclass(frozen=True)
class Rounds:
    """The record of a loop."""

    goal: str
    """The goal."""
    until: dict[str, float]
    """What was to be reached: `width`, `regret`, `requests`."""
    rounds: tuple[Round, ...]
    """The rounds so far."""
    stopped: str
    """Key of `REASONS`."""

    @property
    def reached(self) -> bool:
        """Was the goal's width or regret reached?"""
        return self.stopped == "reached"

    def to_dict(self) -> dict:
        """For machines: `loop.json`."""
        return {
            "goal": self.goal,
            "until": self.until,
            "rounds": [r.to_dict() for r in self.rounds],
            "reached": self.reached,
            "stopped": REASONS[self.stopped],
        }

    def __repr__(self) -> str:
        rows = [("round", "requests", "total", "width predicted", "came", "regret predicted", "came", "best")]
        for r in self.rounds:
            p = r.predicted
            rows.append(
                (
                    str(r.number),
                    f"{r.requests:,}",
                    f"{r.total:,}",
                    "" if p is None else f"{p.width:.3g} ({p.width_lower:.3g} .. {p.width_upper:.3g})",
                    f"{r.width:.3g}",
                    "" if p is None or p.regret is None else f"{p.regret:.3g}",
                    "" if r.regret is None else f"{r.regret:.3g}",
                    "" if r.best is None else f"{r.best[0]} in {r.best[1]}",
                )
            )
        widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
        lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([*lines, f"{self.goal}: {REASONS[self.stopped]}"])

    def dumped(self) -> str:
        """As one JSON object."""
        return json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def why_stop(found: MeasurementPlan, until: dict[str, float], total: int, bank: int) -> str | None:
    """Key of `REASONS`, or None where another round is to be asked."""
    wanted = [(found.width, until.get("width")), (found.regret, until.get("regret"))]
    named = [(seen, value) for seen, value in wanted if value is not None]
    if named and all(seen is not None and seen <= value for seen, value in named):
        return "reached"
    if total >= until.get("requests", float("inf")):
        return "requests"
    if bank < 1:
        return "bank"
    return None if found.designs[0].cells else "nothing"
