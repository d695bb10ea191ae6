"""Is the risk model on disk still the one that a run began with? A hash over the names and the bytes of its folder."""

from __future__ import annotations

import hashlib
import os
import pathlib

from divergence.errors import InputError


def folder_hash(folder: str | os.PathLike) -> str:
    """SHA-256 over the names and the SHA-256 of all files of a folder. Raises InputError where one cannot be read."""
    root = pathlib.Path(folder)
    total = hashlib.sha256()
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        try:
            with open(path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}") from None
        total.update(f"{path.relative_to(root).as_posix()} {digest}\n".encode())
    return "sha256:" + total.hexdigest()
