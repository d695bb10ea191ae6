"""Is what a server sends read as other clients read it, within its bounds, and cut only when no key is in it?"""

import asyncio
import base64
import dataclasses
import gzip
import json
import random
import types
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from divergence.probe import client, reply_stream
from divergence.probe.reply_stream import LARGEST_TEXT, OversizedReplyError, ReplyStream, body, unpacked

ZEROS = b"\0" * 100_000
NOISE = random.Random(3).randbytes(300)


def response(wire: bytes, packing: str = "gzip", size: int = 1 << 17) -> types.SimpleNamespace:
    async def iter_any():
        for start in range(0, len(wire), size):
            yield wire[start : start + size]

    return types.SimpleNamespace(headers={"Content-Encoding": packing}, content=types.SimpleNamespace(iter_any=iter_any))


def read(wire: bytes, packing: str = "gzip", size: int = 1 << 17, most: int = 1 << 22) -> bytes:
    return asyncio.run(body(response(wire, packing, size), most))


PARTS = st.lists(st.binary(max_size=40) | st.just(ZEROS), min_size=1, max_size=5)
AFTER = st.sampled_from([b"", b"\0", b"\0" * 70_000, b"\x1f", b"\x1fx", b"garbage", b"\0\0{}", NOISE.lstrip(b"\x1f")])


@given(PARTS, AFTER, st.sampled_from([1, 7, 300, 1 << 17]), st.sampled_from(["gzip", "deflate"]))
def test_members_follow_one_another_and_what_follows_them_is_nothing(parts, after, size, packing):
    wire = b"\0".join(gzip.compress(part) for part in parts) + after
    size = max(size, len(wire) // 500)  # a long wire comes in some hundred pieces
    assert read(wire, packing, size) == b"".join(parts)
    single = zlib.compress(b"".join(parts))
    assert read(single + after, packing, size) == b"".join(parts)
    assert read(single + gzip.compress(b"more"), packing, size) == b"".join(parts)


@pytest.mark.parametrize("size", [1, 50, 1 << 17])
def test_what_is_still_within_the_unpacker_comes_out(size):
    content = b"a" * (reply_stream.PIECE * 5) + NOISE
    assert read(gzip.compress(content), size=size) == content
    cut = gzip.compress(content)[:-9]  # without its end: what was said so far
    assert content.startswith(read(cut, size=size)) and len(read(cut, size=size)) >= reply_stream.PIECE * 5


@pytest.mark.parametrize("second", [gzip.compress(NOISE)[:40] + b"\xff" * 300, b"\x1f\x8b\x09" + NOISE])
def test_a_member_that_is_damaged_is_damage(second):
    with pytest.raises(ValueError, match="damaged packing"):
        read(gzip.compress(b"fine") + second)


@pytest.mark.parametrize(
    "start, block",
    [
        (gzip.compress(b": hi\n\n"), b"\0" * 50_000),
        (gzip.compress(b": hi\n\n"), b"\x1fgarbage" * 5000),
        (gzip.compress(b""), gzip.compress(b"") * 300),
        (zlib.compress(b"x"), b"more" * 9000),
        (b"", gzip.compress(b"\n") * 300),
    ],
    ids=["zeros", "garbage", "empty members", "after deflate", "small members"],
)
def test_what_says_nothing_is_bounded_by_its_bytes(start, block):
    read_so_far = 0

    async def pours():
        nonlocal read_so_far
        yield start
        while True:
            read_so_far += len(block)
            yield block

    endless = types.SimpleNamespace(
        headers={"Content-Encoding": "gzip"}, content=types.SimpleNamespace(iter_any=lambda: pours())
    )

    async def all_of_it():
        return [piece async for piece in unpacked(endless, 1 << 20)]

    with pytest.raises(OversizedReplyError):
        asyncio.run(all_of_it())
    assert read_so_far <= (1 << 20) + len(block)


def taken(*events: object) -> tuple[str | None, ReplyStream]:
    stream = ReplyStream()
    wire = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events) + b"data: [DONE]\n\n"

    async def pieces():
        yield wire

    return asyncio.run(stream.read(pieces())), stream


@pytest.mark.parametrize("nothing", [None, {}, "", False, [], 0])
def test_an_error_that_says_nothing_is_none(nothing):
    said = {"choices": [{"delta": {"content": "4"}, "finish_reason": "stop"}], "error": nothing}
    error, stream = taken(said, {"error": nothing, "usage": {"prompt_tokens": 7}})
    assert error is None and stream.text == "4" and stream.tokens()["input_tokens"] == 7


@pytest.mark.parametrize("something", [{"message": ""}, "overloaded", True, 503, [None]])
def test_an_error_that_says_something_ends_the_reply(something):
    said = {"choices": [{"delta": {"content": "4"}, "finish_reason": "stop"}], "error": something}
    assert taken(said)[0] == "server_error"


KEY = "Zx-9Lq/Vb+7Tm~" + "wE4rT6yU8" * 9
HEAD = {"Accept": client.STREAM, "Authorization": f"Bearer {KEY}", "X-Key": f"Token {KEY[::-1]}"}
FORMS = {
    "itself": KEY,
    "upper": KEY.upper(),
    "html": "".join(f"&#x{ord(letter):04x};" for letter in KEY),
    "base64": base64.b64encode(b"xx" + KEY.encode()).decode(),
    "full width": "".join(chr(ord(letter) + 0xFEE0) for letter in KEY),
    "reversed, of another header": KEY[::-1],
}


def parts_of(form: str) -> set[str]:
    """What a part of a key looks like, from its middle."""
    return {form[n : n + 8].lower() for n in range(4, len(form) - 12)}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("before", [0, 30, 60, 95, 99, 150])
def test_a_label_is_cut_when_no_key_is_in_it(before, form):
    said = "#" * before + form + "#" * 40
    reply = client.Reply(finish_reason=said, served_model=said, system_fingerprint=said, replica=said, error_type="timeout")
    kept = client._kept(reply, HEAD)
    for name in client.LABELS:
        text = getattr(kept, name)
        assert len(text) <= reply_stream.LARGEST_LABEL and text.isprintable()
        assert not [part for part in parts_of(form) | parts_of(KEY) if part in text.lower()]


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("size", [1000, 100_000])
def test_a_text_beyond_its_bound_ends_with_no_part_of_a_key(size, form):
    for short in (len(form) // 2, len(form) - 1, 20):  # of the key is within the bound
        text = "-" * (LARGEST_TEXT - short) + form + "-" * 9000
        error, stream = None, ReplyStream()
        with pytest.raises(OversizedReplyError):
            for start in range(0, len(text), size):
                error = error or stream.take({"choices": [{"delta": {"content": text[start : start + size]}}]})
        kept = client._kept(client.Reply(text=stream.text, error_type="oversized_reply"), HEAD)
        assert len(kept.text) <= LARGEST_TEXT and len(kept.text) > LARGEST_TEXT - 20 * len(KEY)
        assert not [part for part in parts_of(form) if part in kept.text[-20 * len(KEY) :].lower()]


def test_a_whole_text_loses_nothing():
    reply = client.Reply(text="a" * LARGEST_TEXT, finish_reason="stop")
    assert client._kept(reply, HEAD) == reply == dataclasses.replace(reply)
