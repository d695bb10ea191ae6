"""Does a run stop in good order when what it may use is used up, and go on where it was?"""

import polars as pl
import pytest

from divergence.errors import InputError
from divergence.probe import run

PROMPTS = {f"ok {n:02d}": "x" for n in range(30)}
PRICE = "[price.parrot]\ninput_usd_per_million = 1.0\noutput_usd_per_million = 10.0\n"


@pytest.mark.parametrize(
    ("limit", "least", "words"),
    [
        ("requests = 20", 20, "20 requests"),
        ("tokens = 90", 10, "90 tokens"),
        ("usd = 0.0002", 8, "0.0002 USD"),
    ],
)
def test_a_budget_stops_the_run_and_the_next_one_goes_on(write_plan, tmp_path, limit, least, words):
    """The stub counts 7 prompt and 2 answer tokens a request: 9 tokens, 2.7e-5 USD; at most five clients are in flight."""
    plan = write_plan(PROMPTS, head=f"[budget]\n{limit}\n{PRICE}")
    first = run(plan, tmp_path / "out", quiet=True)
    assert first.stopped == f"the budget of {words} is used up"
    assert least <= first.rows <= least + 5
    rows = first.rows
    while rows < 60:
        more = run(plan, tmp_path / "out", quiet=True)
        assert more.rows > rows
        rows = more.rows
    table = pl.read_parquet(more.path)
    assert more.stopped is None and table.select("context", "item").n_unique() == 60
    assert table["cost_usd"].to_list() == pytest.approx([2.7e-5] * 60)


def test_minutes_are_a_budget_too(write_plan, tmp_path, stub):
    stub.pause = 0.4  # the first context alone would take 12 s
    summary = run(write_plan(PROMPTS, head="[budget]\nminutes = 0.05"), tmp_path / "out", quiet=True)
    assert 0 < summary.rows < 60 and "minutes" in summary.stopped


def test_a_budget_in_money_needs_prices(write_plan, tmp_path):
    with pytest.raises(InputError, match="prices of every model"):
        run(write_plan(PROMPTS, head="[budget]\nusd = 1.0"), tmp_path / "out", quiet=True)
    with pytest.raises(InputError, match="must not be negative"):
        run(write_plan(PROMPTS, head="[budget]\nrequests = -1"), tmp_path / "out", quiet=True)
