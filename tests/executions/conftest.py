"""Where the public data lie."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

PUBLIC = Path(__file__).parents[3] / "shared" / "data"


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
