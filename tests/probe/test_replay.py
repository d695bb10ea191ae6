"""Are the questions of genuine logs asked again word for word?"""

import pathlib
import zipfile

import pytest

from divergence.errors import InputError
from divergence.probe import replay
from divergence.probe.item_files import read_items
from divergence.probe.plan import Plan

FORMATS = pathlib.Path(__file__).parents[3] / "shared/formats"
absent = pytest.mark.skipif(not FORMATS.is_dir(), reason="the shared sample logs are absent")


@absent
@pytest.mark.parametrize("name", ["mock_arith_inspect-0.3.285.eval", "mock_arith_inspect-0.3.285.json"])
def test_an_inspect_log(name):
    rows = read_items(Plan("p", name, (), (), folder=FORMATS / "inspect"))
    assert len(rows) >= 2 and all(row["prompt"] and row["gold"] for row in rows)
    assert len({row["item"] for row in rows}) == len(rows)


@absent
def test_both_forms_of_one_log_ask_the_same():
    one, other = (replay.items(FORMATS / "inspect" / f"mock_arith_inspect-0.3.285.{end}") for end in ("eval", "json"))
    assert {(r["prompt"], r["gold"]) for r in one} == {(r["prompt"], r["gold"]) for r in other}


@absent
def test_an_lm_eval_log():
    path = next((FORMATS / "lm_eval").rglob("samples_*.jsonl"))
    rows = read_items(Plan("p", path.name, (), (), folder=path.parent))
    assert len({row["item"] for row in rows}) == len(rows) > 1 and all(row["gold"] for row in rows)


def test_a_log_without_samples_is_a_sentence(tmp_path):
    (tmp_path / "a.json").write_text('{"samples": []}')
    with pytest.raises(InputError, match="no sample with a text input"):
        replay.items(tmp_path / "a.json")
    (tmp_path / "a.eval").write_text("no zip")
    with pytest.raises(InputError, match="cannot be replayed: BadZipFile"):
        replay.items(tmp_path / "a.eval")
    with zipfile.ZipFile(tmp_path / "b.eval", "w") as archive:
        archive.writestr("samples/1.json", "{")
    with pytest.raises(InputError, match="JSONDecodeError"):
        replay.items(tmp_path / "b.eval")
