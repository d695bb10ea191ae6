"""Importing stays light, and the decision table names what is there."""

import subprocess
import sys

import divergence.geometry as geometry


def test_import_loads_no_jax():
    code = "import sys, divergence.geometry; print([m for m in ('jax', 'numpyro', 'sklearn') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_every_public_name_is_documented_and_every_question_is_in_the_table():
    questions = [name for name in geometry.__all__ if name[0].islower()]
    for name in geometry.__all__:
        assert getattr(geometry, name).__doc__, f"{name} has no docstring"
    for name in questions:
        assert f"`{name}" in geometry.__doc__, f"{name} is missing in the table of contents"
