"""A posterior as a folder: JSON for what people read, npz for arrays, a hash over both. Nothing is ever unpickled."""

from __future__ import annotations

import dataclasses
import pathlib

from divergence.cells import Cells, Table
from divergence.cells.cells import TABLES
from divergence.joint.arms import Arms
from divergence.joint.design import make_design
from divergence.joint.link import Response
from divergence.joint.methods import Diagnostic
from divergence.joint.posterior import Fit, Posterior
from divergence.joint.spec import Spec
from divergence.sealed import DAMAGE, Sealed
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
SEALED = Sealed("posterior.json", "draws.npz", FORMAT, "saved posterior", "fit again")


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
        words = {"spec": dataclasses.asdict(posterior.spec), "fits": fits, "provenance": posterior.provenance}
        for name, content in SEALED.contents(words, arrays).items():
            (fresh / name).write_bytes(content)
        move_into(fresh, folder)


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


def to_arviz(fit: Fit):
    """Scales and effects as an arviz DataTree with one chain."""
    from arviz_base import from_dict

    posterior = {f"sd_{name}".replace(":", "_"): draws[None] for name, draws in fit.scales.items()}
    for term in fit.design.terms:
        posterior[term.name.replace(":", "_")] = fit.effects[None, :, term.columns]
    return from_dict({"posterior": posterior}, attrs={"/": {"method": fit.described_method}})
