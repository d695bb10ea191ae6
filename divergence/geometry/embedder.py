"""What made these vectors? Vectors of two embedders do not compare, so rows carry the name and hash of theirs.

Bare arrays have no name and are taken at their word. Where both sides have one, names must agree, and hashes too if both
are known; the answer's `method` names it. Only `cka` compares two embedders.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from divergence.errors import InputError

DIGITS = 12  # of a SHA-256 that are shown: no two embedders of one study share them


@dataclasses.dataclass(frozen=True)
class Embedder:
    """Who made a vector."""

    name: str
    """What a model card would call it."""
    sha256: str = ""
    """Of its weights, in hexadecimal digits; empty if not known."""

    def __str__(self) -> str:
        return f"{self.name} (sha256 {self.sha256[:DIGITS]})" if self.sha256 else self.name

    def agrees(self, other: Embedder) -> bool:
        """The same name, and the same hash where both are known."""
        return self.name == other.name and (self.sha256 == other.sha256 or not (self.sha256 and other.sha256))


@dataclasses.dataclass(frozen=True)
class Embeddings:
    """Rows of vectors with the name of what made them; goes wherever a table of rows goes."""

    rows: np.ndarray
    """(n, d)."""
    embedder: Embedder
    """Who made them."""

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index) -> Embeddings:
        return dataclasses.replace(self, rows=self.rows[index])

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return np.array(self.rows, dtype=dtype, copy=copy)


def embedder_of(values: object) -> Embedder | None:
    """The embedder of rows, of a state or of feature sums; None for a bare array."""
    return getattr(values, "embedder", None)


def one_embedder(*values: object) -> Embedder | None:
    """The embedder of all that have one, or None if none has. Raises InputError where they are mixed."""
    found: Embedder | None = None
    for candidate in (v if isinstance(v, Embedder) else embedder_of(v) for v in values):
        if candidate is None:
            continue
        if found is not None and not found.agrees(candidate):
            raise InputError(
                f"the rows come from two embedders, {found} and {candidate}: their vectors do not compare. "
                "Embed both with one, or ask `cka`, which compares two embedders on the same items"
            )
        found = candidate if found is None or not found.sha256 else found
    return found


def noted(*parts: object) -> str:
    """Parts of a note that say something, the embedder among them."""
    return "; ".join(f"embedder {p}" if isinstance(p, Embedder) else str(p) for p in parts if p)
