"""Every folder of genuine logs as a person names it: what it gives as a whole, or the sentence with which it is refused.

Totals are those that the READMEs of ../shared/logs count, or sums of plain JSON; a folder that holds one run in several
formats gives it once. Protobuf files need the extra `otlp`; without it they are named, and their JSON likes are read.
"""

import dataclasses
import importlib.util

import pytest
from genuine_logs import SHARED

from divergence.errors import InputError
from divergence.executions.importers import Privacy, import_log

PROTOBUF = importlib.util.find_spec("opentelemetry") is not None
CLIENT = {"input_tokens": 1309, "output_tokens": 533, "cached_tokens": 128, "reasoning_tokens": 192}
GENAI = {"input_tokens": 1552, "output_tokens": 616, "cached_tokens": 128, "reasoning_tokens": 192}


@dataclasses.dataclass(frozen=True)
class Whole:
    """What a folder gives."""

    rows: int
    judged: int = 0  # rows with a score
    right: float = 0.0  # their sum
    errors: int | None = None  # rows with an error
    sums: tuple = ()  # ((column, sum), ...)
    telemetry: bool = False
    unread: int = 0  # files that are named as refused
    protobuf: bool = False  # only with the extra
    given: tuple = ()  # constants that the folder cannot be read without


def twice(sums):
    return tuple((name, 2 * value) for name, value in sums.items())


FOLDERS = {
    "logs/aiperf": Whole(220, 74, 29 + 34, 20),
    "logs/dcgm": Whole(0, telemetry=True),
    "logs/every_eval_ever": Whole(149, 149, 24 + 16 + 24 + 26 - 12 - 13 + 1, None),
    "logs/harbor": Whole(52, 48, 18 + 19, 12, (("input_tokens", 200), ("output_tokens", 136), ("cost_usd", 0.000308))),
    "logs/inspect": Whole(317, 307, None, 15),
    "logs/langfuse": Whole(
        30, 0, 0, None, (("input_tokens", 168 + 656 + 140 + 1315 + 1319), ("output_tokens", 424 + 538)), protobuf=True
    ),
    "logs/langsmith": Whole(42, 0, 0, 10, (("input_tokens", 2 * 1422), ("output_tokens", 2 * 574))),
    "logs/lighteval": Whole(120, 120, 19 + 20),
    "logs/litellm": Whole(19, 0, 0, 5, (("cost_usd", 0.00132046), ("input_tokens", 1298), ("output_tokens", 458)), True),
    "logs/llamacpp": Whole(0, telemetry=True),
    "logs/lm_eval": Whole(190, 190, 24 + 16 + 8),
    "logs/mlflow": Whole(19, 0, 0, 4, (("input_tokens", 1301), ("output_tokens", 533), ("cost_usd", 0.0028715))),
    "logs/openai_evals": Whole(60, 60, 24 + 28, None, (("input_tokens", 540), ("output_tokens", 218))),
    "logs/openrouter": Whole(3, 0, 0, 1, (("cost_usd", 0.01272), ("input_tokens", 11604), ("output_tokens", 201))),
    "logs/otlp-genai-openai": Whole(42, 1, 0.75, 9, twice(GENAI), True, 0 if PROTOBUF else 3),
    "logs/otlp-logfire": Whole(19, 0, 0, 4, tuple(CLIENT.items()), protobuf=True),
    "logs/otlp-openinference": Whole(19, 0, 0, 4, tuple(CLIENT.items()), unread=0 if PROTOBUF else 1),
    "logs/otlp-traceloop": Whole(19, 0, 0, 4, tuple(CLIENT.items()), True, 0 if PROTOBUF else 1),
    "logs/phoenix": Whole(19, 3, 1.5, 4, tuple(CLIENT.items())),
    "logs/prometheus": Whole(0, telemetry=True),
    "logs/promptfoo": Whole(119, 106, 78, 13),
    "logs/sglang": Whole(5, 0, 0, 1, (("input_tokens", 241), ("output_tokens", 60)), True, given=(("model", "m"),)),
    "logs/swebench": Whole(40, 36, 7 + 10, 4),
    "logs/tau2_bench": Whole(18, 15, 12, 0, (("cost_usd", 3.482445),)),
    "logs/tgi": Whole(0, telemetry=True),
    "logs/vllm": Whole(
        15, 0, 0, 0, (("input_tokens", 2150), ("output_tokens", 212)), True, protobuf=True, given=(("model", "m"),)
    ),
    "logs/vllm_bench": Whole(60, 0, 0, 6, (("input_tokens", 188), ("output_tokens", 198))),
    "formats/helm": Whole(5, 5, 0, None, (("input_tokens", 1925), ("output_tokens", 5))),
    "formats/inspect": Whole(62, 61, None),
    "formats/lm_eval": Whole(40, 40, 7),
    "formats/otel": Whole(8, 0, 0, 2, (("input_tokens", 72), ("output_tokens", 18), ("cached_tokens", 48))),
    "formats/prometheus": Whole(0, telemetry=True),
}
REFUSED = {
    "logs/make-production": "holds no log in one of the",
    "formats/schemas": "holds no log in one of the",
    "logs/sglang": "names no model, as no request file of SGLang does: give it with --set model=NAME",
}
"""Folder -> the sentence, where nothing is set. The page beside SGLang's request file is read, and the file is named."""


@pytest.fixture(scope="module", autouse=True)
def shared():
    if not SHARED.is_dir():
        pytest.skip("../shared is not on this machine")


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_gives_what_its_tools_count(name):
    whole = FOLDERS[name]
    if whole.protobuf and not PROTOBUF:
        pytest.skip("opentelemetry-proto (extra otlp) is not installed")
    imported = import_log([SHARED / name], constants=dict(whole.given), privacy=Privacy(salt=b"0" * 32))
    rows = imported.executions
    assert imported.rejected.filter(imported.rejected["rule"] == "file_readable").height == whole.unread
    assert rows.height == imported.rows == whole.rows
    assert rows["score"].count() == whole.judged
    if whole.right is not None:
        assert rows["score"].sum() == pytest.approx(whole.right, rel=1e-12)
    if whole.errors is not None:
        assert (rows["error_type"].count() if "error_type" in rows.columns else 0) == whole.errors
    for column, total in whole.sums:
        assert rows[column].sum() == pytest.approx(total, rel=1e-12), column
    assert bool(imported.telemetry.height) == whole.telemetry


@pytest.mark.parametrize("name", REFUSED)
def test_a_folder_is_refused_with_the_right_sentence(name):
    if name in FOLDERS:
        imported = import_log([SHARED / name], privacy=Privacy(salt=b"0" * 32))
        (sentence,) = imported.rejected.filter(imported.rejected["rule"] == "file_readable")["sentence"]
        assert REFUSED[name] in sentence and imported.telemetry.height
        return
    with pytest.raises(InputError, match=REFUSED[name]):
        import_log([SHARED / name])


def test_no_folder_is_forgotten():
    there = {f"{base}/{path.name}" for base in ("logs", "formats") for path in (SHARED / base).iterdir() if path.is_dir()}
    assert there <= {*FOLDERS, *REFUSED}
