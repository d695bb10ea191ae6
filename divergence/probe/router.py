"""A real router in front of real replicas: which replica answers is decided per request, and written into the row.

| policy | a request goes to |
|---|---|
| `weighted` | a replica drawn with probability proportional to its share |
| `sticky` | the replica that its session's hash picks, by share; requests without a session are drawn |
| `least_loaded` | the replica with the fewest requests in flight for its share (ties: the first) |
| `by_length` | the first replica if its prompt has `long_characters` or more, else one of the others by share |
| `first`, `last` | the first replica, or the last: a release that waits for its hour (`switch_to`) |

After `switch_after` requests (0 = never) the policy becomes `switch_to`: a change of infrastructure in the middle of a
stream, with its time known. The answer streams through untouched, with the replica's name in the header `X-Replica`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import random
from collections.abc import AsyncIterator, Mapping
from typing import Any

from divergence.errors import InputError

POLICIES = ("weighted", "sticky", "least_loaded", "by_length", "first", "last")
REPLICA_HEADER, SESSION_HEADER = "X-Replica", "X-Session"


@dataclasses.dataclass(frozen=True)
class Replica:
    """One server behind the router."""

    name: str
    """Name in the log's telemetry."""
    share: float = 1.0
    """Weight in the policies that draw."""
    weights: str = ""
    """Weights that it serves; `{family}` is the system's family; empty = the system's own."""
    server: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Server settings that differ from the context's."""
    factors: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Factor levels of the rows that it answers, where they differ from the context's."""


@dataclasses.dataclass(frozen=True)
class Router:
    """How requests are dealt to replicas."""

    policy: str
    """One of `POLICIES`."""
    replica: tuple[Replica, ...]
    """The replicas, at least one."""
    long_characters: int = 0
    """Characters of all messages from which a prompt counts as long (`by_length`)."""
    switch_after: int = 0
    """Requests after which the policy changes; 0 = it does not."""
    switch_to: str = ""
    """The policy from then on."""


def check(router: Router, where: str) -> None:
    """Raises `InputError` for an unknown policy, no replica, or a share that is no share."""
    policies = [router.policy, *([router.switch_to] if router.switch_after else [])]
    for policy in policies:
        if policy not in POLICIES:
            raise InputError(f"The router of {where} has the policy {policy!r}; the choices are {', '.join(POLICIES)}.")
    names = [r.name for r in router.replica]
    if not names or len(set(names)) < len(names):
        raise InputError(f"The router of {where} needs at least one replica, each with a name of its own.")
    if any(not r.share > 0 for r in router.replica):
        raise InputError(f"Every replica of the router of {where} needs a share above 0.")
    if "by_length" in policies and (router.long_characters < 1 or len(names) < 2):
        raise InputError(f"The policy by_length of {where} needs long_characters and at least two replicas.")


class Dealer:
    """Chooses replicas; a pure decision but for the counts of what is in flight."""

    def __init__(self, router: Router, seed: str) -> None:
        self.router = router
        self.draw = random.Random(seed)
        self.requests = 0
        self.in_flight = [0] * len(router.replica)
        self.answered = [0] * len(router.replica)

    def choose(self, length: int, session: str | None) -> int:
        """Index of the replica for a prompt of `length` characters."""
        router = self.router
        switched = router.switch_after and self.requests >= router.switch_after
        policy = router.switch_to if switched else router.policy
        self.requests += 1
        shares = [r.share for r in router.replica]
        if policy in ("first", "last"):
            return 0 if policy == "first" else len(shares) - 1
        if policy == "least_loaded":
            return min(range(len(shares)), key=lambda k: (self.in_flight[k] / shares[k], k))
        if policy == "by_length":
            if length >= router.long_characters:
                return 0
            return 1 + self._by_share(shares[1:], self.draw.random())
        if policy == "sticky" and session is not None:
            digest = hashlib.sha256(session.encode()).digest()
            return self._by_share(shares, int.from_bytes(digest[:8], "big") / 2**64)
        return self._by_share(shares, self.draw.random())

    @staticmethod
    def _by_share(shares: list[float], place: float) -> int:
        """The replica whose stretch of [0, 1) holds `place`."""
        total, reached = sum(shares), 0.0
        for k, share in enumerate(shares):
            reached += share / total
            if place < reached:
                return k
        return len(shares) - 1


@contextlib.asynccontextmanager
async def route(router: Router, bases: list[str], seed: str) -> AsyncIterator[str]:
    """A router before the replicas at these addresses (up to `/v1`), for as long as the block lasts; yields its address."""
    import aiohttp
    from aiohttp import web

    dealer = Dealer(router, seed)
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None)) as upstream:

        async def complete(request: web.Request) -> web.StreamResponse:
            body = await request.json()
            length = sum(len(str(m.get("content", ""))) for m in body.get("messages", []))
            k = dealer.choose(length, request.headers.get(SESSION_HEADER))
            name = {REPLICA_HEADER: router.replica[k].name}
            dealer.in_flight[k] += 1
            try:
                async with upstream.post(f"{bases[k]}/chat/completions", json=body) as answer:
                    response = web.StreamResponse(
                        status=answer.status,
                        headers=name
                        | {h: answer.headers[h] for h in ("Content-Type", "Retry-After") if h in answer.headers},
                    )
                    await response.prepare(request)
                    async for piece in answer.content.iter_any():
                        await response.write(piece)
                    await response.write_eof()
                    return response
            except aiohttp.ClientError:
                return web.json_response({"error": {"type": "replica_unreachable"}}, status=502, headers=name)
            finally:
                dealer.in_flight[k] -= 1
                dealer.answered[k] += 1

        async def metrics(_: web.Request) -> web.Response:
            lines = ["# TYPE router_in_flight gauge", "# TYPE router_answered_total counter"]
            for k, replica in enumerate(router.replica):
                lines += [
                    f"router_in_flight_{replica.name} {dealer.in_flight[k]}",
                    f"router_answered_{replica.name}_total {dealer.answered[k]}",
                ]
            return web.Response(text="\n".join(lines) + "\n")

        application = web.Application(client_max_size=1 << 26)
        application.router.add_post("/v1/chat/completions", complete)
        application.router.add_get("/metrics", metrics)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            assert site._server is not None
            port = site._server.sockets[0].getsockname()[1]  # pyright: ignore[reportAttributeAccessIssue]
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            await runner.cleanup()
