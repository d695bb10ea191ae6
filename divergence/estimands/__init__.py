"""Stage 4: which question has which answer. Every estimand is `f(posterior, ...) -> Estimate`.

| you ask | call |
|---|---|
| how good is it on the bench, in deployment? | `bench_level`, `deployed_level` |
| how far apart are the two? | `gap`; the bench's flattery: `evaluation_advantage` |
| how far does one model's score move over serving contexts? | `kappa` |
| how much of a ranking, or of a score, is the context's? | `coupling`, `coupling_absolute`; unfitted: `coupling_anova` |
| can a model's level be counted on in every context? | `stability` |
| will deployment keep the bench's order? | `reversal` per pair and over the bench gap; of the ranking: `rank_agreement` |
| how far apart do equals on the bench land? | `projection_instability`; its share of a gap: `leverage` |
| how large must a bench gap be to be trusted? | `gap_for_confidence` |
| what does this context do to this model? | `context_effect` |
| what does this serving factor do? | `serving_effect` |
| do answers move while the score stays? | `excess_flips` |
| does this model in this context meet what is required? | `coherence` |
| which model is best under this traffic, and how sure is its place? | `leaderboard` |
| what will a model do that was never deployed, and does it beat ours? | `forecast` |
| how narrow is the top of the bench? | `convergence` |
| which combination is best, and under other traffic? | `best_combination` |
| how likely is it to solve a task k times in a row? the single turn passed, the loop failed? | `pass_power` |
| at which step do agents break down? | `collapse_hazard` |
| how long a task does it still solve? | `horizon` |
| what does one success cost, and what makes it cost more? | `cost_per_success`, `cost_ledger` |
| in which respects is deployment another world than evaluation? | `matrix` |
| did the test itself change between campaigns? | `instrument` |
"""

import sys

from divergence.estimands.bench_level import bench_level
from divergence.estimands.best_combination import best_combination
from divergence.estimands.coherence import coherence
from divergence.estimands.collapse_hazard import collapse_hazard
from divergence.estimands.context_effect import context_effect
from divergence.estimands.convergence import convergence
from divergence.estimands.cost_ledger import cost_ledger
from divergence.estimands.cost_per_success import cost_per_success
from divergence.estimands.coupling import coupling
from divergence.estimands.coupling_absolute import coupling_absolute
from divergence.estimands.coupling_anova import coupling_anova
from divergence.estimands.deployed_level import deployed_level
from divergence.estimands.evaluation_advantage import evaluation_advantage
from divergence.estimands.excess_flips import excess_flips
from divergence.estimands.forecast import forecast
from divergence.estimands.gap import gap
from divergence.estimands.gap_for_confidence import gap_for_confidence
from divergence.estimands.horizon import horizon
from divergence.estimands.instrument import instrument
from divergence.estimands.kappa import kappa
from divergence.estimands.leaderboard import leaderboard
from divergence.estimands.leverage import leverage
from divergence.estimands.load_curve import QUESTION as UNDER_LOAD  # noqa: F401 - asked by `Executions.answers`
from divergence.estimands.load_curve import load_curve_needs as load_curve_needs
from divergence.estimands.matrix import matrix
from divergence.estimands.pass_power import pass_power
from divergence.estimands.projection_instability import projection_instability
from divergence.estimands.rank_agreement import rank_agreement
from divergence.estimands.reversal import reversal
from divergence.estimands.serving_effect import serving_effect
from divergence.estimands.stability import stability
from divergence.identification.question import Question

__all__ = [  # noqa: RUF022 - the order of the results table
    "bench_level",
    "deployed_level",
    "gap",
    "evaluation_advantage",
    "kappa",
    "coupling",
    "coupling_absolute",
    "stability",
    "projection_instability",
    "gap_for_confidence",
    "reversal",
    "rank_agreement",
    "leverage",
    "context_effect",
    "serving_effect",
    "excess_flips",
    "instrument",
    "matrix",
    "pass_power",
    "collapse_hazard",
    "horizon",
    "cost_per_success",
    "cost_ledger",
    "coherence",
    "best_combination",
    "leaderboard",
    "forecast",
    "convergence",
    "coupling_anova",
]

_MODULES = (sys.modules[f"{__name__}.{name}"] for name in __all__)
QUESTIONS: tuple[Question, ...] = tuple(module.ROOM for module in _MODULES if hasattr(module, "ROOM"))
"""Every question, in the order of the results table. To add one: its file, its test, its two lines here."""
