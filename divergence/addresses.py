"""What of an address, and of what others say about it, may be shown? No user, password or query, and no secret of the
environment in any form in which a server echoes it: as it is, in other case or other letters, quoted for an address, for
HTML or for JSON, in hexadecimal digits, in base64 or base32, alone or within something longer. A form of a form is not
looked for."""

from __future__ import annotations

import base64
import functools
import html
import os
import re
import unicodedata
import urllib.parse
from collections.abc import Callable, Iterable

from divergence.plain_text import JOINER, nfkc

SECRETS = re.compile(r"(ACCESS_KEY|SECRET|TOKEN|PASSWORD|CREDENTIAL|SAS|ACCOUNT_KEY)", re.IGNORECASE)
"""Names of environment variables whose values are never shown."""
VALUE_MIN = 4  # characters of a value of the environment or of a query that is a secret
PACKED_MIN = 7  # characters of one that is looked for in base64: the letters of fewer stand in any text


def shown(address: str) -> str:
    """An address without user, password and query.

    >>> shown("s3://KEY:SECRET@bucket/logs?region=x")
    's3://bucket/logs'
    """
    kind, mark, rest = address.partition("://")
    if not mark:
        return address
    rest = rest.split("?", 1)[0].split("#", 1)[0]
    host, slash, path = rest.partition("/")
    return f"{kind}://{host.rpartition('@')[2]}{slash}{path}"


def without(text: str, secrets: frozenset[str], instead: str) -> str:
    """The text with every form of these secrets replaced. Where one shows only in what the text says another way (its
    escapes resolved, its letters in their plain form), that is what is returned, without it.

    A text is cut after this, never before it: the part of a secret that a cut leaves is found by nobody.

    >>> without("you sent a2V5LTEyMzQ1 as KEY-12345", frozenset({"key-12345"}), "[key]")
    'you sent [key] as [key]'
    >>> without("you sent key&#45;12345 as \uff4bey-12345", frozenset({"key-12345"}), "[key]")
    'you sent [key] as [key]'
    """
    forms, packed = _forms(secrets)
    found = text
    for _ in range(ROUNDS if forms else 0):
        before = found
        found = _marked(found, forms)
        for view in VIEWS:
            seen = view(found)
            if seen != found:
                marked = _marked(seen, packed if view is _joined else forms)
                found = found if marked == seen else marked
        if found == before:
            break
    return text if found == text else found.replace(MARK, instead)


def _marked(text: str, forms: tuple[str, ...]) -> str:
    """The text with a mark for each of these forms, whatever its case."""
    low = text.lower() if text.isascii() else text.translate(LOWER)  # as long as the text
    present = [form for form in forms if form in low]
    if not present:
        return text
    parts, end = [], 0
    for found in re.finditer("|".join(map(re.escape, present)), low):
        parts += [text[end : found.start()], MARK]
        end = found.end()
    return "".join([*parts, text[end:]])


@functools.lru_cache(maxsize=256)
def _forms(secrets: frozenset[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(All forms, those of them in which a secret is packed), lower-cased, the longest first."""
    plain: set[str] = set()
    packed: set[str] = set()
    for secret in secrets:
        plain |= {secret, urllib.parse.quote(secret, safe="")}
        for said in {secret, secret.lower(), secret.upper()}:
            packed.add(said.encode("utf-8", "replace").hex())
            if len(secret) >= PACKED_MIN:
                packed |= _aligned(said.encode("utf-8", "replace"))
    return tuple(_ordered(plain | packed)), tuple(_ordered(form for form in packed if len(form) >= PACKED_MIN))


def _ordered(forms: Iterable[str]) -> list[str]:
    return sorted({form.translate(LOWER) for form in forms if form}, key=lambda form: (-len(form), form))


def _aligned(secret: bytes) -> set[str]:
    """What a secret looks like in base64 and base32 wherever it begins: the letters that hold nothing but it."""
    found = set()
    for pack, bits in ((base64.b64encode, 6), (base64.b32encode, 5)):
        for before in range(3 if bits == 6 else 5):
            letters = pack(b"\0" * before + secret).decode().rstrip("=")
            own = letters[-(-8 * before // bits) : 8 * (before + len(secret)) // bits]
            found |= {own, own.replace("+", "-").replace("/", "_")}
    return found


def _plain(text: str) -> str:
    """The text as readers compare it: in one Unicode form and one case, without letters that nobody sees."""
    if text.isascii():
        return text
    hidden = {ord(letter): None for letter in set(text) if unicodedata.category(letter) == "Cf" or letter == JOINER}
    return nfkc(nfkc(text.translate(hidden)).casefold())


def _unquoted(text: str) -> str:
    """The text of an address."""
    return urllib.parse.unquote(text, errors="replace") if "%" in text else text


def _of_markup(text: str) -> str:
    """The text of HTML or XML."""
    return ENTITY.sub(lambda found: html.unescape(found[0]), text) if "&" in text else text


def _of_literal(text: str) -> str:
    """The text of a literal of JSON or of a programming language."""
    return ESCAPE.sub(lambda found: chr(int(found[1] or found[2], 16)) if not found[3] else found[3], text)


def _joined(text: str) -> str:
    """The text without what parts packed letters: white space, colons, hyphens, and the sign of a hexadecimal number."""
    return PARTED.sub("", text)


ENTITY = re.compile(r"&(?:#0{0,9}\d{1,7}|#x0{0,9}[0-9a-f]{1,6}|[a-z]{1,12});?", re.IGNORECASE)
ESCAPE = re.compile(r"\\(?:u\{?00([0-9a-f]{2})\}?|x([0-9a-f]{2})|([^a-z0-9]))", re.IGNORECASE)
PARTED = re.compile(r"[\s:,;|-]+(?:0x)?", re.IGNORECASE)
VIEWS: tuple[Callable[[str], str], ...] = (_plain, _unquoted, _of_markup, _of_literal, _joined)
"""What else a text says; each gives the text itself where it says nothing else."""
LOWER = {letter: letter + 32 for letter in range(ord("A"), ord("Z") + 1)}
MARK = "\uffff"  # no character; it stands for a secret until all are found, as what is put there may hold one's letters
ROUNDS = 4  # views that are taken one after the other, where one shows something


def scrubbed(text: str, *addresses: str) -> str:
    """A message without the secrets of the environment and of these addresses."""
    secrets = {value for name, value in os.environ.items() if SECRETS.search(name) and len(value) >= VALUE_MIN}
    for address in addresses:
        parts = address.partition("://")[2].split("#", 1)[0]
        if parts:
            place, _, query = parts.partition("?")
            user = place.partition("/")[0].rpartition("@")[0]
            secrets |= {part for part in re.split(r"[:@]", user) if part}
            secrets |= {value for _, value in urllib.parse.parse_qsl(query) if len(value) >= VALUE_MIN}
            text = text.replace(address, shown(address))
    return without(text, frozenset(secrets | set(map(urllib.parse.unquote, secrets))), "***")


def sentence(error: BaseException, *addresses: str) -> str:
    """What an error says, on one line and without secrets."""
    text = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    text = " ".join(text.split("(Request ID")[0].split(". Detail:")[0].split())
    return scrubbed(text[:1].lower() + text[1:], *addresses).rstrip(" .")[:400]
