"""A small risk model in a folder, logs in partitions, and a store that speaks S3."""

import pytest
import small_scorer
from object_store import serving
from small_scorer import ENGINES, ITEMS, MODELS, requests


@pytest.fixture
def model(tmp_path):
    """The folder of the small scorer."""
    return small_scorer.save(tmp_path / "model", MODELS, ENGINES, ITEMS)


@pytest.fixture
def logs(tmp_path):
    """Six partitions of Parquet, one of them in a folder below."""
    folder = tmp_path / "logs"
    (folder / "late").mkdir(parents=True)
    for k in range(6):
        requests(2000 + 100 * k, k).write_parquet(folder / (f"part-{k}.parquet" if k < 5 else f"late/part-{k}.parquet"))
    return folder


@pytest.fixture(scope="session")
def store():
    """A server on loopback that speaks S3, with one bucket; its address, and the credentials that must never be seen."""
    environment = {
        "AWS_ACCESS_KEY_ID": "CANARYKEYID",
        "AWS_SECRET_ACCESS_KEY": "canary-secret-value",
        "AWS_SESSION_TOKEN": "canary-session-token",
    }
    with serving("traffic", environment) as client:
        yield environment, client
