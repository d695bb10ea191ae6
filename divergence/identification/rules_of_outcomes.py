"""Rules about who was judged, by whom, and whether outcomes differ at all."""

from __future__ import annotations

import numpy as np

from divergence.cells.overlap import in_regime
from divergence.identification import needs
from divergence.identification.finding import Finding
from divergence.identification.log_design import REGIMES, LogDesign

JUDGED_MIN = 0.9  # judged share of a context below which it is said: a tenth can move a level by ten points
OF_MEANS = ("bench_level", "deployed_level", "leaderboard", "gap", "context_effect", "serving_effect", "pass_power")
"""Questions whose numbers are means over tasks."""
NAMED = 4  # names given before "and others"


def listed(names: list[str]) -> str:
    """Names as words, the first few of many."""
    if len(names) > NAMED:
        return f"{', '.join(names[:NAMED])} and {len(names) - NAMED} others"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""


def one_value(design: LogDesign) -> Finding | None:
    """Every judged row has the same outcome: a file of failures (or of successes) alone looks like that."""
    if design.constant is None:
        return None
    rows, value = int(design.arms.judged.sum()), f"{design.cells.outcome} = {design.constant:g}"
    said = (
        f"The only judged row has {value}: nothing can be told apart."
        if rows == 1
        else f"Every one of the {rows:,} judged rows has {value}: nothing can be told apart, and a file that lists failures "
        "(or successes) alone looks like this."
    )
    return Finding("one_value", "caution", said, "If rows were left out, give the whole log.")


def one_side(design: LogDesign) -> Finding | None:
    """Models with judged rows in one regime only."""
    if not all(design.rows.values()):
        return None
    names = design.cells.levels["model"]
    bench, deployed = (np.unique(design.arms.model[design.arms.deployed == d]) for d in (False, True))
    parts = []
    for mine, where in ((np.setdiff1d(bench, deployed), "in deployment"), (np.setdiff1d(deployed, bench), "on the bench")):
        if len(mine):
            verb = "was" if len(mine) == 1 else "were"
            parts.append(f"{listed([names[m] for m in mine])} {verb} not judged {where}")
    if not parts:
        return None
    return Finding(
        "one_side",
        "caution",
        f"In this log {' and '.join(parts)}: an order of the bench and one of deployment are about different models.",
        questions=("gap", "reversal", "rank_agreement", "best_combination"),
    )


def judged_share(design: LogDesign) -> Finding | None:
    """The context with the fewest judged rows, where they are few."""
    counts, cells = design.cells.counts, design.cells
    worst = (1.0, "", "")
    for regime in REGIMES:
        mine = in_regime(cells, regime)
        for context in np.unique(counts["context"][mine]):
            here = mine & (counts["context"] == context)
            share = 1 - counts["unjudged"][here].sum() / counts["rows"][here].sum()
            worst = min(worst, (float(share), regime, cells.levels["context"][context]))
    share, regime, context = worst
    if share >= JUDGED_MIN:
        return None
    if design.cells.kind == "positive" and share:
        return Finding(
            "judged_share",
            "caution",
            f"Only {max(share, 0.001):.1%} of the {regime} rows in {context} have a {cells.outcome} above 0: the others are "
            "missing, or have no place on a log scale, and levels are not about them.",
        )
    if not share:
        return Finding(
            "judged_share",
            "caution",
            f"None of the {regime} rows in {context} is judged: they count in no answer about {cells.outcome}.",
        )
    return Finding(
        "judged_share",
        "caution",
        f"Only {max(share, 0.001):.1%} of the {regime} rows in {context} are judged; the others are taken as missing at "
        "random, which no number of rows can show.",
    )


def other_judges(design: LogDesign) -> Finding | None:
    """Scorers that differ between the regimes."""
    one, two = (set(design.scorers(regime)) for regime in REGIMES)
    if one == two or not all(design.rows.values()):
        return None
    return Finding(
        "other_judges",
        "caution",
        f"The regimes do not have the same scorers (evaluation: {', '.join(sorted(one)) or 'not logged'}; deployment: "
        f"{', '.join(sorted(two)) or 'not logged'}): a part of every difference between them may be the judges'.",
        questions=("gap", "evaluation_advantage", "context_effect", "reversal"),
    )


def unlike_tasks(design: LogDesign) -> Finding | None:
    """Tasks with a metric each: a mean over them is refused where it is asked for."""
    why = needs.unlike_tasks(design)
    if why is None:
        return None
    said, todo = why.removeprefix("It needs tasks with one metric; ").split("unlike things. ")
    return Finding("unlike_tasks", "caution", f"{said[0].upper()}{said[1:]}unlike things.", todo, OF_MEANS)


def own_judges(design: LogDesign) -> Finding | None:
    """A model that other scorers judged than the others: no order of models is given."""
    conflicts = {regime: why for regime, why in design.model_judges.items() if why}
    if not conflicts:
        return None
    regime, why = next(iter(conflicts.items()))
    both = " and deployment" if len(conflicts) > 1 else ""
    return Finding(
        "own_judges",
        "caution",
        f"In {regime}{both} {why}: what the models can is not told apart from how they were judged, so no order of them is "
        "given.",
        "Let one scorer judge all models.",
        ("leaderboard", "bench_level", "deployed_level", "reversal", "rank_agreement", "best_combination", "convergence"),
    )


def driven_trials(design: LogDesign) -> Finding | None:
    """Items whose number of trials goes with their outcomes: tried until they pass, or repeated where they disagree."""
    found = design.driven_trials
    if not found:
        return None
    arm, names = found[0], design.cells.levels
    return Finding(
        "driven_trials",
        "caution",
        f"Of the items of {names['model'][arm.model]} in {names['context'][arm.context]}, {arm.told} ({len(found)} of "
        f"{len(design.arms)} combinations are such): how often an item was tried goes with its outcomes, so levels are no "
        "rates of single runs.",
        "Take the first run of each item, such as --where trial=0.",
        ("bench_level", "deployed_level", "leaderboard", "pass_power", "excess_flips"),
    )
