"""Writing a posterior: a folder with JSON for what people read, npz for arrays, a hash over both; `saved` reads it."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from divergence.cells.cells import TABLES
from divergence.sealed import Sealed
from divergence.staging import move_into, staging

if TYPE_CHECKING:
    from divergence.joint.posterior import Posterior

FORMAT = 12
RESPONSE = ("value", "covariance", "mu", "noise_log_sd", "noise_lean", "noise_group", "root")
ARMS = (
    "model",
    "deployed",
    "context",
    "level",
    "covariance",
    "clusters",
    "wave",
    "wave_covariance",
    "noise_log_sd",
    "noise_lean",
    "session_share",
    "sessions",
    "root",
    "least",
    "flips",
)
PARTS = ("own", "anchor", "easy", "moved", "luck", "model", "place")
SPARSE = ("data", "indices", "indptr", "shape")
SEALED = Sealed("posterior.json", "draws.npz", FORMAT, "saved posterior", "fit again")


def save(posterior: Posterior, folder: pathlib.Path) -> None:
    """Write the folder beside its place, then move it there: a reader never sees half of one."""
    with staging(folder) as fresh:
        arrays, fits = {}, []
        for k, fit in enumerate(posterior.fits):
            arrays |= {f"{k}/{name}": getattr(fit, name) for name in ("x", "effects", "wave")}
            arrays |= _arrays(f"{k}/response", fit.response, RESPONSE) | _arrays(f"{k}/arms", fit.arms, ARMS)
            if fit.response.parts is not None:
                arrays |= _arrays(f"{k}/parts", fit.response.parts, PARTS)
            for table in TABLES:
                value = getattr(fit.cells, table)
                arrays |= {f"{k}/{table}/{name}": value[name] for name in (*TABLES[table][0], *TABLES[table][1])}
            fits.append(
                {
                    "outcome": fit.cells.outcome,
                    "kind": fit.cells.kind,
                    "levels": fit.cells.levels,
                    "grade_names": fit.cells.grade_names,
                    "declared_law": fit.cells.declared_law,
                    "items": fit.cells.items,
                    "better": fit.cells.better,
                    "zero_cost": fit.cells.zero_cost,
                    "notes": fit.cells.notes,
                    "cautions": fit.cells.cautions,
                    "method": fit.method,
                    "seed": fit.seed,
                    "why": fit.why,
                    "cpu_seconds": fit.cpu_seconds,
                    "link": fit.arms.link,
                    "arm_notes": fit.arms.notes,
                    "diagnostics": [dataclasses.asdict(d) for d in fit.diagnostics],
                    "equations": posterior.equations(fit.cells.outcome).split("\n"),
                    "apart": fit.design.apart,
                }
            )
        words = {"spec": dataclasses.asdict(posterior.spec), "fits": fits, "provenance": posterior.provenance}
        for name, content in SEALED.contents(words, arrays).items():
            (fresh / name).write_bytes(content)
        move_into(fresh, folder)


def _arrays(place: str, owner: object, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Arrays by name, those that are None left out; a sparse one as its four parts."""
    found = {}
    for name in names:
        value = getattr(owner, name)
        if isinstance(value, np.ndarray):
            found[f"{place}/{name}"] = value
        elif value is not None:
            matrix = sp.csr_array(value)
            found |= {f"{place}/{name}/{part}": getattr(matrix, part) for part in SPARSE[:3]}
            found[f"{place}/{name}/shape"] = np.array(matrix.shape)
    return found


def read_array(arrays: Mapping[str, np.ndarray], place: str) -> np.ndarray | sp.csr_array | None:
    """What `_arrays` wrote there: an array, a sparse one, or None."""
    if place in arrays:
        return arrays[place]
    if f"{place}/shape" not in arrays:
        return None
    data, indices, indptr, shape = (arrays[f"{place}/{part}"] for part in SPARSE)
    return sp.csr_array((data, indices, indptr), shape=tuple(shape))
