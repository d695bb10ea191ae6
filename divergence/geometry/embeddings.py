"""Where do the vectors come from? A column, a function of texts, or a file of hidden states; all become `Embeddings`.

    embeddings(frame)                                    a file beside a log: embedding [* scale], embedder, embedder_sha256
    embeddings(rows, embedder="e5-small", sha256="...")  any table of numbers, named
    embed(texts, function)                               texts to rows; the function may carry `name` and `sha256`
    read_embeddings("layer12.npy", embedder="qwen L12")  hidden states, .npy or .safetensors, read as a memory map

`divergence.probe.embedder.MiniLM()` is such a function, from packages and offline. Source of the format: safetensors,
8 bytes of header length, a JSON header, the numbers.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable, Sequence

import numpy as np
import polars as pl

from divergence.errors import InputError
from divergence.geometry.embedder import Embedder, Embeddings
from divergence.geometry.usable_rows import table

BATCH = 1024  # texts handed to a function at once
TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
LARGEST_HEADER = 100_000_000  # the format's own limit


def embeddings(values: object, *, embedder: str | None = None, sha256: str = "") -> Embeddings:
    """Named rows out of a table of numbers, or out of a frame with `embedding`, `embedder`, `embedder_sha256`.

    Raises InputError for a table without a name, a frame that mixes embedders, or rows of different lengths.
    """
    if not isinstance(values, pl.DataFrame):
        if not embedder:
            raise InputError("embedder is missing: name what made these rows, so that others are not compared with them")
        return Embeddings(table(values, "embeddings"), Embedder(embedder, sha256))
    if "embedding" not in values.columns:
        raise InputError(f"the frame has no column embedding (it has {', '.join(values.columns)})")
    rows = table(values["embedding"], "embedding")
    if "scale" in values.columns:
        rows = rows.astype(np.float32) * values["scale"].cast(pl.Float32).to_numpy()[:, None]
    return Embeddings(rows, _named(values, embedder, sha256))


def _named(frame: pl.DataFrame, embedder: str | None, sha256: str) -> Embedder:
    found = {}
    for column, given in (("embedder", embedder), ("embedder_sha256", sha256)):
        seen = frame[column].drop_nulls().unique().sort().to_list() if column in frame.columns else []
        if len(seen) > 1:
            raise InputError(
                f"The embeddings come from several embedders ({', '.join(seen[:4])}): their vectors do not "
                "compare. Keep the rows of one."
            )
        if seen and given and seen[0] != given:
            raise InputError(f"{column} is {seen[0]} in the frame and {given} in the call: drop one of them")
        found[column] = seen[0] if seen else given
    if not found["embedder"]:
        raise InputError("embedder is missing: name what made these rows, in a column embedder or in the call")
    return Embedder(found["embedder"], found["embedder_sha256"] or "")


def embed(
    texts: Sequence[str], function: Callable[[list[str]], object], *, embedder: str | None = None, sha256: str = ""
) -> Embeddings:
    """Rows of the texts: each distinct text is embedded once, in batches. Raises InputError for what gives no rows.

    Name and hash are those given, else the function's attributes `name` and `sha256`, else the name of the function.
    """
    texts = list(texts)
    wrong = [k for k, text in enumerate(texts) if not isinstance(text, str)]
    if wrong:
        raise InputError(f"text {wrong[0]} is {texts[wrong[0]]!r} ({len(wrong)} are no texts): give a string a row")
    if not texts:
        raise InputError("no texts: give at least one to embed")
    name = embedder or getattr(function, "name", None) or getattr(function, "__qualname__", type(function).__qualname__)
    distinct = list(dict.fromkeys(texts))
    parts = []
    for start in range(0, len(distinct), BATCH):
        part = distinct[start : start + BATCH]
        rows = table(function(part), f"what {name} returned")
        if len(rows) != len(part) or (parts and rows.shape[1] != parts[0].shape[1]):
            raise InputError(
                f"{name} returned a table of {rows.shape[0]} x {rows.shape[1]} for {len(part)} texts: "
                "one row a text is needed, and one number of dimensions"
            )
        parts.append(rows)
    place = {text: k for k, text in enumerate(distinct)}
    rows = np.concatenate(parts)[[place[text] for text in texts]]
    return Embeddings(rows, Embedder(name, sha256 or getattr(function, "sha256", "")))


def read_embeddings(
    path: str | pathlib.Path, *, embedder: str | None = None, sha256: str = "", tensor: str | None = None
) -> Embeddings:
    """Rows of a `.npy` or `.safetensors` file without loading it; `tensor` names one of several.

    The name is the one given, or `embedder` (and `embedder_sha256`) in the file's metadata. Raises InputError.
    """
    path = pathlib.Path(path)
    try:
        if path.suffix == ".npy":
            rows, metadata = np.load(path, mmap_mode="r", allow_pickle=False), {}
        elif path.suffix == ".safetensors":
            rows, metadata = _safetensors(path, tensor)
        else:
            raise InputError(f"{path.name} is no .npy or .safetensors file")
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path.name} cannot be read: {error}") from None
    if rows.ndim == 3:
        raise InputError(
            f"{path.name} holds {' x '.join(map(str, rows.shape))} numbers (rows, tokens, dimensions): average "
            "the tokens, or take the last one, before comparing rows"
        )
    name = embedder or metadata.get("embedder")
    return embeddings(rows, embedder=name, sha256=sha256 or metadata.get("embedder_sha256", ""))


def _safetensors(path: pathlib.Path, tensor: str | None) -> tuple[np.ndarray, dict[str, str]]:
    """(the tensor, the file's metadata)."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(LARGEST_HEADER, path.stat().st_size - 8):
            raise InputError(f"{path.name} is no safetensors file: its header claims {length} bytes")
        header = json.loads(file.read(length))
    metadata = header.pop("__metadata__", {})
    names = sorted(header)
    if tensor is None and len(names) != 1:
        raise InputError(f"{path.name} holds {len(names)} tensors ({', '.join(names[:6])}): say tensor=")
    if tensor is not None and tensor not in header:
        raise InputError(f"{path.name} has no tensor {tensor}: choose {', '.join(names[:6])}")
    entry = header[tensor or names[0]]
    if entry["dtype"] not in TYPES:
        raise InputError(f"tensor {tensor or names[0]} holds {entry['dtype']}, an embedding holds {', '.join(TYPES)}")
    start, shape = 8 + length + entry["data_offsets"][0], tuple(entry["shape"])
    rows = np.memmap(path, dtype=TYPES[entry["dtype"]], mode="r", offset=start, shape=shape)
    if entry["dtype"] == "BF16":  # the upper half of a float32
        rows = (rows.astype(np.uint32) << 16).view(np.float32)
    return rows, metadata
