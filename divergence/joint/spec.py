"""The joint model as data: which terms are in it, and how wide their priors are. Frozen and serialisable."""

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
    replayed_shift: float = 0.5
    """Prior width of that shift where deployment replays bench items in contexts whose factors are logged: then it is what
    none of them explains, and may be as much as what a factor does."""
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
