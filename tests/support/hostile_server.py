"""A server that answers chat requests in every way in which one should not: what the prompt names, byte by byte.

`BEHAVIOURS` are written by hand, each a fault that a broken gateway or a hostile host could show. `generated(seed)` is a
whole stream whose events, headers, packing and pace are damaged by chance: the same bytes for the same seed.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import random
import urllib.parse
import zlib
from collections.abc import Awaitable, Callable

from loopback import Loopback

OK = "HTTP/1.1 200 OK"
STREAM = "Content-Type: text/event-stream"
Writer = asyncio.StreamWriter


def head(*fields: str, status: str = OK) -> bytes:
    return "\r\n".join([status, *fields, "Connection: close", "", ""]).encode("utf-8", "surrogateescape")


def event(value: object) -> bytes:
    return b"data: " + (value if isinstance(value, bytes) else json.dumps(value).encode()) + b"\n\n"


def said(text: object = "four", **more: object) -> dict:
    return {"choices": [{"delta": {"content": text}, **more}]}


END = event({"choices": [{"delta": {}, "finish_reason": "stop"}]}) + b"data: [DONE]\n\n"
GOOD = event(said()) + END
Sent = bytes | Callable[[Writer], Awaitable[None]]


def streamed(*events: object) -> bytes:
    return head(STREAM) + b"".join(map(event, events)) + END


def refused(body: bytes, *fields: str, status: str = "400 Bad Request") -> bytes:
    return head("Content-Type: application/json", *fields, status=f"HTTP/1.1 {status}") + body


async def poured(out: Writer, start: bytes, block: bytes) -> None:
    """The start, then the block for ever."""
    out.write(start)
    while True:
        out.write(block)
        await out.drain()
        await asyncio.sleep(0)


async def dripped(out: Writer, content: bytes, pause: float = 0.02) -> None:
    for byte in content:
        out.write(bytes([byte]))
        await out.drain()
        await asyncio.sleep(pause)


def pouring(start: bytes, block: bytes) -> Sent:
    return lambda out: poured(out, start, block)


def dripping(content: bytes) -> Sent:
    return lambda out: dripped(out, content)


async def silent(_: Writer) -> None:
    await asyncio.sleep(60)


async def reset(out: Writer) -> None:
    out.transport.abort()


def chunked(*chunks: bytes) -> bytes:
    return head(STREAM, "Transfer-Encoding: chunked") + b"".join(chunks)


def bomb(kind: str) -> bytes:
    """Comments that unpack to 270 MB, from 270 kB."""
    packer = zlib.compressobj(wbits=31 if kind == "gzip" else 15)
    packed = b"".join(packer.compress(b":" + b"0" * 900_000 + b"\n") for _ in range(300)) + packer.flush()
    return head(STREAM, f"Content-Encoding: {kind}") + packed


DEEP = b"[" * 200_000
DIGITS = b"9" * 5000
BEHAVIOURS: dict[str, Sent] = {
    "good": head(STREAM) + GOOD,
    "deep-stream": head(STREAM) + event(DEEP) + END,
    "deep-objects": head(STREAM) + event(b'{"a":' * 100_000) + END,
    "deep-closed": head(STREAM) + event(b"[" * 100_000 + b"]" * 100_000) + END,
    "deep-400": refused(DEEP),
    "deep-400-error": refused(b'{"error": {"type": ' + DEEP),
    "long-400": pouring(refused(b'{"error": "'), b"x" * 65536),
    "digits": head(STREAM) + event(b'{"usage": {"prompt_tokens": ' + DIGITS + b"}}") + END,
    "huge-float": streamed({"usage": {"prompt_tokens": 1e308, "completion_tokens": -1e308}}, said()),
    "infinity": head(STREAM) + event(b'{"usage": {"prompt_tokens": Infinity, "completion_tokens": NaN}}') + GOOD,
    "huge-count": streamed({"usage": {"prompt_tokens": 2**62, "completion_tokens": 2**62}}, said()),
    "negative-count": streamed({"usage": {"prompt_tokens": -1, "completion_tokens": True}}, said()),
    "usage-list": streamed({"usage": [1]}, said()),
    "usage-text": streamed({"usage": "many"}, said()),
    "details-text": streamed({"usage": {"prompt_tokens_details": "x", "completion_tokens_details": [1]}}, said()),
    "timings-number": streamed({"timings": 4}, said()),
    "many-usage-keys": head(STREAM) + b"".join(event({"usage": {f"k{n}": n}}) for n in range(50_000)) + END,
    "choices-text": streamed({"choices": "abc"}),
    "choices-number": streamed({"choices": 7}),
    "choice-null": streamed({"choices": [None]}),
    "many-choices": streamed({"choices": [{"delta": {"content": "a"}}] * 20_000}),
    "delta-list": streamed({"choices": [{"delta": ["a"]}]}),
    "content-object": streamed(said({"text": "a"})),
    "content-number": streamed(said(4)),
    "finish-object": streamed({"choices": [{"delta": {}, "finish_reason": {"a": 1}}]}),
    "finish-long": streamed(said(finish_reason="x" * 500_000)),
    "finish-surrogate": streamed(said(finish_reason="\ud800")),
    "finish-controls": streamed(said(finish_reason="\x00\x1b[31m\n")),
    "text-surrogate": streamed(said("\ud83d"), said("\ude00")),
    "text-nul": streamed(said("\x00\u2028\u0085\r\n")),
    "text-wide": streamed(*[said("\ufdfa" * 100_000)] * 12),
    "text-huge": streamed(*[said("a" * 1_000_000)] * 3),
    "number-groups": streamed(*[said("1,111" + ",111" * 200_000 + "x")]),
    "text-marks": streamed(*[said("a" + "\u0301" * 45_000), said("\u0323\u0344" * 45_000)] * 2),
    "many-pieces": head(STREAM) + event(said("a")) * 30_000 + END,
    "model-odd": streamed({"model": 5, "system_fingerprint": {"a": 1}}, said()),
    "model-surrogate": streamed({"model": "\ud800" * 9, "system_fingerprint": "\x1b]0;x\x07"}, said()),
    "model-long": streamed({"model": "m" * 900_000, "system_fingerprint": "f" * 5000}, said()),
    "event-number": streamed(5),
    "event-null": streamed(None),
    "event-text": streamed("an error"),
    "error-null": streamed({"error": None, **said()}, {"error": {}}, {"error": ""}),
    "error-event": streamed({"error": {"message": "x" * 100_000}}),
    "not-utf8": head(STREAM) + b'data: {"choices": [{"delta": {"content": "\xff\xfe"}}]}\n\n' + END,
    "utf16": head(STREAM) + 'data: {"choices": []}\n\n'.encode("utf-16") + END,
    "mark": head(STREAM) + b"\xef\xbb\xbf" + GOOD,
    "line-endless": pouring(head(STREAM) + b"data: ", b"x" * 65536),
    "lines-endless": pouring(head(STREAM), b"\n" * 65536),
    "comments-endless": pouring(head(STREAM), b": ping\n\n" * 8192),
    "events-endless": pouring(head(STREAM), event(said("a")) * 1000),
    "events-empty": pouring(head(STREAM), event({}) * 1000),
    "drip": dripping(head(STREAM) + GOOD * 50),
    "drip-head": dripping(head(STREAM, "X: " + "y" * 5000)),
    "silent": silent,
    "silent-after-head": lambda out: poured_once(out, head(STREAM)),
    "silent-after-text": lambda out: poured_once(out, head(STREAM) + event(said("half"))),
    "reset": reset,
    "nothing": b"",
    "half-head": b"HTTP/1.1 200",
    "not-http": b"SSH-2.0-OpenSSH_9.6\r\n",
    "old-http": b"HTTP/0.9 200 OK\r\n\r\n" + GOOD,
    "status-odd": head(STREAM, status="HTTP/1.1 999 Odd") + GOOD,
    "status-huge": head(STREAM, status="HTTP/1.1 99999999999 Odd") + GOOD,
    "status-empty": b"HTTP/1.1 204 No Content\r\n\r\n",
    "informational": pouring(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100),
    "switch": head(status="HTTP/1.1 101 Switching Protocols"),
    "redirect": head("Location: http://127.0.0.1:9/", status="HTTP/1.1 307 Temporary Redirect"),
    "redirect-loop": head("Location: /v1/chat/completions", status="HTTP/1.1 302 Found"),
    "head-long": head(STREAM, "X-Long: " + "x" * 200_000) + GOOD,
    "head-endless": pouring(OK.encode() + b"\r\n", b"X-More: " + b"y" * 500 + b"\r\n"),
    "head-odd": head("Content-Type text/event-stream", "\x00: \x01") + GOOD,
    "head-surrogate": head(STREAM, "X-Replica: \udcff\udcfe") + GOOD,
    "type-missing": head() + GOOD,
    "type-html": head("Content-Type: text/html") + b"<p>",
    "type-odd": head("Content-Type: TEXT/Event-Stream; charset=\udcff") + GOOD,
    "length-short": head(STREAM, "Content-Length: 10") + GOOD,
    "length-long": head(STREAM, "Content-Length: 100000") + GOOD,
    "length-huge": head(STREAM, "Content-Length: " + "9" * 5000) + GOOD,
    "length-negative": head(STREAM, "Content-Length: -1") + GOOD,
    "chunk-bad": chunked(b"zz\r\n", GOOD),
    "chunk-huge": chunked(b"f" * 40 + b"\r\n", GOOD),
    "chunk-cut": chunked(b"1000\r\n", GOOD),
    "chunk-extension": pouring(chunked(b"5;"), b"x=y;" * 10_000),
    "chunk-trailers": pouring(chunked(b"0\r\n"), b"X-More: y\r\n" * 1000),
    "gzip-bomb": bomb("gzip"),
    "deflate-bomb": bomb("deflate"),
    "gzip-good": head(STREAM, "Content-Encoding: gzip") + gzip.compress(GOOD),
    "gzip-false": head(STREAM, "Content-Encoding: gzip") + GOOD,
    "gzip-cut": head(STREAM, "Content-Encoding: gzip") + gzip.compress(GOOD)[:30],
    "gzip-members": head(STREAM, "Content-Encoding: gzip") + gzip.compress(event(said())) + gzip.compress(END),
    "gzip-end": head(STREAM, "Content-Encoding: gzip") + gzip.compress(event(said())) + b"\0garbage" * 20_000,
    "gzip-zeros": pouring(head(STREAM, "Content-Encoding: gzip") + gzip.compress(event(said())), b"\0" * 65536),
    "brotli": head(STREAM, "Content-Encoding: br") + b"\x0b\x02\x80",
    "gzip-twice": head(STREAM, "Content-Encoding: gzip, gzip") + gzip.compress(gzip.compress(GOOD)),
    "retry-nan": refused(b"", "Retry-After: nan", status="429 Slow"),
    "retry-for-ever": refused(b"", "Retry-After: 1e300", status="429 Slow"),
    "retry-date": refused(b"", "Retry-After: Wed, 21 Oct 2026 07:28:00 GMT", status="503 Busy"),
    "error-name-odd": refused(b'{"error": {"type": "' + b"a" * 100_000 + b'"}}'),
    "error-list": refused(b'{"error": ["type"]}'),
    "error-surrogate": refused(b'{"error": {"type": "\\ud800"}}'),
    "cookies": head(STREAM, *[f"Set-Cookie: a{n}=\x7f; Path=/; Expires=never" for n in range(50)]) + GOOD,
    "done-only": head(STREAM) + b"data: [DONE]\n\n",
    "done-twice": head(STREAM) + GOOD + GOOD,
    "carriage-returns": head(STREAM) + GOOD.replace(b"\n", b"\r"),
}


async def poured_once(out: Writer, content: bytes) -> None:
    out.write(content)
    await out.drain()
    await asyncio.sleep(60)


VALUES = (None, True, -1, 0, 2**63, 1e308, "", "stop", "\ud800", "\x00", "x" * 3000, [], {}, [[]], {"a": {"b": []}})
NAMES = ("choices", "delta", "content", "finish_reason", "usage", "prompt_tokens", "completion_tokens", "model", "error",
         "system_fingerprint", "prompt_tokens_details", "completion_tokens_details",
         "cached_tokens", "timings", "cache_n")  # fmt: skip


def _value(draw: random.Random, depth: int) -> object:
    kind = draw.random()
    if depth > 4 or kind < 0.35:
        return draw.choice(VALUES)
    if kind < 0.8:
        return {draw.choice(NAMES): _value(draw, depth + 1) for _ in range(draw.randrange(4))}
    return [_value(draw, depth + 1) for _ in range(draw.randrange(4))]


def _events(draw: random.Random) -> bytes:
    """A stream that is right but for a few places."""
    events: list[object] = [said("four", index=0), {"usage": {"prompt_tokens": 7, "completion_tokens": 1}, "model": "m"}]
    for _ in range(draw.randrange(4)):
        place = draw.randrange(len(events) + 1)
        events.insert(place, said(_value(draw, 3)) if draw.random() < 0.3 else _value(draw, 0))
    wire = b"".join(map(event, events)) + (END if draw.random() < 0.8 else b"")
    for _ in range(draw.randrange(3)):  # damage of bytes
        at = draw.randrange(len(wire) + 1)
        new = draw.choice((b"\x00", b"\xff", b"\n", b"\r", b"{", b'"', b"data: ", draw.randbytes(6)))
        wire = wire[:at] + new + wire[at + draw.choice((0, len(new), 40)) :]
    return wire


def generated(seed: int) -> Sent:
    """One damaged reply: the same for the same seed."""
    draw = random.Random(seed)
    wire, fields, status = _events(draw), [STREAM], OK
    packing = draw.random()
    if packing < 0.1:
        wire, fields = gzip.compress(wire)[: draw.choice((None, 20, -4))], [*fields, "Content-Encoding: gzip"]
    elif packing < 0.2:
        sizes = [draw.choice((1, 7, 300)) for _ in range(400)]
        parts, at = [], 0
        for size in sizes:
            parts.append(wire[at : at + size])
            at += size
        wire = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts if part) + b"0\r\n\r\n"
        fields = [*fields, "Transfer-Encoding: chunked"]
    elif packing < 0.3:
        fields = [*fields, f"Content-Length: {max(0, len(wire) + draw.choice((-9, 0, 9)))}"]
    if draw.random() < 0.15:
        fields.append(
            draw.choice(("X-Replica: \udcff", "Set-Cookie: \x7f", "X: " + "y" * 9000, "no colon", "Retry-After: -inf"))
        )
    if draw.random() < 0.15:
        status = f"HTTP/1.1 {draw.choice((100, 204, 301, 400, 404, 429, 500, 600))} Status"
    content = head(*fields, status=status) + wire
    if draw.random() < 0.1:
        content = content[: draw.randrange(len(content))]
    if draw.random() < 0.02:
        return dripping(content)
    return content


ECHOES: dict[str, Callable[[str], str]] = {
    "echo": str,
    "echo-lower": str.lower,
    "echo-upper": str.upper,
    "echo-base64": lambda key: base64.b64encode(key.encode()).decode(),
    "echo-base64-user": lambda key: base64.b64encode(f"user:{key}".encode()).decode(),
    "echo-base64-json": lambda key: base64.urlsafe_b64encode(json.dumps({"k": key}).encode()).decode(),
    "echo-base64-lower": lambda key: base64.b64encode(f"Bearer {key}".encode()).decode().lower(),
    "echo-hex": lambda key: key.encode().hex(),
    "echo-hex-colons": lambda key: key.encode().hex(":"),
    "echo-base32": lambda key: base64.b32encode(key.encode()).decode(),
    "echo-lower-base64": lambda key: base64.b64encode(key.lower().encode()).decode(),
    "echo-html": lambda key: "".join(f"&#{ord(letter)};" for letter in key),
    "echo-json": lambda key: "".join(f"\\u{ord(letter):04x}" for letter in key),
    "echo-wide": lambda key: "".join(chr(ord(letter) + 0xFEE0) for letter in key),
    "echo-address-slash": urllib.parse.quote,
    "echo-address": lambda key: urllib.parse.quote(key, safe=""),
}
"""How a server may send a key back that it was sent."""


def echoing(said_back: str) -> bytes:
    """A reply that has it in every text that is kept."""
    half = len(said_back) // 2
    first = {"model": f"m-{said_back}", "system_fingerprint": said_back, **said(f"the key is {said_back[:half]}")}
    return (
        head(STREAM, f"X-Replica: {said_back}")
        + b"".join(map(event, [first, said(f"{said_back[half:]}!", finish_reason=said_back)]))
        + b"data: [DONE]\n\n"
    )


class HostileServer(Loopback):
    """Listens on loopback; the first word of the last message's content is the behaviour (`seed-17` a generated one)."""

    def __init__(self) -> None:
        self.received: list[str] = []
        super().__init__()

    async def open(self):
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)

        async def shut() -> None:
            server.close()

        return server.sockets[0].getsockname()[1], shut

    async def _serve(self, source: asyncio.StreamReader, out: Writer) -> None:
        try:
            asked = (await source.readuntil(b"\r\n\r\n")).decode()
            self.received.append(asked)
            if asked.startswith("GET"):
                await self.answer(out, head("Content-Type: application/json") + b'{"data": []}')
                return
            length = next(int(line[15:]) for line in asked.splitlines() if line.lower().startswith("content-length:"))
            body = json.loads(await source.readexactly(length))
            word = body["messages"][-1]["content"].split()[0]
            if word in ECHOES:
                key = next(line[7:] for line in asked.splitlines() if line.startswith("X-Key: "))
                sent: Sent = echoing(ECHOES[word](key))
            else:
                sent = generated(int(word[5:])) if word.startswith("seed-") else BEHAVIOURS[word]
            await self.answer(out, sent)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            out.close()

    async def answer(self, out: Writer, sent: Sent) -> None:
        if callable(sent):
            await sent(out)
        else:
            out.write(sent)
            await out.drain()
