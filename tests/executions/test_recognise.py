"""Which files of a folder are a log: results of an earlier report are not."""

import divergence as dv
from divergence.simulate import simulate, world


def _posterior_of(log, **options):
    return dv.fit(dv.collapse(dv.read(log, **options)), seed=0)


def _small_log(kind="baseline", **sizes):
    return simulate(world(kind, **({"n_models": 3, "n_contexts": 2, "n_items": 40} | sizes)), 2)[0]


def test_results_are_not_read_as_a_log(tmp_path):
    log = _small_log()
    log.write_parquet(tmp_path / "log.parquet")
    dv.table([dv.gap(_posterior_of(log))]).write_parquet(tmp_path / "estimates.parquet")
    again = dv.read(tmp_path)
    assert again.counts.rows == log.height
    assert "earlier report" in again.skipped[0][1]
