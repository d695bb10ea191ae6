"""Does the score tell requests apart: by loops over rows, however a log is cut, and beside plain rates."""

import numpy as np
import polars as pl
import pytest
import risk_worlds as worlds

import divergence as dv
from divergence.cli.score_summary import summary
from divergence.risk.build import risk_model
from divergence.risk.discrimination import EDGE
from divergence.risk.model import RiskModel
from divergence.scoring.score import score_log
from divergence.scoring.sharpness import repeated

LOG = ("regime", "model", "context", "task", "item", "trial", "score")


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """A model of first trials, and second trials scored whole and in parts."""
    frame, _ = worlds.make(4, models=3, contexts=3, tasks=3, items=40, trials=2)
    frame = frame.with_columns(execution_id=pl.int_range(pl.len()).cast(pl.String))
    log = dv.read(frame.filter(trial=0).drop("execution_id"))
    folder = tmp_path_factory.mktemp("sharp")
    risk_model(dv.fit(dv.collapse(log), seed=0), log).save(folder / "model")
    second = frame.filter((pl.col("trial") == 1) & (pl.col("regime") == "deployment"))
    second = second.with_columns(
        item=pl.when(pl.int_range(pl.len()) % 3 == 0).then(pl.lit("new-") + pl.col("item")).otherwise("item")
    )
    (folder / "parts").mkdir()
    second.write_parquet(folder / "whole.parquet")
    for k in range(3):
        second[k::3].write_parquet(folder / "parts" / f"{k}.parquet")
    out = {}
    for name in ("whole.parquet", "parts"):
        made = score_log(folder / "model", [folder / name], folder / "out" / name, load=RiskModel.load, workers=0).manifest
        out[name] = made
    scores = pl.read_parquet(folder / "out" / "whole.parquet" / "whole.parquet")
    return out, scores.join(second, on="execution_id", maintain_order="left"), RiskModel.load(folder / "model")


def test_measures_are_those_of_a_loop(night):
    out, rows, model = night
    for kind, mine in (("all", rows), ("seen", rows.filter(pl.col("evidence") != "stratum"))):
        found = out["whole.parquet"]["sharpness"][kind]
        risk, failure = mine["risk"].to_numpy(), 1 - mine["score"].to_numpy()
        batch = mine.select("model", "context", "task", "item").to_arrow().combine_chunks().to_batches()[0]
        for side, values in (("score", risk), ("plain", model.plain(batch))):
            edged = np.clip(values, EDGE, 1 - EDGE)
            assert found["brier"][side][0] == pytest.approx(((values - failure) ** 2).mean(), abs=1e-9)
            loss = -np.where(failure == 1, np.log(edged), np.log1p(-edged)).mean()
            assert found["log_loss"][side][0] == pytest.approx(loss, abs=1e-9)
            above = values[failure == 1][:, None] - values[failure == 0]
            auc = ((above > 0) + 0.5 * (above == 0)).mean()
            assert found["auc"][side][0] == pytest.approx(auc, abs=2e-3)  # bins hide who is riskier inside them
        assert found["judged"] == mine.height and found["failed"] == failure.sum()
    assert found["brier"]["difference"][0] < 0 < found["auc"]["difference"][0]


def test_parts_add_up(night):
    out, _, _ = night
    whole, parts = (out[name]["sharpness"]["all"] for name in ("whole.parquet", "parts"))
    for name in ("brier", "log_loss", "auc", "capture_0.05"):
        assert whole[name]["score"][0] == pytest.approx(parts[name]["score"][0], abs=1e-9)
        assert whole[name]["difference"] == pytest.approx(parts[name]["difference"], abs=1e-9)
    assert out["parts"]["audit"]["riskiest"]["0.01"] == pytest.approx(out["whole.parquet"]["audit"]["riskiest"]["0.01"])


