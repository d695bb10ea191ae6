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

from divergence.addresses import without
from divergence.errors import InputError
from divergence.probe.reply_stream import (
    DAMAGE,
    LARGEST_TEXT,
    UNUSABLE,
    EncodedReplyError,
    OversizedReplyError,
    ReplyStream,
    body,
    label,
    unpacked,
)
from divergence.probe.router import REPLICA_HEADER

if TYPE_CHECKING:
    import aiohttp

    from divergence.probe.plan import Endpoint, Request
    from divergence.probe.telemetry import Scrape

PASSING = (408, 409, 425, 429, 500, 502, 503, 504)  # HTTP statuses after which another attempt can succeed
ERROR_NAME = re.compile(r"[a-z][a-z_]{2,39}")
STREAM = "text/event-stream"
LABELS = ("finish_reason", "error_type", "replica", "served_model", "system_fingerprint")
LONGEST_FORM = 10  # characters for one of a key, as HTML or JSON writes it
SOON = 1 << 16  # characters in which keys are looked for at once; more of them in a thread
KEY_PART_MIN = 7  # characters; a shorter part of a header ("Bearer", "Basic") is no secret
LARGEST_ERROR = 1 << 16  # bytes of a refusal that are looked at
PASSING_ERRORS = ("timeout", "connection", "truncated_stream", "malformed_json", "malformed_reply", "server_error")
"""Faults after which another attempt can succeed; a reply beyond its bounds would be that again."""


@dataclasses.dataclass(frozen=True)
class Reply:
    """What one execution brought back."""

    text: str = ""
    """The answer's text, whole or as far as it came."""
    finish_reason: str | None = None
    """As the server says it: stop, length, ..."""
    error_type: str | None = None
    """None = served; else timeout, connection, truncated_stream, malformed_json, malformed_reply, oversized_reply,
    content_type, content_encoding, server_error, http_429, ..."""
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
    reasoning_tokens: int | None = None
    """Answer tokens of hidden reasoning."""
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
    served_model: str | None = None
    """The model that the server names in its reply."""
    system_fingerprint: str | None = None
    """What the server says of how it is set up."""


def headers(name: str, endpoint: Endpoint) -> dict[str, str]:
    """Request headers with the keys of the environment. Raises `InputError` naming the field whose variable is not set."""
    check_set(f"endpoint {name!r}", endpoint.variables())
    wanted = {**endpoint.headers_env} | ({"Authorization": endpoint.api_key_env} if endpoint.api_key_env else {})
    found = {"Accept": STREAM}
    for header, variable in wanted.items():
        value = os.environ[variable].strip()
        found[header] = f"Bearer {value}" if header == "Authorization" else value
    return found


def check_set(where: str, variables: Mapping[str, str]) -> None:
    """Raises `InputError`, naming the field, for a variable that is not set or holds what no header may hold."""
    for field, variable in variables.items():
        value = os.environ.get(variable, "").strip()
        said = f"The environment variable that {field} of {where} names"
        if not value:
            raise InputError(f"{said} is not set; export it first.")
        if not value.isascii() or not value.isprintable():
            raise InputError(f"{said} holds characters that no HTTP header may hold.")


def page_headers(scrape: Scrape) -> dict[str, str]:
    """The headers with which a page of telemetry is asked for. Raises `InputError` as `headers` does."""
    check_set(f"telemetry {scrape.instance!r}", scrape.variables())
    return {header: os.environ[variable].strip() for header, variable in scrape.headers_env.items()}


def open_session(concurrency: int) -> aiohttp.ClientSession:
    """An HTTP session for `concurrency` streams at once; proxies of the environment are not used."""
    import aiohttp

    # One connection a request: llama.cpp closes a connection after a stream without saying so, and the request that
    # then reuses it fails. A retry that the client itself caused must not be counted as the server's.
    connector = aiohttp.TCPConnector(limit=concurrency, force_close=True)
    # Compressed streams arrive in lumps, which would spoil the time to first token. What comes compressed nevertheless is
    # unpacked by `reply_stream`, which has a bound.
    return aiohttp.ClientSession(connector=connector, auto_decompress=False, headers={"Accept-Encoding": "identity"})


