"""Agents of tau-bench through the command line, and the answer bias of a drifting service."""

import re

import polars as pl
import pytest

from divergence.cli import main

AGENTS = {"pass_power", "collapse_hazard", "cost_per_success"}


def _report(*arguments):
    with pytest.raises(SystemExit) as end:
        main(["report", *map(str, arguments), "--quiet"])
    assert end.value.code == 0


@pytest.fixture(scope="module")
def tau(public_data, tmp_path_factory):
    """The report of 50 airline tasks x 4 trials, its messages mapped to calls."""
    out = tmp_path_factory.mktemp("tau")
    _report(public_data / "tau_bench_episodes.parquet", "--set", "regime=evaluation", "--map", "calls=n_messages", "-o", out)
    return out


def _mean(frame, **where):
    for name, value in where.items():
        frame = frame.filter(pl.col(name).eq_missing(pl.lit(value, pl.String)))
    return frame.select("mean", "lower", "upper").row(0)


def test_agent_questions_are_answered_and_the_others_refused_by_name(tau):
    table = pl.read_parquet(tau / "estimates.parquet")
    known = table.group_by("question").agg(pl.col("identified").any())
    assert set(known.filter("identified")["question"]) == AGENTS | {"bench_level"}
    refused = table.filter(~pl.col("identified"))
    assert {"gap", "kappa", "horizon", "cost_ledger"} <= set(refused["question"])
    assert refused["reason"].str.len_chars().min() > 20


def test_published_powers_and_messages(tau):
    table = pl.read_parquet(tau / "estimates.parquet")
    power = table.filter(question="pass_power")
    for k, value in enumerate((0.420, 0.27333333, 0.22, 0.20), 1):
        assert _mean(power, statistic=f"pass^{k}")[0] == pytest.approx(value, abs=1e-6)
    model = _mean(power, statistic="pass^4_model")[0]
    assert model == pytest.approx(0.20, abs=0.04) and model > 0.1, "as if tasks were alike it would be .031"
    cost = table.filter(question="cost_per_success")
    _, low, high = _mean(cost, statistic="calls")
    assert low < 60.8 < high
    mean, low, high = _mean(cost, statistic="calls_failed_share")
    assert low < 0.659 < high and mean == pytest.approx(0.659, abs=0.005)  # its skewness, a tenth of the interval's width
    (middle,) = cost.filter(statistic="calls")["median"]
    assert middle == pytest.approx(60.8, abs=1.5)
    money = cost.filter(pl.col("statistic").is_null())
    assert not money["identified"].any() and "declare [prices]" in money["reason"][0]


def test_the_page_shows_them(tau):
    page = (tau / "report.html").read_text()
    for anchor in ("agents", "cost", "figure-repeats", "figure-survival", "figure-cost-per-success"):
        assert f'id="{anchor}"' in page
    assert re.search(r"four times in a row with (19|20|21)\.\d%", page)  # .20, and its Monte Carlo error
    assert "In money:" in page


def test_without_the_mapping_it_is_named(public_data, tmp_path):
    _report(public_data / "tau_bench_episodes.parquet", "--set", "regime=evaluation", "-o", tmp_path)
    table = pl.read_parquet(tmp_path / "estimates.parquet")
    assert table.filter(question="pass_power")["identified"].any()
    assert not table.filter(question="collapse_hazard")["identified"].any()
    assert set(table.filter(pl.col("identified"), question="cost_per_success")["statistic"]) == {"expected_attempts"}
    assert "--map calls=n_messages" in table.filter(question="collapse_hazard")["reason"][0]


def test_the_report_says_that_answer_bias_moved_and_not_competence(public_data, tmp_path):
    """GPT-4 on primes, 84.0 to 51.1 %: all 623 changed answers changed from prime to composite."""
    (tmp_path / "drift.toml").write_text(
        '[regime]\ncolumn = "context"\nevaluation = ["2023-03"]\n[columns]\ngold = "subset"\n'
        '[where]\ntask = "prime_full"\nmodel = "gpt-4"\n'
    )
    _report(public_data / "llm_drift.parquet", "--config", tmp_path / "drift.toml", "-o", tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Answer bias:" in page
    told = page[page.index("Answer bias:") :][:600]
    assert "competence is not shown to have" in told and "says composite more often" in told
