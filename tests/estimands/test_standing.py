"""Who has a deployed level, how it is known, and what is said about names."""

import numpy as np
import polars as pl
import pytest

import divergence as dv
from divergence.errors import InputError
from divergence.estimands.standing import FORECAST, MEASURED, PARTLY, known_models, like_names, standing
from divergence.simulate import simulate, world


@pytest.fixture(scope="module")
def log():
    return simulate(world("baseline", n_models=6, n_contexts=3, n_items=60), 18)[0]


def _fit(frame):
    return dv.fit(dv.collapse(dv.read(frame)), seed=0).fits[0]


def test_measured_partly_forecast_and_forecast(log):
    contexts = sorted(log.filter(regime="deployment")["context"].unique())
    deployed = pl.col("regime") == "deployment"
    frame = log.filter(
        ~(deployed & (pl.col("model") == "model-5")),
        ~(deployed & (pl.col("model") == "model-4") & (pl.col("context") == contexts[0])),
    )
    seen = standing(_fit(frame))
    assert seen is not None
    common = seen.weights(None)
    status = dict(zip(seen.names, seen.status(common), strict=True))
    assert status == {**{f"model-{k}": MEASURED for k in range(4)}, "model-4": PARTLY, "model-5": FORECAST}
    without = np.where(np.array(seen.contexts) == contexts[0], 0.0, 0.5)
    assert seen.status(np.repeat(without[None], 6, 0))[4] == MEASURED
    own = seen.weights("own")
    np.testing.assert_allclose(own[5], seen.weights("logged")[5])
    np.testing.assert_allclose(own.sum(1), 1)


def test_a_candidate_on_another_bench_is_left_out_by_name(log):
    mine = pl.col("model") == "model-0"
    frame = log.filter(~(mine & (pl.col("regime") == "deployment")))
    frame = frame.with_columns(item=pl.when(mine).then("other " + pl.col("item")).otherwise("item"))
    seen = standing(_fit(frame))
    assert seen is not None and "model-0" not in seen.names
    assert "shares no bench item" in seen.left_out["model-0"]


def test_names_that_differ_in_case_or_date():
    assert like_names(["a", "b-7b", "b-13b", "vit_384", "vit_512"]) == ""
    assert "m-0613 and m-0314" in like_names(["m-0613", "m-0314", "z"])
    assert "Qwen and qwen" in like_names(["Qwen", "qwen"])
    assert "A and 'A '" in like_names(["A", "A ", "B"])
    assert "GPT-4o and gpt-4o and openai/gpt-4o" in like_names(["GPT-4o", "gpt-4o", "openai/gpt-4o", "claude"])


def test_an_incumbent_that_is_not_in_the_log(log):
    with pytest.raises(InputError, match=r"the incumbent 'modle-2' is not a model of this log \(did you mean model-2\?\)"):
        known_models(_fit(log), "modle-2")
