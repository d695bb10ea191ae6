"""The hash of a model's folder sees every name and every byte, and no order."""

import pytest

from divergence.errors import InputError
from divergence.scoring.model_folder import folder_hash


def test_names_and_bytes_are_seen(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    for folder, names in ((first, ("a", "b")), (second, ("b", "a"))):
        folder.mkdir()
        for name in names:
            (folder / name).write_bytes(name.encode())
    whole = folder_hash(first)
    assert whole == folder_hash(second) and whole.startswith("sha256:")
    (second / "a").write_bytes(b"A")
    assert folder_hash(second) != whole
    (second / "a").write_bytes(b"a")
    (second / "a").rename(second / "c")
    assert folder_hash(second) != whole


def test_a_file_that_cannot_be_read_is_a_sentence(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"a")

    def refused(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refused)
    with pytest.raises(InputError, match="a cannot be read: Permission denied"):
        folder_hash(tmp_path)
