"""Reading a posterior that `store` wrote. Nothing is ever unpickled."""

from __future__ import annotations

import pathlib

from divergence.calling import sentences
from divergence.cells import Cells, Table
from divergence.cells.cells import TABLES
from divergence.joint.arms import Arms
from divergence.joint.design import make_design
from divergence.joint.link import Response
from divergence.joint.methods import Diagnostic
from divergence.joint.posterior import Fit, Posterior
from divergence.joint.spec import Spec
from divergence.joint.store import ARMS, RESPONSE, SEALED
from divergence.sealed import DAMAGE


@sentences
def load(folder: str | pathlib.Path) -> Posterior:
    """Read a posterior that `posterior.save(folder)`, `divergence fit` or `divergence report` (in `posterior/`) wrote.

    `folder`: where it lies. Returns the `Posterior`, draw by draw as it was. Nothing is unpickled. Raises InputError when
    it is of another format, incomplete or changed.

    >>> import divergence as dv
    >>> from divergence.simulate import simulate, world
    >>> log = dv.read(simulate(world("baseline"), 0)[0])
    >>> posterior = dv.fit(dv.collapse(log), seed=0)
    >>> posterior.save("saved")
    >>> bool((dv.load("saved")[None].effects == posterior[None].effects).all())
    True
    """
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
