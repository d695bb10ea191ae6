"""Damaged logs of harnesses whose files belong together: requests and grades, trials and their job, samples and averages.

As in `test_fuzz`, but with the other files of the run beside the damaged one, so that an import goes on past its start:
bytes of genuine files replaced, cut out or added; values anywhere in their JSON replaced by values of other kinds, at every
level; nesting deeper than any parser follows. The examples are drawn the same way in every run (`DIVERGENCE_FUZZ` of them).
"""

import json
import os
import tempfile
from pathlib import Path

import polars as pl
import pytest
from damage import EDIT, ODD, STEPS, changed, replaced
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from divergence.errors import InputError
from divergence.executions.importers import Privacy, import_log, write

ODDER = [*ODD, False, -float("inf"), [[]], [None], {"": None}, -(2**63), 10**400]
EDITS = st.lists(EDIT, min_size=1, max_size=3)
CHANGES = st.lists(st.tuples(STEPS, st.sampled_from(ODDER)), min_size=1, max_size=3)
EXAMPLES = int(os.environ.get("DIVERGENCE_FUZZ", "12"))
FEW = settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
DEEP = 20_000  # levels: beyond what Python's parser follows
SALT = Privacy(salt=b"of this test, not of a user")

AIPERF = ("profile_export.jsonl", "profile_export_aiperf.json", "accuracy_export.jsonl")
FILES = {  # format -> files of one run, the damaged one first; those that only lie beside it after it
    "aiperf": [f"aiperf/acc-before/{name}" for name in AIPERF],
    "aiperf grades": [f"aiperf/acc-before/{name}" for name in AIPERF[::-1]],
    "aiperf averages": [f"aiperf/acc-before/{name}" for name in (AIPERF[1], AIPERF[0], AIPERF[2])],
    "vllm-bench": ["vllm_bench/vllm_before.json"],
    "harbor": ["harbor/before/ar-000__77DTgBC/result.json"],
    "harbor job": ["harbor/before/result.json", "harbor/before/ar-000__77DTgBC/result.json"],
    "lighteval results": ["lighteval/before/results_2026-11-29T14-03-14.592890.json"],
    "promptfoo": ["promptfoo/before.json"],
    "promptfoo lines": ["promptfoo/repeat.jsonl"],
    "every-eval-ever": [
        f"every_eval_ever/converted/inspect-before/63490424-ab7e-4f92-881b-abb912c0374d{end}"
        for end in ("_samples.jsonl", ".json")
    ],
    "every-eval-ever aggregate": [
        f"every_eval_ever/converted/inspect-before/63490424-ab7e-4f92-881b-abb912c0374d{end}"
        for end in (".json", "_samples.jsonl")
    ],
    "openai-evals": ["openai_evals/before.jsonl"],
    "swebench": ["swebench/org__demo-model.before.json"],
    "tau2-bench": ["tau2_bench/airline_trimmed15.json"],
    "helm": [
        "../formats/helm/simple_mcqa_model=simple_model1/per_instance_stats.json",
        "../formats/helm/simple_mcqa_model=simple_model1/run_spec.json",
        "../formats/helm/simple_mcqa_model=simple_model1/scenario_state.json",
    ],
    "helm spec": [
        "../formats/helm/simple_mcqa_model=simple_model1/run_spec.json",
        "../formats/helm/simple_mcqa_model=simple_model1/per_instance_stats.json",
    ],
}


