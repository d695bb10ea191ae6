"""What changed since an earlier report: the limits of the changes, what is said of them, and folders that hold no report."""

import json
import math
import random
import re
import shutil

import numpy as np
import polars as pl
import pytest
from damaged_fields import of_words

import divergence as dv
from divergence.cli import main
from divergence.errors import InputError
from divergence.report import since_section
from divergence.report.blocks import Figure, Listing, Text
from divergence.simulate import simulate, world
from divergence.since import changes, earlier


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """Two reports: of a log, and of one in which the second model's deployment is far worse."""
    home = tmp_path_factory.mktemp("reports")
    frame = simulate(world("baseline"), 3)[0]
    worse = (pl.col("model") == frame["model"].unique().sort()[1]) & (pl.col("regime") == "deployment")
    broken = frame.with_columns(score=pl.when(worse & (pl.int_range(pl.len()) % 3 > 0)).then(0.0).otherwise(pl.col("score")))
    for name, table in (("then", frame), ("now", broken)):
        table.write_parquet(home / f"{name}.parquet")
        log = dv.read(home / f"{name}.parquet")
        since = home / "out-then" if name == "now" else None
        dv.write_report(dv.fit(dv.collapse(log), seed=0), home / f"out-{name}", log=log, since=since)
    return home


def read(folder):
    return pl.read_parquet(folder / "estimates.parquet"), json.loads((folder / "run.json").read_text())


def said(found) -> str:
    shown = [block for block in since_section.blocks(found) if isinstance(block, Text | Figure)]
    return " ".join(block.text if isinstance(block, Text) else block.sentence for block in shown)


def test_limits_are_those_of_a_difference_of_normal_laws():
    """Of two normal estimates the limits are those of their difference, worked out by hand."""
    frame = pl.DataFrame(
        {
            "now": [0.5],
            "now_lower": [0.5 - 1.6448536 * 0.03],
            "now_upper": [0.5 + 1.6448536 * 0.03],
            "before": [0.6],
            "before_lower": [0.6 - 1.6448536 * 0.04],
            "before_upper": [0.6 + 1.6448536 * 0.04],
        }
    )
    from divergence.since import _differences

    row = _differences(frame, 0.9).row(0, named=True)
    assert row["lower"] == pytest.approx(-0.1 - 1.6448536 * 0.05) and row["upper"] == pytest.approx(-0.1 + 1.6448536 * 0.05)
    assert row["outer_lower"] == row["lower"]  # of one row there is nothing more to hold
    both = _differences(pl.concat([frame] * 5), 0.9)
    assert both["outer_upper"][0] == pytest.approx(-0.1 + 2.3263479 * 0.05)  # .1 / 5 of the chances, half on each side


def test_limits_cover_a_known_change():
    """Levels of binomial counts with Jeffreys intervals, skewed near 1: inside in about .90 of 4,000 worlds."""
    from scipy.stats import beta

    from divergence.since import _differences

    rng, n = np.random.default_rng(5), 60
    p, q = rng.uniform(0.5, 0.99, 4000), rng.uniform(0.5, 0.99, 4000)
    columns = {}
    for name, of in (("before", p), ("now", q)):
        y = rng.binomial(n, of)
        for end, at in (("_lower", 0.05), ("", 0.5), ("_upper", 0.95)):
            columns[name + end] = beta.ppf(at, y + 0.5, n - y + 0.5)
    found = _differences(pl.DataFrame(columns), 0.9)
    inside = ((found["lower"] <= pl.Series(q - p)) & (pl.Series(q - p) <= found["upper"])).mean()
    assert abs(inside - 0.9) < 0.01 + 4 * math.sqrt(0.9 * 0.1 / 4000)  # Jeffreys intervals of 60 are right within .01


def test_the_change_is_found_and_only_that(reports):
    found = changes(earlier(reports / "out-then"), *read(reports / "out-now"))
    models = found.rows["model"].unique().sort()
    level = found.rows.filter(pl.col("question") == "deployed_level", pl.col("context").is_null(), pl.col("task").is_null())
    moved = level.filter(pl.col("outer_upper") < 0)["model"].to_list()
    assert moved == [models[1]] and level.height == len(models)
    assert level.filter(pl.col("outer_lower") > 0).is_empty()
    # the bench is untouched: its numbers differ by what the joint fit carries over, less than chance explains
    bench = found.rows.filter(pl.col("question") == "bench_level")
    assert bench.height and bench.filter((pl.col("outer_lower") > 0) | (pl.col("outer_upper") < 0)).is_empty()
    assert not found.same_data and any("rests on" in fact for fact in found.facts)


def test_the_page_opens_with_it(reports):
    page = (reports / "out-now" / "report.html").read_text()
    section = page[page.index('id="since"') :]
    section = section[: section.index("</section>")]
    assert "by more than chance explains" in section and re.search(r"then, \S+ now: −", section)
    assert "Since the earlier report" not in (reports / "out-then" / "report.html").read_text()


def test_against_itself_nothing_changed(reports):
    found = changes(earlier(reports / "out-now"), *read(reports / "out-now"))
    assert found.same_data and (found.rows["median"] == 0).all() and found.rows.height
    words = said(found)
    assert "made from the same data" in words and "none changes by more than chance explains" in words
    assert not any(isinstance(block, Listing) for block in since_section.blocks(found))


def test_models_that_are_new_or_gone_are_named(reports):
    table, run = read(reports / "out-now")
    first = table["model"].drop_nulls()[0]
    renamed = table.with_columns(model=pl.when(pl.col("model") == first).then(pl.lit("newcomer")).otherwise(pl.col("model")))
    found = changes(earlier(reports / "out-now"), renamed, run)
    assert "Models that are new: newcomer." in found.facts and f"Models that are gone: {first}." in found.facts
    assert "newcomer" not in found.rows["model"]


