"""A record inside a result in which any one field is damaged does not count, so that its partition is scored anew to the
same bytes; or what it says can be added up."""

import json
import random

import pyarrow.parquet as pq
import pytest
from damaged_fields import of_words
from small_scorer import requests

from divergence.scoring.filesystems import place
from divergence.scoring.outcome_counts import calibration, merge
from divergence.scoring.outputs import KEY, record
from divergence.scoring.score import score_log
from divergence.scoring.sharpness import told
from divergence.scoring.whole_records import damage

SOME = 400  # damages in the tests; all of them in `make prove`


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """A log of deployment that a risk model scored, with all kinds of counts in its record."""
    import divergence as dv
    from divergence.simulate import simulate, world

    home = tmp_path_factory.mktemp("scored")
    rows = simulate(world("baseline", n_models=3, n_contexts=3, n_items=40), 0)[0]
    (home / "logs").mkdir()
    rows.write_parquet(home / "logs/part-0.parquet")
    log = dv.read(rows)
    dv.risk_model(dv.fit(dv.collapse(log), seed=0), log).save(home / "model")
    score_log(home / "model", [home / "logs"], home / "out", workers=0)
    return home


def rewritten(path, words: bytes) -> None:
    """The same result with another record."""
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({KEY: words}), path)


def added_up(made) -> None:
    """What a run does with the records of its partitions."""
    sums = merge([made["observed"], made["observed_new"]])
    calibration(sums, {}, None, items=merge([made["observed_items"]]))
    told([made["sharpness"]])
    assert sum(made[name] for name in ("rows", "scored", "evaluation", "elsewhere")) >= 0
    assert sum(made["rejected"].values()) >= 0
    json.dumps(made, allow_nan=False).encode()


def check(scored, most):
    made = record(place(scored / "out/part-0.parquet"))
    assert damage(made) == "" and (made["observed"] or made["observed_items"])
    cases = [case for case in of_words(made) if case[0][1][0] != "key" or len(case[0][1]) == 1]
    found = [(what, damage(other)) for what, other in cases if what[0] == "without" or what[2] is not None]
    assert sum(bool(wrong) for _, wrong in found) > len(found) / 2
    for what, other in cases if most is None else random.Random(0).sample(cases, most):
        wrong = damage(other)
        assert wrong.isprintable() and len(wrong) <= 120
        if not wrong:
            try:
                added_up(other)
            except Exception as error:
                raise AssertionError(f"{what}: {type(error).__name__}: {error}") from error


@pytest.mark.filterwarnings("ignore")
def test_some_damaged_fields_of_a_record(scored):
    check(scored, SOME)


@pytest.mark.prove
@pytest.mark.filterwarnings("ignore")
def test_every_damaged_field_of_a_record(scored):
    check(scored, None)


@pytest.mark.parametrize(
    "damaged",
    [
        b"[" * 200_000,
        b"[]",
        b"null",
        b"\xff{",
        {"rows": "x"},
        {"rejected": [1]},
        {"scored": float("nan")},
        {"observed": {"c": {"n": ["x"]}}},
        {"observed": None},
        {"key": 5},
    ],
    ids=lambda damaged: str(damaged)[:20],
)
def test_a_damaged_record_is_made_anew_and_said_once(scored, tmp_path, damaged, monkeypatch):
    out, said = tmp_path / "out", []
    monkeypatch.setattr("divergence.scoring.score.TOLD", [said.append])
    whole = score_log(scored / "model", [scored / "logs"], out, workers=0)
    path, manifest = out / "part-0.parquet", (out / "manifest.json").read_bytes()
    before = path.read_bytes()
    words = damaged if isinstance(damaged, bytes) else json.dumps(record(place(path)) | damaged).encode()
    rewritten(path, words)
    assert score_log(scored / "model", [scored / "logs"], out, workers=0).manifest == whole.manifest
    assert path.read_bytes() == before and (out / "manifest.json").read_bytes() == manifest
    assert len(said) == 1 and "damaged" in said[0] and "scored anew" in said[0] and "part-0.parquet" in said[0]
    assert len(said[0]) <= 300 and said[0].isprintable()
    score_log(scored / "model", [scored / "logs"], out, workers=0)
    assert len(said) == 1


def test_a_damaged_result_of_a_partition_that_fails_loses_its_name(scored, tmp_path):
    """Whoever reads the folder must not take it for a result of this run."""
    out, logs = tmp_path / "out", tmp_path / "logs"
    logs.mkdir()
    for k in range(2):
        (logs / f"part-{k}.parquet").write_bytes((scored / "logs/part-0.parquet").read_bytes())
    score_log(scored / "model", [logs], out, workers=0)
    rewritten(out / "part-0.parquet", b"[]")
    (logs / "part-0.parquet").write_bytes(b"broken")
    assert score_log(scored / "model", [logs], out, workers=0).manifest["outdated"] == ["part-0.parquet.outdated"]
    assert not (out / "part-0.parquet").exists()


def test_a_result_of_another_model_counts(model, logs, tmp_path):
    """Scores of a model of the user's own have whole records, too."""
    import small_scorer

    requests(50, 9).write_parquet(logs / "part-9.parquet")
    score_log(model, [logs], tmp_path / "out", load=small_scorer.load, workers=0)
    assert all(damage(record(place(path))) == "" for path in (tmp_path / "out").rglob("*.parquet"))
