"""The audit: every rule, asked of a log's design.

| rule | what it finds |
|---|---|
| `in_the_rows` | what reading saw and no count of the cells shows: `Executions.cautions` |
| `one_value` | every judged row has the same outcome |
| `one_side` | models that were logged in one regime only |
| `judged_share` | a context of which few rows are judged |
| `other_judges` | regimes, contexts or tasks with scorers of their own |
| `own_judges` | a model that other scorers judged than the others |
| `unlike_tasks` | tasks with a metric each, over which no mean is given |
| `tasks_apart` | contexts that were given other tasks |
| `driven_trials` | numbers of trials that go with the outcomes |
| `unmetered` | a cost of 0 in every row of a combination |
| `times_disagree` | times that contradict each other, or lie in another unit |
| `unlogged_difference` | contexts with equal logged factors and unequal results |
| `opposite_effects` | a context that helps one model and hurts another |
| `unlike_denominators` | a model that was judged on far fewer items than the others |
| `missing_runs` | a model that lacks a score in more of its runs than others |
| `no_failures` | a model without a single 0 where others have many |
| `errors_as_failures` | errors that are logged with a score of 0 |
| `contexts_of_their_own` | models that no chain of contexts links with the others |
| `weights_decide` | tasks of unequal size, with another first model were each to count alike |
| `changed_between_waves` | combinations that moved between waves while others stayed |
| `waves_apart` | waves that no combination of model and context ties |

To add a rule: a function `LogDesign -> Finding | None` in the file of its subject, a row here, and two tests: a log that
triggers it and a neighbour that must not.
"""

from __future__ import annotations

from collections.abc import Callable

from divergence.identification.finding import Finding
from divergence.identification.log_design import LogDesign
from divergence.identification.rules_of_causes import tasks_apart, waves_apart
from divergence.identification.rules_of_leaderboards import (
    errors_as_failures,
    missing_runs,
    no_failures,
    unlike_denominators,
)
from divergence.identification.rules_of_measures import times_disagree, unmetered
from divergence.identification.rules_of_outcomes import (
    driven_trials,
    judged_share,
    one_side,
    one_value,
    other_judges,
    own_judges,
    unlike_tasks,
)
from divergence.identification.rules_of_results import (
    changed_between_waves,
    contexts_of_their_own,
    opposite_effects,
    unlogged_difference,
)
from divergence.identification.rules_of_weights import weights_decide

Rule = Callable[[LogDesign], Finding | None]
RULES: tuple[Rule, ...] = (
    one_value,
    unmetered,
    one_side,
    other_judges,
    own_judges,
    unlike_tasks,
    tasks_apart,
    driven_trials,
    judged_share,
    unlike_denominators,
    missing_runs,
    no_failures,
    errors_as_failures,
    unlogged_difference,
    opposite_effects,
    contexts_of_their_own,
    weights_decide,
    changed_between_waves,
    waves_apart,
    times_disagree,
)


def audit(design: LogDesign) -> tuple[Finding, ...]:
    """What reading saw in the rows, then what the rules find, in their order."""
    seen = (Finding("in_the_rows", "caution", sentence) for sentence in design.cells.cautions)
    found = (rule(design) for rule in RULES)
    return (*seen, *(finding for finding in found if finding is not None))
