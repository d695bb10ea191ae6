"""The joint model as data: which terms are in it, and how wide their priors are. Frozen, serialisable, prints itself."""

from __future__ import annotations

import dataclasses
import math

from divergence.errors import InputError


@dataclasses.dataclass(frozen=True)
class Spec:
    """Terms and prior widths of the joint model, on the link scale. A width of 0 leaves the term out.

    Widths are the scales of half-normal priors on standard deviations. On the logit scale .5 allows a serving factor to
    move a score of 50 % by 12 points without surprise; on the log scale it allows a factor of 1.6.
    """

    ability: float = 1.5
    """Prior width of `sigma_E`, `sigma_D`: how far models differ."""
    factor: float = 0.5
    """Prior width of `tau_f`: what the levels of a serving factor do to every model."""
    interaction: float = 0.2
    """Prior width of `psi_f`: what they do to one model."""
    context: float = 0.2
    """Prior width of `sigma_u`: what the factors do not explain about a context."""
    residual: float = 0.3
    """Prior width of `s`: what they do not explain about one model in one context."""
    outlier: float = 1.0
    """Sd of the log of each context's own scale, where the context label is all that is known: lets one context stand
    apart without loosening the others. 0 = all contexts alike."""
    intercept: float = 2.5
    """Prior standard deviation of `alpha_E`; prior width of the common shift of deployment on items of its own."""
    replayed_shift: float = 0.1
    """Prior width of that shift where deployment replays bench items in contexts whose factors are logged: then it is only
    what none of them explains."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            width = getattr(self, field.name)
            usable = isinstance(width, int | float) and not isinstance(width, bool) and math.isfinite(width) and width >= 0
            if not usable or (width == 0 and field.name in ("ability", "intercept")):
                least = "above 0" if field.name in ("ability", "intercept") else "from 0 (leaves the term out) on"
                raise InputError(f"the prior width {field.name} is a number {least}, seen {width!r}")

    def equations(self, link: str, factors: tuple[str, ...]) -> str:
        """The model in the order in which it is computed."""
        gamma = self.interaction > 0
        effects = "".join(f" + beta_{f}[{f}(c)]" * (self.factor > 0) + f" + gamma_{f}[m, {f}(c)]" * gamma
                          for f in factors)
        lines = [
            f"{link}(level[m,r,c]) ~ MVN(eta, V)      V: clustered covariance of the arm levels (items, sessions)",
            f"eta[m,r,c] = alpha[r] + theta[m,r]{effects}{' + u[c]' * (self.context > 0)}"
            f"{' + delta[m,c]' * (self.residual > 0)}",
            "(theta[m,E], theta[m,D]) ~ MVN(0, diag(sigma) R(rho) diag(sigma)),  rho = cos(pi U^2), U ~ Uniform(0, 1)",
        ]
        for symbol, prior, width in (
            ("beta_f ~ N(0, tau_f)", "tau_f", self.factor), ("gamma_f ~ N(0, psi_f)", "psi_f", self.interaction),
            ("u ~ N(0, sigma_u)", "sigma_u", self.context), ("delta ~ N(0, s)", "s", self.residual),
            ("", "sigma_E, sigma_D", self.ability),
        ):
            if width > 0:
                lines.append(f"{symbol + ',  ' if symbol else ''}{prior} ~ HalfNormal({width:g})")
        if self.outlier > 0 and factors == ("context",):
            lines.append(f"tau_context is tau times exp({self.outlier:g} z[c]),  z ~ N(0, 1): contexts may stand apart")
        return "\n".join(lines)
