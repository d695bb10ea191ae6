"""What a log cannot identify is refused, by name."""

import polars as pl

import divergence as dv
from divergence.simulate import simulate, world


def _posterior(log, **options):
    return dv.fit(dv.collapse(dv.read(log, **options)), seed=0)


def _log(kind="baseline", **sizes):
    return simulate(world(kind, **({"n_models": 3, "n_contexts": 2, "n_items": 40} | sizes)), 2)[0]


def test_aliased_factors():
    log = (
        _log()
        .drop("kv_cache_dtype", "concurrency", "quantization")
        .with_columns(engine=pl.col("context"), sampler=pl.concat_str(pl.lit("s"), pl.col("context")))
    )
    effect = dv.serving_effect(_posterior(log))
    for factor in ("engine", "sampler"):
        assert not effect.where(factor=factor, statistic=None).identified
        assert not effect.where(factor=factor, statistic="variance_share").identified
    assert "only together with" in effect.reasons[0]
    together = effect.where(factor="engine + sampler", model=None, statistic=None)
    assert together.identified and set(together.rows["level"]) == {"context-1 + scontext-1", "context-2 + scontext-2"}


def test_a_factor_that_is_the_regime():
    log = (
        _log()
        .drop("kv_cache_dtype", "concurrency", "quantization", "context")
        .with_columns(engine=pl.col("regime"), sampler=pl.concat_str(pl.lit("s"), (pl.col("trial") % 2).cast(pl.String)))
    )
    effect = dv.serving_effect(_posterior(log))
    assert not effect.where(factor="engine", statistic=None).identified
    assert effect.where(factor="sampler", statistic=None).identified


def test_models_that_share_no_two_contexts():
    log = _log(n_contexts=3).filter(
        (pl.col("regime") == "evaluation")
        | (pl.col("context").str.slice(-1) == (pl.col("model").str.slice(-1).cast(int) + 1).cast(pl.String))
    )
    posterior = _posterior(log)
    assert not dv.coupling(posterior).identified
    assert not dv.kappa(posterior).identified


def test_different_scorers():
    log = _log().with_columns(scorer=pl.col("regime"))
    posterior = _posterior(log)
    for question in (dv.reversal, dv.gap, dv.evaluation_advantage):
        assert "different scorers" in question(posterior).reasons[0]
    assert not dv.context_effect(posterior).where(statistic=None).identified


def test_a_law_on_one_context():
    posterior = _posterior(_log())
    assert not dv.kappa(posterior, law={"context-1": 1.0}).identified
    assert dv.deployed_level(posterior, law={"context-1": 1.0}).identified


def test_a_models_own_effect_of_a_context():
    """With the label alone known, a model's serving effect is its context effect, draw by draw."""
    log = _log().select("regime", "model", "item", "context", "trial", "score")
    posterior = _posterior(log)
    own = dv.serving_effect(posterior).where(model="model-1", level="context-2", statistic=None).draws
    effect = dv.context_effect(posterior).where(model="model-1", context="context-2", statistic=None).draws
    assert abs(own - effect).max() < 1e-9


def test_results_are_not_read_as_a_log(tmp_path):
    log = _log()
    log.write_parquet(tmp_path / "log.parquet")
    dv.table([dv.gap(_posterior(log))]).write_parquet(tmp_path / "estimates.parquet")
    again = dv.read(tmp_path)
    assert again.counts.rows == log.height
    assert "earlier report" in again.skipped[0][1]
