"""Where the genuine logs of other tools lie, and small made logs for what the genuine ones do not show."""

import json
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[4] / "shared"
FORMATS = SHARED / "formats"


@pytest.fixture(scope="session")
def cases() -> Path:
    """Small logs that were misread once."""
    if not (SHARED / "cases").is_dir():
        pytest.skip("the cases ../shared/cases are not on this machine")
    return SHARED / "cases"


@pytest.fixture(scope="session")
def logs():
    """The folder of one tool's genuine logs, by the tool's name."""

    def folder(tool: str) -> Path:
        if not (SHARED / "logs" / tool).is_dir():
            pytest.skip(f"the genuine logs ../shared/logs/{tool} are not on this machine")
        return SHARED / "logs" / tool

    return folder


@pytest.fixture(scope="session")
def inspect_logs() -> Path:
    if not (FORMATS / "inspect").is_dir():
        pytest.skip("the genuine logs ../shared/formats/inspect are not on this machine")
    return FORMATS / "inspect"


@pytest.fixture(scope="session")
def lm_eval_logs() -> Path:
    if not (FORMATS / "lm_eval" / "results").is_dir():
        pytest.skip("the genuine logs ../shared/formats/lm_eval are not on this machine")
    return FORMATS / "lm_eval" / "results"


@pytest.fixture
def inspect_log(tmp_path):
    """Write a log of Inspect from samples; `header` overrides its sections."""

    def make(samples, name="log.json", **header) -> Path:
        evaluation = {
            "run_id": "r",
            "task_id": "t",
            "created": "2026-01-01T00:00:00+00:00",
            "task": "arith",
            "model": "openai/gpt",
            "dataset": {},
            "config": {},
            **header.pop("eval", {}),
        }
        log = {"version": 2, "status": "success", "eval": evaluation, "samples": samples, **header}
        path = tmp_path / name
        path.write_text(json.dumps(log))
        return path

    return make


@pytest.fixture
def lm_eval_run(tmp_path):
    """Write a samples file of lm-eval, and its results file unless `results` is None."""

    def make(lines, task="t", stamp="2026-01-01T00-00-00.0", results=()) -> Path:
        path = tmp_path / f"samples_{task}_{stamp}.jsonl"
        path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
        if results is not None:
            said = {"results": {task: {}}, "model_name": "m", "config": {"model": "hf", "model_args": "pretrained=m"}}
            (tmp_path / f"results_{stamp}.json").write_text(json.dumps({**said, **dict(results)}))
        return path

    return make
