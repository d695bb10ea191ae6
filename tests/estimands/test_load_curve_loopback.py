"""A real server whose answers worsen with its concurrent requests: is its law found by asking it at several loads?"""

import asyncio

import numpy as np
import polars as pl
import pytest
from loopback import WebLoopback

import divergence as dv

aiohttp = pytest.importorskip("aiohttp", reason="the extra probe is not installed")

LOADS = (1, 2, 4, 8, 16)
SEED = 20261130


def law(difficulty, running):
    """Quality under load: it falls by half a logit with each doubling, from an item's own height."""
    return 1 / (1 + np.exp(-(1.5 - difficulty - 0.5 * np.log2(running))))


TRUTH = np.array([law(np.random.default_rng(7).normal(size=400_000), load).mean() for load in LOADS])
"""Level over the population of items, which is standard normal in difficulty."""


class Loaded(WebLoopback):
    """`POST /answer`: right with the chance of the law at the number of requests that run when it is worked out.

    A request that says how many come with it waits until they are there, so that the load is the one that was meant
    however slow the machine is.
    """

    def __init__(self, seed):
        self.rng, self.running, self.full = np.random.default_rng(seed), 0, None
        super().__init__()

    def routes(self):
        return [("POST", "/answer", self._handle)]

    async def _handle(self, request):
        from aiohttp import web

        asked = await request.json()
        self.running += 1
        self.full = self.full or asyncio.get_running_loop().create_future()
        full = self.full
        if self.running == asked["together"]:
            self.full = None
            full.set_result(self.running)
        running = await full
        right = bool(self.rng.random() < law(asked["difficulty"], running))
        self.running -= 1
        return web.json_response({"right": right, "requests_running": running})


async def probed(port, items, times, rng):
    """One log: each item asked `times` times, each time in a batch of a load of its own."""
    difficulty, rows = rng.normal(size=items), []
    asked = {load: [] for load in LOADS}
    for item in range(items):
        for load in rng.choice(LOADS, size=times, replace=False):
            asked[int(load)].append(item)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def one(item, together):
            body = {"difficulty": difficulty[item], "together": together}
            async with session.post(f"http://127.0.0.1:{port}/answer", json=body) as response:
                answer = await response.json()
            row = {"item": f"i{item}", "score": float(answer["right"]), "load": float(answer["requests_running"])}
            rows.append(row)

        for load, given in asked.items():
            for start in range(0, len(given) - load + 1, load):  # the last batch, if it is not full, is left out
                await asyncio.gather(*(one(item, load) for item in given[start : start + load]))
    frame = pl.DataFrame(rows).with_columns(model=pl.lit("m"), regime=pl.lit("deployment"))
    return frame.with_columns(execution_id=pl.format("e{}", pl.int_range(pl.len())))


def curves(worlds, items=60, times=3):
    for number in range(worlds):
        server = Loaded([SEED, number])
        try:
            frame = asyncio.run(probed(server.port, items, times, np.random.default_rng([SEED, 1, number])))
        finally:
            server.close()
        assert set(frame["load"].unique()) == set(LOADS)
        yield dv.load_curve(dv.read(frame), seed=number)


def test_the_law_of_a_server_is_found_by_asking_it():
    """Half again as wide as all 400 draws: five errors of more than four standard deviations are rarer than 1 in 1000."""
    (found,) = curves(1)
    assert found.identified
    lower, upper = np.quantile(found.draws[:, : len(LOADS)], [0.0, 1.0], axis=0)
    wide = 1.5 * (upper - lower) / 2
    middle = (upper + lower) / 2
    assert (np.abs(middle - TRUTH) < wide).all()


def test_items_that_keep_to_one_load_give_no_curve():
    server = Loaded(SEED)
    try:
        frame = asyncio.run(probed(server.port, 64, 1, np.random.default_rng(SEED)))
    finally:
        server.close()
    found = dv.load_curve(dv.read(frame))
    assert not found.identified and "do not overlap" in found.reasons[0]


@pytest.mark.prove
def test_the_band_covers_the_law_of_a_server():
    """60 servers x 5 loads; loads of one server share its items, so that the error of the rate is that of some 120: .03."""
    covered = []
    for found in curves(60):
        lower, upper = np.quantile(found.draws[:, : len(LOADS)], [0.05, 0.95], axis=0)
        covered.append((lower <= TRUTH) & (upper >= TRUTH))
    assert 0.86 - 0.03 <= np.mean(covered) <= 0.94 + 0.03
