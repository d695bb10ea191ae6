"""What a type checker knows of the public names: pyright reads this file in `make test`, nothing runs it.

`assert_type` fails where a name is `Any`, as all were while they loaded lazily without a word to editors.
"""

from typing import assert_type

import polars as pl

import divergence as dv
from divergence.comparison.comparison import Difference
from divergence.configuration import Configuration
from divergence.drift import Detection, Monitor, Verdict
from divergence.errors import ArgumentError, InputError, NotIdentifiedError
from divergence.estimate import Estimate
from divergence.executions.executions import Executions
from divergence.joint.posterior import Posterior
from divergence.planning.sample_size import SampleSize
from divergence.scoring.score import Scored


def files(path: str) -> None:
    """From files to a posterior."""
    log = assert_type(dv.read(path), Executions)
    assert_type(dv.load_curve(log), Estimate)
    cells = assert_type(dv.collapse(log), dv.Cells)
    assert_type(dv.merge(cells, cells), dv.Cells)
    assert_type(dv.fit(cells, spec=dv.Spec(), method=dv.NUTS()), Posterior)
    assert_type(dv.fit(cells, method=dv.Importance(), seed=1), dv.Posterior)
    assert_type(dv.load(path), Posterior)
    assert_type(dv.load_curve(log), Estimate)
    assert_type(dv.Configuration.load(path), Configuration)
    assert_type(dv.Executions, type[Executions])
    assert_type(dv.InputError, type[InputError])
    assert_type(dv.ArgumentError, type[ArgumentError])
    assert_type(dv.NotIdentifiedError, type[NotIdentifiedError])


def answers(posterior: Posterior, cells: dv.Cells) -> None:
    """Every question gives an Estimate."""
    assert_type(dv.bench_level(posterior), Estimate)
    assert_type(dv.best_combination(posterior), Estimate)
    assert_type(dv.coherence(posterior), Estimate)
    assert_type(dv.collapse_hazard(posterior), Estimate)
    assert_type(dv.context_effect(posterior), Estimate)
    assert_type(dv.cost_ledger(posterior), Estimate)
    assert_type(dv.cost_per_success(posterior), Estimate)
    assert_type(dv.coupling(posterior), Estimate)
    assert_type(dv.coupling_absolute(posterior), Estimate)
    assert_type(dv.coupling_anova(cells), Estimate)
    assert_type(dv.deployed_level(posterior), Estimate)
    assert_type(dv.evaluation_advantage(posterior), Estimate)
    assert_type(dv.excess_flips(posterior), Estimate)
    assert_type(dv.gap(posterior), Estimate)
    assert_type(dv.gap_for_confidence(posterior), Estimate)
    assert_type(dv.horizon(posterior), Estimate)
    assert_type(dv.instrument(posterior), Estimate)
    assert_type(dv.kappa(posterior), Estimate)
    assert_type(dv.leverage(posterior), Estimate)
    assert_type(dv.matrix(posterior), Estimate)
    assert_type(dv.pass_power(posterior), Estimate)
    assert_type(dv.projection_instability(posterior), Estimate)
    assert_type(dv.rank_agreement(posterior), Estimate)
    assert_type(dv.reversal(posterior), Estimate)
    assert_type(dv.serving_effect(posterior), Estimate)
    assert_type(dv.stability(posterior), Estimate)
    assert_type(dv.predictions(posterior, by="model"), Estimate)
    assert_type(dv.comparisons(posterior, "model"), Estimate)
    assert_type(dv.hypotheses(dv.gap(posterior), equivalence=(-0.02, 0.02)), Estimate)


def results(posterior: Posterior, log: dv.Executions) -> None:
    """Reports and risk."""
    estimates = assert_type(dv.answer_all(posterior), dict[str, dv.Estimate])
    assert_type(dv.table(list(estimates.values())), pl.DataFrame)
    dv.write_report(posterior, "out")
    assert_type(dv.citations(), str)
    assert_type(dv.methods("out"), str)
    assert_type(dv.risk_model(posterior, log), dv.RiskModel)
    assert_type(dv.RiskClassifier(), dv.RiskClassifier)
    assert_type(dv.score_log("model", ["log.parquet"], "out"), Scored)


def next_measurements(posterior: Posterior) -> None:
    """What to measure next."""
    assert_type(dv.plan(posterior, goal="gap", budget=100), dv.MeasurementPlan)
    assert_type(dv.sample_size(0.01, 0.1), SampleSize)


def two_runs(path: str) -> None:
    """Two runs beside each other."""
    found = assert_type(dv.compare(path, path, margin=0.02), dv.Comparison)
    assert_type(found.difference, Difference)
    assert_type(dv.compare_runs(path, [path]), dv.Comparisons)


def streams(rows: pl.DataFrame) -> None:
    """Drift of a whole stream, and of batches as they come."""
    assert_type(dv.detect(rows, "0.4"), Detection)
    monitor = assert_type(dv.monitor(rows, horizon=40), Monitor)
    assert_type(monitor.update(rows), Verdict)
