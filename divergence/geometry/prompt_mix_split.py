"""Does deployment behave differently, or is it only asked other things? Splits an unpaired difference of answers.

    raw        = MMD2( answers of evaluation,                        answers of deployment )
    behaviour  = MMD2( answers of evaluation weighted by w(prompt),  answers of deployment )        headline
    mix        = raw - behaviour                      what goes when evaluation is asked deployment's prompts

    w(prompt) = density of the prompt in deployment / in evaluation, from a logistic regression of the regime on the first
                principal components of the prompt embeddings; a session's weights come from a fit without its fold

MMD2 as in `mmd`: no pairs of one session, 0 in the mean where nothing differs. `prompts` and `prompts_left` are MMD2 of
the prompts before and after weighting: what is left says how well the weights do. `mix` need not be positive: another mix
can hide another behaviour.

Identified where evaluation has prompts like all of deployment's, and where the weights can say how the mixes differ.
Refused, with a sentence, where they leave an effective sample size (sum w)^2 / sum w^2 below 30 rows or 4 sessions, or
more than a quarter of the prompts' difference. Needs prompts and answers in one embedder each, 4 sessions a side; the
jackknife over sessions fits the weights anew each time, and the bias of estimated weights it finds is removed. Unit:
ratio, as MMD2. Source: Shimodaira 2000 for the weights, Sugiyama, Suzuki and Kanamori 2012 for the ratio by
classification.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from divergence.errors import InputError
from divergence.estimate import Estimate
from divergence.geometry.answer import Row, answer, refuse
from divergence.geometry.embedder import noted, one_embedder
from divergence.geometry.kernels import kernel_for
from divergence.geometry.mmd import EXACT_ROWS, FEATURES
from divergence.geometry.uncertainty import Jackknife, from_parts
from divergence.geometry.usable_rows import Labels, labels, scaled, table, usable
from divergence.geometry.weighted_sums import discrepancies, exact_gram, feature_gram

QUESTION, TEXT = "prompt_mix_split", "difference of answers that is behaviour given the prompt (squared MMD)"
ROWS = [
    Row(None, "ratio", True),
    Row("mix", "ratio", True),
    Row("raw", "ratio", False),
    Row("prompts", "ratio", False),
    Row("prompts_left", "ratio", True),
]
BLOCKS = 32  # a side: the weights are fitted anew without each, and a standard error is known to 13 %
FOLDS = 5  # weights of a session come from the other four fifths
COMPONENTS = 32  # of the prompts: more than mixes of topics differ in, few enough for a few hundred rows
ROWS_PER_COMPONENT = 10  # a logistic regression of fewer rows a coefficient separates what is not separate
EFFECTIVE_ROWS = 30  # below it the noise of MMD2, 2 / rows, is as large as the differences that are asked for
EFFECTIVE_SESSIONS = 4  # as many as are asked of a side
LEFT = 0.25  # of the prompts' difference may stay: the rest of it would pass for behaviour
CERTAINLY = 2.0  # standard errors by which it must exceed that before it is held against the weights


@dataclasses.dataclass(frozen=True)
class Side:
    """Usable rows of one regime, in the order of their blocks."""

    prompts: np.ndarray
    """(n, p)."""
    answers: np.ndarray
    """(n, d)."""
    block: np.ndarray
    """Block 0 .. B-1 of each row, ascending; whole sessions."""
    sessions: int
    """Sessions (rows, where they are independent)."""
    rejected: int
    """Rows set aside."""

    @property
    def blocks(self) -> int:
        """B."""
        return int(self.block[-1]) + 1 if len(self.block) else 0


def prompt_mix_split(
    prompts: tuple[object, object],
    answers: tuple[object, object],
    *,
    cluster: tuple[Labels, Labels] | None,
    unit_length: bool = False,
    features: int | None = None,
    seed: int = 0,
) -> Estimate:
    """Split of the difference of answers; each argument is (of evaluation, of deployment), row i of both one execution.

    `cluster` = (sessions of evaluation, of deployment), or None: rows are independent. `features`: random features, 0 =
    every pair of rows, None = every pair up to 4000 rows. Raises InputError for tables that do not fit each other.
    """
    made = dict.fromkeys((one_embedder(*answers), one_embedder(*prompts)))
    clusters = (None, None) if cluster is None else cluster
    first, second = (
        side(p, a, c, name, unit_length)
        for p, a, c, name in zip(prompts, answers, clusters, ("evaluation", "deployment"), strict=True)
    )
    for what in ("prompts", "answers"):
        widths = getattr(first, what).shape[1], getattr(second, what).shape[1]
        if widths[0] != widths[1]:
            raise InputError(
                f"{what} of evaluation have {widths[0]} dimensions and of deployment {widths[1]}: "
                "embed both with one embedder"
            )
    counts = {"n_rows": len(first.block) + len(second.block), "n_sessions": first.sessions + second.sessions}
    rejected = first.rejected + second.rejected
    reason = few(first, second)
    if reason is not None:
        return refuse(QUESTION, TEXT, ROWS, reason, counts=counts, rejected=rejected)
    ratio, auc = ratios(first, second)
    jack = jackknife(first, second, ratio, features, seed)
    rows, sessions = effective(ratio[:, 0]), effective(np.bincount(first.block, ratio[:, 0]))
    reason = reason_against(rows, sessions, first, jack)
    if reason is not None:
        return refuse(QUESTION, TEXT, ROWS, reason, counts=counts, rejected=rejected)
    note = noted(
        f"effective sample size {rows:.0f} of {len(first.block)} evaluation rows",
        f"regimes told apart by prompt with AUC {auc:.2f}",
        *made,
    )
    return answer(QUESTION, TEXT, ROWS, jack, counts=counts, rejected=rejected, noise_floor=np.zeros(len(ROWS)), note=note)


def side(prompts: object, answers: object, cluster: Labels | None, name: str, unit_length: bool) -> Side:
    """Admit the rows of one regime: both embeddings must be usable. Raises InputError where tables do not fit."""
    p, a = table(prompts, f"prompts of {name}"), table(answers, f"answers of {name}")
    if len(p) != len(a):
        raise InputError(f"{name} has {len(p)} prompts and {len(a)} answers: give the prompt of every answer, in its order")
    keep = usable(p, unit_length) & usable(a, unit_length)
    if not keep.any():
        raise InputError(f"{name} has no usable rows ({len(p)} set aside): give finite embeddings")
    if cluster is None:
        keys, sessions = np.arange(keep.sum()) % BLOCKS, int(keep.sum())
    else:
        keys = labels(cluster, len(p), f"cluster of {name}")[keep]
        sessions = len(np.unique(keys))
        keys = keys % np.uint64(BLOCKS) if sessions > BLOCKS else keys
    block = np.unique(keys, return_inverse=True)[1]
    order = np.argsort(block, kind="stable")
    p, a = (scaled(v[keep], unit_length)[order] for v in (p, a))
    return Side(p, a, block[order], sessions, int((~keep).sum()))


def few(first: Side, second: Side) -> str | None:
    """Why there are too few rows or sessions for weights with an interval, or None."""
    sessions, rows = min(first.sessions, second.sessions), min(len(first.block), len(second.block))
    if rows < EFFECTIVE_ROWS:
        return f"{rows} rows on a side: weights of prompts need {EFFECTIVE_ROWS}"
    if min(first.blocks, second.blocks) < EFFECTIVE_SESSIONS:
        return (
            f"{sessions} sessions on a side: weights fitted on other sessions, and their interval, need {EFFECTIVE_SESSIONS}"
        )
    return None


def components(first: Side, second: Side) -> np.ndarray:
    """Standardised scores of all prompts on their first principal components, made without looking at the regime."""
    pooled = np.concatenate([first.prompts, second.prompts]).astype(np.float64)
    pooled -= pooled.mean(0)
    values, vectors = np.linalg.eigh(pooled.T @ pooled / len(pooled))
    rank = min(COMPONENTS, len(pooled) // ROWS_PER_COMPONENT, int((values > 1e-10 * values[-1]).sum()))
    if values[-1] <= 0:
        return np.zeros((len(pooled), 1))
    return pooled @ vectors[:, ::-1][:, :rank] / np.sqrt(values[::-1][:rank])


def ratios(first: Side, second: Side) -> tuple[np.ndarray, float]:
    """Weights of the evaluation rows, (n, 1 + B): of the whole sample and without each block; and the AUC, cross-fitted.

    Blocks are those of evaluation, then those of deployment; the rows of a block have weight 0 in its own column.
    """
    from sklearn.metrics import roc_auc_score

    scores, n = components(first, second), len(first.block)
    block = np.concatenate([first.block, first.blocks + second.block])
    deployed = np.arange(len(block)) >= n
    folds = min(FOLDS, first.blocks, second.blocks)
    fold = np.where(deployed, second_index(block, first.blocks), block) % folds
    total = first.blocks + second.blocks
    weights, logit = np.zeros((n, 1 + total)), np.zeros(len(block))
    for f in range(folds):
        held = fold == f
        mine = held & ~deployed
        whole = log_odds(scores, deployed, ~held, held)
        logit[held] = whole
        weights[mine[:n], 0] = np.exp(whole[~deployed[held]])
        for b in range(total):
            out = block == b
            if (held & out).any():  # the fit did not see this block anyway
                weights[mine[:n], 1 + b] = weights[mine[:n], 0]
            else:
                weights[mine[:n], 1 + b] = np.exp(log_odds(scores, deployed, ~held & ~out, mine))
    for b in range(first.blocks):
        weights[first.block == b, 1 + b] = 0
    return weights, float(roc_auc_score(deployed, logit))


def second_index(block: np.ndarray, first: int) -> np.ndarray:
    """Block numbers of deployment counted from 0, so that folds hold both regimes alike."""
    return np.maximum(block - first, 0)


def log_odds(scores: np.ndarray, deployed: np.ndarray, train: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """log of the density ratio at the wanted rows, from a fit on the training rows."""
    from sklearn.linear_model import LogisticRegression

    fit = LogisticRegression(max_iter=1000).fit(scores[train], deployed[train])
    share = deployed[train].mean()
    return fit.decision_function(scores[wanted]) - np.log(share / (1 - share))


def jackknife(first: Side, second: Side, ratio: np.ndarray, features: int | None, seed: int) -> Jackknife:
    """Delete-one-block jackknife of (behaviour, mix, raw, prompts, prompts left); both sides are independent samples."""
    block = np.concatenate([first.block, first.blocks + second.block])
    total = first.blocks + second.blocks
    present = np.concatenate([np.ones((len(block), 1)), block[:, None] != np.arange(total)], 1)
    weighted = present.copy()
    weighted[: len(first.block)] = ratio / ratio[:, :1].mean()
    weights = np.concatenate([weighted, present], 1)
    starts = np.flatnonzero(np.r_[True, block[1:] != block[:-1]])
    mass = np.add.reduceat(weights, starts, axis=0).T
    found = []
    for what in ("answers", "prompts"):
        x, y = getattr(first, what), getattr(second, what)
        rows = np.concatenate([x, y])
        if len(np.unique(rows[:: max(1, len(rows) // 64)], axis=0)) == 1 and (rows == rows[0]).all():
            found.append(np.zeros((2, 1 + total)))  # all the same: no difference, and no bandwidth
            continue
        exact = features == 0 or (features is None and len(rows) <= EXACT_ROWS)
        kernel = kernel_for(x, y, features=2 if exact else features or FEATURES, seed=seed)
        gram = exact_gram(rows, starts, weights, kernel.bandwidths) if exact else feature_gram(rows, starts, weights, kernel)
        found.append(discrepancies(gram, mass, first.blocks).reshape(2, -1))
    (behaviour, raw), (left, before) = found
    values = np.stack([behaviour, raw - behaviour, raw, before, left], 1)
    sizes = np.bincount(block).astype(float)
    cut = 1 + first.blocks
    one = from_parts(values[0], values[1:cut], sizes[: first.blocks])
    two = from_parts(values[0], values[cut:], sizes[first.blocks :])
    return Jackknife(
        values[0],
        one.corrected + two.corrected - values[0],
        one.covariance + two.covariance,
        min(first.blocks, second.blocks),
    )


def effective(weights: np.ndarray) -> float:
    """(sum w)^2 / sum w^2."""
    return float(weights.sum() ** 2 / (weights**2).sum())


def reason_against(rows: float, sessions: float, first: Side, jack: Jackknife) -> str | None:
    """Why the weights identify no split, or None."""
    if rows < EFFECTIVE_ROWS or sessions < EFFECTIVE_SESSIONS:
        return (
            f"weighted to deployment's prompts, the {len(first.block)} evaluation rows are worth {rows:.0f} rows in "
            f"{sessions:.1f} sessions (needed: {EFFECTIVE_ROWS} and {EFFECTIVE_SESSIONS}): evaluation hardly has "
            "prompts like those of deployment, so behaviour given the prompt is not identified"
        )
    before, left = jack.value[3], jack.corrected[4]
    if left - CERTAINLY * np.sqrt(jack.covariance[4, 4]) > LEFT * max(before, 0):
        return (
            f"after weighting, prompts still differ by {left:.3g} of {before:.3g} (squared MMD): evaluation lacks "
            "prompts that deployment has, or the mixes differ in a way that the weights cannot say; behaviour given the "
            "prompt is not identified"
        )
    return None
