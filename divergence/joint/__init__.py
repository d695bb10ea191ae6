"""Stage 3: the joint model.

| file | what |
|---|---|
| `spec` | which terms, which priors: data |
| `arms`, `weights`, `covariance` | arm levels with their clustered covariance |
| `noise` | how sure the noise of a level is, from few items or sessions |
| `kind`, `terms` | the kinds of effects, and all that is asked of them |
| `design`, `aliases` | which effect enters which arm; which factors cannot be told apart |
| `equations` | the same as text |
| `numpyro_model` | the NumPyro model, in the order of its equations |
| `coordinates`, `hierarchy` | the same density on the host, in LAPACK |
| `problem` | the arrays it is conditioned on; effects given standard deviations, exactly |
| `importance`, `item_level`, `nuts` | the methods; `choice` the rule that takes one, `methods` their gates |
| `item_levels`, `item_response` | arm levels from an item-response model, and its dense kernel |
| `user_density` | the default method for a log density of one's own |
| `fit` | cells -> Posterior |
| `outcomes` | a log -> Posterior of its outcome and of what serving it took |
| `predictive_check` | does the model produce levels like those seen, per regime and context |
| `prior_sensitivity` | which standard deviations are the prior's doing |
| `new_context_check` | how well a context that was not seen is predicted |
| `checks` | the three of them, as the report shows them |
| `posterior`, `store`, `saved` | the value; how it is written and read |
| `predict` | levels of every model in every context: what every estimand calls |
| `populations` | the same for the observed items, and for contexts that the log never saw |
"""

from divergence.joint.fit import fit
from divergence.joint.importance import Importance
from divergence.joint.item_level import ItemLevel
from divergence.joint.methods import Diagnostic
from divergence.joint.new_context_check import new_context_check
from divergence.joint.nuts import NUTS
from divergence.joint.posterior import Fit, Posterior
from divergence.joint.predict import Levels, levels
from divergence.joint.predictive_check import predictive_check
from divergence.joint.prior_sensitivity import prior_sensitivity
from divergence.joint.saved import load
from divergence.joint.spec import Spec
from divergence.joint.user_density import sample_density

__all__ = [
    "NUTS",
    "Diagnostic",
    "Fit",
    "Importance",
    "ItemLevel",
    "Levels",
    "Posterior",
    "Spec",
    "fit",
    "levels",
    "load",
    "new_context_check",
    "predictive_check",
    "prior_sensitivity",
    "sample_density",
]
