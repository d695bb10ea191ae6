"""A stub endpoint with a known law: every model in every context answers rightly with a chance that the test knows."""

import collections
import hashlib
import json

from loopback import WebLoopback

LEVELS = {  # (model, temperature of the context) -> chance of a right answer to an item of middling difficulty
    ("ada", 0.0): 0.80,
    ("ada", 0.5): 0.70,
    ("ada", 1.0): 0.62,
    ("bea", 0.0): 0.74,
    ("bea", 0.5): 0.90,
    ("bea", 1.0): 0.60,
    ("cat", 0.0): 0.55,
    ("cat", 0.5): 0.50,
    ("cat", 1.0): 0.45,
}
BEST = ("bea", "warm")
CONTEXTS = {
    "bench": ("evaluation", 0.0),
    "cool": ("deployment", 0.0),
    "warm": ("deployment", 0.5),
    "hot": ("deployment", 1.0),
}


def chance(model: str, temperature: float, item: int) -> float:
    """The law: items of five difficulties, the level their mean."""
    return min(0.99, max(0.01, LEVELS[model, temperature] + 0.12 * (item % 5 - 2) / 2))


class KnownLaw(WebLoopback):
    """`POST /v1/chat/completions`: answers `right` or `wrong`; the n-th answer to an item is drawn from the seed."""

    def __init__(self, seed: int = 0) -> None:
        self.seed, self.requests, self.seen = seed, 0, collections.Counter()
        super().__init__()

    def routes(self):
        return [("POST", "/v1/chat/completions", self._handle)]

    async def _handle(self, request):
        from aiohttp import web

        body = await request.json()
        self.requests += 1
        item = int(body["messages"][-1]["content"].split()[-1])
        cell = f"{self.seed}/{body['model']}/{body['temperature']}/{item}"
        self.seen[cell] += 1
        key = f"{cell}/{self.seen[cell]}"
        draw = int(hashlib.sha256(key.encode()).hexdigest()[:12], 16) / 16**12
        answer = "right" if draw < chance(body["model"], body["temperature"], item) else "wrong"
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        usage = {"prompt_tokens": 7, "completion_tokens": 1}
        events = [{"choices": [{"delta": {"content": answer}, "finish_reason": "stop"}]}, {"choices": [], "usage": usage}]
        await response.write(b"".join(b"data: " + json.dumps(e).encode() + b"\n\n" for e in events) + b"data: [DONE]\n\n")
        return response


def write_plan(folder, base_url: str, items: int = 600):
    """A probe plan of three models in four contexts, with a bank of `items`; returns its path."""
    rows = [{"item": f"i{n:04d}", "prompt": f"Question {n}", "gold": "right", "scorer": "exact"} for n in range(items)]
    (folder / "bank.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    systems = "".join(f'[[system]]\nmodel = "{m}"\nendpoint = "stub"\n' for m in ("ada", "bea", "cat"))
    contexts = "".join(
        f'[[context]]\nlabel = "{label}"\nregime = "{regime}"\nfactors = {{ sampler = "t{t}" }}\n'
        f"sampler = {{ temperature = {t} }}\nconcurrency = 4\n"
        for label, (regime, t) in CONTEXTS.items()
    )
    path = folder / "plan.toml"
    path.write_text(f'name = "known"\nitems = "bank.jsonl"\n[endpoint.stub]\nbase_url = "{base_url}"\n{systems}{contexts}')
    return path
