"""Real logs: a model of March must say that it is stale in June, whatever the log calls the month."""

import pathlib

import polars as pl
import pytest

import divergence as dv
from divergence.risk.model import RiskModel
from divergence.scoring.score import score_log

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def months(public_data):
    """Answers of two services to the same questions in March and in June: regimes split by question, so that March has
    a bench and traffic."""
    rows = pl.read_parquet(public_data / "llm_drift.parquet")
    half = pl.when(pl.col("item").hash(seed=9) % 2 == 0).then(pl.lit("evaluation")).otherwise(pl.lit("deployment"))
    rows = rows.select("model", "context", "item", "score", "task", regime=half)
    return {month: rows.filter(pl.col("context") == month) for month in ("2023-03", "2023-06")}


@pytest.fixture(scope="module")
def march(months, tmp_path_factory):
    """The folder of March's risk model."""
    log = dv.read(months["2023-03"].drop("context"))
    # Two models in one context leave scales that importance sampling finds hard; NUTS would take over, and a minute.
    model = dv.risk_model(dv.fit(dv.collapse(log), method=dv.Importance(), seed=0), log, seed=0)
    folder = tmp_path_factory.mktemp("march")
    model.save(folder)
    return folder


def _scored(march, rows, tmp_path, name):
    rows.filter(pl.col("regime") == "deployment").write_parquet(tmp_path / f"{name}.parquet")
    return score_log(march, [tmp_path / f"{name}.parquet"], tmp_path / f"out-{name}", load=RiskModel.load, workers=0)


def test_march_holds_for_march_and_is_stale_in_june(months, march, tmp_path):
    same = _scored(march, months["2023-03"].drop("context"), tmp_path, "march").manifest
    assert not same["stale"]["stale"] and same["stale"]["unseen_share"] == 0
    june = _scored(march, months["2023-06"].drop("context"), tmp_path, "june").manifest
    assert june["stale"]["stale"] and june["stale"]["e_value"] > 1e3 and june["stale"]["unseen_share"] == 0
    assert "stale" in june["stale"]["reason"] and "fit again" in june["stale"]["reason"]


@pytest.mark.parametrize("judged", [True, False])
@pytest.mark.parametrize("named", ["model", "context", "task"])
def test_june_is_stale_by_whatever_name_it_comes(months, march, tmp_path, named, judged):
    """June's services as new models, in a new context, or with new tasks: known to be unknown, with labels and without."""
    june = months["2023-06"].with_columns(pl.concat_str(named, pl.lit("-2023-06")).alias(named))
    june = june if named == "context" else june.drop("context")
    june = june if judged else june.drop("score")
    made = _scored(march, june, tmp_path, f"{named}-{judged}").manifest
    assert made["stale"]["stale"] and made["stale"]["unseen_share"] == 1
    assert "models, contexts or strata that deployment never had" in made["stale"]["reason"]
    _scored(march, months["2023-03"].drop("context"), tmp_path, "march")
    new, known = (pl.read_parquet(tmp_path / f"out-{name}" / f"{name}.parquet") for name in (f"{named}-{judged}", "march"))
    assert not new["known"].any() and known["known"].all()
    assert (new["upper"] - new["lower"]).median() > 2 * (known["upper"] - known["lower"]).median()


def test_a_fifth_of_requests_that_are_new_is_no_change_of_what_is_known(months, march, tmp_path):
    """March, one request in ten from a model that it never had: no flag, whatever its labels say within wide intervals."""
    rows = months["2023-03"].drop("context")
    tenth = pl.col("item").hash(seed=4) % 10 == 0
    rows = rows.with_columns(model=pl.when(tenth).then(pl.lit("another")).otherwise("model"))
    made = _scored(march, rows, tmp_path, "tenth").manifest
    assert not made["stale"]["stale"] and 0.05 < made["stale"]["unseen_share"] < 0.15


def test_june_by_its_name_was_never_deployed(months):
    log = dv.read(pl.concat([months["2023-03"], months["2023-06"].filter(pl.col("regime") == "evaluation")]))
    model = dv.risk_model(dv.fit(dv.collapse(log), method=dv.Importance(), seed=0))
    batch = months["2023-06"].select("model", "context", "task").to_arrow().combine_chunks().to_batches()[0]
    june = pl.from_arrow(model.score(batch))
    assert not june["known"].any()  # June was benchmarked, never deployed


def test_the_embedded_model_scores_the_embedded_log(tmp_path):
    """As the README says, at once; items lie in the log that the model was fitted to, so calibration holds."""
    folder = ROOT / "models/serving-lab"
    scored = score_log(folder, [ROOT / "datasets/serving-lab"], tmp_path, load=RiskModel.load, workers=0)
    made = scored.manifest
    log = pl.read_parquet(ROOT / "datasets/serving-lab/data.parquet")
    assert made["scored"] == (log["regime"] == "deployment").sum() and not scored.failed
    assert not made["stale"]["stale"]
    rows = pl.concat([pl.read_parquet(p) for p in tmp_path.glob("*.parquet")])
    assert rows["known"].all() and rows["risk"].is_between(0, 1).all() and (rows["lower"] <= rows["upper"]).all()
    assert "held-out rows" in RiskModel.load(folder).check["sentence"]
