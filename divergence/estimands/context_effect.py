"""What does each deployment context do to each model?

    mu_mc - B_m        and, over models, its mean

Rows with `statistic` = `contrast` compare two deployment contexts, `mu_mc - mu_mc'`, over models: they need no bench. Those
with `bias`, `competence`, `one_way` say whether answers or ability moved, for tasks with two right answers (`answer_bias`);
`heterogeneity...` test whether the contexts of a regime differ at all (`heterogeneity`).
Identified by evaluation rows and deployment rows of the model; cells without rows are filled by the joint model and
said so. Unit: fraction (points are hundredths of it).
"""

from __future__ import annotations

import itertools

import numpy as np
import polars as pl

from divergence.cells.overlap import scorer_conflict
from divergence.estimands.answer_bias import Moved, answer_bias
from divergence.estimands.heterogeneity import heterogeneity
from divergence.estimands.rows import about, answer, answered, frame, models_with_rows, unit_of
from divergence.estimate import Estimate
from divergence.identification import needs
from divergence.identification.log_design import LogDesign
from divergence.identification.question import Need, Question
from divergence.joint.posterior import Fit, Posterior
from divergence.joint.predict import levels

QUESTION, TEXT = "context_effect", "level in a deployment context minus the bench level"
CONTRASTS_MAX = 40  # contexts: beyond it the pairs are too many to read; ask `contrast` for the ones of interest


def context_needs(design: LogDesign) -> Need:
    """A bench to compare with, or two deployment contexts to compare with each other."""
    against_bench, contexts = needs.compared(design), design.contexts["deployment"]
    if against_bench.met:
        return against_bench
    rest = f"with the bench not: {against_bench.sentence[0].lower()}{against_bench.sentence[1:]}"
    alike = 1 < contexts <= CONTRASTS_MAX and no_contrasts(design) is None
    apart = needs.no_linked_contexts(design) if alike else None
    if alike and not apart:
        return Need(True, f"{contexts} deployment contexts can be compared with each other; {rest}")
    for regime in needs.tested_regimes(design):
        return Need(True, f"{design.contexts[regime]} {regime} contexts can be tested for differing at all; {rest}")
    return Need(False, apart) if apart else against_bench


def no_contrasts(design: LogDesign) -> str | None:
    """Why deployment contexts cannot be compared with each other: other judges, or a mean over unlike tasks."""
    return design.context_judges["deployment"] or needs.unlike_tasks(design, "deployment")


ROOM = Question(
    QUESTION,
    "effects of contexts",
    TEXT,
    context_needs,
    of_levels=True,
)


@answered(ROOM, unit_of)
def context_effect(posterior: Posterior, *, outcome: str | None = None, items: str | None = None) -> Estimate:
    """Rows (model, context), rows (model null, context) over models, and contrasts of deployment contexts."""
    posterior = about(posterior, items)
    fit = posterior[outcome]
    bench, deployed = levels(fit, "evaluation"), levels(fit, "deployment")
    unit = unit_of(fit)
    if deployed is None:
        rows, draws = _tested(fit)
        return answer(fit, QUESTION, TEXT, unit, rows, draws)
    parts, rows, reasons = [], [], []
    models, contexts = deployed.models, deployed.contexts
    conflict = (
        "the log has no evaluation rows: there is no bench level to compare with"
        if bench is None
        else (scorer_conflict(fit.cells) or needs.unlike_tasks(fit.log_design))
    )
    if bench is None or conflict:
        rows.append(frame(model=[None], context=[None], context_b=[None], statistic=[None]))
        parts.append(np.full((len(deployed.draws), 1), np.nan))
        reasons.append(conflict)
    else:
        effect = deployed.draws - bench.mean()[:, :, None]
        usable = models_with_rows(fit, True) & models_with_rows(fit, False)
        for m in np.flatnonzero(usable):
            rows.append(_rows([models[m]] * len(contexts), contexts))
            why = _unlinked(fit, [int(m)])
            parts.append(_without(effect[:, m], why))
            reasons += why
        if usable.any():
            rows.append(_rows([None] * len(contexts), contexts))
            why = _unlinked(fit, np.flatnonzero(usable).tolist())
            parts.append(_without(effect[:, usable].mean(1), why))
            reasons += why
        if not usable.any():
            rows.append(_rows([None], (None,)))
            parts.append(np.full((len(effect), 1), np.nan))
            reasons.append("no model has rows in both regimes")
    if 1 < len(contexts) <= CONTRASTS_MAX and no_contrasts(fit.log_design) is None:
        seen = models_with_rows(fit, True)
        mean = deployed.draws[:, seen].mean(1)
        pairs = list(itertools.combinations(range(len(contexts)), 2))
        code = fit.design.contexts[fit.design.of_regime(True), 1]
        apart = [needs.unlinked_contexts(fit.log_design, True, int(code[i]), int(code[j])) for i, j in pairs]
        rows.append(
            frame(
                model=[None] * len(pairs),
                context=[contexts[i] for i, _ in pairs],
                context_b=[contexts[j] for _, j in pairs],
                statistic=["contrast"] * len(pairs),
            )
        )
        parts.append(_without(np.stack([mean[:, i] - mean[:, j] for i, j in pairs], 1), apart))
        reasons += apart
    if bench is not None and not conflict:
        for moved in answer_bias(fit):
            names, draws, why = _moved(moved)
            size = len(names)
            place = {
                "model": [moved.model] * size,
                "context": [moved.context] * size,
                "context_b": [None] * size,
                "task": [moved.task] * size,
                "level": [moved.first] * size,
            }
            rows.append(frame(**place, statistic=names).with_columns(unit=pl.lit("ratio")))
            parts.append(np.stack(draws, 1))
            reasons += why
    tested, draws = _tested(fit)
    if tested.height:
        rows.append(tested)
        parts.append(draws)
        reasons += [None] * tested.height
    text = TEXT if deployed.observed.all() else TEXT + " (combinations without rows are filled by the model)"
    return answer(fit, QUESTION, text, unit, _together(rows, unit), np.concatenate(parts, 1), reason=tuple(reasons))


