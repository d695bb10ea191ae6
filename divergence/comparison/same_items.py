"""How far did these very items move? The interval of `--items observed`: the items are fixed, only repeating is random.

    variance = sum over items of (s^2 before / n before + s^2 after / n after) / items^2

with s^2 the variance between replicates of one item. Replicates that never differ have no error. One greedy run a side has
none either, because a repeat would give the same answers; one run that was sampled says nothing about repeats: refused.

Identification: two replicates on both sides, or runs that repeat themselves. Unit: that of the score.
"""

from __future__ import annotations

import re

import numpy as np

from divergence.comparison.moves import student
from divergence.comparison.pairs import Pairs
from divergence.comparison.sides import Side
from divergence.errors import NotIdentifiedError

GREEDY = re.compile(r"(temperature=0(\.0+)?(,|$))|(do_sample=false)|greedy", re.IGNORECASE)
SAMPLED = re.compile(r"temperature=(?!0(\.0+)?(,|$))[\d.]|do_sample=true|server_default", re.IGNORECASE)


def limits(pairs: Pairs, group: np.ndarray, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper limit of every group (K,), for whole numbers `group` (n,)."""
    table, size = pairs.table, int(group.max()) + 1
    items = np.bincount(group, minlength=size)
    difference = (table["after"] - table["before"]).to_numpy()
    estimate = np.bincount(group, difference, minlength=size) / items
    terms, squares = np.zeros(len(group)), np.zeros(len(group))
    for side in ("before", "after"):
        runs = table[f"{side}_n"].to_numpy()
        spread = table[f"{side}_variance"].fill_null(0).fill_nan(0).to_numpy() / runs
        terms += spread
        squares += spread**2 / np.maximum(runs - 1, 1)
    variance = np.bincount(group, terms, minlength=size)
    with np.errstate(divide="ignore", invalid="ignore"):  # Satterthwaite's degrees of freedom
        freedom = np.nan_to_num(variance**2 / np.bincount(group, squares, minlength=size), nan=1.0, posinf=1e9)
    if not variance.any():
        return estimate, estimate
    half = student((1 + confidence) / 2, freedom) * np.sqrt(variance) / items
    return estimate - half, estimate + half


def repeats(pairs: Pairs, before: Side, after: Side) -> str:
    """How the error of these items is known, as a sentence. Raises NotIdentifiedError where it is not."""
    said = []
    for side, name in ((before, "before"), (after, "after")):
        if bool((pairs.table[f"{name}_n"] > 1).all()):
            said.append(f"{side.name}: the error is that between its replicates.")
            continue
        sampler = _sampler(side)
        if SAMPLED.search(sampler):
            raise NotIdentifiedError(
                f"{side.name} was sampled ({sampler}) and answered once: what a repeat would have said is not known. Run it "
                "twice or more, or ask about new items (--items new)."
            )
        why = "was greedy" if GREEDY.search(sampler) else "logs no sampler and is taken as greedy"
        said.append(f"{side.name} {why}: a repeat would answer the same, so these very items carry no error.")
    return " ".join(said)


def _sampler(side: Side) -> str:
    """What the log says of sampling, as `name=value,...`."""
    if "sampler" in side.rows.columns:
        levels = side.rows["sampler"].drop_nulls().unique().sort()
        if levels.len():
            return ",".join(levels.to_list())
    names = ("temperature", "do_sample", "sampler")
    kept = [f"{n.rpartition('.')[2]}={v}" for n, v in (side.settings or {}).items() if n.rpartition(".")[2] in names]
    return ",".join(dict.fromkeys(kept))
