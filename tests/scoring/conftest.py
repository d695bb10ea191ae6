"""A small risk model in a folder, logs in partitions, and a store that speaks S3."""

import logging

import pytest
import small_scorer
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
    boto3 = pytest.importorskip("boto3")
    moto = pytest.importorskip("moto.server")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environment = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "CANARYKEYID",
        "AWS_REGION": "us-east-1",
        "AWS_SECRET_ACCESS_KEY": "canary-secret-value",
        "AWS_SESSION_TOKEN": "canary-session-token",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    client = boto3.client(
        "s3",
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        region_name="us-east-1",
        aws_access_key_id="CANARYKEYID",
        aws_secret_access_key="canary-secret-value",
    )
    client.create_bucket(Bucket="traffic")
    yield environment, client
    server.stop()
