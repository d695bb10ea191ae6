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
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what editors and type checkers see; at run time names load on first use
    from divergence.cells import (
        Cells as Cells,
    )
    from divergence.cells import (
        collapse as collapse,
    )
    from divergence.cells import (
        merge as merge,
    )
    from divergence.configuration import Configuration as Configuration
    from divergence.errors import (
        InputError as InputError,
    )
    from divergence.errors import (
        NotIdentifiedError as NotIdentifiedError,
    )
    from divergence.estimands import (
        bench_level as bench_level,
    )
    from divergence.estimands import (
        best_combination as best_combination,
    )
    from divergence.estimands import (
        coherence as coherence,
    )
    from divergence.estimands import (
        collapse_hazard as collapse_hazard,
    )
    from divergence.estimands import (
        context_effect as context_effect,
    )
    from divergence.estimands import (
        cost_ledger as cost_ledger,
    )
    from divergence.estimands import (
        cost_per_success as cost_per_success,
    )
    from divergence.estimands import (
        coupling as coupling,
    )
    from divergence.estimands import (
        coupling_absolute as coupling_absolute,
    )
    from divergence.estimands import (
        coupling_anova as coupling_anova,
    )
    from divergence.estimands import (
        deployed_level as deployed_level,
    )
    from divergence.estimands import (
        evaluation_advantage as evaluation_advantage,
    )
    from divergence.estimands import (
        excess_flips as excess_flips,
    )
    from divergence.estimands import (
        gap as gap,
    )
    from divergence.estimands import (
        gap_for_confidence as gap_for_confidence,
    )
    from divergence.estimands import (
        horizon as horizon,
    )
    from divergence.estimands import (
        instrument as instrument,
    )
    from divergence.estimands import (
        kappa as kappa,
    )
    from divergence.estimands import (
        leverage as leverage,
    )
    from divergence.estimands import (
        matrix as matrix,
    )
    from divergence.estimands import (
        pass_power as pass_power,
    )
    from divergence.estimands import (
        projection_instability as projection_instability,
    )
    from divergence.estimands import (
        rank_agreement as rank_agreement,
    )
    from divergence.estimands import (
        reversal as reversal,
    )
    from divergence.estimands import (
        serving_effect as serving_effect,
    )
    from divergence.estimands import (
        stability as stability,
    )
    from divergence.estimate import (
        Estimate as Estimate,
    )
    from divergence.estimate import (
        table as table,
    )
    from divergence.executions import (
        Executions as Executions,
    )
    from divergence.executions import (
        read as read,
    )
    from divergence.joint import (
        NUTS as NUTS,
    )
    from divergence.joint import (
        Importance as Importance,
    )
    from divergence.joint import (
        Posterior as Posterior,
    )
    from divergence.joint import (
        Spec as Spec,
    )
    from divergence.joint import (
        fit as fit,
    )
    from divergence.joint import (
        load as load,
    )
    from divergence.results import (
        answer_all as answer_all,
    )
    from divergence.results import (
        write_report as write_report,
    )
    from divergence.risk.build import risk_model as risk_model
    from divergence.risk.classifier import RiskClassifier as RiskClassifier
    from divergence.risk.model import RiskModel as RiskModel
    from divergence.under_load import load_curve as load_curve

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
    "divergence.under_load": ("load_curve",),
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
