"""Reading a posterior that `store` wrote. Nothing is ever unpickled."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

from divergence.cells import Cells, Table
from divergence.cells.cells import TABLES
from divergence.joint.arms import Arms
from divergence.joint.design import make_design
from divergence.joint.link import Response
from divergence.joint.methods import Diagnostic
from divergence.joint.paired import Measured
from divergence.joint.posterior import Fit, Posterior
from divergence.joint.spec import Spec
from divergence.joint.store import ARMS, PARTS, RESPONSE, SEALED, read_array
from divergence.sealed import DAMAGE


def load(folder: str | pathlib.Path) -> Posterior:
    """Read a saved posterior. Raises InputError when it is of another format, incomplete or changed."""
    folder = pathlib.Path(folder)
    words, arrays = SEALED.open(folder)
    try:
        spec = Spec(**words["spec"])
        fits = tuple(_fit(k, saved, arrays, spec) for k, saved in enumerate(words["fits"]))
        return Posterior(fits, spec, words["provenance"])
    except DAMAGE as error:
        raise SEALED.damaged(folder, error) from None


def _fit(k: int, saved: dict, arrays, spec: Spec) -> Fit:
    tables = {
        table: Table({n: arrays[f"{k}/{table}/{n}"] for n in keys}, {n: arrays[f"{k}/{table}/{n}"] for n in sums})
        for table, (keys, sums) in TABLES.items()
    }
    law = saved["declared_law"]
    cells = Cells(
        saved["outcome"],
        saved["kind"],
        {n: tuple(v) for n, v in saved["levels"].items()},
        **tables,
        grade_names=tuple(saved["grade_names"]),
        declared_law=law if isinstance(law, str) else (law[0], tuple((level, share) for level, share in law[1])),
        zero_cost=saved.get("zero_cost", "missing"),
        notes=tuple(saved["notes"]),
    )
    of_arms: dict[str, Any] = {name: read_array(arrays, f"{k}/arms/{name}") for name in ARMS}
    arms = Arms(**of_arms, link=saved["link"], notes=tuple(saved["arm_notes"]))
    of_response: dict[str, Any] = {name: read_array(arrays, f"{k}/response/{name}") for name in RESPONSE}
    response = Response(**of_response)
    if response.covariance is None:
        parts = {name: arrays[f"{k}/parts/{name}"] for name in PARTS}
        response = dataclasses.replace(response, parts=Measured(root=of_response["root"], **parts))
    apart = tuple(map(tuple, saved["apart"]))
    return Fit(
        cells,
        arms,
        make_design(cells, arms, spec).with_apart(apart, spec.apart),
        arrays[f"{k}/x"],
        response,
        arrays[f"{k}/effects"],
        arrays[f"{k}/wave"],
        tuple(Diagnostic(**d) for d in saved["diagnostics"]),
        saved["method"],
        saved["seed"],
        saved["why"],
        saved["cpu_seconds"],
    )