async def ask(
    session: aiohttp.ClientSession,
    url: str,
    head: Mapping[str, str],
    question: dict,
    request: Request,
    jitter: random.Random,
) -> Reply:
    """One execution: POST `question` to `url` (`.../chat/completions`), streamed, with retries."""
    question = question | {"stream": True, "stream_options": {"include_usage": True}}
    for attempt in range(request.retries + 1):
        reply = await _attempt(session, url, head, question, request.timeout_s)
        if reply.error_type is None or not reply.passing or attempt == request.retries:
            reply = dataclasses.replace(reply, retries=attempt)
            long = sum(len(getattr(reply, name) or "") for name in ("text", *LABELS)) > SOON
            return await asyncio.to_thread(_kept, reply, head) if long else _kept(reply, head)
        pause = request.backoff_s * 2.0 ** min(attempt, 60) * (0.5 + jitter.random() / 2)
        await asyncio.sleep(min(max(pause, reply.retry_after_s or 0.0), request.backoff_max_s))
    raise AssertionError("the loop above always returns")


def keys_of(*heads: Mapping[str, str]) -> frozenset[str]:
    """The keys that these headers hold."""
    keys: set[str] = set()
    for value in (value for head in heads for value in head.values() if value != STREAM):
        keys |= {part for part in value.split() if len(part) >= KEY_PART_MIN} or {value.removeprefix("Bearer ")}
    return frozenset(keys)


def without_keys(text: str, head: Mapping[str, str]) -> str:
    """The text with every key of the request removed, should a server send one back, in any form that `addresses` knows."""
    return without(text, keys_of(head), "[key]")


def _kept(reply: Reply, head: Mapping[str, str]) -> Reply:
    """The reply without keys, and then cut: of a text that was not read to its end the last letters, which may be the
    beginning of a key, go too."""
    said = {name: getattr(reply, name) for name in LABELS}
    labels = {name: label(without_keys(text, head)) for name, text in said.items() if text}
    text = without_keys(reply.text, head)
    if len(reply.text) > LARGEST_TEXT:
        beginning = LONGEST_FORM * max(map(len, keys_of(head)), default=0)
        text = text[: max(len(text) - beginning, 0)][:LARGEST_TEXT]
    return dataclasses.replace(reply, text=text, **labels)


async def _attempt(session, url: str, head: Mapping[str, str], question: dict, timeout_s: float) -> Reply:
    """One attempt; every fault of network or server becomes a reply."""
    import aiohttp

    start = time.perf_counter()
    stream, seen = ReplyStream(), _Seen(start)
    try:
        async with asyncio.timeout(timeout_s):
            # A redirect would carry the key to another address.
            async with session.post(url, json=question, headers=head, allow_redirects=False) as response:
                seen.replica = response.headers.get(REPLICA_HEADER, "")
                if response.status != 200:
                    return await _refused(response, seen)
                if STREAM not in response.headers.get("Content-Type", "").lower():
                    return seen.reply(stream, "content_type")
                error = await stream.read(unpacked(response))
    except TimeoutError:
        error = "timeout"
    except OversizedReplyError:
        error = "oversized_reply"
    except EncodedReplyError:
        error = "content_encoding"
    except aiohttp.ClientPayloadError:
        error = "truncated_stream"
    except (aiohttp.ClientError, OSError):
        error = "connection"
    except DAMAGE:  # headers that the HTTP library stumbles over, packing that is none
        error = "malformed_reply"
    return seen.reply(stream, error)


@dataclasses.dataclass
class _Seen:
    """What is known of one attempt beside its stream."""

    start: float
    replica: str = ""

    def reply(self, stream: ReplyStream, error: str | None) -> Reply:
        """The reply for all that was read."""
        return Reply(
            text=stream.text,
            finish_reason=stream.finish,
            error_type=error,
            latency_s=time.perf_counter() - self.start,
            ttft_s=None if stream.first is None else stream.first - self.start,
            passing=error in PASSING_ERRORS,
            replica=self.replica,
            served_model=stream.model,
            system_fingerprint=stream.fingerprint,
            **stream.tokens(),
        )


async def _refused(response, seen: _Seen) -> Reply:
    """The reply for an HTTP status other than 200; the server's own error name where it is a plain word."""
    name = f"http_{response.status}"
    if response.status == 400:
        name = await _named(response) or name
    try:
        after = max(0.0, float(response.headers.get("Retry-After", "")))
    except ValueError:
        after = None
    reply = seen.reply(ReplyStream(), name)
    return dataclasses.replace(reply, retry_after_s=after, passing=response.status in PASSING)


async def _named(response) -> str | None:
    """The name of an error in the body of its reply, where it is there and a plain word."""
    try:
        given = json.loads((await body(response, LARGEST_ERROR)).decode())["error"]["type"]
    except UNUSABLE:
        return None  # the status alone then names the error
    return given if isinstance(given, str) and ERROR_NAME.fullmatch(given) else None
