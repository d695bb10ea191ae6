"""Fit the joint distribution over benchmark and production logs, and answer what carries over, with uncertainty.

    import divergence as dv
    log = dv.read("logs/*.parquet")       # Executions: .valid, .rejected, .answers()
    cells = dv.collapse(log)              # Cells: sufficient statistics, the only thing that reaches JAX
    posterior = dv.fit(cells, seed=0)     # Posterior: .diagnostics, .save(dir), .to_arviz()
    dv.coupling(posterior)                # Estimate: prints as a small table, draws inside
    dv.write_report(posterior, "out/")    # report.html, estimates.parquet, rejected.parquet, posterior/, run.json

Names and folders (`dv.geometry`, `dv.simulate`, `dv.drift`) load on first use; importing the package loads neither JAX nor
anything of its size.
"""

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

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
    from divergence.comparison import (
        Comparison as Comparison,
    )
    from divergence.comparison import (
        Comparisons as Comparisons,
    )
    from divergence.comparison import (
        compare as compare,
    )
    from divergence.comparison import (
        compare_runs as compare_runs,
    )
    from divergence.configuration import Configuration as Configuration
    from divergence.drift import (
        detect as detect,
    )
    from divergence.drift import (
        monitor as monitor,
    )
    from divergence.errors import (
        ArgumentError as ArgumentError,
    )
    from divergence.errors import (
        InputError as InputError,
    )
    from divergence.errors import (
        NotIdentifiedError as NotIdentifiedError,
    )
    from divergence.estimands import *  # noqa: F403 - every question, by the name of its function
    from divergence.estimands.comparisons import comparisons as comparisons
    from divergence.estimands.hypotheses import hypotheses as hypotheses
    from divergence.estimands.predictions import predictions as predictions
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
    from divergence.papers import (
        citations as citations,
    )
    from divergence.papers import (
        methods as methods,
    )
    from divergence.planning.measure import plan as plan
    from divergence.planning.result import MeasurementPlan as MeasurementPlan
    from divergence.planning.sample_size import sample_size as sample_size
    from divergence.results import (
        answer_all as answer_all,
    )
    from divergence.results import (
        write_report as write_report,
    )
    from divergence.risk.build import risk_model as risk_model
    from divergence.risk.classifier import RiskClassifier as RiskClassifier
    from divergence.risk.model import RiskModel as RiskModel
    from divergence.scoring.score import score_log as score_log
    from divergence.under_load import load_curve as load_curve

__version__ = "0.2.0"

_HOME = {
    "divergence.configuration": ("Configuration",),
    "divergence.errors": ("ArgumentError", "InputError", "NotIdentifiedError"),
    "divergence.estimands.comparisons": ("comparisons",),
    "divergence.estimands.hypotheses": ("hypotheses",),
    "divergence.estimands.predictions": ("predictions",),
    "divergence.estimate": ("Estimate", "table"),
    "divergence.executions": ("Executions", "read"),
    "divergence.comparison": ("Comparison", "Comparisons", "compare", "compare_runs"),
    "divergence.cells": ("Cells", "collapse", "merge"),
    "divergence.joint": ("NUTS", "Importance", "Posterior", "Spec", "fit", "load"),
    "divergence.under_load": ("load_curve",),
    "divergence.drift": ("detect", "monitor"),
    "divergence.risk.classifier": ("RiskClassifier",),
    "divergence.risk.build": ("risk_model",),
    "divergence.risk.model": ("RiskModel",),
    "divergence.scoring.score": ("score_log",),
    "divergence.papers": ("citations", "methods"),
    "divergence.planning.measure": ("plan",),
    "divergence.planning.result": ("MeasurementPlan",),
    "divergence.planning.sample_size": ("sample_size",),
    "divergence.results": ("answer_all", "write_report"),
}
_FROM = {name: module for module, names in _HOME.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "__all__":  # the questions' names stand where the questions are, and are asked when they are needed
        return sorted({*_FROM, *importlib.import_module("divergence.estimands").__all__})
    if name.startswith("__"):
        raise AttributeError(name)
    if importlib.util.find_spec(f"divergence.{name}") is not None:  # dv.geometry, dv.simulate, ...
        return importlib.import_module(f"divergence.{name}")
    home = importlib.import_module(_FROM.get(name, "divergence.estimands"))
    if name in _FROM or name in home.__all__:
        return getattr(home, name)
    near = importlib.import_module("divergence.calling").nearest(name, __dir__())
    raise AttributeError(f"module 'divergence' has no attribute {name!r}{near}; it has {', '.join(__dir__())}")


def __dir__() -> list[str]:
    names: list[str] = __getattr__("__all__")
    return [*names, "__version__"]
