"""What of people and texts may leave a foreign log: by default nothing.

Prompts, completions, keys, user ids and addresses are never copied. Where identity needs one of them (is it the same
user, the same conversation, the same prompt?) a salted hash stands for it:

    SHA-256(salt, kind, value), the first 16 hexadecimal digits

Of an answer a choice or a number stays, and the hash of any other text, so that answers can be compared (`kept_values`).

The salt is the user's: a file that is made on first use, readable by the owner only, and that no result carries. Two
imports with one salt agree on who is who; nobody without the salt can try values against the hashes. Texts themselves
are kept only where the user asks (`--keep-text`), in a table of their own beside the executions.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import os
import re
import secrets
import tempfile
from pathlib import Path

from divergence.errors import InputError
from divergence.plain_text import nfkc

SALT_BYTES = 32
DIGITS = 16  # 64 bits: a million identities collide with probability 3e-8
SPACES = re.compile(r"\s+")


class Privacy:
    """What may be kept, whether items are known by their prompts, and the salt of identities, read when first needed.

    `lenient` is for rows that are not written to be kept: where the user's salt can be neither read nor made (a home that
    is read-only), one of this process stands for it.
    """

    def __init__(
        self,
        keep_text: bool = False,
        salt: bytes | None = None,
        salt_path: Path | None = None,
        item_by_prompt: bool = False,
        lenient: bool = False,
    ):
        self.keep_text = keep_text
        self.item_by_prompt = item_by_prompt
        self.salt_path = salt_path
        self.lenient = lenient
        self._given = salt

    @property
    def wants_texts(self) -> bool:
        """Is a prompt to be looked at, to keep it or to know the item by it?"""
        return self.keep_text or self.item_by_prompt

    @functools.cached_property
    def salt(self) -> bytes:
        """The user's salt; made on first use. Raises InputError where it can be neither read nor made."""
        if self._given is not None:
            return self._given
        try:
            return _salt(self.salt_path or default_salt_path())
        except InputError:
            if not self.lenient:
                raise
            return _of_this_process()

    def portable(self) -> Privacy:
        """The same, with the salt in it: for another machine, which has not the user's file."""
        return Privacy(self.keep_text, self.salt, None, self.item_by_prompt)

    def pseudonym(self, kind: str, value: object) -> str:
        """A stable name for a user, a key or an address, which cannot be turned back without the salt."""
        message = f"{kind}\0{value}".encode("utf-8", "backslashreplace")
        return f"{kind}:{hmac.new(self.salt, message, hashlib.sha256).hexdigest()[:DIGITS]}"

    def prompt_item(self, prompt: str) -> str:
        """The identity of an item by its prompt: equal for prompts that differ in space and in Unicode form only."""
        return self.pseudonym("prompt", SPACES.sub(" ", nfkc(prompt)).strip())


def default_salt_path() -> Path:
    """Where the user's salt lies: `$XDG_CONFIG_HOME/divergence/salt`, or `~/.config/divergence/salt`."""
    home = os.environ.get("XDG_CONFIG_HOME")
    return (Path(home) if home else Path.home() / ".config") / "divergence" / "salt"


@functools.cache
def _of_this_process() -> bytes:
    return secrets.token_bytes(SALT_BYTES)


def _salt(path: Path) -> bytes:
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            number, fresh = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)  # readable by its owner only
            try:
                with os.fdopen(number, "w") as file:
                    file.write(secrets.token_hex(SALT_BYTES) + "\n")
                os.link(fresh, path)  # as a whole, and never over another one
            finally:
                os.unlink(fresh)
        written = path.read_text().strip()
    except FileExistsError:
        return _salt(path)  # another import made it in the meantime
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The salt {path} can neither be read nor made ({error}): name another with --salt.") from error
    if len(written) < DIGITS:
        raise InputError(
            f"The salt {path} has {len(written)} characters: it needs at least {DIGITS}; delete it for a new one."
        )
    return written.encode()
