"""A server on loopback that speaks S3."""

import contextlib
import logging
from collections.abc import Iterator

import pytest

BUT_LOCAL = {"AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}
"""What the environment of a client says beside the address and the credentials."""


@contextlib.contextmanager
def serving(bucket: str, environment: dict[str, str]) -> Iterator:
    """A client of a fresh server with one bucket; the environment gets the address and must hold the credentials."""
    boto3, moto = pytest.importorskip("boto3"), pytest.importorskip("moto.server")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        environment |= {"AWS_ENDPOINT_URL": f"http://{host}:{port}", **BUT_LOCAL}
        client = boto3.client(
            "s3",
            endpoint_url=environment["AWS_ENDPOINT_URL"],
            region_name=environment["AWS_REGION"],
            aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        )
        client.create_bucket(Bucket=bucket)
        yield client
    finally:
        server.stop()
