"""Are weights used only where they are those that were recorded?"""

import dataclasses
import pathlib
import re

import pytest

from divergence.errors import InputError
from lab import weights

CARD = pathlib.Path(__file__).parents[2] / "datasets" / "serving-lab" / "card.md"


@pytest.fixture
def shipped(tmp_path, monkeypatch) -> pathlib.Path:
    """A file in the place of what a package ships, and a folder of weights of its own."""
    monkeypatch.setenv("DIVERGENCE_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "shipped.gguf"
    path.write_bytes(b"first")
    family = dataclasses.replace(weights.FAMILIES[0], packages=("json",), locate=lambda _: path)
    monkeypatch.setattr(weights, "FAMILIES", (family,))
    return path


def test_recorded_are_the_hashes_of_the_card():
    rows = re.findall(r"^\| `([a-z0-9_-]+)` \|.*\| `([0-9a-f]{64})` \|", CARD.read_text(), re.MULTILINE)
    assert dict(rows) == weights.RECORDED and set(weights.RECORDED) <= set(weights.names())


def test_a_shipped_file_that_is_not_the_recorded_one_is_refused(shipped, monkeypatch):
    for name in ("smollm2-135m-q4_1", "smollm2-135m-q8_0"):  # as shipped, and what would be made of it
        with pytest.raises(InputError, match="recorded is b179c9523d0e6a0f: they are not used"):
            weights.make(name)
    assert not list(weights.weights_folder().iterdir())
    monkeypatch.setitem(weights.RECORDED, "smollm2-135m-q4_1", weights.sha256(shipped))
    assert weights.make("smollm2-135m-q4_1").read_bytes() == b"first"
    shipped.write_bytes(b"second")
    with pytest.raises(InputError, match="they are not used"):
        weights.make("smollm2-135m-q4_1")


def test_a_file_without_a_recorded_hash_is_recorded_when_it_is_first_made(shipped, monkeypatch):
    monkeypatch.setitem(weights.RECORDED, "smollm2-135m-q4_1", weights.sha256(shipped))
    monkeypatch.setattr(weights, "requantise", lambda source, target, _: target.write_bytes(source.read_bytes() + b"!"))
    monkeypatch.setattr(weights.importlib.util, "find_spec", lambda _: True)
    made = weights.make("smollm2-135m-q5_0")
    record = made.with_name("smollm2-135m-q5_0.gguf.sha256")
    assert record.read_text() == f"{weights.sha256(made)}  smollm2-135m-q5_0.gguf\n"
    assert weights.make("smollm2-135m-q5_0") == made
    made.write_bytes(b"another")
    with pytest.raises(InputError, match=re.escape(f"recorded is {record.read_text()[:16]}")):
        weights.make("smollm2-135m-q5_0")
