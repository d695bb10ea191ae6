"""Models that stand for two things are named, with a line that works; what differs between runs is no setting."""

import re

import polars as pl
import pytest

import divergence as dv
from divergence.configuration import Configuration
from divergence.simulate import simulate, world


def published(setting="img_size", values=(224, 288), twice=3, models=10) -> pl.DataFrame:
    """A table of rates, in which some models stand twice in each of two contexts, under unlike settings."""
    rows = [
        {"model": f"m{m}", "regime": regime, "context": context, "item": "top1", "score": 0.5 + m / 50 + 0.01 * k}
        | {setting: values[k], "n_items": 1000, "note": "a note"}
        for m in range(models)
        for k in range(2 if m < twice else 1)
        for regime, context in (("evaluation", "val"), ("deployment", "v2"), ("deployment", "real"))
    ]
    return pl.DataFrame(rows)


def told(frame: pl.DataFrame, **declared) -> list[str]:
    configuration = Configuration.from_table(declared) if declared else Configuration()
    return [said for said in dv.read(frame, configuration=configuration).cautions if "at one place" in said]


@pytest.mark.parametrize(
    ("setting", "values"), [("img_size", (224, 288)), ("revision", ("main", "v2")), ("thinking", (False, True))]
)
@pytest.mark.parametrize("twice", [1, 4])
def test_two_settings_are_named_and_the_advice_works(setting, values, twice):
    frame = published(setting, values, twice)
    (said,) = told(frame)
    assert said.startswith(f"{twice} model{'s have' if twice > 1 else ' has'} rows of unlike {setting} at one place (m0: ")
    name, level = re.search(r'as in (\w+) = "(\w+)"', said).groups()
    assert not told(frame, where={name: level})
    assert not told(frame, factors=[setting])
    assert not told(frame.with_columns(model=pl.col("model") + "-" + pl.col(setting).cast(pl.String)))


@pytest.mark.parametrize(
    "column",
    [
        pl.int_range(pl.len()).alias("created"),  # every row has its own
        pl.lit("same").alias("host"),
        (pl.int_range(pl.len()) % 2).alias("shard"),  # every model has both
        pl.col("context").alias("server"),  # two values, never at one place
        pl.lit(None, pl.String).alias("empty"),
    ],
)
def test_what_is_no_setting_is_not_named(column):
    frame = published(twice=0).drop("img_size")
    assert not told(pl.concat([frame, frame]).with_columns(column))


@pytest.mark.parametrize("kind", ["baseline", "sessions", "waves"])
def test_an_ordinary_log_has_none(kind):
    assert not told(simulate(world(kind, n_models=6, n_contexts=2, n_items=20), 0)[0])


def test_a_table_of_published_rates(public_data):
    """Models of timm that were tested at two image sizes: counted here by a group-by."""
    table = pl.read_parquet(public_data / "timm_accuracy.parquet")
    places = table.group_by("model", "regime", "context", "item").agg(pl.col("img_size").n_unique())
    twice = places.filter(pl.col("img_size") > 1)["model"].n_unique()
    (said,) = told(table)
    assert said.startswith(f"{twice} models have rows of unlike img_size")
