"""In which respects does deployment differ from evaluation as a world? Five axes, each with its own null, never averaged.

| `axis` | `statistic` | value in a regime | unit |
|---|---|---|---|
| nature | `outside` | share of the rows whose item the bench does not have: bounded against open | probability |
| focus | `rank_correlation` | Spearman correlation over models of quality and cheapness: competence, efficiency | ratio |
| state | `context_tokens`, `turn` | mean prompt tokens, mean turn: single turn against many | tokens, turns |
| infrastructure | `contexts` | effective number of serving contexts, exp of the entropy of their shares | contexts |
| infrastructure | `unseen` | share of the judged rows in contexts never evaluated | probability |
| output | `between_waves` | sd of the level between measuring waves: a point against a process | fraction |

Rows: the value with `regime` = evaluation, deployment, the contrast deployment - evaluation with `regime` null, whose
`noise_floor` is the 95 % quantile of its size when regimes (for `output`: waves) are relabelled at random within items or
blocks, and whose p-value stands in a row of `statistic` = `NAME p`. Intervals: Bayesian bootstrap over items or blocks.
Identified by rows in both regimes and what the axis needs; axes that the log does not have are refused by name. Source:
permutation tests as in Good 2005; cheapness is minus the first of cost, output tokens, latency that the log has.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import polars as pl

from divergence.cells.overlap import in_regime
from divergence.cells.random_blocks import BLOCKS, block_sums, block_weights
from divergence.estimands.rows import answer, answered, frame
from divergence.estimands.worlds_apart import between_waves, outside, relabelled
from divergence.estimate import Estimate
from divergence.identification import needs
from divergence.identification.log_design import LogDesign
from divergence.identification.question import Need, Question
from divergence.joint.posterior import Fit, Posterior
from divergence.numerics import combinations, rankdata
from divergence.random_streams import stream

QUESTION, TEXT = "matrix", "in which respects deployment differs from evaluation as a world"
PERMUTATIONS = 400  # p-values down to .0025: enough to tell the axes apart, in a second
MODELS_MIN = 4
EFFICIENCY = ("cost_usd", "output_tokens", "latency_s")


@dataclasses.dataclass(frozen=True)
class Axis:
    """One line of the matrix."""

    axis: str
    """Name of the axis."""
    statistic: str
    """What is measured."""
    unit: str
    """Its unit."""
    values: np.ndarray | None = None
    """Draws of evaluation and deployment values, shape (2, S)."""
    seen: float = np.nan
    """The contrast as seen, without weights."""
    null: np.ndarray | None = None
    """The contrast under relabelling, shape (PERMUTATIONS,)."""
    reason: str | None = None
    """Why there is none."""


def world_needs(design: LogDesign) -> Need:
    """Rows in both regimes that are judged, name their items, or count their prompts; each axis says what else it needs."""
    counts, cells = design.cells.counts, design.cells
    rows = {r: int(counts["rows"][in_regime(cells, r)].sum()) for r in design.rows}
    for regime, number in rows.items():
        if not number:
            other = "deployment" if regime == "evaluation" else "evaluation"
            return Need(False, f"It needs both regimes; this log has 0 {regime} rows and {rows[other]} of {other}.")
    named = all((counts["item"][in_regime(cells, r)] >= 0).any() for r in rows)
    if all(design.rows.values()) or named or all(block_sums(cells, "input_tokens", r).n.sum() for r in rows):
        told = " and ".join(f"{needs.many(n, 'judged row')} of {regime}" for regime, n in design.rows.items())
        return Need(True, told + ".")
    return Need(False, "It needs rows of both regimes that are judged, name their items, or count their prompt's tokens.")


ROOM = Question(
    QUESTION,
    "context divergence matrix",
    TEXT,
    world_needs,
)


@answered(ROOM, "ratio")
def matrix(posterior: Posterior, *, outcome: str | None = None) -> Estimate:
    """Rows as in the table above."""
    fit = posterior[outcome]
    rng = stream(fit.seed, "worlds")
    rows, draws, reasons, floors = [], [], [], []
    for line in (_nature(fit, rng), _focus(fit, rng), *_state(fit, rng), *_infrastructure(fit, rng), _output(fit, rng)):
        nothing = np.full(len(fit.effects), np.nan)
        first, second = (nothing, nothing) if line.values is None else line.values
        p = np.nan if line.null is None else (1 + (np.abs(line.null) >= abs(line.seen) - 1e-12).sum()) / (1 + len(line.null))
        floor = np.nan if line.null is None else float(np.quantile(np.abs(line.null), 0.95))
        for regime, name, value, unit, noise in (
            ("evaluation", line.statistic, first, line.unit, np.nan),
            ("deployment", line.statistic, second, line.unit, np.nan),
            (None, line.statistic, second - first, line.unit, floor),
            (None, f"{line.statistic} p", np.full(len(fit.effects), p), "probability", np.nan),
        ):
            rows.append((line.axis, name, regime, unit))
            draws.append(value)
            reasons.append(line.reason)
            floors.append(noise)
    axis, statistic, regime, unit = (list(c) for c in zip(*rows, strict=True))
    table = frame(axis=axis, statistic=statistic, regime=regime).with_columns(unit=pl.Series(unit))
    return answer(
        fit, QUESTION, TEXT, "ratio", table, np.stack(draws, 1), reason=tuple(reasons), noise_floor=np.array(floors)
    )


def _nature(fit: Fit, rng: np.random.Generator) -> Axis:
    mass = _item_rows(fit)
    if mass is None:
        return Axis("nature", "outside", "probability", reason="rows of a regime name no item: which it has is not known")
    weight = rng.standard_exponential((len(fit.effects), mass.shape[1]))
    null = relabelled(mass, PERMUTATIONS, rng)
    drawn = outside(mass[:, None] * weight, mass > 0)
    return Axis(
        "nature",
        "outside",
        "probability",
        np.stack([0 * drawn, drawn]),
        float(outside(mass)),
        np.array([outside(one) for one in null]),
    )


def _item_rows(fit: Fit) -> np.ndarray | None:
    """Rows of every (task, item) in evaluation and deployment, shape (2, items)."""
    counts = fit.cells.counts.take(fit.cells.counts["item"] >= 0)
    _, item = combinations(counts["task"], counts["item"])
    live = np.array([name == "deployment" for name in fit.cells.levels["regime"]])[counts["regime"]]
    mass = np.stack([np.bincount(item, counts["rows"] * side, item.max() + 1 if len(item) else 0) for side in (~live, live)])
    return mass if len(item) and mass.sum(1).all() else None


def _blocks(fit: Fit, measure: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows and sums of a measure in evaluation and deployment, each of shape (2, blocks, models, contexts)."""
    both = [block_sums(fit.cells, measure, regime) for regime in ("evaluation", "deployment")]
    return np.stack([b.n for b in both]).astype(float), np.stack([b.y for b in both]).astype(float)


