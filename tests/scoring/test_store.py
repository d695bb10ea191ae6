"""Inputs and outputs in an object store, against a server that speaks S3; and no credential is ever seen."""

import json
import logging

import polars as pl
import pytest
import small_scorer
from small_scorer import tree

from divergence.errors import InputError
from divergence.scoring.score import score_log

CANARIES = ("CANARYKEYID", "canary-secret-value", "canary-session-token", "USERCANARY", "PASSCANARY", "QUERYCANARY")


@pytest.fixture
def s3(store, monkeypatch):
    """A client of the store, whose credentials are in the environment."""
    environment, client = store
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return client


def put(client, logs, prefix):
    """Copy a folder into the store."""
    for path in sorted(logs.rglob("*.parquet")):
        client.upload_file(str(path), "traffic", f"{prefix}/{path.relative_to(logs).as_posix()}")


def fetched(client, prefix, folder):
    """Copy from the store into a folder."""
    for about in client.list_objects_v2(Bucket="traffic", Prefix=f"{prefix}/")["Contents"]:
        if about["Key"].endswith("/"):  # a mark of a folder
            continue
        target = folder / about["Key"].removeprefix(f"{prefix}/")
        target.parent.mkdir(parents=True, exist_ok=True)
        client.download_file("traffic", about["Key"], str(target))
    return folder


def test_from_a_store_to_a_store_and_on_after_an_interruption(s3, model, logs, tmp_path):
    put(s3, logs, "logs one")
    score_log(model, [logs], tmp_path / "local", load=small_scorer.load, workers=0)
    for workers, glob in ((0, "s3://traffic/logs%20one"), (2, "s3://traffic/logs%20one/**/*.parquet")):
        out = f"s3://traffic/out{workers}"
        scored = score_log(model, [glob], out, load=small_scorer.load, workers=workers)
        assert not scored.failed and scored.manifest["rows"] == sum(2000 + 100 * k for k in range(6))
        copy = fetched(s3, f"out{workers}", tmp_path / f"copy{workers}")
        assert sorted(tree(copy)) == sorted(tree(tmp_path / "local"))
        for name in ("part-0.parquet", "late/part-5.parquet"):
            assert pl.read_parquet(copy / name).equals(pl.read_parquet(tmp_path / "local" / name))
    first = {a["Key"]: a["ETag"] for a in s3.list_objects_v2(Bucket="traffic", Prefix="out0/")["Contents"]}
    s3.put_object(
        Bucket="traffic",
        Key="out0/part-2.parquet",
        Tagging="kept=yes",
        Body=s3.get_object(Bucket="traffic", Key="out0/part-2.parquet")["Body"].read(),
    )
    s3.delete_object(Bucket="traffic", Key="out0/part-1.parquet")
    s3.put_object(Bucket="traffic", Key="out0/.part-1.parquet.abc.part", Body=b"half")
    scored = score_log(model, ["s3://traffic/logs%20one"], "s3://traffic/out0", load=small_scorer.load, workers=0)
    now = {a["Key"]: a["ETag"] for a in s3.list_objects_v2(Bucket="traffic", Prefix="out0/")["Contents"]}
    assert now == first
    tags = s3.get_object_tagging(Bucket="traffic", Key="out0/part-2.parquet")["TagSet"]
    assert tags == [{"Key": "kept", "Value": "yes"}]  # the very object, not another one like it
    assert tree(fetched(s3, "out0", tmp_path / "again")) == tree(tmp_path / "copy0")


def test_nothing_scored_into_a_fresh_prefix_still_has_a_manifest(s3, model, tmp_path):
    s3.put_object(Bucket="traffic", Key="bad/broken.parquet", Body=b"no columns")
    scored = score_log(model, ["s3://traffic/bad/broken.parquet"], "s3://traffic/fresh", load=small_scorer.load, workers=0)
    assert [f["partition"] for f in scored.failed] == ["s3://traffic/bad/broken.parquet"]
    manifest = json.loads((fetched(s3, "fresh", tmp_path / "copy") / "manifest.json").read_text())
    assert manifest["failed"] == scored.failed


def test_text_formats_come_from_a_store_too(s3, model, logs, tmp_path):
    frame = pl.read_parquet(logs / "part-0.parquet")
    s3.put_object(Bucket="traffic", Key="text/a.csv", Body=frame.write_csv().encode())
    score_log(model, ["s3://traffic/text/a.csv"], tmp_path / "out", load=small_scorer.load, workers=0)
    score_log(model, [logs / "part-0.parquet"], tmp_path / "out", load=small_scorer.load, workers=0)
    one, other = (pl.read_parquet(tmp_path / "out" / n) for n in ("a.csv.parquet", "part-0.parquet"))
    assert one.equals(other)


def test_no_credential_is_ever_seen(s3, model, logs, tmp_path, capfd, caplog):
    caplog.set_level(logging.DEBUG)
    put(s3, logs, "seen")
    s3.put_object(Bucket="traffic", Key="seen/broken.parquet", Body=b"no columns")
    said = []
    address = "s3://USERCANARY:PASSCANARY@traffic/seen"
    scored = score_log(model, [address], tmp_path / "out", load=small_scorer.load, workers=2)
    assert [f["partition"] for f in scored.failed] == ["s3://traffic/seen/broken.parquet"]
    said.append(json.dumps(scored.manifest) + (tmp_path / "out" / "manifest.json").read_text())
    said += [path.read_bytes().decode("latin-1") for path in (tmp_path / "out").rglob("*") if path.is_file()]
    for log, out in (
        (address + "/none.parquet", tmp_path / "o"),
        ("s3://USERCANARY:PASSCANARY@nowhere/x", tmp_path / "o"),
        ("s3://traffic/seen?token=QUERYCANARY", tmp_path / "o"),
        (address, "s3://USERCANARY:PASSCANARY@nowhere/out"),
    ):
        with pytest.raises(InputError) as error:
            score_log(model, [log], out, load=small_scorer.load, workers=0)
        said.append(str(error.value))
        assert "traffic" in str(error.value) or "nowhere" in str(error.value)
    out, err = capfd.readouterr()
    said += [out, err, "\n".join(r.getMessage() for r in caplog.records if r.name.startswith("divergence"))]
    for canary in CANARIES:
        assert not [text[:300] for text in said if canary in text], canary


@pytest.mark.usefixtures("s3")
def test_a_store_that_does_not_answer_is_one_sentence(model, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(InputError, match=r"s3://traffic/logs cannot be read: .*onnect"):
        score_log(model, ["s3://traffic/logs"], tmp_path / "out", load=small_scorer.load, workers=0)
