"""The joint model as data: which terms are in it, and how wide their priors are. Frozen, serialisable, prints itself."""

from __future__ import annotations

import dataclasses

from divergence.calling import sentence_fields
from divergence.errors import InputError
from divergence.numerics import is_finite

INSTABILITIES = ("auto", "shared", "per_model")
ALWAYS = ("ability", "intercept")  # what a level is made of cannot be left out


@sentence_fields
@dataclasses.dataclass(frozen=True)
class Spec:
    """Terms and prior widths of the joint model, on the link scale; `fit(..., spec=Spec(...))` takes it.

    A width of 0 leaves the term out. Raises InputError for a width that is none.

    >>> import divergence as dv
    >>> dv.Spec(interaction=0.0).interaction
    0.0


    Widths are the scales of half-normal priors on standard deviations. On the logit scale .5 allows a serving factor to
    move a score of 50 % by 12 points without surprise; on the log scale it allows a factor of 1.6.
    """

    ability: float = 1.5
    """Prior width of `sigma_E`: how far models differ on the bench. `sigma_D`, in deployment, is a ratio near 1 of that."""
    factor: float = 0.5
    """Prior width of `tau_f`: what the levels of a serving factor do to every model."""
    interaction: float = 0.2
    """Prior width of `psi_f`: what they do to one model."""
    context: float = 0.2
    """Prior width of `sigma_u`: what the factors do not explain about a context."""
    residual: float = 0.3
    """Prior width of `s`: what they do not explain about one model in one context."""
    apart: float = 1.5
    """Prior width of the scale of a single model-context combination that stands apart from what all others say about it
    (`standing_apart`). 0 = it is taken for one like the others; so is a model that deployment treats unlike all others."""
    outlier: float = 1.0
    """Sd of the log of each context's own scale, where the context label is all that is known: lets one context stand
    apart without loosening the others. 0 = all contexts alike."""
    intercept: float = 2.5
    """Prior standard deviation of `alpha_E`; prior width of the common shift of deployment on items of its own."""
    replayed_shift: float = 0.1
    """Prior width of that shift where deployment replays bench items in contexts whose factors are logged: then it is only
    what none of them explains."""
    instability: str = "auto"
    """`shared`: one `s` for all models; `per_model`: `s[m]`, how unstable each model is; `auto`: `per_model` where every
    model was judged in contexts enough (`design.CONTEXTS_EACH`), else `shared`."""
    instability_spread: float = 0.5
    """Prior width of `tau_s`, the sd of log `s[m]`: one in five models has twice the usual scale, or half of it."""
    item_difficulty: bool = True
    """Items differ: arms that tried the same items share their luck. Off: arms are judged as if on items (and sessions) of
    their own."""
    item_movement: bool = True
    """Single items move with model and context. Off (item-level method only): difficulties and replicates are all there
    is."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            width = getattr(self, field.name)
            if field.name == "instability":
                if width not in INSTABILITIES:
                    raise InputError(f"instability is one of {', '.join(INSTABILITIES)}, seen {width!r}")
                continue
            if field.name in ("item_difficulty", "item_movement"):
                if not isinstance(width, bool):
                    raise InputError(f"the term {field.name} is on (True) or off (False), seen {width!r}")
                continue
            usable = isinstance(width, int | float) and not isinstance(width, bool) and is_finite(width) and width >= 0
            if not usable or (width == 0 and field.name in ALWAYS):
                least = "above 0" if field.name in ALWAYS else "from 0 (leaves the term out) on"
                raise InputError(f"the prior width {field.name} is a number {least}, seen {width!r}")

    def equations(
        self,
        link: str,
        factors: tuple[str, ...],
        per_model: bool | None = None,
        items: str = "",
        apart: int = 0,
        moved: str = "",
        own_items: bool = False,
    ) -> str:
        """The model in the order in which it is computed.

        `per_model`, `items` and `apart` are what the fit made of `instability` (None: as it is said here), of its items
        (`item_equations`), and how many combinations it found to stand apart; `moved` which effects scale with the answers
        that a context changes (`Design.moved`); `own_items` whether some contexts only have items of their own.
        """
        own = self.instability == "per_model" if per_model is None else per_model
        gamma = self.interaction > 0
        effects = "".join(f" + beta_{f}[{f}(c)]" * (self.factor > 0) + f" + gamma_{f}[m, {f}(c)]" * gamma for f in factors)
        lines = [
            *self.item_equations(items),
            f"{link}(level[m,r,c]) ~ MVN(eta, V)",
            f"eta[m,r,c] = alpha[r] + theta[m,r]{effects}{' + u[c]' * (self.context > 0)}"
            f"{' + delta[m,c]' * (self.residual > 0)}{' + epsilon[k]' * (apart > 0)}" + " + o[c] + q[m,c]" * own_items,
            "(theta[m,E], theta[m,D]) ~ MVN(0, diag(sigma) R(rho) diag(sigma)),  rho = cos(pi U^3), U ~ Uniform(0, 1)",
        ]
        for symbol, prior, width in (
            ("beta_f ~ N(0, tau_f)", "tau_f", self.factor),
            ("gamma_f ~ N(0, psi_f)", "psi_f", self.interaction),
            ("u ~ N(0, sigma_u)", "sigma_u", self.context),
            (f"delta ~ N(0, {'s[m]' if own else 's'})", "s", self.residual),
            ("sigma_D = sigma_E exp(.2 sinh z),  z ~ N(0, 1)", "sigma_E", self.ability),
        ):
            if width > 0:
                lines.append(f"{symbol + ',  ' if symbol else ''}{prior} ~ HalfNormal({width:g})")
        if own and self.residual > 0:
            lines.append(f"log s[m] ~ N(log s, tau_s),  tau_s ~ HalfNormal({self.instability_spread:g})")
        if apart:
            lines.append(
                f"epsilon[k] ~ N(0, a[k]) in the {apart} combinations that stand apart,  a ~ HalfNormal({self.apart:g})"
            )
        if own_items:
            lines.append(
                f"o[c] = o, q[m,c] = q[m] where traffic of c has items of its own, else 0,  o, q ~ N(0, {self.intercept:g})"
            )
        if moved:
            lines.append(f"{moved} are multiplied by f[m,c], the share of answers that c changes in m, over its mean")
        if self.outlier > 0 and factors == ("context",) and "alpha" not in moved:
            lines.append(f"tau_context is tau times exp({self.outlier:g} z[c]),  z ~ N(0, 1): contexts may stand apart")
        return "\n".join(lines)

    def item_equations(self, measurement: str) -> list[str]:
        """How single items enter `V`, and with the item-level method the levels."""
        if measurement == "item-level":
            return [
                "y[m,r,c,i] ~ Binomial(n, expit(mu[m,r,c] - b[i])),  b ~ N(0, sigma_b);  level: its mean over items",
                "V: their sampling covariance" + (" and the items' own influence" if self.item_movement else ""),
            ]
        apart = "" if self.item_difficulty else ", between arms taken as none"
        return [f"V: sampling covariance of the arm levels, clusters: items, sessions{apart}"]