Value = Callable[[list[np.ndarray]], np.ndarray]
"""Sums, each of shape (draws, ...), to values (draws,)."""


def _from_blocks(
    fit: Fit, rng: np.random.Generator, axis: str, statistic: str, unit: str, parts: list[np.ndarray], value: Value
) -> Axis:
    """A line whose value is a function of sums over blocks; each part has shape (2, blocks, ...)."""
    weight = block_weights(len(fit.effects), fit.seed)
    drawn = np.stack([value([np.tensordot(weight, part[r], 1) for part in parts]) for r in (0, 1)])
    plain = [float(value([part[r].sum(0)[None] for part in parts])[0]) for r in (0, 1)]
    swap = (rng.random((PERMUTATIONS, BLOCKS)) < 0.5).astype(float)
    null = [
        value([np.tensordot(swap, part[1 - r], 1) + np.tensordot(1 - swap, part[r], 1) for part in parts]) for r in (0, 1)
    ]
    return Axis(axis, statistic, unit, drawn, plain[1] - plain[0], null[1] - null[0])


def _focus(fit: Fit, rng: np.random.Generator) -> Axis:
    name = next((m for m in EFFICIENCY if m in fit.cells.levels["measure"]), None)
    if name is None:
        return Axis("focus", "rank_correlation", "ratio", reason="the log has no cost, tokens or latency to rank by")
    (n, y), (spent_n, spent) = _blocks(fit, "score"), _blocks(fit, name)
    parts = [part.sum(3) for part in (n, y, spent_n, spent)]
    known = np.all([part.sum(1).all(0) for part in (parts[0], parts[2])], axis=0)
    if known.sum() < MODELS_MIN:
        told = name.removesuffix("_usd").replace("_", " ")
        why = f"{int(known.sum())} models have quality and {told} in both regimes; a ranking needs {MODELS_MIN}"
        return Axis("focus", "rank_correlation", "ratio", reason=why)

    for what, total, rows in (("quality", parts[1], parts[0]), (name, parts[3], parts[2])):
        mean = total.sum(1)[:, known] / rows.sum(1)[:, known]
        if (np.ptp(mean, axis=1) <= 1e-12 * mean.max(1)).any():
            return Axis(
                "focus",
                "rank_correlation",
                "ratio",
                reason=(f"{what} is the same for all models in a regime: there is no order to compare"),
            )

    def correlation(sums: list[np.ndarray]) -> np.ndarray:
        good, cheap = sums[1] / np.maximum(sums[0], 1e-300), -sums[3] / np.maximum(sums[2], 1e-300)
        ranks = [rankdata(v, axis=1) for v in (good, cheap)]  # equals share their place: free is not cheaper than free
        ranks = [r - r.mean(1, keepdims=True) for r in ranks]
        spread = np.sqrt((ranks[0] ** 2).sum(1) * (ranks[1] ** 2).sum(1))
        return (ranks[0] * ranks[1]).sum(1) / np.where(spread > 0, spread, np.inf)  # all equal: no order to agree with

    return _from_blocks(fit, rng, "focus", "rank_correlation", "ratio", [part[:, :, known] for part in parts], correlation)


