"""A value as two files: JSON for what people read, npz for arrays, and hashes over both. Nothing is ever unpickled.

Who keeps something this way says what the files are called, which format they have, what they hold, and what to do about a
damaged one. Whatever is wrong with them is an InputError of one sentence.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import pathlib
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from divergence.errors import InputError
from divergence.numerics import is_finite

RISK_FILES = ("risk.json", "risk.npz")
"""What a risk model is saved as."""
LEVEL = 1  # of zlib: draws of 53 MB take 10.8 MB in half the time that 6, its own choice, takes for 9.9
TRIED = 2**15  # bytes of an array, in its middle, that tell whether packing it is worth the time
WORTH = 0.9  # of them, when packed: draws of a continuous number keep .96, and take most of the time of packing


class Saved(Protocol):
    """What can be written into a folder."""

    def save(self, folder: pathlib.Path) -> object:
        """Write it there."""


@dataclasses.dataclass(frozen=True)
class Sealed:
    """How one kind of value is kept."""

    words: str
    """Name of the JSON file."""
    arrays: str
    """Name of the npz file."""
    format: int
    """Version of what is in them."""
    what: str
    """What they hold, as in "is no saved posterior"."""
    again: str
    """What to do about files that cannot be used."""

    def contents(self, words: Mapping[str, object], arrays: Mapping[str, np.ndarray]) -> dict[str, bytes]:
        """Both files by name, as bytes."""
        held = io.BytesIO()
        with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED, compresslevel=LEVEL) as archive:
            for name, values in arrays.items():  # `np.savez_compressed` knows no level
                held_as = np.asanyarray(values)
                archive.compression = zipfile.ZIP_DEFLATED if _packs(held_as) else zipfile.ZIP_STORED
                with archive.open(f"{name}.npy", "w", force_zip64=True) as part:
                    np.lib.format.write_array(part, held_as, allow_pickle=False)
        packed = held.getvalue()
        written = {"format": self.format, **words, "arrays_sha256": hashlib.sha256(packed).hexdigest()}
        return {self.arrays: packed, self.words: (json.dumps(with_seal(written), indent=1) + "\n").encode()}

    def open(self, folder: pathlib.Path) -> tuple[dict, dict[str, np.ndarray]]:
        """Words and arrays of a folder. Raises InputError where they are missing, changed, or of another format."""
        for name in (self.words, self.arrays):
            if not (folder / name).is_file():
                raise InputError(f"{folder} holds no {self.what}: {name} is missing; {self.again}")
        path = folder / self.words
        try:
            words, packed = json.loads(path.read_text()), (folder / self.arrays).read_bytes()
        except OSError as error:
            raise InputError(f"{error.filename or folder} cannot be read: {error.strerror}") from None
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path} is not readable JSON ({error}); {self.again}") from None
        found = words.get("format") if isinstance(words, dict) else None
        if found != self.format:
            raise InputError(f"{folder} has format {found!r}, this version reads {self.format}; {self.again}")
        expected = words.pop(SEAL, None)
        if seal_of(words) != expected:
            raise InputError(f"{path} was changed after it was saved (its SHA-256 differs); {self.again}")
        if hashlib.sha256(packed).hexdigest() != words.pop("arrays_sha256", None):
            raise InputError(f"{folder / self.arrays} was changed after it was saved (its SHA-256 differs); {self.again}")
        del words["format"]
        try:
            with np.load(io.BytesIO(packed), allow_pickle=False) as saved:
                return words, {name: saved[name] for name in saved.files}
        except UNPACKING as error:
            raise self.damaged(folder, error) from None

    def damaged(self, folder: pathlib.Path, error: Exception) -> InputError:
        """The error of a folder whose files are as they were written and yet hold no whole value."""
        return InputError(f"{folder} holds no whole {self.what} ({type(error).__name__}: {_shown(error)}); {self.again}")


def _packs(values: np.ndarray) -> bool:
    """Does packing make the array smaller by what is worth its time?"""
    flat = values.reshape(-1)
    some = max(TRIED // max(values.itemsize, 1), 1)
    if len(flat) <= some:
        return True
    part = flat[(len(flat) - some) // 2 :][:some].tobytes()
    return len(zlib.compress(part, LEVEL)) < WORTH * len(part)


DAMAGE = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError, AssertionError)
"""What building a value of damaged parts raises."""
UNPACKING = (*DAMAGE, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError, MemoryError, struct.error)
"""What unpacking a damaged archive raises, its arrays and its words; a RuntimeError is one of a part that is encrypted."""
SEAL = "words_sha256"
"""The name under which words hold their own hash."""

Form = Any
"""What a value must be: a type or a tuple of types (`float` takes whole numbers, none but `bool` takes truth values); a
`range`, a whole number of it; `[form]`, a list of such; `{None: form}`, an object whose values are such; `{name: form}`, one
with these names (`name?`: or without it)."""
COUNT = range(1 << 53)
"""Form of a number of things."""


def check_form(value: object, form: Form, where: str) -> None:
    """Raise ValueError where a value that was read from JSON is not of the form.

    >>> check_form({"seed": 1, "notes": ["a"]}, {"seed": int, "notes": [str]}, "words")
    >>> check_form({"seed": "1"}, {"seed": int}, "words")
    Traceback (most recent call last):
    ValueError: words.seed is '1'
    """
    if isinstance(form, list):
        if isinstance(value, list):
            for place, inner in enumerate(value):
                check_form(inner, form[0], f"{where}[{place}]")
            return
    elif isinstance(form, dict):
        if isinstance(value, dict):
            wanted = {name: form[None] for name in value} if None in form else form
            for name, inner in wanted.items():
                bare = name.removesuffix("?")
                if bare in value:
                    check_form(value[bare], inner, f"{where}.{bare}")
                elif bare == name:
                    raise ValueError(f"{where} has no {name}")
            return
    elif isinstance(form, range):
        if isinstance(value, int) and not isinstance(value, bool) and value in form:
            return
    else:
        kinds = form if isinstance(form, tuple) else (form,)
        beyond = float in kinds and isinstance(value, int) and not is_finite(value)
        kinds = (*kinds, int) if float in kinds else kinds
        if isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool)) and not beyond:
            return
    raise ValueError(f"{where} is {repr(value)[:60]}")


def _shown(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def seal_of(words: dict) -> str:
    """SHA-256 of the words as they are written, their own hash left out."""
    return hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()


def with_seal(words: Mapping[str, object]) -> dict:
    """Words as JSON keeps them, with their own hash."""
    written = json.loads(json.dumps(words))
    return written | {SEAL: seal_of(written)}


def check_seal(words: dict) -> None:
    """Take the hash out of words that `with_seal` made; ValueError where they were changed, or cannot be written as a text.

    Files of earlier versions have no hash.
    """
    expected = words.pop(SEAL, None)
    if expected is not None and expected != seal_of(words):
        raise ValueError("it was changed after it was saved: its SHA-256 differs")
    json.dumps(words, ensure_ascii=False).encode()  # half of a surrogate pair cannot be shown or written again
