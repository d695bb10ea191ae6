"""What a notebook shows of a posterior: how it was made, its gates, what the audit of the log found, its scales."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from divergence.identification.audit import audit
from divergence.shown import card, fold, html_table, listing

if TYPE_CHECKING:
    from divergence.joint.posterior import Fit, Posterior


def card_of(posterior: Posterior) -> str:
    """The HTML: one part an outcome, the primary one open."""
    passed = "all gates passed" if posterior.passed else "A GATE FAILED: results are marked"
    parts = [fold(_title(fit), _fit(fit), opened=not place) for place, fit in enumerate(posterior.fits)]
    return card("Posterior", f"of {', '.join(fit.cells.outcome for fit in posterior.fits)}; {passed}", *parts)


def _title(fit: Fit) -> str:
    sizes = ", ".join(f"{number:,} {name[2:]}" for name, number in fit.counts.items() if number)
    return f"{fit.cells.outcome}: {len(fit.x):,} draws, {fit.method}, from {len(fit.arms)} arms ({sizes})"


def _fit(fit: Fit) -> str:
    gates = [
        [d.name, f"{d.value:.3g}", f"{d.threshold:g}", "passed" if d.passed else "FAILED", d.meaning]
        for d in fit.diagnostics
    ]
    findings = [f"{found.level}: {found}" for found in audit(fit.log_design)]
    scales = [
        [name, *(f"{v:.3g}" for v in np.quantile(draws.reshape(len(fit.x), -1).mean(1), [0.5, 0.05, 0.95]))]
        for name, draws in fit.scales.items()
    ]
    return "".join(
        (
            html_table(("gate", "value", "limit", "", "meaning"), gates),
            fold(f"what the audit found ({len(findings)})", listing(findings), opened=bool(findings)),
            fold("standard deviations on the link scale", html_table(("term", "median", "5 %", "95 %"), scales)),
            fold("method", listing([f"{fit.why}; {fit.cpu_seconds:g} CPU-s; seed {fit.seed}"])),
            fold("notes", listing(dict.fromkeys([*fit.cells.notes, *fit.arms.notes]))),
        )
    )
