"""JSON that is parsed faster is what `json` makes of it: the same values of the same types, or the same refusal."""

import json
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from divergence.executions.importers import foreign_files

pytest.importorskip("msgspec", reason="msgspec (extra fast) is not installed")

ODD = [
    *(
        b'{"a":1e999}',
        b'{"a":-0}',
        b'{"a":-0.0}',
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":1,"a":2}',
        b'{"a":1} x',
        b' {"a":1} ',
    ),
    *(
        b'{"a":12345678901234567890123}',
        b'{"a":' + b"9" * 4000 + b"}",
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":18446744073709551616}',
    ),
    *(
        b'{"a":"\\ud800"}',
        b'{"a":"\\ud83d\\ude00"}',
        b'{"a":"\\udc00\\ud800"}',
        b'{"a":"\x01"}',
        b'{"a":"\xff"}',
        b'{"a":"\xed\xa0\x80"}',
    ),
    *(
        b'\xef\xbb\xbf{"a":1}',
        b'{"a":01}',
        b'{"a":1.}',
        b'{"a":.5}',
        b'{"a":+1}',
        b'{"a":1,}',
        b'{"a":tru}',
        b"{'a':1}",
        b"",
    ),
    *(
        b"5",
        b"[1]",
        b'"x"',
        b"null",
        b'{"\\u0061":1,"a":2}',
        b'{"a":9007199254740993.0}',
        b'{"a":1e-400}',
        b'{"a":"\\u0000"}',
    ),
    *(b'{"a":' + b"[" * depth + b"]" * depth + b"}" for depth in (900, 2000, 200_000)),
]


def both(monkeypatch, data):
    """What is made of some bytes by the fast parser and without it."""
    found = []
    for fast in (foreign_files._fast_decoder()[0], None):
        monkeypatch.setattr(foreign_files, "_FAST", fast)
        try:
            found.append(repr(foreign_files.parsed(data)))
        except ValueError as error:
            found.append(f"refused: {error}")
    return found


@pytest.mark.parametrize("data", ODD, ids=lambda data: repr(data[:20]))
def test_odd_documents(monkeypatch, data):
    fast, slow = both(monkeypatch, data)
    assert fast == slow


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES, st.booleans(), st.integers(0, 30), st.binary(max_size=2))
@settings(max_examples=300, deadline=None)
def test_drawn_documents_and_damaged_ones(value, plain, place, damage):
    data = json.dumps(value, ensure_ascii=plain).encode("utf-8", "surrogatepass")
    with pytest.MonkeyPatch.context() as patched:
        for given_bytes in (data, data[:place] + damage + data[place + 1 :]):
            fast, slow = both(patched, given_bytes)
            assert fast == slow


@given(st.binary(min_size=8, max_size=8), st.integers(1, 40))
@settings(max_examples=300, deadline=None)
def test_numbers_to_the_last_bit(eight, digits):
    number = abs(struct.unpack("d", eight)[0])
    if number < 1e308:
        with pytest.MonkeyPatch.context() as patched:
            fast, slow = both(patched, f"[{number!r}, {number:.{digits}e}, {number:.{digits}g}]".encode())
        assert fast == slow
