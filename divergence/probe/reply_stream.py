"""What has a server sent so far? One server-sent event stream, read with a bound on everything that a server chooses.

A reply is bounded in bytes on the wire, in bytes of a line, in lines, in characters of text; a compressed one is unpacked
piece by piece, so that it is bounded as what it unpacks to, too. What exceeds a bound ends the reading: the reply is then a
row with `error_type = "oversized_reply"` and the text as far as it came. Between two pieces the event loop gets its turn, so
that time limits fire while bytes pour in.
"""

from __future__ import annotations

import asyncio
import codecs
import io
import json
import time
import zlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

LARGEST_LINE = 1 << 20  # bytes of one streamed line; more is treated as a broken stream
LARGEST_REPLY = 1 << 27  # bytes, packed or not; an answer of 128,000 tokens, one an event of 400 bytes, has a third of it
MOST_LINES = 1 << 21  # three lines an event, of which the longest answers have some 100,000
LARGEST_TEXT = 1 << 20  # characters of an answer; 128,000 tokens have about 600,000
LARGEST_LABEL = 100  # characters of a finish reason, a model name, a fingerprint
MOST_TOKENS = 10**12  # sums of them over the calls of an episode still fit into a column
PIECE = 1 << 16  # bytes that are unpacked at once
GZIP = b"\x1f\x8b"  # begins a member
DAMAGE = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)
"""What parsing of a damaged event raises: a JSON text nested too deeply, a number of 5,000 digits, a list for a text."""
COUNTED = ("prompt_tokens", "completion_tokens", "prompt_tokens_details", "completion_tokens_details")
TIMED = ("cache_n", "draft_n", "draft_n_accepted")


class OversizedReplyError(Exception):
    """A reply exceeds a bound."""


class EncodedReplyError(Exception):
    """A reply is packed in a way that was not asked for and is not known."""


UNUSABLE = (*DAMAGE, OversizedReplyError, EncodedReplyError)
"""What reading and parsing a small body raises where the server sent no such thing."""


async def unpacked(response: Any, most: int = LARGEST_REPLY) -> AsyncIterator[bytes]:
    """The body of a response in pieces of at most 64 KiB or as they come, gzip and deflate unpacked; at most `most` bytes of
    it, as they come and as they unpack to. Raises OversizedReplyError, EncodedReplyError, or ValueError for damaged packing.
    """
    packing = response.headers.get("Content-Encoding", "").strip().lower()
    if packing not in ("", "identity", "gzip", "deflate"):
        raise EncodedReplyError(packing)
    unpacker = _Unpacker() if packing in ("gzip", "deflate") else None
    came = total = 0
    async for chunk in response.content.iter_any():
        came += len(chunk)
        for piece in (chunk,) if unpacker is None else unpacker.pieces(chunk):
            total += len(piece)
            if max(came, total) > most:
                raise OversizedReplyError
            yield piece
            await asyncio.sleep(0)


class _Unpacker:
    """Unpacks a body of gzip or deflate. Of gzip one member may follow another; what follows the last one, or the end of
    deflate, is no part of the body, as other clients have it."""

    def __init__(self) -> None:
        self._packed = zlib.decompressobj(wbits=47)  # either header
        self._between = b""
        self._gzip: bool | None = None
        self._over = False

    def pieces(self, chunk: bytes) -> Iterator[bytes]:
        """What these bytes unpack to, in pieces of at most 64 KiB, at least one."""
        left, self._between = self._between + chunk, b""
        if self._gzip is None and left:
            self._gzip = left[:1] == GZIP[:1]
        full = False  # may more of what was taken be to come?
        while (left or full) and not self._over:
            if self._packed.eof:
                left, full = left.lstrip(b"\0"), False  # zeros fill up
                if left in (b"", GZIP[:1]):  # what follows is not known yet
                    self._between = left
                    break
                self._over = not (self._gzip and left.startswith(GZIP))
                self._packed = zlib.decompressobj(wbits=31)
                continue
            try:
                piece = self._packed.decompress(left, PIECE)
            except zlib.error as error:
                raise ValueError("damaged packing") from error
            full = len(piece) == PIECE and not self._packed.eof
            left = self._packed.unused_data if self._packed.eof else self._packed.unconsumed_tail
            yield piece
        yield b""


async def body(response: Any, most: int) -> bytes:
    """The whole body, unpacked. Raises OversizedReplyError above `most` bytes, and what `unpacked` raises."""
    return b"".join([piece async for piece in unpacked(response, most)])


