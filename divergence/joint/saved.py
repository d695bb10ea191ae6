"""Reading a posterior that `store` wrote. Nothing is ever unpickled."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from divergence.calling import sentences
from divergence.cells import Cells, Table
from divergence.cells.cells import KEYS, MISSING, TABLES
from divergence.joint.arms import Arms
from divergence.joint.design import make_design
from divergence.joint.link import Response
from divergence.joint.methods import Diagnostic
from divergence.joint.paired import Measured
from divergence.joint.posterior import Fit, Posterior
from divergence.joint.spec import Spec
from divergence.joint.store import ARMS, PARTS, RESPONSE, SEALED, read_array
from divergence.sealed import DAMAGE, check_form

REGIMES = {"deployment", "evaluation"}
SAVED = {
    "spec": {None: (float, str, bool)},
    "provenance": {"seed": int, "methods": {None: str}, "versions": {None: str}},
    "fits": [
        {
            "outcome": str,
            "kind": str,
            "levels": {key: [str] for key in KEYS},
            "grade_names": [str],
            "declared_law": (str, list),
            "items?": str,
            "better?": str,
            "zero_cost?": str,
            "notes": [str],
            "cautions?": [str],
            "method": str,
            "seed": int,
            "why": str,
            "cpu_seconds": float,
            "link": str,
            "arm_notes": [str],
            "diagnostics": [{"name": str, "value": float, "threshold": float, "passed": bool, "meaning": str}],
            "apart": [[int]],
        }
    ],
}
"""What the words of a saved posterior are."""


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
        check_form(words, SAVED, "words")
        if not words["fits"]:
            raise ValueError("it holds no fit")
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
    _check_codes(tables, saved["levels"], saved["kind"] == "positive")
    if saved["seed"] < 0:
        raise ValueError(f"its seed is {saved['seed']}")
    law = saved["declared_law"]
    cells = Cells(
        saved["outcome"],
        saved["kind"],
        {n: tuple(v) for n, v in saved["levels"].items()},
        **tables,
        grade_names=tuple(saved["grade_names"]),
        declared_law=law if isinstance(law, str) else (law[0], tuple((level, share) for level, share in law[1])),
        items=saved.get("items", "new"),
        better=saved.get("better", "lower" if saved["kind"] == "positive" else "higher"),
        zero_cost=saved.get("zero_cost", "missing"),
        notes=tuple(saved["notes"]),
        cautions=tuple(saved.get("cautions", ())),
    )
    of_arms: dict[str, Any] = {name: read_array(arrays, f"{k}/arms/{name}") for name in ARMS}
    arms = Arms(**of_arms, link=saved["link"], notes=tuple(saved["arm_notes"]))
    _check_arms(arms, saved["levels"])
    of_response: dict[str, Any] = {name: read_array(arrays, f"{k}/response/{name}") for name in RESPONSE}
    response = Response(**of_response)
    if response.covariance is None:
        parts = {name: arrays[f"{k}/parts/{name}"] for name in PARTS}
        response = dataclasses.replace(response, parts=Measured(root=of_response["root"], **parts))
    apart = tuple(map(tuple, saved["apart"]))
    design = make_design(cells, arms, spec).with_apart(apart, spec.apart)
    _check_draws(arrays[f"{k}/x"], arrays[f"{k}/effects"], arrays[f"{k}/wave"], design)
    return Fit(
        cells,
        arms,
        design,
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


def _check_codes(tables: Mapping[str, Table], levels: Mapping[str, list[str]], positive: bool) -> None:
    """ValueError where the columns of a table are not of one length, a code names no level, or rows are not in order."""
    if not set(levels["regime"]) <= REGIMES:
        raise ValueError(f"its regimes are {levels['regime']}")
    if not all(0 < float(level) <= 1 for level in levels["chance"]):
        raise ValueError(f"its chances are {levels['chance'][:3]}")
    for name, (keys, sums) in TABLES.items():
        table = tables[name]
        shape = table[keys[0]].shape
        for column in (*keys, *sums):
            values = table[column]
            if values.shape != shape or len(shape) != 1 or values.dtype.kind != ("i" if column in keys else "f"):
                raise ValueError(f"the column {column} of {name} is {values.dtype} of shape {values.shape}")
            least = 0 if column in ("model", "regime", "context") else MISSING
            if column in keys and len(values) and not (least <= values.min() and values.max() < len(levels[column])):
                raise ValueError(f"a code of {column} in {name} names no level")
            unknown = column == "lost" and positive  # a time has no failures
            if column in sums and not unknown and not np.isfinite(values).all():
                raise ValueError(f"the column {column} of {name} is not finite")
        if not _in_order(table, keys):
            raise ValueError(f"the rows of {name} are not in the order of their keys, or a key is there twice")


def _in_order(table: Table, keys: tuple[str, ...]) -> bool:
    """Are the rows sorted by key, each key once? Questions cut out the rows of a model by where they begin and end."""
    above = np.zeros(max(len(table) - 1, 0), bool)
    same = ~above
    for key in keys:
        codes = table[key]
        above |= same & (codes[1:] > codes[:-1])
        same &= codes[1:] == codes[:-1]
    return bool(above.all())


def _check_arms(arms: Arms, levels: Mapping[str, list[str]]) -> None:
    """ValueError where the arrays of the arms are not of one length, or not of their kind."""
    size, waves = len(arms.model), len(arms.wave)
    square = {"covariance": (size, size), "root": (size, size), "wave": (waves,), "wave_covariance": (waves, waves)}
    kinds = dict.fromkeys(ARMS, "f") | {"model": "i", "context": "i", "deployed": "b"}
    many = arms.covariance is None  # kept as a sparse root of as many rows as it takes
    for name in ARMS:
        array = getattr(arms, name)
        if many and (name == "covariance" or (name == "root" and array is not None and array.shape[1:] == (size,))):
            continue
        if array is None or array.dtype.kind != kinds[name] or array.shape != square.get(name, (size,)):
            raise ValueError(f"{name} of its arms is not of its kind and shape")
    for name, codes in (("model", arms.model), ("context", arms.context)):
        if not (codes.min() >= 0 and codes.max() < len(levels[name])):
            raise ValueError(f"an arm has a {name} that is not named")


def _check_draws(x: np.ndarray, effects: np.ndarray, wave: np.ndarray, design) -> None:
    """ValueError where draws are no numbers, or not those of the design."""
    columns = max((term.columns.stop for term in design.terms), default=0)
    for name, draws in (("x", x), ("effects", effects), ("wave", wave)):
        if draws.dtype.kind != "f" or draws.ndim != 2 or len(draws) != len(effects) or not np.isfinite(draws).all():
            raise ValueError(f"its draws {name} are {draws.dtype} of shape {draws.shape}, or not finite")
    if effects.shape[1] != columns or not len(effects):
        raise ValueError(f"its draws have {effects.shape[1]} effects, its design {columns}")
