"""Writes a plan: `plan.html`, `plan.json`, `next.toml` and `asked.jsonl`, whole or not at all."""

from __future__ import annotations

import json
import pathlib
from typing import TYPE_CHECKING

from divergence.planning.next_plan import asked_before, next_plan
from divergence.planning.page import page
from divergence.staging import move_into, staging

if TYPE_CHECKING:
    from divergence.joint.posterior import Fit
    from divergence.planning.result import MeasurementPlan


def write(
    plan: MeasurementPlan, fit: Fit, folder: str | pathlib.Path, made_by: str | pathlib.Path | None = None
) -> pathlib.Path:
    """Write the four files into `folder` and return the path of `next.toml`.

    `made_by`: the probe plan that made the log, from which endpoints, systems and contexts are copied.
    """
    folder = pathlib.Path(folder)
    text = next_plan(plan, fit, folder, pathlib.Path(made_by) if made_by is not None else None)
    with staging(folder) as fresh:
        (fresh / "plan.html").write_text(page(plan), encoding="utf-8")
        (fresh / "plan.json").write_text(dumped(plan), encoding="utf-8")
        (fresh / "next.toml").write_text(text, encoding="utf-8")
        asked = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in asked_before(fit))
        (fresh / "asked.jsonl").write_text(asked, encoding="utf-8")
        move_into(fresh, folder)
    return folder / "next.toml"


def dumped(plan: MeasurementPlan) -> str:
    """The plan as one JSON object."""
    return json.dumps(plan.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
