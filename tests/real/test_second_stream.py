"""Two recorded incidents of the lab: speculative decoding switched on in a stream, a context that grows with every hour.

Their references are short (464 and 480 rows, correlated over 20 to 26 of them), so that with chunks of the length that
the correlation asks for there are too few of them and the verb refuses; shorter chunks are asked for, and the notes say so.
"""

import json
import pathlib

import pytest

from divergence.cli import main

DATASETS = pathlib.Path(__file__).parents[2] / "datasets"


def drift(name, folder, capsys, *flags):
    with pytest.raises(SystemExit) as stop:
        main(["drift", str(DATASETS / name), "-o", str(folder), "--no-telemetry", "--quiet", "--json", *flags])
    out, err = capsys.readouterr()
    return stop.value.code or 0, json.loads(out) if out else None, err


@pytest.mark.parametrize("name", ["serving-speculation", "serving-growth"])
def test_a_short_reference_is_refused_with_what_is_missing(name, tmp_path, capsys):
    code, found, err = drift(name, tmp_path, capsys, "--reference", "0.4")
    assert code in (2, 3) and found is None
    assert "reference" in err


def test_speculation_is_a_change_of_coupling_that_goes_with_one_setting(tmp_path, capsys):
    code, found, _ = drift("serving-speculation", tmp_path, capsys, "--reference", "0.5", "--chunk-rows", "50")
    assert code == 0 and found["verdict"] == "structural"
    first = found["edges"][0]
    assert {first["a"], first["b"]} == {"output_tokens", "tpot_s"}
    assert abs(first["before"]) < 0.2 and first["after"] < -0.6  # counted on plain rows: -.06 and -.80
    assert found["time"] > "2026-11-29T17:04:43Z", "no alarm before the switch"
    notes = " ".join(found["notes"])
    assert "spec_decode" in notes and "association" in notes and "fewer than 100 rows a chunk" in notes


def test_a_context_that_grows_is_a_rate_and_not_a_jump(tmp_path, capsys):
    code, found, _ = drift("serving-growth", tmp_path, capsys, "--reference", "0.45", "--chunk-rows", "30")
    assert code == 0 and found["verdict"] == "surface"
    grown = next(edge for edge in found["edges"] if edge["a"] == "input_tokens")
    rate = grown["rate"]
    assert rate["shape"] in ("bend", "slope") and rate["lower"] < 494 < rate["upper"]  # tokens an hour by least squares
    assert rate["upper"] - rate["lower"] < 120
    assert "not sure with these chunks" in " ".join(found["notes"])