def test_what_is_declared_otherwise_is_said(reports):
    table, run = read(reports / "out-now")
    run["configuration"]["stability_eps"] = 0.07
    run["provenance"]["versions"]["eval-divergence"] = "9"
    facts = changes(earlier(reports / "out-now"), table, run).facts
    assert "Declared otherwise: stability eps." in facts and any(fact.endswith("by 9 now.") for fact in facts)


@pytest.mark.parametrize(
    ("what", "value", "said"),
    [("interval", 0.8, "intervals"), ("outcome", "latency_s", "outcome"), ("items", "observed", "items")],
)
def test_reports_of_another_kind_are_refused(reports, what, value, said):
    table, run = read(reports / "out-now")
    if what == "interval":
        run["interval"] = value
    elif what == "outcome":
        run["fits"][0]["outcome"] = value
    else:
        run["configuration"]["items"] = value
    with pytest.raises(InputError, match=said):
        changes(earlier(reports / "out-then"), table, run)


@pytest.mark.parametrize("damage", ["absent", "no run", "cut table", "no table", "deep json", "other columns", "a list"])
def test_folders_that_hold_no_report(reports, tmp_path, damage):
    folder = tmp_path / "old"
    shutil.copytree(reports / "out-then", folder)
    table, run = folder / "estimates.parquet", folder / "run.json"
    if damage == "absent":
        shutil.rmtree(folder)
    elif damage == "no run":
        run.unlink()
    elif damage == "cut table":
        table.write_bytes(table.read_bytes()[:-40])
    elif damage == "no table":
        table.write_text("question,model")
    elif damage == "deep json":
        run.write_text("[" * 100_000)
    elif damage == "a list":
        run.write_text("[]")
    else:
        pl.read_parquet(table).drop("upper").write_parquet(table)
    with pytest.raises(InputError) as caught:
        earlier(folder)
    assert len(str(caught.value)) <= 300 and "\n" not in str(caught.value)
    asked = ["report", reports / "then.parquet", "-o", tmp_path / "x", "--since", folder]
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in asked])
    assert ended.value.code == 2 and not (tmp_path / "x").exists()


def used(folder, table, run) -> str:
    """Compare with it and tell what changed: "works", or the sentence, which comes before a fit."""
    try:
        before = earlier(folder)
    except InputError as error:
        assert str(error).isprintable() and len(str(error)) <= 300 and folder.name in str(error)
        return str(error)
    try:
        found = changes(before, table, run)
    except InputError as error:
        assert "cannot be compared" in str(error)
        return str(error)
    "".join(str(block) for block in since_section.blocks(found)).encode()
    return "works"


def some(cases, most):
    return random.Random(0).sample(cases, most) if most is not None and len(cases) > most else cases


def damages(folder, reports, most):
    """Damage every field of the record and every column of the table of an earlier report."""
    table, run = read(reports / "out-then")
    now = read(reports / "out-now")
    shutil.copytree(reports / "out-then", folder)
    assert used(folder, *now) == "works"
    asked = {
        name: value for name, value in run.items() if name in ("fits", "interval", "configuration", "provenance", "data")
    }
    asked["fits"] = [{name: value for name, value in asked["fits"][0].items() if name in ("outcome", "n_rows")}]
    refused = 0
    for what, other in some(list(of_words(asked)), most):
        (folder / "run.json").write_text(json.dumps({**run, **other}))
        if what[0] == "without":
            (folder / "run.json").write_text(json.dumps({**{k: v for k, v in run.items() if k not in asked}, **other}))
        try:
            refused += used(folder, *now) != "works"
        except Exception as error:
            raise AssertionError(f"{what}: {type(error).__name__}: {error}") from error
    (folder / "run.json").write_text(json.dumps(run))
    values = {"Float64": (math.nan, math.inf, 1e300, -1e300, 0.0), "Int64": (-1,), "String": ("", "x"), "Boolean": (True,)}
    odd = [(name, value) for name, kind in table.schema.items() for value in (None, *values[str(kind)])]
    for name, value in some(odd, most):
        table.with_columns(pl.lit(value).cast(table.schema[name]).alias(name)).write_parquet(folder / "estimates.parquet")
        try:
            used(folder, *now)
        except Exception as error:
            raise AssertionError(f"{name} = {value}: {type(error).__name__}: {error}") from error
    assert refused > 5


@pytest.mark.filterwarnings("ignore")
def test_some_damaged_fields_of_an_earlier_report(reports, tmp_path):
    damages(tmp_path / "old", reports, 60)


@pytest.mark.prove
@pytest.mark.filterwarnings("ignore")
def test_every_damaged_field_of_an_earlier_report(reports, tmp_path):
    damages(tmp_path / "old", reports, None)


@pytest.mark.parametrize("odd", [{"fits": [5]}, {"fits": []}, {"configuration": 5}, {"data": [5]}, {"provenance": [1]}])
def test_a_damaged_record_is_refused_before_the_fit(reports, tmp_path, odd, capsys):
    folder = tmp_path / "old"
    shutil.copytree(reports / "out-then", folder)
    _, run = read(folder)
    (folder / "run.json").write_text(json.dumps({**run, **odd}))
    with pytest.raises(SystemExit) as ended:
        main(["report", str(reports / "then.parquet"), "-o", str(tmp_path / "x"), "--since", str(folder)])
    said = capsys.readouterr().err
    assert ended.value.code == 2 and not (tmp_path / "x").exists()
    assert "run.json is no record of a run" in said and "fitting" not in said
