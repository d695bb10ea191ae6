"""How does an OpenAI-compatible chat endpoint answer, how fast, and how does it fail?

One call of `ask` is one execution: a streamed chat completion, with retries for errors that may pass. It never raises
for what a server or the network does; a failure is a `Reply` with `error_type`. Times are wall-clock seconds from the
sending of the *last* attempt (`latency_s`: to the end of the stream; `ttft_s`: to the first piece with content);
`retries` counts the attempts before it. Keys are read from the environment by `headers` and go into the request
header, nowhere else: no message of this file contains a header, a server's text, or an address with credentials.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import random
import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from divergence.errors import InputError
from divergence.probe.router import REPLICA_HEADER

if TYPE_CHECKING:
    import aiohttp

    from divergence.probe.plan import Endpoint, Request

PASSING = (408, 409, 425, 429, 500, 502, 503, 504)  # HTTP statuses after which another attempt can succeed
ERROR_NAME = re.compile(r"[a-z][a-z_]{2,39}")
STREAM = "text/event-stream"
KEY_PART_MIN = 7  # characters; a shorter part of a header ("Bearer", "Basic") is no secret
LARGEST_LINE = 1 << 20  # bytes of one streamed line; more is treated as a broken stream


@dataclasses.dataclass(frozen=True)
class Reply:
    """What one execution brought back."""

    text: str = ""
    """The answer's text, whole or as far as it came."""
    finish_reason: str | None = None
    """As the server says it: stop, length, ..."""
    error_type: str | None = None
    """None = served; else timeout, connection, truncated_stream, malformed_json, content_type, http_429, ..."""
    latency_s: float | None = None
    """Seconds from sending to the end of the answer or to the failure, last attempt."""
    ttft_s: float | None = None
    """Seconds from sending to the first piece with content, last attempt."""
    input_tokens: int | None = None
    """Prompt tokens, cached ones included."""
    output_tokens: int | None = None
    """Answer tokens."""
    cached_tokens: int | None = None
    """Prompt tokens that were taken from the prefix cache."""
    draft_tokens: int | None = None
    """Tokens that a draft model proposed (speculative decoding); None = the server does not say, or drafts nothing."""
    accepted_tokens: int | None = None
    """Those of them that the model took."""
    retries: int = 0
    """Attempts before the last one."""
    retry_after_s: float | None = None
    """What the server asked for in Retry-After, in seconds."""
    passing: bool = False
    """May another attempt succeed?"""
    replica: str = ""
    """The replica that a router says answered; empty = none was named."""


def headers(name: str, endpoint: Endpoint) -> dict[str, str]:
    """Request headers with the keys of the environment. Raises `InputError` naming the field whose variable is not set."""
    for field, variable in endpoint.variables().items():
        value = os.environ.get(variable, "").strip()
        said = f"The environment variable that {field} of endpoint {name!r} names"
        if not value:
            raise InputError(f"{said} is not set; export it first.")
        if not value.isascii() or not value.isprintable():
            raise InputError(f"{said} holds characters that no HTTP header may hold.")
    wanted = {**endpoint.headers_env} | ({"Authorization": endpoint.api_key_env} if endpoint.api_key_env else {})
    found = {"Accept": STREAM}
    for header, variable in wanted.items():
        value = os.environ[variable].strip()
        found[header] = f"Bearer {value}" if header == "Authorization" else value
    return found


def open_session(concurrency: int) -> aiohttp.ClientSession:
    """An HTTP session for `concurrency` streams at once; proxies of the environment are not used."""
    import aiohttp

    # One connection a request: llama.cpp closes a connection after a stream without saying so, and the request that
    # then reuses it fails. A retry that the client itself caused must not be counted as the server's.
    connector = aiohttp.TCPConnector(limit=concurrency, force_close=True)
    # Compressed streams arrive in lumps, which would spoil the time to first token.
    return aiohttp.ClientSession(connector=connector, auto_decompress=True, headers={"Accept-Encoding": "identity"})


async def ask(
    session: aiohttp.ClientSession,
    url: str,
    head: Mapping[str, str],
    body: dict,
    request: Request,
    jitter: random.Random,
) -> Reply:
    """One execution: POST `body` to `url` (`.../chat/completions`), streamed, with retries."""
    body = body | {"stream": True, "stream_options": {"include_usage": True}}
    for attempt in range(request.retries + 1):
        reply = await _attempt(session, url, head, body, request.timeout_s)
        if reply.error_type is None or not reply.passing or attempt == request.retries:
            return _kept(dataclasses.replace(reply, retries=attempt), head)
        pause = request.backoff_s * 2**attempt * (0.5 + jitter.random() / 2)
        await asyncio.sleep(min(max(pause, reply.retry_after_s or 0.0), request.backoff_max_s))
    raise AssertionError("the loop above always returns")


def without_keys(text: str, head: Mapping[str, str]) -> str:
    """The text with every key of the request removed, should a server send one back."""
    for value in head.values():
        if value != STREAM:
            for key in [part for part in value.split() if len(part) >= KEY_PART_MIN] or [value.removeprefix("Bearer ")]:
                text = text.replace(key, "[key]")
    return text