def _unlinked(fit: Fit, models: list[int]) -> list[str | None]:
    """Why what a deployment context does to these models is not known, one entry a context: nothing links it with them."""
    linked, names = fit.log_design.linked, fit.cells.levels
    reasons: list[str | None] = []
    for c in fit.design.contexts[fit.design.of_regime(True), 1]:
        apart = [m for m in models if linked.models[m] != linked.contexts[1, c]]
        told = (
            f"no model links {names['context'][c]} with the contexts of {names['model'][apart[0]]}: what it does to that "
            "model is not in this log"
            if apart
            else None
        )
        reasons.append(told)
    return reasons


def _without(draws: np.ndarray, reasons: list[str | None]) -> np.ndarray:
    """The draws (S, rows) with nothing where there is a reason."""
    return np.where([why is not None for why in reasons], np.nan, draws)


def _tested(fit: Fit) -> tuple[pl.DataFrame, np.ndarray]:
    """Rows and draws of `heterogeneity`, for the regimes in which one judge saw all contexts."""
    regimes = needs.tested_regimes(fit.log_design)
    found = [row for row in heterogeneity(fit) if row[0] in regimes]
    regime, model, context, statistic, value = (list(column) for column in zip(*found, strict=True)) if found else [[]] * 5
    unit = ["probability" if "_p" in name else "ratio" for name in statistic]
    table = frame(regime=regime, model=model, context=context, context_b=[None] * len(found), statistic=statistic)
    return table.with_columns(unit=pl.Series(unit, dtype=pl.String)), np.tile(np.array(value, float), (len(fit.effects), 1))


def _moved(moved: Moved) -> tuple[list[str], list[np.ndarray], list[str | None]]:
    """Statistics, draws and reasons of one task with two right answers."""
    names, draws = ["bias", "competence"], [moved.bias, moved.competence]
    why: list[str | None] = [None, None]
    if moved.only_bias:
        draws[1] = np.full_like(moved.competence, np.nan)
        why[1] = (
            f"{max(moved.flips)} of the {sum(moved.flips)} answers that changed went the same way: the habit of "
            f"saying {moved.first} moved, which alone explains the change; whether ability moved cannot be told"
        )
    if moved.one_way is not None:
        names, draws, why = [*names, "one_way"], [*draws, moved.one_way], [*why, None]
    return names, draws, why


def _together(rows: list[pl.DataFrame], unit: str) -> pl.DataFrame:
    """One table; the unit stands in the rows only where rows have units of their own."""
    table = pl.concat(rows, how="diagonal")
    return table.with_columns(pl.col("unit").fill_null(unit)) if "unit" in table.columns else table


def _rows(models: list, contexts: tuple) -> pl.DataFrame:
    empty = [None] * len(contexts)
    return frame(model=models, context=list(contexts), context_b=empty, statistic=empty)
