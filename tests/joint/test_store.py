"""A saved posterior comes back whole, or not at all."""

import json
import zipfile

import numpy as np
import pytest

import divergence as dv
from divergence.cells.cells import TABLES
from divergence.sealed import TRIED


def test_round_trip(waves_posterior, tmp_path):
    waves_posterior.save(tmp_path / "m")
    back = dv.load(tmp_path / "m")
    for question in (dv.gap, dv.kappa, dv.excess_flips, dv.instrument):
        np.testing.assert_array_equal(question(back).draws, question(waves_posterior).draws)
    assert back.diagnostics == waves_posterior.diagnostics
    for one, other in zip(back.fits, waves_posterior.fits, strict=True):
        assert one.cells.levels == other.cells.levels
        for name, columns in TABLES.items():
            for column in (*columns[0], *columns[1]):
                np.testing.assert_array_equal(getattr(one.cells, name)[column], getattr(other.cells, name)[column])


def test_only_what_packs_is_packed(waves_posterior, tmp_path):
    """Draws of a continuous number keep nearly all of their size, and most of the time would go there; codes shrink."""
    waves_posterior.save(tmp_path / "m")
    with zipfile.ZipFile(tmp_path / "m" / "draws.npz") as archive:
        parts = {part.filename: part for part in archive.infolist()}
    assert parts["0/effects.npy"].file_size > 2 * TRIED
    assert parts["0/effects.npy"].compress_type == zipfile.ZIP_STORED
    codes = parts["0/counts/model.npy"]
    assert codes.compress_type == zipfile.ZIP_DEFLATED
    assert codes.compress_size < 0.5 * codes.file_size


def test_saving_again_replaces(waves_posterior, tmp_path):
    for _ in range(2):
        waves_posterior.save(tmp_path / "m")
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


def test_a_changed_byte_is_seen(waves_posterior, tmp_path):
    waves_posterior.save(tmp_path / "m")
    path = tmp_path / "m" / "draws.npz"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(dv.InputError, match="changed"):
        dv.load(tmp_path / "m")


def test_a_changed_word_is_seen(waves_posterior, tmp_path):
    waves_posterior.save(tmp_path / "m")
    path = tmp_path / "m" / "posterior.json"
    path.write_text(path.read_text().replace("model-1", "model-9", 1))
    with pytest.raises(dv.InputError, match="changed"):
        dv.load(tmp_path / "m")


def test_another_format_is_refused(waves_posterior, tmp_path):
    waves_posterior.save(tmp_path / "m")
    path = tmp_path / "m" / "posterior.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))
    with pytest.raises(dv.InputError, match="format 99"):
        dv.load(tmp_path / "m")


@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_broken_words_are_refused(waves_posterior, tmp_path, content):
    waves_posterior.save(tmp_path / "m")
    (tmp_path / "m" / "posterior.json").write_text(content)
    with pytest.raises(dv.InputError):
        dv.load(tmp_path / "m")


def test_a_folder_that_is_no_posterior(tmp_path):
    with pytest.raises(dv.InputError, match=r"posterior\.json"):
        dv.load(tmp_path)


def test_arviz(waves_posterior):
    tree = waves_posterior.to_arviz()
    assert tree["posterior"]["alpha"].shape[:2] == (1, len(waves_posterior.fits[0].effects))
    assert "sd_delta" in tree["posterior"]
