"""Where vectors come from: columns, functions, files; their name in every answer, and two embedders refused."""

import json

import numpy as np
import polars as pl
import pytest

from divergence.errors import InputError
from divergence.geometry import (
    bures,
    cka,
    displacement,
    embed,
    embeddings,
    feature_sums,
    kernel_for,
    mmd,
    mmd_of_sums,
    moments,
    moments_of_chunks,
    paired_moments,
    participation_ratio,
    prompt_mix_split,
    read_embeddings,
    shape_distance,
    subspace_loss,
)
from divergence.geometry.embedder import Embedder

ROWS = np.random.default_rng(0).standard_normal((60, 4))
ONE = embeddings(ROWS, embedder="small", sha256="ab" * 32)
TWO = embeddings(ROWS + 1, embedder="large", sha256="cd" * 32)
ITEMS = np.arange(60) // 2
SHOWN = "embedder small (sha256 abababababab)"


def every_answer(x, y):
    """The answers of all estimators of one embedder."""
    first, second = moments(x, cluster=None), moments(y, cluster=None)
    kernel = kernel_for(x, y, features=64)
    return {
        "mmd": lambda: mmd(x, y, cluster=None, permutations=9),
        "mmd_of_sums": lambda: mmd_of_sums(*(feature_sums(r, kernel, cluster=None) for r in (x, y)), permutations=9),
        "displacement": lambda: displacement(x, y, items=(ITEMS, ITEMS), cluster=None),
        "shape_distance": lambda: shape_distance(paired_moments(x, y, cluster=None)),
        "subspace_loss": lambda: subspace_loss(first, second, components=2),
        "bures": lambda: bures(first, second),
        "prompt_mix_split": lambda: prompt_mix_split((x, x), (x, y), cluster=(np.arange(60) // 15,) * 2),
    }


@pytest.mark.parametrize("name", every_answer(ONE, TWO))
def test_the_embedder_is_named_and_two_are_refused(name):
    moved = embeddings(ROWS + 0.1, embedder="small", sha256="ab" * 32)
    assert SHOWN in every_answer(ONE, moved)[name]().method
    assert SHOWN in every_answer(ONE, ROWS + 0.1)[name]().method  # a bare array is taken at its word
    with pytest.raises(InputError, match=r"two embedders, small \(sha256 abababababab\) and large"):
        every_answer(ONE, TWO)[name]()


def test_cka_compares_two_embedders_and_names_both():
    assert "embedder small" in (method := cka(paired_moments(ONE, TWO, cluster=None)).method) and "embedder large" in method


def test_states_keep_the_name_through_merge_sides_and_streams():
    whole = paired_moments(ONE, TWO, cluster=None)
    merged = paired_moments(ONE[:20], TWO[:20], cluster=None).merge(paired_moments(ONE[20:], TWO[20:], cluster=None))
    stream = moments_of_chunks([(ONE[:30], TWO[:30], None), (ONE[30:], TWO[30:], None)], clustered=False)
    for state in (whole, merged, stream):
        assert (state.embedder.name, state.embedder_y.name) == ("small", "large")
        assert state.side("y").embedder.name == "large" and SHOWN in participation_ratio(state.side("x")).method
    for call in (
        lambda: moments(ONE, cluster=None).merge(moments(TWO, cluster=None)),
        lambda: moments_of_chunks([(ONE, None, None), (TWO, None, None)], clustered=False),
    ):
        with pytest.raises(InputError, match="two embedders"):
            call()


def test_a_hash_that_nobody_knows_is_no_contradiction():
    assert Embedder("a").agrees(Embedder("a", "12")) and not Embedder("a", "34").agrees(Embedder("a", "12"))
    assert not Embedder("a").agrees(Embedder("b"))


def test_a_frame_beside_a_log():
    frame = pl.DataFrame(
        {"embedding": [[1, -2], [3, 4]], "scale": [0.5, 2.0], "embedder": ["m", "m"], "embedder_sha256": ["ff", "ff"]},
        schema_overrides={"embedding": pl.List(pl.Int8)},
    )
    rows = embeddings(frame)
    np.testing.assert_array_equal(rows.rows, [[0.5, -1], [6, 8]])
    assert str(rows.embedder) == "m (sha256 ff)" and len(rows) == 2
    with pytest.raises(InputError, match=r"several embedders \(m, n\)"):
        embeddings(frame.with_columns(embedder=pl.Series(["m", "n"])))
    with pytest.raises(InputError, match="embedder is m in the frame and n in the call"):
        embeddings(frame, embedder="n")
    with pytest.raises(InputError, match="embedder is missing"):
        embeddings(frame.drop("embedder"))
    with pytest.raises(InputError, match="no column embedding"):
        embeddings(frame.drop("embedding"))
    with pytest.raises(InputError, match="embedder is missing: name what made"):
        embeddings(ROWS)
    with pytest.raises(InputError, match=r"rows of different lengths or types \(lengths 1, 2\)"):
        embeddings(frame.with_columns(embedding=pl.Series([[1], [1, 2]])))


def test_a_function_embeds_each_distinct_text_once():
    seen = []

    def lengths(texts):
        seen.extend(texts)
        return [[len(t), t.count("a")] for t in texts]

    rows = embed(["banana", "fig", "banana"], lengths)
    np.testing.assert_array_equal(rows.rows, [[6, 3], [3, 0], [6, 3]])
    assert seen == ["banana", "fig"] and rows.embedder.name.endswith("lengths") and rows.embedder.sha256 == ""
    lengths.name, lengths.sha256 = "counts", "0" * 64
    assert str(embed(["x"], lengths).embedder) == "counts (sha256 000000000000)"
    with pytest.raises(InputError, match="text 1 is None"):
        embed(["x", None], lengths)
    with pytest.raises(InputError, match="no texts"):
        embed([], lengths)
    with pytest.raises(InputError, match="returned a table of 1 x 2 for 2 texts"):
        embed(["x", "y"], lambda _: [[1.0, 2.0]])


def write_safetensors(path, tensors, metadata=None):
    """The format by its specification: header length, header, numbers."""
    header, data = {"__metadata__": metadata} if metadata else {}, b""
    for name, (kind, array) in tensors.items():
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [len(data), len(data) + array.nbytes]}
        data += array.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


@pytest.mark.parametrize("kind", ["F64", "F32", "F16", "BF16"])
def test_safetensors_of_every_type(tmp_path, kind):
    rows = np.array([[1.5, -2.0], [0.25, 1024.0]])  # exact in all four
    stored = {
        "F64": rows,
        "F32": rows.astype(np.float32),
        "F16": rows.astype(np.float16),
        "BF16": (rows.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16),
    }[kind]
    path = tmp_path / "states.safetensors"
    write_safetensors(path, {"layer": (kind, stored)}, {"embedder": "m", "embedder_sha256": "ee"})
    found = read_embeddings(path)
    np.testing.assert_array_equal(found.rows, rows)
    assert str(found.embedder) == "m (sha256 ee)"


def test_npy_is_not_loaded_and_other_files_are_sentences(tmp_path):
    path = tmp_path / "states.npy"
    np.save(path, ROWS)
    found = read_embeddings(path, embedder="m L3")
    assert np.shares_memory(found.rows, found.rows.base) and found.embedder.name == "m L3"
    assert moments(found, cluster=None).embedder.name == "m L3"
    np.save(tmp_path / "tokens.npy", np.ones((2, 3, 4)))
    (tmp_path / "broken.npy").write_bytes(b"nothing")
    (tmp_path / "broken.safetensors").write_bytes(b"\xff" * 20)
    two = tmp_path / "two.safetensors"
    write_safetensors(two, {"a": ("F32", np.ones((2, 2), np.float32)), "b": ("I64", np.ones((2, 2), np.int64))})
    cases = [
        ("states.npy", {}, "embedder is missing"),
        ("tokens.npy", {}, "2 x 3 x 4 numbers"),
        ("rows.csv", {}, "is no .npy"),
        ("broken.npy", {}, "broken.npy cannot be read"),
        ("broken.safetensors", {}, "its header claims"),
        ("none.npy", {}, "none.npy cannot be read"),
        ("two.safetensors", {}, r"2 tensors \(a, b\)"),
        ("two.safetensors", {"tensor": "c"}, "no tensor c: choose a, b"),
        ("two.safetensors", {"tensor": "b"}, "holds I64"),
    ]
    for name, options, sentence in cases:
        with pytest.raises(InputError, match=sentence):
            read_embeddings(tmp_path / name, **options)
    assert read_embeddings(two, tensor="a", embedder="m").rows.shape == (2, 2)


@pytest.mark.lab
def test_minilm_carries_its_name_and_hash():
    pytest.importorskip("onnxruntime", reason="needs the packages of the lab extra")
    from divergence.probe.embedder import NAME, MiniLM

    rows = embed(["a bridge", "a bridge", "soup"], MiniLM())
    assert rows.rows.shape == (3, 384) and rows.embedder.name == NAME and len(rows.embedder.sha256) == 64
