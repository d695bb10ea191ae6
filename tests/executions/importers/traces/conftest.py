"""Where the genuine logs of production tools lie, and small traces for what they do not show."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

LOGS = Path(__file__).resolve().parents[5] / "shared" / "logs"


@pytest.fixture(autouse=True)
def own_salt(tmp_path, monkeypatch):
    """Salts of hashed identities are made in the test's own folder, and not in the user's."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "configuration"))


@pytest.fixture(scope="session")
def logs() -> Callable[[str], Path]:
    """`logs("mlflow/traces.jsonl")`: a genuine file, or a skip where it is absent."""

    def path(name: str) -> Path:
        if not (LOGS / name).exists():
            pytest.skip(f"the genuine log {name} is not on this machine")
        return LOGS / name

    return path


@pytest.fixture
def spans(tmp_path):
    """Write an OTLP/JSON file from spans given as `{"name": ..., "attributes": {...}, ...}` over a usable default."""

    def attribute(key, value):
        kind = "stringValue" if isinstance(value, str) else "intValue" if isinstance(value, int) else "doubleValue"
        return {"key": key, "value": {kind: str(value) if kind == "intValue" else value}}

    def made(number, given):
        call = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m", "gen_ai.usage.input_tokens": 10}
        span = {"traceId": "a" * 32, "spanId": f"{number:016x}", "name": "chat", "kind": 3, "status": {}}
        span |= {"startTimeUnixNano": str(10**18 + number * 10**9), "endTimeUnixNano": str(10**18 + (number + 1) * 10**9)}
        span |= {name: value for name, value in given.items() if name != "attributes"}
        attributes = given.get("attributes", {}) if given.get("bare") else {**call, **given.get("attributes", {})}
        return {**span, "attributes": [attribute(key, value) for key, value in attributes.items() if value is not None]}

    def make(*given, name="traces.json") -> Path:
        scope = {"scope": {"name": "t"}, "spans": [made(number, span) for number, span in enumerate(given, start=1)]}
        path = tmp_path / name
        path.write_text(json.dumps({"resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": [scope]}]}))
        return path

    return make
