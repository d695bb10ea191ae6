"""A canary in the environment, in addresses, in those of telemetry and in prompts is in no file, log, error or traceback: as
it is, lower-cased, quoted, in hexadecimal digits or in base64. (Headers and what a server echoes: `probe/test_hostile`;
stores: `scoring/test_store`; imports: `executions/importers/test_privacy`; wrong columns: `test_quoted_values`.)"""

import base64
import contextlib
import http.server
import io
import json
import os
import pathlib
import subprocess
import sys
import threading
import traceback
import urllib.parse

import polars as pl
import pytest
from killed_verbs import Case

import divergence as dv
from divergence.addresses import scrubbed, shown
from divergence.cli import main
from divergence.errors import InputError
from divergence.executions.importers import import_log

SECRET = "Sk-Canary+7f3/QxZ9~eLm"
USER = f"User:{urllib.parse.quote(SECRET, safe='')}@"
QUERY = f"?token={urllib.parse.quote(SECRET, safe='')}"


def forms() -> list[str]:
    """How the canary may look, lower-cased."""
    found = [SECRET, urllib.parse.quote(SECRET, safe=""), SECRET.encode().hex()]
    for before in range(3):  # wherever it begins in what was packed
        found.append(base64.b64encode(b"x" * before + SECRET.encode()).decode()[4:-4])
    return [form.lower() for form in found]


def check(*told: object) -> None:
    text = "\n".join(one.decode("latin-1") if isinstance(one, bytes) else str(one) for one in told).lower()
    assert not [form for form in forms() if form in text], text[:2000]


def contents(folder: pathlib.Path) -> list[bytes]:
    """The bytes of every file, and what tables hold unpacked."""
    found = []
    for path in folder.rglob("*"):
        if path.is_file():
            found.append(path.read_bytes())
            if path.suffix == ".parquet":
                found.append(json.dumps(pl.read_parquet(path).to_dicts(), default=str).encode())
    return found


@pytest.mark.parametrize(
    "text", [SECRET, SECRET.lower(), *(base64.b64encode(b"x" * n + SECRET.encode()).decode() for n in (0, 1, 2))]
)
def test_a_message_is_scrubbed_of_every_form(text, monkeypatch):
    check(scrubbed(f"the store said {text}.", f"https://{USER}host/x"))
    check(scrubbed(f"the store said {text}.", f"https://host/x{QUERY}"))
    monkeypatch.setenv("SOME_TOKEN", SECRET)
    check(scrubbed(f"the store said {text}."))


@contextlib.contextmanager
def listening(answer):
    """An address on loopback where every request is answered so."""

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            status, fields, content = answer(self.headers)
            self.send_response(status)
            for name, value in {**fields, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else content)

        do_HEAD = do_GET

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def refusing():
    """One who refuses, and sends back what was sent in every form."""

    def answer(headers):
        sent = headers.get("Authorization", "").partition(" ")[2]
        said = [
            sent,
            sent.lower(),
            SECRET,
            SECRET.lower(),
            base64.b64encode(SECRET.encode()).decode(),
            SECRET.encode().hex(),
        ]
        return 403, {"Content-Type": "text/plain"}, " and ".join(said).encode()

    with listening(answer) as host:
        yield host


@pytest.fixture
def served(rows):
    """The address of a log with a user and a password."""
    held = io.BytesIO()
    rows().write_parquet(held)
    content = held.getvalue()

    def answer(headers):
        first, _, last = headers["Range"].removeprefix("bytes=").partition("-")
        start = int(first) if first else max(len(content) - int(last), 0)
        end = min(int(last) + 1 if first and last else len(content), len(content))
        return 206, {"Content-Range": f"bytes {start}-{end - 1}/{len(content)}"}, content[start:end]

    with listening(answer) as host:
        yield f"http://{USER}{host}/log.parquet"


ADDRESSES = [
    f"http://{USER}HOST/log.parquet{QUERY}",
    f"http://{USER}HOST/log.parquet",
    f"http://{USER}HOST/log.csv",
    f"http://{USER}HOST/log.xyz{QUERY}",
    f"nowhere://{USER}logs/log.parquet",
    f"nowhere://{USER}logs/a.eval",
    f"s3://{USER}logs/a.eval?endpoint_override=HOST&region={SECRET}",
]


@pytest.mark.parametrize("address", ADDRESSES, ids=range(len(ADDRESSES)))
def test_an_address_that_cannot_be_read_is_said_without_its_secrets(address, refusing, tmp_path, capfd, monkeypatch):
    address = address.replace("HOST", refusing)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    for read in (dv.read, lambda where: import_log([where])):
        with pytest.raises(InputError) as raised:
            read(address)
        assert shown(address).partition("://")[0] in str(raised.value)
        check(raised.value, "".join(traceback.format_exception(raised.value)))
    for words in (
        ["check", address],
        ["import", address, "-o", str(tmp_path / "a.parquet")],
        ["report", address, "-o", str(tmp_path / "r")],
    ):
        with pytest.raises(SystemExit) as stop:
            main(words)
        assert stop.value.code == 2
    check(*capfd.readouterr(), *contents(tmp_path))


