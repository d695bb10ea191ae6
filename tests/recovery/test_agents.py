"""Agents and costs with known truth: how often 90 % intervals hold it. Small in every run, 200 worlds in `make prove`."""

import collections

import numpy as np
import polars as pl
import pytest

import divergence as dv
from divergence.simulate import AgentWorld, simulate_agents
from divergence.simulate.agents import truth_rows

KEYS = ["question", "statistic", "model", "context", "regime"]


def covered(spec: AgentWorld, seed: int) -> dict[tuple[str, str | None], list[bool]]:
    """Is the truth inside the interval, by question and statistic? One entry a model and context."""
    log, truth = simulate_agents(spec, seed)
    posterior = dv.fit(dv.collapse(dv.read(log)), seed=seed)
    asked = [dv.pass_power, dv.collapse_hazard, dv.cost_per_success] + ([dv.horizon] if spec.n_families else [])
    found = pl.concat([question(posterior).to_frame() for question in asked])
    rows = pl.DataFrame(truth_rows(spec, truth), infer_schema_length=None).join(
        found, on=KEYS, how="inner", nulls_equal=True
    )
    # A horizon that is refused (lengths too short for this draw) is no interval; everything else has to be there.
    assert rows.filter(~pl.col("identified"), pl.col("question") != "horizon").is_empty()
    out = collections.defaultdict(list)
    for row in rows.filter("identified").iter_rows(named=True):
        out[row["question"], row["statistic"]].append(row["lower"] <= row["value"] <= row["upper"])
    return out


def shares(worlds: int, first: int, **sizes) -> dict[tuple[str, str | None], np.ndarray]:
    """Share covered in each world."""
    out = collections.defaultdict(list)
    for k in range(worlds):
        for families in (0, 12):
            spec = AgentWorld(n_families=families, **sizes)
            for key, hits in covered(spec, first + k).items():
                if not families or key[0] == "horizon":
                    out[key].append(np.mean(hits))
    return {key: np.array(values) for key, values in out.items()}


def test_small_worlds():
    """Three worlds: a lost factor of two in a variance, or a wrong sign, fails this at once.

    Rows of a world share their tasks: at nominal .9 three worlds with an effective six intervals hold half with P > .99.
    """
    found = shares(3, 500, n_contexts=1, n_items=40)
    assert {key[0] for key in found} == {"pass_power", "collapse_hazard", "cost_per_success", "horizon"}
    for key, values in found.items():
        assert values.mean() >= 0.5, (key, values)


@pytest.mark.prove
def test_full_coverage():
    """200 worlds of 60 tasks, 4 trials, 2 models, bench and one deployment context: every statistic covers .84-.96."""
    found = shares(200, 1000, n_contexts=1, n_items=60)
    for key, values in found.items():
        error = values.std() / np.sqrt(len(values))
        print(*key, f"{values.mean():.3f} +- {error:.3f} over {len(values)} worlds", flush=True)
    for key, values in found.items():
        assert 0.84 <= values.mean() <= 0.96, key
