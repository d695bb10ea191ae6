"""What a log can tell: one home for every fact about its design, and for what a question needs of it.

| file | what |
|---|---|
| `log_design` | `LogDesign`: the facts, counted once from `Cells`, without a fit |
| `arm_counts`, `item_sharing`, `factor_levels` | rows and rates of each arm; how items are shared; how factors vary |
| `audit` | every rule, asked of a log's design |
| `finding` | `Finding`: one fact, its numbers, what to do |
| `rules_of_outcomes`, `rules_of_results`, `rules_of_measures` | the rules, by what they are about |
| `question` | `Question`: name, words, needs; `answerable` asks a log all of them |
| `needs` | what several questions need |

`check` asks `needs`; an estimand refuses by the same `needs`; the page reads the same sentences. The rooms themselves are
the files of `estimands`, one a question, each with its `needs` beside its formula.
"""

from divergence.identification.log_design import LogDesign, log_design
from divergence.identification.question import Answer, Need, Question, answerable

__all__ = ["Answer", "LogDesign", "Need", "Question", "answerable", "log_design"]
