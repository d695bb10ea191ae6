"""What is kept between runs, in the user's cache folder: `DIVERGENCE_CACHE`, else `XDG_CACHE_HOME/divergence`, else
`~/.cache/divergence`. All of it can be deleted at any time."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from pathlib import Path


def cache_folder() -> Path:
    """The folder; it need not exist yet."""
    chosen = os.environ.get("DIVERGENCE_CACHE")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(chosen) if chosen else base / "divergence"


def kept_text(name: str, make: Callable[[], str]) -> str:
    """What `make` makes, made once and kept under `name` behind its own hash; made anew where the file is damaged.

    Where nothing can be written it is made each time.
    """
    path = cache_folder() / name
    with contextlib.suppress(OSError, UnicodeDecodeError):
        seal, _, text = path.read_bytes().decode().partition("\n")
        if seal == _seal(text):
            return text
    text = make()
    part = path.with_name(f".{name}.{os.getpid()}")  # no result of a run, so `staging` has no part in it
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            part.write_bytes(f"{_seal(text)}\n{text}".encode())
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
    return text


def _seal(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