def test_an_address_that_is_read_is_told_without_its_secrets(served, capfd):
    log = dv.read(served)
    assert log.counts.valid == 24
    assert log.scan().select("file").collect()["file"].unique().to_list() == [shown(served)]
    check(repr(log), log.scan().collect().to_dicts(), log.notes, log.skipped, log.sources)
    for more in ([], ["--json"]):
        with pytest.raises(SystemExit):
            main(["check", served, *more])
    with pytest.raises(InputError) as raised:
        dv.read(served, accept_rejected=0, configuration=dv.Configuration(outcome="nothing"))
    check(*capfd.readouterr(), raised.value, "".join(traceback.format_exception(raised.value)))


@pytest.mark.parametrize("verb", ["import", "compare", "drift", "probe", "score", "simulate"])
def test_a_secret_of_the_environment_is_in_no_file_and_no_message(verb, tmp_path):
    check_verb(verb, tmp_path)


@pytest.mark.prove
@pytest.mark.parametrize("verb", ["fit", "report", "plan", "export", "loop"])
def test_a_secret_of_the_environment_is_nowhere_of_the_slow_verbs(verb, tmp_path):
    check_verb(verb, tmp_path)


def check_verb(verb: str, folder: pathlib.Path) -> None:
    case = Case(verb, folder)
    try:
        if verb in ("probe", "loop"):
            assert case.server is not None
            items = folder / "items.jsonl"
            items.write_text(items.read_text().replace("good please", f"good {SECRET} please"))
            plan = folder / "plan.toml"
            watched = f'[[telemetry]]\nurl = "{case.server.base_url}/metrics"\ninstance = "one"\nperiod_s = 0.002\n'
            watched += 'headers_env = { "X-Pass" = "HOST_KEY" }\n'
            plan.write_text(
                plan.read_text().replace("[endpoint.host]", f'{watched}[endpoint.host]\napi_key_env = "HOST_KEY"')
            )
        secret = dict.fromkeys(("HOST_KEY", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "OTHER"), SECRET)
        environment = {**os.environ, **secret, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        command = [sys.executable, "-X", "dev", "-W", "ignore", "-m", "divergence", *map(str, case.second)]
        run = subprocess.run(
            [word for word in command if word != "--quiet"], capture_output=True, env=environment, timeout=600
        )
    finally:
        case.close()
    assert run.returncode in (0, 1), run.stderr[-2000:]
    if case.server is not None:
        assert [asked for asked in case.server.received if "/metrics" in asked and f"X-Pass: {SECRET}" in asked]
    kept = contents(case.out)
    assert kept
    check(run.stdout, run.stderr, *kept)


@pytest.mark.parametrize(
    "old, new",
    [
        ('base_url = "http://', f'base_url = "http://{USER}'),
        ('/v1"', f'/v1{QUERY}"'),
        ("[endpoint.host]", f'[[telemetry]]\nurl = "http://{USER}host/metrics"\ninstance = "one"\n[endpoint.host]'),
        ("[endpoint.host]", f'[[telemetry]]\nurl = "http://host/m{QUERY}"\ninstance = "one"\n[endpoint.host]'),
        ("[endpoint.host]", f'[[telemetry]]\nurl = "ftp://host/metrics{QUERY}"\ninstance = "one"\n[endpoint.host]'),
        ("[endpoint.host]", f'[[telemetry]]\nurl = "http://host/{QUERY}"\ninstance = "one"\nperiod_s = 0\n[endpoint.host]'),
        ("[endpoint.host]", f'[endpoint.host]\napi_key_env = "{SECRET}"'),
        ("[endpoint.host]", f'[endpoint.host]\napi_key = "{SECRET}"'),
        ("[endpoint.host]", f'[endpoint.host]\nheaders_env = {{ "X-Key" = "{SECRET}" }}'),
    ],
    ids=[
        "userinfo",
        "query",
        "telemetry-userinfo",
        "telemetry-query",
        "telemetry-scheme",
        "telemetry-period",
        "key-env",
        "key",
        "header",
    ],
)
def test_a_plan_with_a_secret_in_a_wrong_place_is_refused_without_it(old, new, tmp_path, capfd):
    from divergence.probe import dry_run, run

    case = Case("probe", tmp_path)
    try:
        plan = tmp_path / "plan.toml"
        assert old in plan.read_text()
        plan.write_text(plan.read_text().replace(old, new))
        for go in (dry_run, lambda path: run(path, case.out, quiet=True)):
            with pytest.raises(InputError) as raised:
                go(plan)
            check(raised.value, "".join(traceback.format_exception(raised.value)))
        with pytest.raises(SystemExit):
            main(["probe", str(plan), "--dry-run"])
        check(*capfd.readouterr())
        assert not case.out.exists()
    finally:
        case.close()
