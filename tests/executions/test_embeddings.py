"""Do vectors find the executions whose text they are of, and are those of different embedders kept apart?"""

import numpy as np
import polars as pl
import pytest

from divergence.errors import InputError
from divergence.executions import read
from divergence.executions.embedded_texts import text_hash

LOG = pl.DataFrame(
    {
        "regime": ["evaluation", "deployment", "deployment"],
        "model": ["m"] * 3,
        "context": ["a", "b", "b"],
        "item": ["i", "i", "j"],
        "score": [1.0, 0.0, 1.0],
        "answer": ["yes", "no", None],
    }
)


def table(**more):
    rows = {
        "text_hash": [text_hash("yes"), text_hash("no"), text_hash("question i")],
        "item": [None, None, "i"],
        "embedding": [[127, 0], [0, -127], [10, 20]],
        "scale": [1 / 127, 1 / 127, 0.1],
        "embedder": ["e"] * 3,
    }
    return pl.DataFrame(rows | more, schema_overrides={"embedding": pl.List(pl.Int8), "scale": pl.Float32})


@pytest.fixture
def folder(tmp_path):
    LOG.write_parquet(tmp_path / "log.parquet")
    return tmp_path


def test_vectors_are_joined_by_text(folder):
    table().write_parquet(folder / "embeddings.parquet")
    log = read(folder)
    assert log.skipped == () and log.counts.valid == 3
    rows = log.embedded()
    assert rows["execution_id"].to_list() == log.valid["execution_id"].to_list()
    assert np.allclose(rows["embedding"].to_list()[:2], [[1, 0], [0, -1]]) and rows["embedding"][2] is None
    assert np.allclose(rows["prompt_embedding"][0].to_list(), [1, 2]) and rows["prompt_embedding"][2] is None


def test_the_logs_own_column_serves_as_well(tmp_path):
    LOG.with_columns(embedding=pl.Series([[1.0, 2.0]] * 3, dtype=pl.List(pl.Float32))).write_parquet(tmp_path / "l.parquet")
    assert read(tmp_path).embedded()["embedding"][0].to_list() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"embedder": ["e", "e", "f"]}, "several embedders"),
        ({"embedding": [[1, 2], [1], [1, 2]]}, "vectors of 1 and of 2"),
    ],
)
def test_what_does_not_compare_is_a_sentence(folder, wrong, words):
    table(**wrong).write_parquet(folder / "embeddings.parquet")
    with pytest.raises(InputError, match=words):
        read(folder).embedded()


def test_a_log_without_any_says_what_to_add(folder):
    with pytest.raises(InputError, match="no embeddings: add a column embedding"):
        read(folder).embedded()


def own(tmp_path, **more):
    """A log with its own column: two runs give one vector, the third row has none."""
    vectors = pl.Series([[1.0, 2.0], [1.0, 2.0], None], dtype=pl.List(pl.Float32))
    LOG.with_columns(embedding=vectors, **more).write_parquet(tmp_path / "log.parquet")
    return read(tmp_path)


def test_equal_vectors_are_one_text(tmp_path, folder):
    rows, vectors = own(tmp_path).embedded_texts()
    assert rows["text"].to_list() == [0, 0, None] and vectors.tolist() == [[1, 2]]
    LOG.write_parquet(folder / "log.parquet")
    table(embedding=[[127, 0], [127, 0], [10, 20]]).write_parquet(folder / "embeddings.parquet")
    rows, vectors = read(folder).embedded_texts()
    assert rows["text"].to_list() == [0, 0, None] and np.allclose(vectors, [[1, 0]])


def test_a_logs_own_vectors_are_of_one_embedder_and_scaled(tmp_path):
    rows = own(tmp_path, scale=pl.Series([0.5, 1.0, 1.0]), embedder=pl.Series(["e", "e", "f"]))
    assert rows.embedded_texts()[1].tolist() == [[0.5, 1], [1, 2]]
    for column, words in (("embedder", "several embedders"), ("embedder_sha256", "several versions of an embedder")):
        log = own(tmp_path, **{column: pl.Series(["e", "f", None])})
        for ask in (log.embedded, log.embedded_texts):
            with pytest.raises(InputError, match=words):
                ask()
