"""Is a secret found in every form in which a server may send it back, and nothing else touched?"""

import base64
import html
import json
import random
import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from divergence.addresses import without

SECRETS = ("Qz-9\"k/T&4<v+Lm=e'x", "sk-live-00Zr8PpTt5JjKk2Ww", "pa%41ss&amp;w0rd\\u0041")
PLAIN = {
    "itself": str,
    "lower": str.lower,
    "upper": str.upper,
    "full width": lambda key: "".join(chr(ord(letter) + 0xFEE0) for letter in key),
    "bold": lambda key: "".join(chr(0x1D7CE + int(c)) if c.isdecimal() else c for c in key.replace("k", "\u212a")),
    "unseen letters": "\u200b".join,
    "soft hyphens": "\u00ad".join,
    "joiners": "\u034f".join,
    "address": lambda key: urllib.parse.quote(key, safe=""),
    "address with slashes": urllib.parse.quote,
    "form": urllib.parse.quote_plus,
    "every letter of an address": lambda key: "".join(f"%{ord(letter):02x}" for letter in key),
    "html": html.escape,
    "html decimal": lambda key: "".join(f"&#{ord(letter)};" for letter in key),
    "html hexadecimal": lambda key: "".join(f"&#x{ord(letter):X};" for letter in key),
    "json": lambda key: json.dumps(key)[1:-1],
    "json u": lambda key: "".join(f"\\u{ord(letter):04X}" for letter in key),
    "some of json": lambda key: "".join(f"\\u{ord(c):04x}" if n % 3 else json.dumps(c)[1:-1] for n, c in enumerate(key)),
    "literal": lambda key: repr(key.encode())[2:-1],
    "literal x": lambda key: "".join(f"\\x{ord(letter):02x}" for letter in key),
}
BYTES = {
    "hexadecimal": bytes.hex,
    "hexadecimal, spaces": lambda key: key.hex(" "),
    "hexadecimal, colons": lambda key: key.hex(":").upper(),
    "hexadecimal, hyphens": lambda key: key.hex("-"),
    "hexadecimal numbers": lambda key: ", ".join(f"0x{byte:02x}" for byte in key),
    "base64": lambda key: base64.b64encode(key).decode(),
    "base64, short lines": lambda key: "\n".join(base64.b64encode(key).decode()[n : n + 5] for n in range(0, 99, 5)),
    "base64 for addresses": lambda key: base64.urlsafe_b64encode(key).decode(),
    "base64 lower": lambda key: base64.b64encode(key).decode().lower(),
    "base32": lambda key: base64.b32encode(key).decode(),
    **{f"base64 within, {n}": lambda key, n=n: base64.b64encode(b"u" * n + key + b"end").decode() for n in range(1, 4)},
    **{f"base32 within, {n}": lambda key, n=n: base64.b32encode(b"u" * n + key + b"end").decode() for n in range(1, 6)},
}
CASES = {"as it is": str, "lower-cased": str.lower, "upper-cased": str.upper}
FORMS = {
    **PLAIN,
    **{
        f"{form} of it {case}": lambda key, form=form, case=case: BYTES[form](CASES[case](key).encode())
        for form in BYTES
        for case in CASES
    },
}


@pytest.mark.parametrize("secret", SECRETS, ids=range(len(SECRETS)))
@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_found(form, secret):
    said = FORMS[form](secret)
    found = without(f"you sent {said}, we say no", frozenset({secret, "another-key"}), "[key]")
    assert "[key]" in found and found.startswith("you")
    if "within" in form:  # what stands around it stays: up to eight bytes, the last of them filled up
        assert len(found) <= len("you sent [key], we say no") + 8 * 8 / 5 + 2 + 6
    else:
        assert not [n for n in range(len(said) - 5) if said[n : n + 6] in found]
    assert not [n for n in range(len(secret) - 5) if secret[n : n + 6].lower() in found.lower()]


def test_several_forms_in_one_text():
    names = random.Random(5).sample(sorted(FORMS), len(FORMS))
    for first, second in zip(names[::2], names[1::2], strict=False):
        text = f"one {FORMS[first](SECRETS[1])} two {FORMS[second](SECRETS[0])} three"
        assert without(text, frozenset(SECRETS), "*").count("*") == 2, (first, second)


PIECES = st.sampled_from(
    ["100%", "%41", "&amp;", "&#65;", "\\u0041", "\\", "a:b", "53 6b", "ZZ==", "\uff41", "e\u0301", "\u200b", "\uffff"]
)


@given(st.lists(PIECES | st.text(max_size=5), max_size=12).map("".join))
def test_a_text_without_a_secret_is_itself(text):
    assert without(text, frozenset({"sk-live-00Zr8PpTt5JjKk2Ww", "Bearer-0123"}), "[key]") == text
    assert without(text, frozenset(), "[key]") == text


@pytest.mark.parametrize("text", ["&#" + "0" * 6000 + "83;", "&#" + "9" * 6000, "&#x" + "f" * 6000, "%" * 9000, "\\" * 9000])
def test_odd_escapes_are_texts(text):
    assert without(text, frozenset({"secret-1234"}), "[key]") == text


def test_what_stands_for_a_secret_may_hold_its_letters():
    assert without("the key is KEY, k%65y", frozenset({"key"}), "[key]") == "the [key] is [key], [key]"
