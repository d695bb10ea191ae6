"""Stage 5, posterior -> risk: for every logged request the probability that it falls short, with an interval.

| file | what |
|---|---|
| `build` | `risk_model`: posterior and log to a risk model; what is split off for calibration and for the check |
| `model` | `RiskModel`: one row a (model, context, stratum), saved as JSON and npz; a score is a lookup |
| `summaries`, `strata` | that table from the posterior, the never seen included; what a task adds to a level |
| `plain_share` | what rates of cells add to the table, as held-out items want it |
| `item_factors`, `known_items`, `item_lookup` | how items differ, what is known of each, which requests repeat one |
| `like_contexts`, `likeness` | a known item in a new context: which contexts say most of it |
| `unseen_items`, `unseen_shift` | features, neighbours, consistency: tried on held-out items; what they do to a score |
| `prompt_neighbours`, `answer_agreement` | what the most similar prompts lend; how far answers to one item agree |
| `calibrate` | maps of risks, and which one the held-out sessions prefer |
| `reliability`, `conformal` | how far risks are right beside what a right score shows; sets |
| `discrimination`, `training_traffic` | does a score tell requests apart, beside plain rates; what it was made from |
| `risk_draws`, `moved_draws` | joint draws of all risks, for the null of a posterior that is right of itself |
| `model_view`, `saved_table` | a risk model in a notebook; what its folder holds |
| `classifier`, `categories` | `RiskClassifier`: calibrated risks of any table, for scikit-learn; categories in frames |
| `context_definitions` | how each context was served: what contradicts a label is no known context |
| `labelfree` | failure rates without labels, their bounds, and what a few labels make of them; which to label next |
| `lookup` | from dictionary codes to the row of a small summary table, then one take an output column |
"""
