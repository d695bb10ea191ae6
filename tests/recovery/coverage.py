"""Coverage in simulated worlds: how often a 90 % interval holds the truth, by question and kind of world."""

from __future__ import annotations

import collections

import numpy as np

import divergence as dv
from divergence.simulate import simulate, world

MATERIAL = {"kappa": 0.01, "coupling": 0.02, "excess_flips": 0.005}  # a positive quantity is claimed above this only


def check_world(kind: str, seed: int, **sizes) -> dict[str, list[tuple[bool, bool]]]:
    """(covered, claimed) of every interval of one world, by question.

    A positive quantity whose truth is below its materiality is covered when its lower limit is below the materiality.
    """
    log, truth = simulate(world(kind, **sizes), seed)
    posterior = dv.fit(dv.collapse(dv.read(log)), seed=seed)
    out: dict[str, list[tuple[bool, bool]]] = collections.defaultdict(list)

    def count(question: str, limits: np.ndarray, values: np.ndarray) -> None:
        material = MATERIAL.get(question)
        for (lower, upper), value in zip(limits, np.atleast_1d(values), strict=True):
            if material is None:
                out[question].append((lower <= value <= upper, lower > 0 or upper < 0))
            else:
                small = value < material
                out[question].append(((lower <= max(value, material) if small else lower <= value) and
                                      (value <= upper or small), lower > material))

    def rows(estimate, **where):
        return estimate.where(statistic=None, **where)

    count("bench_level", dv.bench_level(posterior).interval(), truth["level"][:, 0])
    count("deployed_level", dv.deployed_level(posterior).interval(), truth["level"][:, 1:].mean(1))
    count("gap", dv.gap(posterior).interval(), truth["gap"])
    count("kappa", dv.kappa(posterior).interval(), truth["kappa"])
    count("coupling", dv.coupling(posterior).interval(), truth["coupling"])
    effect = dv.context_effect(posterior)
    for m, name in enumerate(effect.rows["model"].drop_nulls().unique(maintain_order=True)):
        part = rows(effect, model=name)
        order = [int(c.split("-")[1]) - 1 for c in part.rows["context"]]
        count("context_effect", part.interval(), truth["context_effect"][m][order])
    if "excess_flips" in truth:
        flips = dv.excess_flips(posterior)
        for m, name in enumerate(flips.rows["model"].drop_nulls().unique(maintain_order=True)):
            part = rows(flips, model=name, context="bench")
            order = [int(c.split("-")[1]) - 1 for c in part.rows["context_b"]]
            count("excess_flips", part.interval(), truth["excess_flips"][m][order])
    if kind == "waves":
        count("instrument", dv.instrument(posterior).interval(), truth["instrument"])
    out["gates"] = [(posterior.passed, False)]
    return dict(out)
