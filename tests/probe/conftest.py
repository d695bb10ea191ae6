"""A stub OpenAI-compatible server on loopback whose faults are asked for by the prompt, and plans that use it."""

import asyncio
import collections
import json

import pytest
from loopback import WebLoopback


class Stub(WebLoopback):
    """Answers `POST /v1/chat/completions`; the prompt's first word says how, the rest is the answer."""

    def __init__(self) -> None:
        self.requests: list[dict] = []
        self.seen: collections.Counter = collections.Counter()
        self.script: dict[str, list[str]] = {}
        self.at_once = self.most_at_once = 0
        self.pause = 0.0
        self.page = ""  # more of the metrics page
        super().__init__()

    def routes(self):
        return [("POST", "/v1/chat/completions", self._handle), ("GET", "/metrics", self._metrics)]

    async def _handle(self, request):
        body = await request.json()
        key = request.headers.get("Authorization", "")
        self.requests.append(body | {"key": key})
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(self.pause)
            return await self._answer(request, body, key)
        finally:
            self.at_once -= 1

    async def _metrics(self, _request):
        from aiohttp import web

        return web.Response(
            text="# TYPE llamacpp:prompt_tokens_total counter\n"
            f"llamacpp:prompt_tokens_total {7 * len(self.requests)}\n"
            f"llamacpp:requests_processing {self.at_once}\n" + self.page.replace("TOTAL", str(len(self.requests)))
        )

    async def _answer(self, request, body: dict, key: str):
        from aiohttp import web

        prompt = body["messages"][-1]["content"]
        first = body["messages"][0]["content"]
        if first.startswith("script "):  # an agent's episode: the next command of its script
            return await self._stream(request, "ok", self.script[first.removeprefix("script ")].pop(0))
        kind, _, answer = prompt.partition(" ")
        self.seen[prompt] += 1
        if kind == "busy-once" and self.seen[prompt] == 1:
            return web.Response(status=429, headers={"Retry-After": "0.01"}, text="slow down")
        if kind in ("busy", "broken"):
            return web.Response(status={"busy": 429, "broken": 500}[kind], text=f"no {key}")
        if kind == "forbidden":
            return web.json_response({"error": {"type": "invalid_key", "message": f"bad key {key}"}}, status=401)
        if kind == "long":
            return web.json_response({"error": {"type": "exceed_context_size_error"}}, status=400)
        if kind == "html":
            return web.Response(text="<p>hello</p>", content_type="text/html")
        if kind == "moved":
            return web.Response(status=302, headers={"Location": f"http://127.0.0.1:{self.port}/elsewhere"})
        if kind == "reset" or (kind == "reset-once" and self.seen[prompt] == 1):
            request.transport.abort()
            return web.Response()
        return await self._stream(request, kind, key if kind == "echo" else answer)

    async def _stream(self, request, kind: str, answer: str):
        from aiohttp import web

        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        events = [{"choices": [{"delta": {"role": "assistant", "content": None}}]}]
        events += [{"choices": [{"delta": {"content": letter}, "finish_reason": None}]} for letter in answer]
        usage = {"prompt_tokens": 7, "completion_tokens": len(answer), "prompt_tokens_details": {"cached_tokens": 3}}
        events += [{"choices": [{"delta": {}, "finish_reason": "stop"}]}, {"choices": [], "usage": usage}]
        if kind == "drafted":
            events[-1]["timings"] = {"draft_n": 6, "draft_n_accepted": 4}
        if kind == "hang":
            await asyncio.sleep(5)
        if kind == "late":
            await asyncio.sleep(0.2)
        if kind == "fails":
            events.insert(2, {"error": {"message": "out of memory"}})
        if kind == "odd":
            events.insert(1, {"choices": [{"delta": {"content": ["not", "text"]}}]})
        if kind == "surrogate":
            events.insert(1, {"choices": [{"delta": {"content": "\ud800"}}]})
        wire = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events) + b"data: [DONE]\n\n"
        if kind == "garbage":
            wire = b'data: {"choices": [\n\n' + wire
        if kind == "cut":
            wire = wire[: len(wire) // 2]
        if kind == "abort":
            await response.write(wire[: len(wire) // 2])
            await asyncio.sleep(0.02)
            request.transport.abort()
            return response
        for start in range(0, len(wire), 37):  # odd lumps, so that events are split over reads
            await response.write(wire[start : start + 37])
        return response


@pytest.fixture
def stub():
    """A running stub server."""
    pytest.importorskip("aiohttp", reason="the probe's client needs aiohttp (extra `probe`)")
    server = Stub()
    yield server
    server.close()


@pytest.fixture
def write_plan(tmp_path, stub):
    """Writes a plan with one endpoint, the given prompts as items, and two contexts; returns the plan's path."""

    def write(prompts: dict[str, str], head: str = "", endpoint: str = "", context: str = "", timeout_s: float = 60.0):
        listed = enumerate(prompts.items())
        rows = [{"item": f"i{n:03d}", "prompt": p, "gold": g, "scorer": "exact"} for n, (p, g) in listed]
        (tmp_path / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        path = tmp_path / "plan.toml"
        path.write_text(f"""
name = "stub"
items = "items.jsonl"
{head}
[request]
timeout_s = {timeout_s}
retries = 1
backoff_s = 0.001
[endpoint.stub]
base_url = "{stub.base_url}"
{endpoint}
[[system]]
model = "parrot"
endpoint = "stub"
[[context]]
label = "bench"
regime = "evaluation"
factors = {{ sampler = "greedy" }}
sampler = {{ temperature = 0.0 }}
[[context]]
label = "live"
regime = "deployment"
factors = {{ sampler = "default" }}
concurrency = 4
{context}
""")
        return path

    return write
