"""What a log's design can tell, counted once: arms, how models, contexts, items and waves cross, what is metered.

Made from `Cells`, without a fit, so that `check` can afford it. Every rule, every refusal and every sentence of the page
asks this value; nothing else counts these things again. An arm is one (model, regime, context) with judged rows. Facts are
counted when they are first asked for.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from divergence.cells import Cells
from divergence.cells.cells import MISSING
from divergence.cells.episodes import agent_episodes
from divergence.cells.overlap import context_conflict, model_conflict, scorers
from divergence.cells.random_blocks import block_sums
from divergence.cells.telling_items import prepared
from divergence.identification.arm_counts import ArmCounts, arm_counts
from divergence.identification.factor_levels import FactorLevels, factor_levels
from divergence.identification.item_sharing import ItemSharing, item_sharing
from divergence.identification.linked_contexts import LinkedArms, linked_arms, linked_parts
from divergence.identification.task_metrics import task_metrics
from divergence.identification.trial_counts import DrivenTrials, driven_trials
from divergence.identification.wave_agreement import WaveAgreement, wave_agreement
from divergence.numerics import combinations

REGIMES = ("evaluation", "deployment")


@dataclasses.dataclass(frozen=True, eq=False)
class LogDesign:
    """The design of one outcome of a log."""

    cells: Cells
    """The sufficient statistics that everything is counted from."""
    priced: bool = False
    """Are prices of tokens declared?"""
    required: tuple[str, ...] = ()
    """Bounds of the declared acceptance region; empty = none is declared."""

    @functools.cached_property
    def arms(self) -> ArmCounts:
        """Rows, items and rates of each arm."""
        return arm_counts(self.cells)

    @functools.cached_property
    def sharing(self) -> ItemSharing:
        """How arms share items, and where items were repeated."""
        return item_sharing(self.cells)

    @functools.cached_property
    def linked(self) -> LinkedArms:
        """Which models and contexts models that ran in several tie together."""
        return linked_arms(self.arms)

    @functools.cached_property
    def factors(self) -> dict[str, FactorLevels]:
        """How each serving factor varies over the contexts with judged rows."""
        return factor_levels(self.cells, self.arms)

    @functools.cached_property
    def rows(self) -> dict[str, int]:
        """Judged rows by regime."""
        return {r: int(self.arms.judged[self._in(r)].sum()) for r in REGIMES}

    @functools.cached_property
    def models(self) -> dict[str, int]:
        """Models with judged rows by regime."""
        return {r: len(np.unique(self.arms.model[self._in(r)])) for r in REGIMES}

    @functools.cached_property
    def contexts(self) -> dict[str, int]:
        """Contexts with judged rows by regime."""
        return {r: len(np.unique(self.arms.context[self._in(r)])) for r in REGIMES}

    @functools.cached_property
    def both(self) -> np.ndarray:
        """Codes of the models with judged rows in both regimes."""
        bench, deployed = (self.arms.model[self._in(r)] for r in REGIMES)
        return np.intersect1d(bench, deployed)

    @functools.cached_property
    def served(self) -> np.ndarray:
        """Which (model, context) was judged in deployment, over contexts that the deployment law gives weight to.

        Shape (deployed models, such contexts), True where there are rows.
        """
        deployed = self._in("deployment")
        models, row = np.unique(self.arms.model[deployed], return_inverse=True)
        contexts, column = np.unique(self.arms.context[deployed], return_inverse=True)
        seen = np.zeros((len(models), len(contexts)), bool)
        seen[row, column] = True
        return seen[:, [self._has_weight(int(c)) for c in contexts]]

    @functools.cached_property
    def waves(self) -> int:
        """Measuring campaigns with judged rows."""
        waves = self.cells.counts["wave"][self.cells.counts["n"] > 0]
        return len(np.unique(waves[waves != MISSING]))

    @functools.cached_property
    def wave_agreement(self) -> WaveAgreement:
        """Which arms changed by themselves between waves."""
        return wave_agreement(self.cells)

    @functools.cached_property
    def driven_trials(self) -> tuple[DrivenTrials, ...]:
        """Arms in which the number of trials of an item goes with its outcomes."""
        return driven_trials(self.cells)

    @functools.cached_property
    def logged(self) -> dict[str, dict[str, int]]:
        """Rows by regime that have a cost, tokens of both directions, episodes, a declared task length."""
        return {r: self._logged(r) for r in REGIMES}

    @functools.cached_property
    def constant(self) -> float | None:
        """The one value that every judged row has; None where they differ."""
        counts = self.cells.counts
        judged = counts["n"] > 0
        n, y, yy = (float(counts[name][judged].sum()) for name in ("n", "y", "yy"))
        if not n or yy * n - y * y > 1e-12 * max(yy * n, 1e-300):
            return None
        return y / n

    def scorers(self, regime: str) -> tuple[str, ...]:
        """What judged the rows of a regime, sorted; rows that name no scorer name none."""
        return tuple(sorted(scorers(self.cells)[regime]))

    @functools.cached_property
    def task_metrics(self) -> dict[str, tuple[dict[str, tuple[str, ...]], ...]]:
        """Tasks with the scorers that judged them, by regime and in groups that no scorer ties together."""
        return {regime: task_metrics(self.cells, regime) for regime in REGIMES}

    @functools.cached_property
    def model_judges(self) -> dict[str, str | None]:
        """Why the models of each regime cannot be compared: one was judged by others; None where nothing is."""
        return {regime: model_conflict(self.cells, regime) for regime in REGIMES}

    @functools.cached_property
    def context_judges(self) -> dict[str, str | None]:
        """Why the contexts of each regime cannot be compared with each other; None where nothing is."""
        return {regime: context_conflict(self.cells, regime) for regime in REGIMES}

    def _in(self, regime: str) -> np.ndarray:
        return self.arms.deployed == (regime == "deployment")

    def _has_weight(self, context: int) -> bool:
        """Does the declared deployment law give this context any weight?"""
        law = self.cells.declared_law
        if isinstance(law, str):
            return True
        factor, shares = law
        wanted = {level for level, share in shares if share > 0}
        if factor == "context":
            return self.cells.levels["context"][context] in wanted
        table, names = self.cells.designs, self.cells.levels
        if factor not in names["factor"]:
            return True  # an error of the declaration, which the fit tells
        mine = (table["context"] == context) & (table["factor"] == names["factor"].index(factor))
        return bool({names["level"][k] for k in table["level"][mine]} & wanted)

    def _logged(self, regime: str) -> dict[str, int]:
        cells = self.cells
        sums = {name: block_sums(cells, name, regime).n.sum() for name in ("cost_usd", "input_tokens", "output_tokens")}
        code = cells.levels["regime"].index(regime) if regime in cells.levels["regime"] else MISSING - 1
        episodes, lengths = agent_episodes(cells), cells.lengths
        return {
            "cost_usd": int(sums["cost_usd"]),
            "tokens": int(min(sums["input_tokens"], sums["output_tokens"])),
            "episode": int(episodes["n"][episodes["regime"] == code].sum()),
            "task_length": int(lengths["n"][lengths["regime"] == code].sum()),
        }

    @functools.cached_property
    def wave_parts(self) -> dict[int, int]:
        """The part of each wave (code, `MISSING` = none): arms that were measured in several waves tie those of one part."""
        counts = self.cells.counts.take(self.cells.counts["n"] > 0)
        if not len(counts):
            return {}
        _, arm = combinations(*(counts[k] for k in ("model", "regime", "context")))
        waves, wave = np.unique(counts["wave"], return_inverse=True)
        parts, _ = linked_parts(wave.ravel(), arm)
        return dict(zip(waves.tolist(), parts.tolist(), strict=True))

    @property
    def waves_connected(self) -> bool:
        """Are all waves tied together by arms that were measured in several of them?"""
        return len({*self.wave_parts.values()}) < 2

    def declaring(self, *, priced: bool, required: tuple[str, ...]) -> LogDesign:
        """The same design under other declarations; what was counted stays counted."""
        other = LogDesign(self.cells, priced, required)
        counted = {k: v for k, v in self.__dict__.items() if k not in ("cells", "priced", "required")}
        other.__dict__.update(counted)
        return other

    def most_waves(self) -> int:
        """Most waves in which one arm was measured."""
        counts = self.cells.counts.take((self.cells.counts["n"] > 0) & (self.cells.counts["wave"] != MISSING))
        if not len(counts):
            return 0
        pairs, _ = combinations(*(counts[k] for k in ("model", "regime", "context", "wave")))
        return int(np.unique(pairs[:3], axis=1, return_counts=True)[1].max())


def log_design(cells: Cells, *, priced: bool = False, required: tuple[str, ...] = ()) -> LogDesign:
    """The design of a log's cells; items without a task take the one that they have elsewhere, as in a fit."""
    return LogDesign(prepared(cells), priced, required)
