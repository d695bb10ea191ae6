"""Does each policy deal as it says, does the change come when it is planned, and is the replica written into the row?"""

import asyncio
import re

import pytest

from divergence.errors import InputError
from divergence.probe import client, router
from divergence.probe.block import CampaignRun
from divergence.probe.budget import Budget, Spending
from divergence.probe.plan import Plan, Request
from divergence.probe.reading import read_plan
from divergence.probe.router import Dealer, Replica, Router

TWO = (Replica("a", 0.7), Replica("b", 0.3))


def test_weighted_shares_are_kept():
    """10,000 draws: within 4 standard errors of .7."""
    dealer = Dealer(Router("weighted", TWO), "seed")
    share = sum(dealer.choose(10, None) == 0 for _ in range(10_000)) / 10_000
    assert abs(share - 0.7) < 4 * (0.21 / 10_000) ** 0.5


def test_sticky_keeps_a_session_where_it_is_and_deals_sessions_by_share():
    dealer = Dealer(Router("sticky", TWO), "seed")
    first = {s: dealer.choose(10, f"s{s}") for s in range(4000)}
    assert all(dealer.choose(99, f"s{s}") == k for s, k in first.items())
    assert abs(sum(k == 0 for k in first.values()) / 4000 - 0.7) < 4 * (0.21 / 4000) ** 0.5


def test_least_loaded_looks_at_what_is_in_flight():
    dealer = Dealer(Router("least_loaded", (Replica("a"), Replica("b"))), "seed")
    dealer.in_flight = [3, 1]
    assert dealer.choose(10, None) == 1
    dealer.in_flight = [1, 1]
    assert dealer.choose(10, None) == 0


def test_the_policy_changes_after_its_number_of_requests():
    plan = Router("weighted", (Replica("a"), Replica("b")), long_characters=50, switch_after=100, switch_to="by_length")
    dealer = Dealer(plan, "seed")
    before = [dealer.choose(60, None) for _ in range(100)]
    assert 0 in before and 1 in before
    assert {dealer.choose(60, None) for _ in range(50)} == {0} and {dealer.choose(49, None) for _ in range(50)} == {1}


def test_a_release_goes_to_the_last_replica_from_its_hour_on():
    dealer = Dealer(Router("first", TWO, switch_after=30, switch_to="last"), "seed")
    assert [dealer.choose(n, f"s{n}") for n in range(60)] == [0] * 30 + [1] * 30


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (Router("random", TWO), "choices are weighted"),
        (Router("weighted", ()), "at least one replica"),
        (Router("weighted", (Replica("a"), Replica("a"))), "name of its own"),
        (Router("weighted", (Replica("a", 0.0),)), "share above 0"),
        (Router("by_length", TWO), "needs long_characters"),
        (Router("weighted", TWO, switch_after=5, switch_to="never"), "choices are weighted"),
    ],
)
def test_a_router_that_cannot_work_is_a_sentence(bad, words):
    with pytest.raises(InputError, match=words):
        router.check(bad, "context 'live'")


@pytest.mark.parametrize(
    ("server", "words"),
    [
        ('draught = "small"', r"Unknown key 'draught' in server of replica 'a'.*nearest known one is 'draft'"),
        ('engine = "ik_llama.cpp", draft = "small"', "only llama.cpp drafts here"),
        ('draft = "small", draft_tokens = 0', "it must be at least 1"),
    ],
)
def test_a_replica_that_cannot_be_started_is_a_sentence_before_anything_is(write_plan, server, words):
    path = write_plan({"ok a": "a"})
    system = re.sub(r'endpoint = "\w+"', 'weights = "w.gguf"', path.read_text())
    before = f'[context.router]\npolicy = "first"\nreplica = [{{ name = "a", server = {{ {server} }} }}]\n'
    path.write_text(system + before)
    with pytest.raises(InputError, match=words):
        read_plan(path)


def test_answers_stream_through_and_name_their_replica(stub):
    """Both replicas are the stub; a dead one is an error of its own name, not a hang."""
    seen = {}

    async def visit():
        dead = Router("weighted", (Replica("a", 1e-9), Replica("gone")))
        async with client.open_session(4) as session:
            for name, plan, bases in (
                ("alive", Router("weighted", TWO), [stub.base_url, stub.base_url]),
                ("dead", dead, [stub.base_url, "http://127.0.0.1:9/v1"]),
            ):
                async with router.route(plan, bases, "seed") as base:
                    body = {"model": "m", "messages": [{"role": "user", "content": "ok yes"}]}
                    request = Request(retries=0)
                    seen[name] = [
                        await client.ask(session, f"{base}/chat/completions", {}, body, request, None) for _ in range(8)
                    ]
                    async with session.get(base.removesuffix("/v1") + "/metrics") as page:
                        seen[f"{name} page"] = await page.text()

    asyncio.run(visit())
    assert {r.text for r in seen["alive"]} == {"yes"} and {r.replica for r in seen["alive"]} == {"a", "b"}
    assert {(r.error_type, r.replica) for r in seen["dead"]} == {("http_502", "gone")}
    assert "router_in_flight_a 0" in seen["alive page"] and "router_answered_gone_total 8" in seen["dead page"]


def test_crossed_contexts_do_what_their_levels_say(write_plan):
    design = """
[factorial]
base = "bench"
[factorial.factor.sampler.greedy]
[factorial.factor.sampler.hot]
sampler = { temperature = 2.0 }
"""
    path = write_plan({"ok a": "a"})
    path.write_text(path.read_text().replace('label = "live"', 'label = "live"\nserver = { slots = 2 }') + design)
    plan = read_plan(path)
    assert [c.label for c in plan.context] == ["bench", "live", "sampler=hot"]
    made = plan.context[2]
    assert (made.regime, made.factors, made.sampler) == ("deployment", {"sampler": "hot"}, {"temperature": 2.0})
    for old, new, words in (
        ('base = "bench"', 'base = "bank"', "nearest known one is 'bench'"),
        ("sampler = { temperature = 2.0 }", "sampling = {}", "Unknown 'sampling' of the level sampler = hot"),
        ('base = "bench"', 'base = "bench"\npairs = [["sampler", "router"]]', "pairs must name two"),
        ('base = "bench"', 'base = "bench"\nforbid = [{ sampler = "cold" }]', "does not have sampler = 'cold'"),
        ('base = "bench"', 'base = "bench"\ndesign = "half"', "choices are full, fraction"),
    ):
        wrong = path.with_name("wrong.toml")
        wrong.write_text(path.read_text().replace(old, new))
        with pytest.raises(InputError, match=words):
            read_plan(wrong)


def test_keys_are_not_shown_by_what_a_run_holds():
    heads = {"e": {"Authorization": "Bearer canary"}}
    run = CampaignRun(Plan("p", "i", (), ()), heads, None, Spending(Budget(), {}), {}, print, 0, None)
    assert "canary" not in repr(run)