def survives(contents: dict[str, bytes], format: str) -> None:
    """Import the first of these files, as its format and as whatever it is taken for."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in contents.items():
            (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
            (Path(folder) / name).write_bytes(content)
        for chosen in (format, None):
            try:
                imported = import_log([Path(folder) / next(iter(contents))], chosen, privacy=SALT)
            except InputError as error:
                assert "\n" not in str(error).strip()
                assert len(str(error)) > 20
                continue
            if imported.rows or imported.telemetry.height:
                write(imported, Path(folder) / "out.parquet")
            else:
                with pytest.raises(InputError, match="Nothing was written"):
                    write(imported, Path(folder) / "out.parquet")
            assert imported.executions["execution_id"].is_unique().all()
            scores = imported.executions["score"].drop_nulls()
            assert scores.is_between(0, 1).all()
            assert set(imported.outcomes["execution_id"]) <= set(imported.executions["execution_id"])


def contents(logs, name) -> dict[str, bytes]:
    root = logs(FILES[name][0].split("/")[0]) if not FILES[name][0].startswith("..") else logs("lm_eval")
    found = {}
    for file in FILES[name]:
        path = root.parent / file
        if not path.is_file():
            pytest.skip(f"the genuine log ../shared/logs/{file} is not on this machine")
        short = file.removeprefix("harbor/") if "harbor" in file else Path(file).name
        found[short] = path.read_bytes()
    return found


def smaller(value):
    """The first members of long lists: damage finds every kind of place in them, and each example stays quick."""
    if isinstance(value, list):
        return [smaller(member) for member in value[:6]]
    return {name: smaller(part) for name, part in value.items()} if isinstance(value, dict) else value


@pytest.mark.parametrize("name", FILES)
def test_damaged_bytes(logs, name):
    files = contents(logs, name)
    first = next(iter(files))

    @FEW
    @given(EDITS)
    def check(edits):
        survives({**files, first: changed(files[first], edits)}, name.split()[0])

    check()


@pytest.mark.parametrize("name", FILES)
def test_values_of_other_kinds(logs, name):
    files = contents(logs, name)
    first = next(iter(files))
    lines = first.endswith(".jsonl")
    value = [json.loads(line) for line in files[first].splitlines()[:6]] if lines else smaller(json.loads(files[first]))

    @settings(FEW, max_examples=3 * EXAMPLES)
    @given(CHANGES)
    def check(changes):
        damaged = value
        for steps, new in changes:
            damaged = replaced(damaged, steps, new)
        several = lines and isinstance(damaged, list)
        written = "\n".join(json.dumps(line) for line in damaged) if several else json.dumps(damaged)
        survives({**files, first: written.encode()}, name.split()[0])

    check()


@pytest.mark.parametrize("name", FILES)
def test_nesting_deeper_than_a_parser_follows(logs, name):
    files = contents(logs, name)
    first = next(iter(files))
    nested = b'{"a":' * DEEP + b"1" + b"}" * DEEP
    content = files[first]
    at = content.index(b'"', len(content) // 2)  # the start of some name or text: where the nested value goes is luck
    survives({**files, first: nested}, name.split()[0])
    survives({**files, first: content[:at] + nested + content[at:]}, name.split()[0])
    survives({**files, first: b"\xff\xfe" + content}, name.split()[0])
    survives({**files, first: b""}, name.split()[0])


@pytest.mark.parametrize("name", FILES)
def test_the_undamaged_files_import(logs, name, tmp_path):
    files = contents(logs, name)
    for file, content in files.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes(content)
    if name == "lighteval results":
        with pytest.raises(InputError, match="averages only"):
            import_log([tmp_path / next(iter(files))], name.split()[0])
    else:
        assert import_log([tmp_path / next(iter(files))], name.split()[0], privacy=SALT).executions.height > 0


def test_damaged_details_of_lighteval(logs):
    (path,) = (logs("lighteval") / "before").glob("*.parquet")
    results = next((logs("lighteval") / "before").glob("*.json"))
    content = path.read_bytes()

    @settings(FEW, max_examples=4 * EXAMPLES)
    @given(EDITS)
    def check(edits):
        survives({path.name: changed(content, edits), results.name: results.read_bytes()}, "lighteval")

    check()


COLUMNS = st.sampled_from(
    [[1], ["x"], [None], [[1.0]], [{"a": 1}], [float("nan")], [{"id": None, "text": [1]}], [[]], [b"x"]]
)


def test_columns_of_other_types_in_details_of_lighteval():
    @FEW
    @given(COLUMNS, COLUMNS, COLUMNS)
    def check(doc, metric, response):
        with tempfile.TemporaryDirectory() as folder:
            frame = pl.DataFrame({"doc": doc, "metric": metric, "model_response": response})
            frame.write_parquet(Path(folder) / "details.parquet")
            try:
                import_log([Path(folder) / "details.parquet"], constants={"model": "m"})
            except InputError as error:
                assert len(str(error)) > 20

    check()
