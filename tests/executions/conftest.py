"""A small log that breaks no rule, to be varied by the tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

PUBLIC = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture
def rows() -> Callable[..., pl.DataFrame]:
    """`rows(column=values, ...)`: two models x two items x an evaluation and two deployment contexts x two trials."""

    def make(without: tuple[str, ...] = (), **columns: object) -> pl.DataFrame:
        arms = [("evaluation", "bench"), ("deployment", "vllm"), ("deployment", "sglang")]
        records = [
            {
                "regime": regime,
                "model": model,
                "item": item,
                "trial": trial,
                "engine": engine,
                "score": float((place + trial) % 2),
            }
            for place, (regime, engine) in enumerate(arms)
            for model in ("small", "large")
            for item in ("a", "b")
            for trial in (0, 1)
        ]
        frame = pl.DataFrame(records).drop(without)
        return frame.with_columns(
            pl.Series(name, value) if isinstance(value, list) else pl.lit(value).alias(name)
            for name, value in columns.items()
        )

    return make


@pytest.fixture
def public() -> Callable[[str], str]:
    """`public("llm_drift")`: the path of a public data set, or a skip where it is absent."""

    def path(name: str) -> str:
        file = PUBLIC / f"{name}.parquet"
        if not file.is_file():
            pytest.skip(f"the public data set {name} is not on this machine")
        return str(file)

    return path


@pytest.fixture(scope="session")
def cases_folder():
    """Small logs that were misread once."""
    folder = Path(__file__).resolve().parents[3] / "shared" / "cases"
    if not folder.is_dir():
        pytest.skip("the cases ../shared/cases are not on this machine")
    return folder
