"""What a sampling method gives back, and the diagnostics that gate it. Each threshold has its one home here."""

from __future__ import annotations

import dataclasses

import numpy as np

K_HAT_MAX = 0.7  # Vehtari, Simpson, Gelman, Yao, Gabry 2024: above it, importance estimates may not converge
EFFECTIVE_DRAWS_MIN = 400  # Vehtari et al. 2021: enough for 5 % and 95 % quantiles that do not move a digit
R_HAT_MAX = 1.01  # Vehtari et al. 2021
NEWTON_STEP_MAX = 1e-4  # in prior standard deviations: the mode is a mode
E_BFMI_MIN = 0.2  # Betancourt 2016
# Sd of the log of a level's estimated variance; at .8 the variance is known to a factor of 2.2 either way. The expansion in
# 1 / n says nothing beyond (uncapped, intervals of few uneven values would have no end): more is not believed, and is said.
NOISE_LOG_SD_MAX = 0.8


@dataclasses.dataclass(frozen=True)
class Diagnostic:
    """One gate of a fit."""

    name: str
    """What was measured."""
    value: float
    """The value seen."""
    threshold: float
    """The limit."""
    passed: bool
    """Was the gate passed?"""
    meaning: str
    """What a failure would mean, in plain words."""


@dataclasses.dataclass(frozen=True)
class Sample:
    """Draws of the model's coordinates."""

    x: np.ndarray
    """Equally weighted draws, shape (S, dims)."""
    diagnostics: tuple[Diagnostic, ...]
    """The gates of the method that made them."""
    method: str
    """How they were drawn, in a few words."""


def effective_draws(value: float) -> Diagnostic:
    """The gate of every method on how many independent draws its sample is worth."""
    enough = bool(value >= EFFECTIVE_DRAWS_MIN)
    return Diagnostic(
        "effective draws", value, EFFECTIVE_DRAWS_MIN, enough, "too few independent draws for stable interval ends"
    )
