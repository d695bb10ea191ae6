"""What of an address, and of what others say about it, may be shown? No user, password or query, and no secret of the
environment: as it is, in other case, quoted for an address, in hexadecimal digits, or in base64, as a server echoes it."""

from __future__ import annotations

import base64
import functools
import os
import re
import urllib.parse

SECRETS = re.compile(r"(ACCESS_KEY|SECRET|TOKEN|PASSWORD|CREDENTIAL|SAS|ACCOUNT_KEY)", re.IGNORECASE)
"""Names of environment variables whose values are never shown."""
VALUE_MIN = 4  # characters of a value of the environment or of a query that is a secret
IN_BASE64_MIN = 7  # characters of one that is looked for in base64: the letters of fewer stand in any text


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
    """The text with every form of these secrets replaced.

    >>> without("you sent a2V5LTEyMzQ1 as KEY-12345", frozenset({"key-12345"}), "[key]")
    'you sent [key] as [key]'
    """
    found = _forms(secrets)
    return found.sub(instead, text) if found else text


@functools.lru_cache(maxsize=256)
def _forms(secrets: frozenset[str]) -> re.Pattern[str] | None:
    forms: set[str] = set()
    for secret in secrets:
        forms |= {secret, urllib.parse.quote(secret, safe=""), secret.encode().hex()}
        if len(secret) >= IN_BASE64_MIN:
            forms |= _in_base64(secret.encode())
    ordered = sorted(filter(None, forms), key=lambda form: (-len(form), form))
    return re.compile("|".join(map(re.escape, ordered)), re.IGNORECASE) if ordered else None


def _in_base64(secret: bytes) -> set[str]:
    """What a secret looks like in base64 wherever it begins: the letters that hold nothing but it."""
    found = set()
    for before in range(3):
        letters = base64.b64encode(b"\0" * before + secret).decode().rstrip("=")
        own = letters[-(-8 * before // 6) : 8 * (before + len(secret)) // 6]
        found |= {own, own.replace("+", "-").replace("/", "_")}
    return found


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
