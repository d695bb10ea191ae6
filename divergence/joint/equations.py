"""The law of a fit's levels as text, read off its design: what is printed is in the fit, and all of its terms are printed.

    link(level[m,r,c]) ~ MVN(eta, V)        eta: what its terms add; then a line a prior, and what scales with what

m is a model, r a regime (E evaluation, D deployment), c a context, f a factor and f(c) its level there, i an item, k a
combination of model and context, w a wave, t a task. What a term is called, and where it enters, its kind says (`terms`).
How far effects are drawn to each other given standard deviations is no part of it: see `paired` and `unlike_models`.
"""

from __future__ import annotations

import collections

from divergence.joint.arms import Arms, prior_centre
from divergence.joint.design import Design, Term, local_term, model_term
from divergence.joint.item_levels import RIDGE, SCALE_RIDGE
from divergence.joint.spec import Spec

ABILITIES = (
    "(theta[m,E], theta[m,D]) ~ MVN(0, diag(sigma) R(rho) diag(sigma)),  rho = cos(pi U^3), U ~ Uniform(0, 1)",
    "sigma_D = sigma_E exp(.2 sinh z),  z ~ N(0, 1),  sigma_E ~ HalfNormal({width:g})",
)


def equations(design: Design, arms: Arms, spec: Spec, measurement: str = "arm-level") -> str:
    """The model in the order in which it is computed. `measurement` (`arm-level`, `item-level`) says how levels came of
    items; of the `spec` it is asked which of their terms were left out."""
    lines = [
        *_measured(arms, spec, measurement),
        f"{arms.link}(level[m,r,c]) ~ MVN(eta, V)",
        "eta[m,r,c] = " + " + ".join(dict.fromkeys(term.kind.entry for term in design.terms)),
    ]
    alike = collections.Counter(_prior(design, term, prior_centre(arms)) for term in design.terms)
    lines += [line.format(count=count) for line, count in alike.items()]
    if design.scaled:
        lines.append(f"multiplied by f[m,c], the share of answers that c changes in m, over its mean: {design.scaled}")
    return "\n".join(lines)


def _prior(design: Design, term: Term, centre: float) -> str:
    """The law of a term's effects, and of the standard deviation of it where that is a coordinate."""
    kind, own = term.kind, ""
    if not kind.given and not kind.free:
        return "\n".join(ABILITIES).format(width=term.width)
    if kind.given:
        middle = centre if term is design.term("alpha") else 0.0
        return f"{kind.symbol} ~ N({middle:.3g}, {term.width:g}){kind.where}"
    scale, each = kind.scale.removesuffix("[k]"), kind.scale
    if term is local_term(design):
        each, own = f"{scale}[c]", f"\nlog {scale}[c] ~ N(log {scale}, {design.outlier:g}): contexts may stand apart"
    if term is model_term(design):
        each = f"{scale}[m]"
        own = f"\nlog {each} ~ N(log {scale}, tau_s),  tau_s ~ HalfNormal({design.instability:g})"
    return f"{kind.symbol} ~ N(0, {each}){kind.where},  {scale} ~ HalfNormal({term.width:g}){own}"


def _measured(arms: Arms, spec: Spec, measurement: str) -> list[str]:
    """How single items enter `V`, and with the item-level method the levels; and what waves were taken out."""
    sessions = arms.sessions is not None and bool(arms.sessions.any())
    waves = [f"omega[w], w = 1 ... {len(arms.wave)}, of sum 0: taken out of the levels of waves"] * (len(arms.wave) > 0)
    if measurement == "item-level":
        widths = f"{RIDGE**-0.5:g}", f"{SCALE_RIDGE**-0.5:g}"
        moved = " and the items' own influence" if spec.item_movement else ""
        return [
            "y[m,r,c,w,t,i] ~ Binomial(n, expit(mu[m,r,c,w,t] - b[i])),  b ~ N(0, sigma_b);  level: its mean over items",
            f"mu ~ N(mu of the log's mean, {widths[0]}),  log sigma_b ~ N(0, {widths[1]});  n: answers, copies counted once",
            f"V: their sampling covariance{moved}{', and what sessions add' * sessions}",
            *waves,
        ]
    apart = "" if spec.item_difficulty else ", between arms taken as none"
    return [f"V: sampling covariance of the arm levels, clusters: items{', sessions' * sessions}{apart}", *waves]