def test_audit_says_what_labels_will_find(night):
    out, rows, _ = night
    told = out["whole.parquet"]["audit"]
    worst = rows.sort("risk", descending=True).head(rows.height // 10)
    assert told["riskiest"]["0.1"]["failures"] == pytest.approx(worst["risk"].sum(), rel=0.02)
    assert "look first at the requests with the smallest audit" in told["sentence"]
    # Smallest audit first is riskiest first.
    assert (rows.sort("audit")["risk"].diff().drop_nulls() <= 1e-12).mean() > 0.9
    by_audit = rows.filter(pl.col("audit") <= 0.1)["risk"].min()
    assert by_audit >= rows.filter(pl.col("audit") > 0.1)["risk"].max() - 1e-12


def test_without_labels_there_is_an_audit_and_no_sharpness(night, tmp_path):
    _, rows, model = night
    model.save(tmp_path / "model")
    rows.select("model", "context", "task", "item").write_parquet(tmp_path / "log.parquet")
    made = score_log(
        tmp_path / "model", [tmp_path / "log.parquet"], tmp_path / "out", load=RiskModel.load, workers=0
    ).manifest
    assert made["sharpness"] is None and made["audit"]["at_random"] == pytest.approx(rows["risk"].mean(), abs=1e-9)


def test_rows_that_the_model_was_made_from_are_said_to_test_nothing(tmp_path):
    frame, _ = worlds.make(4, models=3, contexts=3, tasks=3, items=40, trials=1)
    log = dv.read(frame)
    risk_model(dv.fit(dv.collapse(log), seed=0), log).save(tmp_path / "model")
    deployed = frame.filter(pl.col("regime") == "deployment")
    other = pl.when(pl.int_range(pl.len()) == 7).then(1 - pl.col("score")).otherwise("score")
    made = {}
    for name, rows in (("own", deployed), ("one-differs", deployed.with_columns(score=other)), ("few", deployed.head(99))):
        rows.write_parquet(tmp_path / f"{name}.parquet")
        made[name] = score_log(
            tmp_path / "model", [tmp_path / f"{name}.parquet"], tmp_path / name, load=RiskModel.load, workers=0
        ).manifest
    said = made["own"]["repeated"]
    assert said is not None and said.startswith(f"all {deployed.height:,} judged requests of known items end as in the log")
    assert made["own"]["sharpness"]["seen"]["brier"]["plain"][0] == 0 and not made["own"]["stale"]["stale"]
    assert made["one-differs"]["repeated"] is None and made["few"]["repeated"] is None


def test_rows_with_repeats_that_the_model_was_made_from_are_known_too(tmp_path):
    """Repeats that differ have plain rates between 0 and 1, which hold the answers all the same; a fresh night does not."""
    frame, _ = worlds.make(5, models=3, contexts=3, tasks=3, items=40, trials=3, difficulty=2.5)
    log = dv.read(frame)
    risk_model(dv.fit(dv.collapse(log), seed=0), log).save(tmp_path / "model")
    deployed = frame.filter(pl.col("regime") == "deployment")
    fresh = deployed.with_columns(score=pl.col("score").shuffle(seed=1).over("model", "context", "task"))
    made = {}
    for name, rows in (("own", deployed), ("fresh", fresh), ("first trials", deployed.filter(trial=0))):
        rows.write_parquet(tmp_path / f"{name}.parquet")
        scored = score_log(
            tmp_path / "model", [tmp_path / f"{name}.parquet"], tmp_path / name, load=RiskModel.load, workers=0
        )
        made[name] = scored.manifest, "\n".join(summary(scored, "out", 1.0))
    own, words = made["own"]
    assert own["sharpness"]["seen"]["brier"]["plain"][0] > 0.01
    assert own["repeated"] in words and "the plain rate holds these very answers" in words and "(plain rate" not in words
    assert own["stale"]["reason"].startswith("all judged requests repeat the model's own log")
    for name in ("fresh", "first trials"):
        assert "repeat the model's own log" not in made[name][0]["stale"]["reason"]
        assert made[name][0]["repeated"] is None and "(plain rate" in made[name][1]


@pytest.mark.parametrize("change", [(0, 0, 1), (255, 0, -1), (85, 0, 2)])
def test_one_answer_that_differs_is_no_repeat(change):
    n, rate = np.zeros(256), np.arange(256) / 255
    n[[0, 85, 128, 255]] = 500, 300, 10, 400
    failures = np.where(np.arange(256) == 128, 5.0, n * rate)
    assert repeated(n, failures).startswith("all 1,210 judged")
    place, _, by = change
    failures[place] += by
    assert repeated(n, failures) is None
