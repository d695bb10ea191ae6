"""Foreign logs in an object store, on a server of S3 on loopback."""

import pytest
from object_store import serving

import divergence.executions as executions
from divergence.errors import InputError
from divergence.executions.importers import import_log


@pytest.fixture
def store(monkeypatch):
    environment = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "value", "AWS_DEFAULT_REGION": "us-east-1"}
    with serving("logs", environment) as client:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield client


def test_files_and_folders_of_a_store_are_imported_and_read(store, inspect_log):
    sample = {"id": "a", "epoch": 1, "uuid": "u", "target": "x", "scores": {"match": {"value": "C"}}}
    for name, uuid in (("one.json", "u"), ("two.json", "v")):
        path = inspect_log([{**sample, "uuid": uuid}], name=name, eval={"task_id": uuid})
        store.upload_file(str(path), "logs", f"runs/{name}")
    assert import_log(["s3://logs/runs/one.json"]).rows == 1
    whole = import_log(["s3://logs/runs"])
    assert whole.executions["execution_id"].sort().to_list() == ["u", "v"]
    assert executions.read("s3://logs/runs/one.json").counts.valid == 1
    with pytest.raises(InputError, match="There is nothing at"):
        import_log(["s3://logs/none.json"])


def test_a_store_of_no_known_kind_is_one_sentence():
    with pytest.raises(InputError, match="cannot be read"):
        import_log(["nowhere://logs/a.eval"])
