"""Every model's deployed level in every context: measured, filled by the joint model, or forecast from its bench rows.

What `forecast` and `leaderboard` both stand on. A model without deployment rows is forecast where the log allows it
(`joint.carry_over`); otherwise it is left out by name, with the reason.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from divergence.cells import Cells
from divergence.cells.overlap import in_regime, scorer_conflict
from divergence.errors import InputError
from divergence.identification.log_design import LogDesign
from divergence.identification.needs import unlike_tasks
from divergence.joint.carry_over import MODELS_MIN, CarryOver, carry_over, forecast_levels
from divergence.joint.laws import Law, law_weights
from divergence.joint.posterior import Fit, models_with_rows
from divergence.joint.predict import levels

MEASURED, PARTLY, FORECAST = "measured", "partly forecast", "forecast"
FEW_ITEMS = 10  # bench items below which a candidate is named: its own level is then known to 15 points at best
DATED = re.compile(r"[-_@ :.]?(?:20\d{2}[-_.]?(?:0[1-9]|1[0-2])(?:[-_.]?[0-3]\d)?|(?:0[1-9]|1[0-2])[-_]?[0-3]\d)$")
TWINS_TOLD = 3  # pairs of like names that a sentence names


@dataclasses.dataclass(frozen=True)
class Standing:
    """Draws of deployed levels of every model that has any."""

    fit: Fit
    """The fit that it comes from."""
    models: np.ndarray
    """Codes of the models, shape (M,)."""
    names: tuple[str, ...]
    """Their names."""
    draws: np.ndarray
    """Levels in every deployment context, outcome scale, shape (S, M, contexts)."""
    contexts: tuple[str, ...]
    """Names of the contexts."""
    observed: np.ndarray
    """Where the model has judged rows, shape (M, contexts)."""
    bench: np.ndarray
    """Bench levels, shape (S, M); NaN for a model without evaluation rows."""
    lines: CarryOver | None
    """What the forecasts rest on; None where there is none."""
    left_out: Mapping[str, str]
    """Models of the log without a deployed level, and why."""

    def weights(self, law: Law | None) -> np.ndarray:
        """Weights of the contexts, shape (M, contexts); a model without rows of its own takes all models' common law."""
        found = law_weights(self.fit, "deployment", law)[self.models]
        if (law if law is not None else self.fit.cells.declared_law) == "own":
            common = law_weights(self.fit, "deployment", "logged")[self.models]
            found = np.where(np.any(self.observed, axis=1, keepdims=True), found, common)
        return found

    def level(self, weights: np.ndarray) -> np.ndarray:
        """Draws of the level under a law, shape (S, M)."""
        return np.einsum("smc,mc->sm", self.draws, weights)

    def status(self, weights: np.ndarray) -> list[str]:
        """Is the level under a law measured, partly forecast (a context of the law without rows), or forecast?"""
        whole = np.all(self.observed | (weights == 0), axis=1)
        some = np.any(self.observed, axis=1)
        told = np.where(whole & some, MEASURED, np.where(some, PARTLY, FORECAST))
        return told.tolist()


def standing(fit: Fit) -> Standing | None:
    """The deployed levels of a fit; None where the log has no deployment rows."""
    deployed = levels(fit, "deployment", "uniform")
    if deployed is None:
        return None
    unlike = unlike_tasks(fit.log_design, "evaluation")
    bench = None if unlike else levels(fit, "evaluation")
    served, tried = models_with_rows(fit, True), models_with_rows(fit, False)
    conflict = scorer_conflict(fit.cells)
    lines = carry_over(fit, bench, deployed) if bench is not None and not conflict else None
    candidates = np.flatnonzero(tried & ~served)
    apart = _without_shared_items(fit.cells, candidates, served & tried)
    left_out = {}
    for m in candidates:
        name = deployed.models[m]
        if unlike:
            left_out[name] = f"{name} has evaluation rows only. {unlike}"
        elif conflict:
            left_out[name] = f"a forecast of {name} needs one judge in both regimes: {conflict}"
        elif lines is None:
            left_out[name] = (
                f"{name} has evaluation rows only; a forecast rests on {MODELS_MIN} models with rows in both regimes, "
                f"this log has {int((served & tried).sum())}"
            )
        elif m in apart:
            left_out[name] = (
                f"{name} shares no bench item with a model that was deployed: its bench level is on another bench"
            )
    kept = np.array([m for m in candidates if deployed.models[m] not in left_out], int)
    models = np.sort(np.concatenate([np.flatnonzero(served), kept]))
    draws = deployed.draws[:, models]
    if lines is not None and bench is not None and len(kept):
        draws[:, np.searchsorted(models, kept)] = forecast_levels(fit, bench, lines, kept)
    on_bench = np.full(draws.shape[:2], np.nan)
    if bench is not None:
        on_bench[:, tried[models]] = bench.mean()[:, models[tried[models]]]
    names = tuple(deployed.models[m] for m in models)
    return Standing(fit, models, names, draws, deployed.contexts, deployed.observed[models], on_bench, lines, left_out)