def _kept(reply: Reply, head: Mapping[str, str]) -> Reply:
    """The reply without keys."""
    texts = {name: getattr(reply, name) for name in ("text", "finish_reason", "error_type", "replica")}
    return dataclasses.replace(reply, **{name: without_keys(text, head) for name, text in texts.items() if text})


async def _attempt(session, url: str, head: Mapping[str, str], body: dict, timeout_s: float) -> Reply:
    """One attempt; every fault of network or server becomes a reply."""
    import aiohttp

    start = time.perf_counter()
    stream = _Stream(start)
    try:
        async with asyncio.timeout(timeout_s):
            # A redirect would carry the key to another address.
            async with session.post(url, json=body, headers=head, allow_redirects=False) as response:
                stream.replica = response.headers.get(REPLICA_HEADER, "")
                if response.status != 200:
                    return await _refused(response, start)
                if STREAM not in response.headers.get("Content-Type", ""):
                    return Reply(error_type="content_type", latency_s=time.perf_counter() - start)
                error = await stream.read(response.content)
    except TimeoutError:
        error = "timeout"
    except aiohttp.ClientPayloadError:
        error = "truncated_stream"
    except (aiohttp.ClientError, OSError):
        error = "connection"
    return stream.reply(error)


async def _refused(response, start: float) -> Reply:
    """The reply for an HTTP status other than 200; the server's own error name where it is a plain word."""
    name = f"http_{response.status}"
    try:
        content = json.loads((await response.content.read(LARGEST_LINE)).decode())
        given = content["error"]["type"]
        if response.status == 400 and isinstance(given, str) and ERROR_NAME.fullmatch(given):
            name = given
    except (ValueError, KeyError, TypeError):
        pass  # the status alone then names the error
    try:
        after = max(0.0, float(response.headers.get("Retry-After", "")))
    except ValueError:
        after = None
    seconds = time.perf_counter() - start
    return Reply(
        error_type=name,
        latency_s=seconds,
        retry_after_s=after,
        passing=response.status in PASSING,
        replica=response.headers.get(REPLICA_HEADER, ""),
    )


def _count(value: object) -> int | None:
    """A token count as the server gave it, None where it is no count."""
    return value if type(value) is int and 0 <= value < 2**63 else None


class _Stream:
    """What has been read so far of one server-sent event stream."""

    def __init__(self, start: float) -> None:
        self.start = start
        self.pieces: list[str] = []
        self.first: float | None = None
        self.finish: str | None = None
        self.usage: dict = {}
        self.timings: dict = {}
        self.replica = ""

    async def read(self, content) -> str | None:
        """Read to `[DONE]`; returns the error's name or None."""
        pending = b""
        async for chunk in content.iter_any():
            *lines, pending = (pending + chunk).split(b"\n")
            if len(pending) > LARGEST_LINE:
                return "malformed_json"
            for line in lines:
                if not line.startswith(b"data:"):
                    continue
                data = line[5:].strip()
                if data == b"[DONE]":
                    return None if self.finish is not None else "truncated_stream"
                try:
                    error = self.take(json.loads(data))
                except (ValueError, KeyError, TypeError, AttributeError, IndexError):
                    return "malformed_json"
                if error is not None:
                    return error
        return "truncated_stream"

    def take(self, event: dict) -> str | None:
        """Add one event; returns an error's name where the event is one."""
        if "error" in event:
            return "server_error"
        self.usage = {**self.usage, **(event.get("usage") or {})}
        self.timings = {**self.timings, **(event.get("timings") or {})}
        for choice in event.get("choices") or []:
            piece = (choice.get("delta") or {}).get("content")
            finish = choice.get("finish_reason")
            if not isinstance(piece, str | None) or not isinstance(finish, str | None):
                raise TypeError("content and finish_reason are text or null")
            if piece:
                if self.first is None:
                    self.first = time.perf_counter()
                self.pieces.append(piece)
            self.finish = finish or self.finish
        return None

    def reply(self, error: str | None) -> Reply:
        """The reply for all that was read."""
        details = self.usage.get("prompt_tokens_details")
        cached = details.get("cached_tokens") if isinstance(details, dict) else self.timings.get("cache_n")
        passing = error in ("timeout", "connection", "truncated_stream", "malformed_json", "server_error")
        return Reply(
            text="".join(self.pieces).encode("utf-8", "replace").decode(),  # a half surrogate pair is no text
            finish_reason=self.finish,
            error_type=error,
            latency_s=time.perf_counter() - self.start,
            ttft_s=None if self.first is None else self.first - self.start,
            input_tokens=_count(self.usage.get("prompt_tokens")),
            output_tokens=_count(self.usage.get("completion_tokens")),
            cached_tokens=_count(cached),
            draft_tokens=_count(self.timings.get("draft_n")),
            accepted_tokens=_count(self.timings.get("draft_n_accepted")),
            passing=passing,
            replica=self.replica,
        )
