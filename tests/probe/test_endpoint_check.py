"""Does a run that cannot succeed end before its first request, in a sentence, and without binding its folder?"""

import asyncio
import base64
import json
import re
import socket

import pytest

pytest.importorskip("aiohttp", reason="the probe's client needs aiohttp (extra `probe`)")
from aiohttp import web

from divergence.errors import InputError
from divergence.probe import client, run
from divergence.probe.endpoint_check import greet
from divergence.probe.reading import read_plan

KEY = "sk-canary-8f3e1b"


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def greeted(plan_path, status: int, body: str) -> tuple[list[str], list[str]]:
    """The notes about an endpoint that answers `/models` like this, and the keys that it was sent."""
    keys = []

    async def models(request):
        keys.append(request.headers.get("Authorization", ""))
        return web.Response(status=status, text=body, content_type="application/json")

    async def go():
        application = web.Application()
        application.router.add_get("/v1/models", models)
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]
        plan_path.write_text(re.sub(r"127\.0\.0\.1:\d+", f"127.0.0.1:{port}", plan_path.read_text()))
        plan = read_plan(plan_path)
        try:
            return await greet(plan, {name: client.headers(name, endpoint) for name, endpoint in plan.endpoint.items()})
        finally:
            await runner.cleanup()

    return asyncio.run(go()), keys


def test_nobody_there_is_a_sentence_and_the_corrected_plan_goes_on_in_the_same_folder(write_plan, tmp_path, stub):
    plan = write_plan({"ok a": "a"})
    right = plan.read_text()
    plan.write_text(right.replace(stub.base_url, f"http://127.0.0.1:{free_port()}/v1"))
    with pytest.raises(InputError, match=r"Nobody answers at http://127\.0\.0\.1:\d+/v1 .*start the server"):
        run(plan, tmp_path / "out", quiet=True)
    plan.write_text(right)
    assert run(plan, tmp_path / "out", quiet=True).rows == 2
    # All is measured: nobody needs to be there any more.
    stub.close()
    assert run(plan, tmp_path / "out", quiet=True).rows == 2


def test_a_refused_key_ends_the_run(write_plan, monkeypatch):
    with pytest.raises(InputError, match="without a key; name its variable in api_key_env"):
        greeted(write_plan({"ok a": "a"}), 401, "{}")
    monkeypatch.setenv("CANARY", KEY)
    with pytest.raises(InputError, match="refuses the key from the environment") as raised:
        greeted(write_plan({"ok a": "a"}, endpoint='api_key_env = "CANARY"'), 401, KEY)
    assert KEY not in str(raised.value)


def test_a_model_that_is_not_listed_is_a_note_without_keys(write_plan, monkeypatch):
    monkeypatch.setenv("CANARY", KEY)
    plan = write_plan({"ok a": "a"}, endpoint='api_key_env = "CANARY"')
    notes, keys = greeted(plan, 200, json.dumps({"data": [{"id": "other"}, {"id": f"my {KEY}"}]}))
    assert keys == [f"Bearer {KEY}"]
    assert len(notes) == 1 and "other, my [key] and not 'parrot'" in notes[0]
    assert greeted(plan, 200, json.dumps({"data": [{"id": "parrot"}]}))[0] == []


@pytest.mark.parametrize("before", range(60, 101, 8))
def test_a_name_is_cut_when_no_key_is_in_it(write_plan, monkeypatch, before):
    key = "Sv-5Jk/Xw+9Pn~" + "qE2rT4" * 8
    monkeypatch.setenv("CANARY", key)
    plan = write_plan({"ok a": "a"}, endpoint='api_key_env = "CANARY"')
    names = ["z" * before + said for said in (key, key.upper(), base64.b64encode(key.encode()).decode(), key.encode().hex())]
    (note,), _ = greeted(plan, 200, json.dumps({"data": [{"id": name} for name in [*names, "m" * 90_000]]}))
    assert note.count("z" * before) == 4 and "not 'parrot'" in note and len(note) < 600
    for part in (key[:6], key[:8].upper(), base64.b64encode(key.encode()).decode()[:6], key.encode().hex()[:6]):
        assert part not in note
    assert not greeted(plan, 200, json.dumps({"data": [{"id": "parrot"}]}))[0]


@pytest.mark.parametrize("status", [200, 302, 403, 404, 500])
@pytest.mark.parametrize("body", ["x", "", '{"data": 3}', '{"data": [{"id": "parrot"}]}'])
def test_other_answers_prove_nothing(write_plan, status, body):
    assert greeted(write_plan({"ok a": "a"}), status, body)[0] == []


def test_a_key_with_a_scheme_of_its_own_is_removed_from_what_comes_back():
    head = {"Accept": client.STREAM, "X-Key": f"Token {KEY}"}
    assert client.without_keys(f"you sent {KEY} as {client.STREAM}", head) == f"you sent [key] as {client.STREAM}"
    assert client.without_keys(f"you sent {KEY}", {"accept": KEY}) == "you sent [key]"
