"""Fit the joint distribution over benchmark and production logs, and answer what carries over, with uncertainty.

    import divergence as dv
    log = dv.read("logs/*.parquet")       # Executions: .valid, .rejected, .answers()
    cells = dv.collapse(log)              # Cells: sufficient statistics, the only thing that reaches JAX
    posterior = dv.fit(cells, seed=0)     # Posterior: .diagnostics, .save(dir), .to_arviz()
    dv.coupling(posterior)                # Estimate: prints as a small table, draws inside
    dv.write_report(posterior, "out/")    # report.html, estimates.parquet, rejected.parquet, posterior/, run.json

Names load on first use; importing the package loads neither JAX nor anything of its size.
"""

import importlib

__version__ = "0.2.0"

_HOME = {
    "divergence.configuration": ("Configuration",),
    "divergence.errors": ("InputError", "NotIdentifiedError"),
    "divergence.estimate": ("Estimate", "table"),
    "divergence.executions": ("Executions", "read"),
    "divergence.cells": ("Cells", "collapse", "merge"),
    "divergence.joint": ("NUTS", "Importance", "Posterior", "Spec", "fit", "load"),
    "divergence.estimands": (
        "bench_level",
        "best_combination",
        "coherence",
        "collapse_hazard",
        "context_effect",
        "cost_ledger",
        "cost_per_success",
        "coupling",
        "coupling_absolute",
        "coupling_anova",
        "deployed_level",
        "evaluation_advantage",
        "excess_flips",
        "gap",
        "gap_for_confidence",
        "horizon",
        "instrument",
        "kappa",
        "leverage",
        "matrix",
        "pass_power",
        "projection_instability",
        "rank_agreement",
        "reversal",
        "serving_effect",
        "stability",
    ),
    "divergence.risk.classifier": ("RiskClassifier",),
    "divergence.risk.build": ("risk_model",),
    "divergence.risk.model": ("RiskModel",),
    "divergence.results": ("answer_all", "write_report"),
}
_FROM = {name: module for module, names in _HOME.items() for name in names}

__all__ = sorted(_FROM)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str):
    if name not in _FROM:
        raise AttributeError(f"module 'divergence' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(_FROM[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
