"""The section on behaviour: map, table and sentences from a small log with embeddings; one sentence where there are none."""

import dataclasses

import numpy as np
import polars as pl
import pytest

import divergence as dv
from divergence.behaviour import WORDS, behaviour
from divergence.executions.embedded_texts import text_hash
from divergence.report import behaviour as section_of
from divergence.report import render
from divergence.report.blocks import Figure, Table, Text
from divergence.report.figures import behaviour_map

CONTEXTS = {"bench": 0.0, "same": 0.0, "silent": 0.3, "broken": 0.5}  # share of items whose answer becomes another
ITEMS, D = 60, 16


def log_frame(generator):
    """Two models; in `silent` answers become other right or wrong ones, in `broken` wrong ones; reruns are copies."""
    rows = []
    for model in ("first", "second"):
        right = generator.random(ITEMS) < 0.5
        for context, rate in CONTEXTS.items():
            moved = generator.random(ITEMS) < rate
            for item in range(ITEMS):
                good = bool(right[item]) and not (moved[item] and context == "broken")
                text = f"{'yes' if good else 'no'} {item}" + (f" {context}" if moved[item] else "")
                rows += [
                    {
                        "regime": "evaluation" if context == "bench" else "deployment",
                        "model": model,
                        "context": context,
                        "item": f"i{item:02d}",
                        "trial": trial,
                        "answer": text,
                        "score": float(good),
                    }
                    for trial in (1, 2)
                ]
    return pl.DataFrame(rows)


def texts(frame, generator):
    """An embeddings file: int8 with a scale, a row a distinct text."""
    distinct = frame["answer"].unique(maintain_order=True).to_list()
    vectors = generator.standard_normal((len(distinct), D))
    scale = np.abs(vectors).max(1) / 127
    return pl.DataFrame(
        {
            "text_hash": [text_hash(t) for t in distinct],
            "embedding": np.round(vectors / scale[:, None]).astype(int).tolist(),
            "scale": scale,
            "embedder": ["made up"] * len(distinct),
        },
        schema_overrides={"embedding": pl.List(pl.Int8), "scale": pl.Float32},
    )


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    folder, generator = tmp_path_factory.mktemp("log"), np.random.default_rng(0)
    frame = log_frame(generator)
    frame.write_parquet(folder / "log.parquet")
    texts(frame, generator).write_parquet(folder / "embeddings.parquet")
    return behaviour(dv.read(folder))


@pytest.fixture(scope="module")
def with_behaviour(content, answers):
    return dataclasses.replace(content, estimates={**content.estimates, **answers})


def test_every_context_stands_where_it_was_put(answers):
    rows = section_of.judged(answers["context_displacement"])
    verdicts = dict(rows.filter(pl.col("model").is_null()).select("context", "verdict").iter_rows())
    assert verdicts == {"same": "within the floor", "silent": "silent", "broken": "score moves too"}
    assert "same" in behaviour_map.within(answers["behaviour_map"])


def test_the_map_draws_what_left_the_floor(answers):
    spec = behaviour_map.chart(answers["behaviour_map"]).to_dict()
    assert [layer["mark"]["type"] for layer in spec["layer"]][:6] == ["line", "line", "point", "rule", "point", "point"]
    heads = spec["datasets"][spec["layer"][3]["data"]["name"]]
    assert {row["context"] for row in heads} == {"silent", "broken"}
    words = behaviour_map.sentence(answers["behaviour_map"])
    assert "Within the floor: same." in words and "Farthest from the evaluation is broken" in words


def test_many_contexts_have_numbers_and_their_names_below(answers, monkeypatch):
    monkeypatch.setattr(behaviour_map, "MOST_NAMED", 1)
    spec = behaviour_map.chart(answers["behaviour_map"]).to_dict()
    written = {
        row["name"]
        for layer in spec["layer"]
        if layer["mark"]["type"] == "text"
        for row in spec["datasets"][layer["data"]["name"]]
    }
    assert written == {"1", "2"}
    assert "By their distance: 1 broken, 2 silent." in behaviour_map.sentence(answers["behaviour_map"])


def test_the_section_has_map_table_and_sentences(with_behaviour):
    blocks = section_of.section(with_behaviour)
    assert isinstance(blocks[0], Figure) and isinstance(blocks[1], Table)
    assert "silent" in blocks[1].html and "within the floor" in blocks[1].html
    told = {b.label: b.text for b in blocks if isinstance(b, Text)}
    assert told["Silent movement:"].startswith("in two of six comparisons")
    assert "context label" in told["Shares of the serving factors:"]
    assert "goes with movement" in told["Movement and success:"]
    assert "Where behaviour went" in render(with_behaviour)


def test_movement_explains_the_broken_context(answers):
    answer = answers["explained_by_displacement"]
    assert answer.where(statistic="slope").interval()[0, 1] < 0  # moved answers are wrong in `broken`, unmoved ones are not
    gap = answer.where(statistic="gap").to_frame().row(0, named=True)
    assert gap["lower"] > 0


def test_without_embeddings_one_sentence_says_what_is_missing(tmp_path, content):
    log_frame(np.random.default_rng(0)).write_parquet(tmp_path / "log.parquet")
    refused = behaviour(dv.read(tmp_path))
    assert set(refused) == set(WORDS) and not any(e.identified for e in refused.values())
    (text,) = section_of.section(dataclasses.replace(content, estimates={**content.estimates, **refused}))
    assert text.tone == "refusal" and "add a column embedding, or a file with text_hash" in text.text


def test_one_run_a_context_is_refused_with_the_reason(tmp_path):
    generator = np.random.default_rng(0)
    frame = log_frame(generator).filter(pl.col("trial") == 1)
    frame.write_parquet(tmp_path / "log.parquet")
    texts(frame, generator).write_parquet(tmp_path / "embeddings.parquet")
    refused = behaviour(dv.read(tmp_path))
    assert not any(e.identified for q, e in refused.items() if q != "context_displacement")
    moved = refused["context_displacement"]
    assert "no item has reruns" in moved.where(statistic=None).reasons[0]
    assert moved.where(statistic="score_change").identified  # the score needs no reruns
