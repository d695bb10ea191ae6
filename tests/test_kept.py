"""What is kept between runs: made once, made anew where it is damaged, and never in the way."""

import pytest

from divergence.kept import cache_folder, kept_text


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DIVERGENCE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_folder_is_the_chosen_one_else_that_of_the_system(tmp_path, monkeypatch):
    monkeypatch.setenv("DIVERGENCE_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("DIVERGENCE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "divergence"


@pytest.mark.parametrize("text", ["", "one line", "two\r\nlines\n", "ä \u2028 \x85 0"])
def test_a_text_is_made_once(cache, text):
    made = []

    def make():
        made.append(1)
        return text

    assert [kept_text("a.js", make) for _ in range(3)] == [text] * 3
    assert len(made) == 1 and [path.name for path in cache.iterdir()] == ["a.js"]


@pytest.mark.parametrize("damage", [b"", b"x", b"\xff\xfe", b"0" * 64 + b"\nother"])
def test_a_damaged_file_is_made_anew(cache, damage):
    kept_text("a.js", lambda: "right")
    for cut in (damage, (cache / "a.js").read_bytes()[:-1]):
        (cache / "a.js").write_bytes(cut)
        assert kept_text("a.js", lambda: "right") == "right"
        assert kept_text("a.js", lambda: "never asked") == "right"


def test_where_nothing_can_be_written_it_is_made_each_time(cache):
    cache.write_text("a file where the folder should be")
    assert [kept_text("a.js", lambda: "right") for _ in range(2)] == ["right"] * 2
    assert cache.read_text() == "a file where the folder should be"