def _state(fit: Fit, rng: np.random.Generator) -> list[Axis]:
    lines = []
    for measure, name, unit in (("input_tokens", "context_tokens", "tokens"), ("turn", "turn", "turns")):
        n, y = (part.sum((2, 3)) for part in _blocks(fit, measure))
        if not n.sum(1).all():
            lines.append(Axis("state", name, unit, reason=f"{measure.replace('_', ' ')} are not logged in both regimes"))
            continue
        lines.append(_from_blocks(fit, rng, "state", name, unit, [n, y], lambda s: s[1] / np.maximum(s[0], 1e-300)))
    return lines


def _infrastructure(fit: Fit, rng: np.random.Generator) -> list[Axis]:
    n, _ = _blocks(fit, "score")
    rows = n.sum(2)
    if not rows.sum((1, 2)).all():
        return [
            Axis("infrastructure", name, unit, reason="a regime has no judged rows: its contexts are not counted")
            for name, unit in (("contexts", "contexts"), ("unseen", "probability"))
        ]

    def effective(sums: list[np.ndarray]) -> np.ndarray:
        share = sums[0] / np.maximum(sums[0].sum(1, keepdims=True), 1e-300)
        return np.exp(-np.where(share > 0, share * np.log(np.where(share > 0, share, 1.0)), 0.0).sum(1))

    mass = np.tensordot(block_weights(len(fit.effects), fit.seed), rows, ([1], [1])).swapaxes(0, 1)
    drawn = outside(mass, rows.sum(1) > 0)
    swap = (rng.random((PERMUTATIONS, BLOCKS)) < 0.5).astype(float)
    null = outside(np.stack([swap @ rows[1] + (1 - swap) @ rows[0], swap @ rows[0] + (1 - swap) @ rows[1]]))
    return [
        _from_blocks(fit, rng, "infrastructure", "contexts", "contexts", [rows], effective),
        Axis("infrastructure", "unseen", "probability", np.stack([0 * drawn, drawn]), float(outside(rows.sum(1))), null),
    ]


def _output(fit: Fit, rng: np.random.Generator) -> Axis:
    found = between_waves(fit.cells, len(fit.effects), PERMUTATIONS, rng)
    if isinstance(found, str):
        return Axis("output", "between_waves", "fraction", reason=found)
    return Axis("output", "between_waves", "fraction", *found)