def candidates_of(design: LogDesign) -> tuple[int, int]:
    """How many models have evaluation rows only, and how many of these share bench items with models of both regimes."""
    tried = np.unique(design.arms.model[~design.arms.deployed.astype(bool)])
    alone, both = np.setdiff1d(tried, design.both), np.zeros(len(design.cells.levels["model"]), bool)
    both[design.both] = True
    return len(alone), len(alone) - len(_without_shared_items(design.cells, alone, both))


def _without_shared_items(cells: Cells, candidates: np.ndarray, reference: np.ndarray) -> set[int]:
    """Candidates none of whose bench items was answered by a reference model."""
    counts = cells.counts
    keep = in_regime(cells, "evaluation") & (counts["n"] > 0) & (counts["item"] >= 0)
    items = counts["item"][keep].astype(np.int64) * (counts["task"].max(initial=0) + 2) + counts["task"][keep] + 1
    model = counts["model"][keep]
    known = np.unique(items[reference[model]])
    shared = set(np.unique(model[np.isin(items, known)]).tolist())
    return {int(m) for m in candidates if m in set(model.tolist()) and int(m) not in shared}


def bench_items(fit: Fit) -> np.ndarray:
    """Effective number of items behind the bench level of each model, trials where a row stands for many, (models,)."""
    mine = ~fit.arms.deployed
    return np.bincount(fit.arms.model[mine], fit.arms.clusters[mine], fit.design.n_models).round().astype(int)


def like_names(names: Sequence[str]) -> str:
    """A sentence on names that differ only in case, blanks, a provider before them or a date after; '' where none do.

    >>> like_names(["gpt-x-2025-01-31", "GPT-x", "other"])
    'gpt-x-2025-01-31 and GPT-x differ only in case, blanks, provider or date and are taken for different models.'
    """
    groups = defaultdict(list)
    for name in names:
        groups[DATED.sub("", " ".join(name.lower().split()).rsplit("/", 1)[-1])].append(name)
    twins = [group for key, group in groups.items() if key and len(group) > 1]
    if not twins:
        return ""
    told = ", ".join(" and ".join(map(_seen, group[:3])) for group in twins[:TWINS_TOLD])
    more = f" (and {len(twins) - TWINS_TOLD} more such names)" if len(twins) > TWINS_TOLD else ""
    return f"{told}{more} differ only in case, blanks, provider or date and are taken for different models."


def known_models(fit: Fit, given: str | Sequence[str] | None, what: str = "incumbent") -> tuple[str, ...]:
    """The named models, each in the log. Raises InputError for another name."""
    asked = () if given is None else (given,) if isinstance(given, str) else tuple(given)
    names = fit.cells.levels["model"]
    for name in asked:
        if name not in names:
            shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
            near = difflib.get_close_matches(name, names, n=1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise InputError(f"the {what} {name!r} is not a model of this log{hint}; it has {shown}")
    return tuple(dict.fromkeys(asked))


def _seen(name: str) -> str:
    """The name, in marks where it begins or ends with a blank that nobody would see."""
    return name if name == name.strip() else f"'{name}'"
