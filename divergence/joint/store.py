"""A posterior as a folder: JSON for what people read, npz for arrays, a hash over both. Nothing is ever unpickled."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib

import numpy as np

from divergence.cells import Cells, Table
from divergence.cells.cells import TABLES
from divergence.errors import InputError
from divergence.joint.arms import Arms
from divergence.joint.design import make_design
from divergence.joint.link import Response
from divergence.joint.methods import Diagnostic
from divergence.joint.posterior import Fit, Posterior
from divergence.joint.spec import Spec
from divergence.staging import move_into, staging

FORMAT = 10
RESPONSE = ("value", "covariance", "mu", "noise_log_sd", "noise_lean", "noise_group")
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
)
ARRAYS, WORDS = "draws.npz", "posterior.json"


def save(posterior: Posterior, folder: pathlib.Path) -> None:
    """Write the folder beside its place, then move it there: a reader never sees half of one."""
    with staging(folder) as fresh:
        arrays, fits = {}, []
        for k, fit in enumerate(posterior.fits):
            arrays |= {f"{k}/{name}": getattr(fit, name) for name in ("x", "effects", "wave")}
            arrays |= {f"{k}/response/{name}": getattr(fit.response, name) for name in RESPONSE}
            arrays |= {f"{k}/arms/{name}": getattr(fit.arms, name) for name in ARMS}
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
                    "notes": fit.cells.notes,
                    "method": fit.method,
                    "seed": fit.seed,
                    "why": fit.why,
                    "cpu_seconds": fit.cpu_seconds,
                    "link": fit.arms.link,
                    "arm_notes": fit.arms.notes,
                    "diagnostics": [dataclasses.asdict(d) for d in fit.diagnostics],
                    "equations": posterior.spec.equations(
                        fit.arms.link,
                        tuple(fit.design.mixtures),
                        fit.design.instability > 0,
                        fit.method.partition(",")[0],
                        len(fit.design.apart),
                    ).split("\n"),
                    "apart": fit.design.apart,
                }
            )
        np.savez_compressed(fresh / ARRAYS, **arrays)
        words = {
            "format": FORMAT,
            "spec": dataclasses.asdict(posterior.spec),
            "fits": fits,
            "provenance": posterior.provenance,
            "arrays_sha256": _hash(fresh / ARRAYS),
        }
        words = json.loads(json.dumps(words))
        (fresh / WORDS).write_text(json.dumps(words | {"words_sha256": _hash_of(words)}, indent=1))
        move_into(fresh, folder)


def load(folder: str | pathlib.Path) -> Posterior:
    """Read a saved posterior. Raises InputError when it is of another format, incomplete or changed."""
    folder = pathlib.Path(folder)
    for name in (WORDS, ARRAYS):
        if not (folder / name).is_file():
            raise InputError(f"{folder} is not a saved posterior: {name} is missing")
    try:
        words = json.loads((folder / WORDS).read_text())
    except ValueError as error:
        raise InputError(f"{folder / WORDS} is not readable JSON ({error}); fit again") from None
    found = words.get("format") if isinstance(words, dict) else None
    if found != FORMAT:
        raise InputError(f"{folder} has format {found!r}, this version reads {FORMAT}; fit again")
    told = words.pop("words_sha256", None)
    if _hash_of(words) != told:
        raise InputError(f"{folder / WORDS} was changed after it was saved (its SHA-256 differs); fit again")
    if _hash(folder / ARRAYS) != words["arrays_sha256"]:
        raise InputError(f"{folder / ARRAYS} was changed after it was saved (its SHA-256 differs); fit again")
    spec = Spec(**words["spec"])
    with np.load(folder / ARRAYS, allow_pickle=False) as arrays:
        fits = tuple(_fit(k, saved, arrays, spec) for k, saved in enumerate(words["fits"]))
    return Posterior(fits, spec, words["provenance"])


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
        notes=tuple(saved["notes"]),
    )
    arms = Arms(**{name: arrays[f"{k}/arms/{name}"] for name in ARMS}, link=saved["link"], notes=tuple(saved["arm_notes"]))
    apart = tuple(map(tuple, saved["apart"]))
    return Fit(
        cells,
        arms,
        make_design(cells, arms, spec).with_apart(apart, spec.apart),
        arrays[f"{k}/x"],
        Response(*(arrays[f"{k}/response/{name}"] for name in RESPONSE)),
        arrays[f"{k}/effects"],
        arrays[f"{k}/wave"],
        tuple(Diagnostic(**d) for d in saved["diagnostics"]),
        saved["method"],
        saved["seed"],
        saved["why"],
        saved["cpu_seconds"],
    )


def _hash_of(words: dict) -> str:
    return hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()


def _hash(path: pathlib.Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def to_arviz(fit: Fit):
    """Scales and effects as an arviz DataTree with one chain."""
    from arviz_base import from_dict

    posterior = {f"sd_{name}".replace(":", "_"): draws[None] for name, draws in fit.scales.items()}
    for term in fit.design.terms:
        posterior[term.name.replace(":", "_")] = fit.effects[None, :, term.columns]
    return from_dict({"posterior": posterior}, attrs={"/": {"method": fit.described_method}})
