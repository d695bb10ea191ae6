"""Would deployment put two models in the other order than the bench does?

    P( sign(B_m - B_m') != sign(D_m - D_m') )                    per pair of models of the log
    R(g) = P( deployed order differs | bench gap g ) = Phi(-beta g / tau_p)        `statistic` = `curve`, `level` = g
    N(g) = sum_c Q_c Phi(-beta_c g / tau_c)                          `new_context` per pair, `curve_new_context` over g

The first is a posterior probability of each pair: the draws are 0 or 1 (a tie 1/2), their mean is the probability; their
interval only says whether the order is certain. R is a draw of the line of `projection_instability` turned into a risk;
R(0) = 1/2 is arithmetic, not a finding. D averages over contexts; N is the risk in a single context that is not in the log
and is to the bench as one of those that are, drawn by the deployment law: each has a line of its own. Lines and the normal
law hold among models of like strength; from very weak to very strong ones the curves are too pessimistic. Identified by two
models with rows in both regimes, the curves by four, N by two contexts. Of more models than `pairs.LISTED_MAX` the rows of
pairs are those of the best on the bench; `all_pairs` is the share of all pairs that is reversed, and by bench gap (`level`:
from which one on) that of a random sample of them, `pairs` how many have that gap; `all_pairs_new_context` is N without a
line: the share of such pairs that one of the logged contexts reverses, drawn by the deployment law. On held-out test sets of
1,555 models it is the best calibrated of them (`benchmarks/reversal.md`). Unit: probability; `level` of a curve is in the
unit of the outcome (a gap of 5 points is 0.05).
"""

from __future__ import annotations

import functools

import numpy as np
import polars as pl
from scipy.special import ndtr

from divergence.estimands.pairs import BLOCK, listed, sampled, signs_agree
from divergence.estimands.projection_instability import MODELS_MIN, project, regress
from divergence.estimands.rows import about, answer, answered, frame, models_with_rows
from divergence.estimate import Estimate
from divergence.identification import needs
from divergence.identification.question import Question
from divergence.joint.laws import Law
from divergence.joint.posterior import Posterior
from divergence.joint.predict import levels

QUESTION, TEXT = "reversal", "probability that deployment reverses the bench order of a pair"
STEPS = 40  # points of a curve after the one at 0
REACH = 1.25  # a curve ends this much beyond the largest bench gap of the log


ROOM = Question(
    QUESTION,
    "pairs that change order",
    TEXT,
    functools.partial(needs.models_in_both, least=2),
    of_levels=True,
)


@answered(ROOM, "probability")
def reversal(
    posterior: Posterior,
    *,
    law: Law | None = None,
    contexts: str = "logged",
    outcome: str | None = None,
    items: str | None = None,
) -> Estimate:
    """One row a pair (`model`, `model_b`), in the order of the names; then the curves, and the pairs in a new context."""
    posterior = about(posterior, items)
    fit = posterior[outcome]
    bench, deployed = levels(fit, "evaluation"), levels(fit, "deployment", law, contexts=contexts)
    assert bench is not None and deployed is not None  # the question's needs: two models in both, and one judge
    both = np.flatnonzero(models_with_rows(fit, True) & models_with_rows(fit, False))
    b, d = bench.mean(), deployed.mean()
    chosen = listed(b[:, both], fit.cells.better == "lower")
    first, second = both[chosen.first], both[chosen.second]
    pairs = pl.DataFrame({"model": [bench.models[i] for i in first], "model_b": [bench.models[j] for j in second]})
    rows, draws = [pairs], [reversed_order(b[:, first] - b[:, second], d[:, first] - d[:, second])]
    if chosen.note:
        rows.append(frame(statistic=["all_pairs"]))
        draws.append(((1 - signs_agree(b[:, both], d[:, both]) / chosen.total) / 2)[:, None])
    of_a_line = needs.models_in_both(fit.log_design, MODELS_MIN)
    reasons: list[str | None] = [None] * sum(table.height for table in rows)
    if not of_a_line.met:
        rows.append(pl.DataFrame({"statistic": ["curve"]}))
        draws.append(np.full((len(b), 1), np.nan))
        reasons.append(of_a_line.sentence)
    else:
        _, line = project(posterior, outcome, law, contexts)
        gaps = bench_gaps(line.bench)
        rows.append(curve_rows(gaps))
        draws.append(risk(line.beta, line.tau, gaps))
        if len(line.law) > 1:
            rows += [curve_rows(gaps, "curve_new_context"), pairs.with_columns(statistic=pl.lit("new_context"))]
            lines = [regress(line.bench, line.within[:, :, c])[1:] for c in range(len(line.law))]
            for at in (gaps, np.abs(b[:, first] - b[:, second])):
                mixed = np.zeros((len(b), at.shape[-1]))
                for w, own in zip(line.law, lines, strict=True):
                    mixed += w * risk(*own, at)
                draws.append(mixed)
        if chosen.note:
            found = over_pairs(b[:, both], d[:, both, None], gaps, fit.seed)
            rows += [curve_rows(gaps[:-1][found[1] > 0], name) for name in ("all_pairs", "pairs")]
            draws += [part[:, found[1] > 0] for part in (found[0], np.repeat(found[1][None], len(b), 0))]
            if len(line.law) > 1:
                single = over_pairs(line.bench, line.within, gaps, fit.seed, line.law)
                rows.append(curve_rows(gaps[:-1][single[1] > 0], "all_pairs_new_context"))
                draws.append(single[0][:, single[1] > 0])
    table = pl.concat(rows, how="diagonal")
    reasons += [None] * (table.height - len(reasons))
    text = TEXT + chosen.note
    return answer(fit, QUESTION, text, "probability", table, np.concatenate(draws, 1), reason=tuple(reasons))