def count(value: object) -> int | None:
    """A token count as the server gave it, None where it is no count."""
    return value if type(value) is int and 0 <= value < MOST_TOKENS else None


def label(value: str) -> str:
    """A short text of a server, cut to `LARGEST_LABEL` characters, without what cannot be printed. It holds no key any more:
    the part of one that a cut leaves would not be found."""
    cut = value if len(value) <= LARGEST_LABEL else value[: LARGEST_LABEL - 1] + "…"
    return "".join(c if c.isprintable() else "\ufffd" for c in cut)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


class ReplyStream:
    """What has been read so far of one server-sent event stream; its texts as they came, whole, so that keys in them can be
    found before they are cut."""

    def __init__(self) -> None:
        self.first: float | None = None
        """When the first piece with content came, `time.perf_counter`."""
        self.finish: str | None = None
        """The reason for the end."""
        self.model: str | None = None
        """The model that the server names."""
        self.fingerprint: str | None = None
        """The system fingerprint that the server gives."""
        self.usage: dict[str, Any] = {}
        """Token counts, as given."""
        self.timings: dict[str, Any] = {}
        """Counts of llama.cpp, as given."""
        self._text = io.StringIO()
        self._length = 0

    async def read(self, pieces: AsyncIterator[bytes]) -> str | None:
        """Read to `[DONE]`; returns the error's name or None. Raises OversizedReplyError."""
        pending = bytearray()
        lines = 0
        async for piece in pieces:
            start = 0
            while (end := piece.find(b"\n", start)) >= 0:
                pending += piece[start:end]
                start = end + 1
                lines += 1
                if lines > MOST_LINES:
                    raise OversizedReplyError
                if lines == 1 and pending.startswith(codecs.BOM_UTF8):
                    del pending[: len(codecs.BOM_UTF8)]
                if pending:
                    ended, error = self._line(bytes(pending))
                    pending.clear()
                    if ended:
                        return error
            pending += piece[start:]
            if len(pending) > LARGEST_LINE:
                return "malformed_json"
        return "truncated_stream"

    def _line(self, line: bytes) -> tuple[bool, str | None]:
        """(is this the end?, the error's name)."""
        if not line.startswith(b"data:"):
            return False, None
        data = line[5:].strip()
        if data == b"[DONE]":
            return True, None if self.finish is not None else "truncated_stream"
        try:
            error = self.take(json.loads(data))
        except DAMAGE:
            return True, "malformed_json"
        return error is not None, error

    def take(self, event: dict) -> str | None:
        """Add one event; returns an error's name where the event is one. Raises one of `DAMAGE` for what is no event."""
        # Some gateways say `"error": null` beside every piece: an error is one that says something.
        if event.get("error") if isinstance(event, dict) else "error" in event:
            return "server_error"
        for kept, name, wanted in ((self.usage, "usage", COUNTED), (self.timings, "timings", TIMED)):
            given = event.get(name) or {}
            if not isinstance(given, dict):
                raise TypeError(f"{name} is an object or null")
            kept.update({key: given[key] for key in wanted if key in given})
        self.model = _text(event.get("model")) or self.model
        self.fingerprint = _text(event.get("system_fingerprint")) or self.fingerprint
        for choice in event.get("choices") or []:
            piece = (choice.get("delta") or {}).get("content")
            finish = choice.get("finish_reason")
            if not isinstance(piece, str | None) or not isinstance(finish, str | None):
                raise TypeError("content and finish_reason are text or null")
            if piece:
                if self.first is None:
                    self.first = time.perf_counter()
                self._text.write(piece)
                self._length += len(piece)
                if self._length > LARGEST_TEXT:
                    raise OversizedReplyError
            self.finish = finish or self.finish
        return None

    @property
    def text(self) -> str:
        """The answer as far as it came, at most one event beyond `LARGEST_TEXT`; a half surrogate pair is no text."""
        return self._text.getvalue().encode("utf-8", "replace").decode()

    def tokens(self) -> dict[str, Any]:
        """The counts of the reply by the name of their column."""
        read, written = (self.usage.get(name) for name in COUNTED[2:])
        cached = read.get("cached_tokens") if isinstance(read, dict) else self.timings.get("cache_n")
        return {
            "input_tokens": count(self.usage.get("prompt_tokens")),
            "output_tokens": count(self.usage.get("completion_tokens")),
            "cached_tokens": count(cached),
            "reasoning_tokens": count(written.get("reasoning_tokens")) if isinstance(written, dict) else None,
            "draft_tokens": count(self.timings.get("draft_n")),
            "accepted_tokens": count(self.timings.get("draft_n_accepted")),
        }