def over_pairs(
    bench: np.ndarray, deployed: np.ndarray, gaps: np.ndarray, seed: int, law: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Of random pairs of all models, bench levels (S, models): share of them that is reversed in every draw, by bench gap,
    (S, K - 1), NaN where there is none; and how many of them have that gap, shares (K - 1,). A gap (of mean levels) counts
    from one of `gaps` (K,) to the next. Of deployed levels in several contexts (S, models, contexts) it is the mean by `law`
    (contexts,), over as many fewer pairs."""
    weight = np.ones(1) if law is None else law
    first, second = (side[:: len(weight)] for side in sampled(bench.shape[1], seed))
    mean = bench.mean(0)
    place = np.clip(np.searchsorted(gaps, np.abs(mean[first] - mean[second]), side="right") - 1, 0, len(gaps) - 2)
    total, count = np.zeros((len(bench), len(gaps) - 1)), np.bincount(place, minlength=len(gaps) - 1)
    order = np.argsort(place, kind="stable")
    for begin in range(0, len(order), BLOCK):
        mine = order[begin : begin + BLOCK]
        ahead, apart = bench[:, first[mine]] - bench[:, second[mine]], np.zeros((len(bench), len(mine)))
        for c, w in enumerate(weight):
            apart += w * reversed_order(ahead, deployed[:, first[mine], c] - deployed[:, second[mine], c])
        start = np.r_[0, np.flatnonzero(np.diff(place[mine])) + 1]
        total[:, place[mine][start]] += np.add.reduceat(apart, start, axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan), count / count.sum()


def reversed_order(bench: np.ndarray, deployed: np.ndarray) -> np.ndarray:
    """1 where two gaps have different signs, 0 where they have the same, 1/2 where one of them is 0."""
    return (1 - np.sign(bench) * np.sign(deployed)) / 2


def risk(beta: np.ndarray, tau: np.ndarray, gaps: np.ndarray) -> np.ndarray:
    """R(g) of every draw at gaps (K,) or (S, K), shape (S, K); 1/2 at a gap of 0, whatever tau is."""
    pull = beta[:, None] * gaps
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(pull == 0, 0.5, ndtr(-pull / tau[:, None]))


def bench_gaps(bench: np.ndarray) -> np.ndarray:
    """The gaps at which a curve is reported, from 0 to beyond the widest of the log, rounded; shape (STEPS + 1,)."""
    widest = REACH * max(np.ptp(np.median(bench, 0)), 1e-9)
    return np.array([float(f"{widest * (k / STEPS) ** 2:.3g}") for k in range(STEPS + 1)])  # dense where orders are open


def curve_rows(gaps: np.ndarray, statistic: str = "curve") -> pl.DataFrame:
    """Rows of a curve over the bench gap."""
    return frame(statistic=[statistic] * len(gaps), level=[f"{gap:.6g}" for gap in gaps])
