"""Do other harnesses score the same items the same against the same server, and what do they cost beside the probe?

    python benchmarks/probe_peers.py BASE_URL MODEL [ITEMS] [PEERS_PYTHON]     # writes its section of benchmarks/probe.md

Single-turn items, greedy, four requests at once. Every client is a process of its own. Scores and requests a second are
those against the server. What a client costs is measured against the stub of `probe_stub.py`, by two runs, a short one and
a long one, whose difference leaves out imports and what a run costs once. PEERS_PYTHON is an interpreter that has
`lm-eval[api]` and `inspect-ai`; a client that is not installed there is left out. The answers of all clients are scored
twice: by the client itself, and by the probe's strict scorer, item by item. For equal answers the server must repeat itself:
one slot, no prompt cache.
"""

import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).parent
HEADING = "## Beside other clients"
AT_ONCE = 4
MOST_TOKENS = 8
SHORT, LONG = 100, 1100  # requests of the two runs against the stub

CLOCK = """
import json, pathlib, resource, sys, time
place, base_url, model, at_once, most_tokens = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
place = pathlib.Path(place)
items = [json.loads(line) for line in (place / "items.jsonl").read_text().splitlines()]
def clock():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime, time.perf_counter()
def told(name, version, before, answers, scores):
    cpu, wall = (now - then for now, then in zip(clock(), before))
    text = {"name": name, "version": version, "cpu": cpu, "wall": wall, "answers": answers, "scores": scores}
    (place / "told.json").write_text(json.dumps(text))
"""
PROBE = (
    CLOCK
    + '''
import aiohttp
import polars, polars.io
import divergence
from divergence.probe import run
(place / "plan.toml").write_text(f"""
name = "peers"
items = "items.jsonl"
[request]
max_tokens = {most_tokens}
stop = ["\\\\n"]
timeout_s = 600.0
[endpoint.one]
base_url = "{base_url}"
[[system]]
model = "{model}"
endpoint = "one"
[[context]]
label = "bench"
regime = "evaluation"
factors = {{ sampler = "greedy" }}
sampler = {{ temperature = 0.0 }}
concurrency = {at_once}
""")
before = clock()
rows = polars.read_parquet(run(place / "plan.toml", place / "rows", quiet=True).path)
told("divergence probe", divergence.__version__, before, dict(zip(rows["item"], rows["answer"])),
     dict(zip(rows["item"], rows["score"])))
'''
)
LM_EVAL = (
    CLOCK
    + """
import logging
import lm_eval
from lm_eval.api.task import ConfigurableTask
from lm_eval.models.openai_completions import LocalChatCompletion
logging.disable(logging.WARNING)
task = ConfigurableTask(config={
    "task": "items", "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(place / "items.jsonl")}},
    "test_split": "test", "output_type": "generate_until", "doc_to_text": "{{prompt}}", "doc_to_target": "{{gold}}",
    "generation_kwargs": {"until": ["\\n"], "max_gen_toks": most_tokens, "temperature": 0, "do_sample": False},
    "filter_list": [{"name": "tidy", "filter": [{"function": "remove_whitespace"}, {"function": "take_first"}]}],
    "metric_list": [{"metric": "exact_match", "ignore_case": True, "ignore_punctuation": True}],
})
client = LocalChatCompletion(base_url=f"{base_url}/chat/completions", model=model, num_concurrent=at_once, timeout=600,
                             max_gen_toks=most_tokens)
before = clock()
result = lm_eval.simple_evaluate(model=client, tasks=[task], apply_chat_template=True, log_samples=True,
                                 bootstrap_iters=0)
samples = result["samples"]["items"]
name = {row["doc_id"]: row["doc"]["item"] for row in samples}
told("lm-eval, local-chat-completions", lm_eval.__version__, before,
     {name[row["doc_id"]]: row["resps"][0][0] for row in samples},
     {name[row["doc_id"]]: float(row["exact_match"]) for row in samples})
"""
)
INSPECT = (
    CLOCK
    + """
import inspect_ai
from inspect_ai import Task, eval
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import GenerateConfig, get_model
from inspect_ai.scorer import exact
from inspect_ai.solver import generate
data = MemoryDataset([Sample(id=item["item"], input=item["prompt"], target=item["gold"]) for item in items])
told_to = GenerateConfig(temperature=0.0, max_tokens=most_tokens, stop_seqs=["\\n"], timeout=600)
client = get_model(f"openai-api/local/{model}", base_url=base_url, api_key="none", config=told_to)
before = clock()
log = eval(Task(dataset=data, solver=generate(), scorer=exact()), model=client, max_connections=at_once,
           max_samples=at_once, display="none", log_dir=str(place / "logs"))[0]
told("inspect-ai, openai-api", inspect_ai.__version__, before,
     {sample.id: sample.output.completion for sample in log.samples},
     {sample.id: float(sample.scores["exact"].value == "C") for sample in log.samples})
"""
)


def plain(count: int) -> list[dict]:
    """Items of the lab, each as one message: its worked examples and its question in one text, exactly scored."""
    from lab.items import FAMILIES, items

    made = []
    listed = items(-(-count // len(FAMILIES)))
    for number in range(count):
        item = listed[number % len(listed)]
        solved = "".join(f"{question} {answer}\n" for question, answer in item["examples"])
        made.append(
            {"item": f"{item['item']}-{number}", "prompt": solved + item["prompt"], "gold": item["gold"], "scorer": "exact"}
        )
    return made


def asked(python: str, script: str, items: list[dict], base_url: str, model: str) -> dict | None:
    """What one client tells of its call; None where it is not installed."""
    with tempfile.TemporaryDirectory() as folder:
        place = pathlib.Path(folder)
        (place / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
        environment = os.environ | {
            "OPENAI_API_KEY": "none",
            "HF_HUB_OFFLINE": "1",
            "HF_HOME": folder,
            "OMP_NUM_THREADS": "1",
            "INSPECT_TRACE_FILE": str(place / "trace.log"),
        }
        ended = subprocess.run(
            [python, "-c", script, folder, base_url, model, str(AT_ONCE), str(MOST_TOKENS)],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if ended.returncode:
            print(ended.stderr[-3000:], file=sys.stderr)
            return None
        return json.loads((place / "told.json").read_text())


def cost(python: str, script: str) -> float | None:
    """CPU seconds a request, against the stub."""
    stub = subprocess.Popen([sys.executable, str(HERE / "probe_stub.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    base_url = f"http://127.0.0.1:{int(stub.stdout.readline())}/v1"
    runs = [asked(python, script, plain(count), base_url, "stub") for count in (SHORT, LONG)]
    stub.stdin.close()
    stub.wait()
    return None if None in runs else (runs[1]["cpu"] - runs[0]["cpu"]) / (LONG - SHORT)


def section(tellings: list[dict], items: list[dict], model: str) -> list[str]:
    """The table, the probe's own line first."""
    from divergence.probe.scoring import score, tidy

    gold = {item["item"]: item for item in items}
    first = tellings[0]
    lines = [
        HEADING,
        "",
        f"Made by `benchmarks/probe_peers.py`: the same {len(items)} single-turn items, greedy, {AT_ONCE} "
        f"requests at once, against one server of {model}; `same answers` and `same scores` compare item by item with "
        f"the probe. CPU a request is the client's, against the stub: {LONG:,} requests less {SHORT}.",
        "",
        f"{os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}.",
        "",
        "| client | its own score | the probe's scorer on its answers | same answers | same scores | requests a second "
        "| CPU ms a request |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in tellings:
        strict = {name: score(one["answers"].get(name) or "", item)[1] for name, item in gold.items()}
        same = sum(tidy(one["answers"].get(name) or "") == tidy(first["answers"][name] or "") for name in gold)
        agree = sum(strict[name] == first["scores"][name] for name in gold)
        own = sum(value or 0.0 for value in one["scores"].values()) / len(gold)
        lines.append(
            f"| {one['name']} {one['version']} | {own:.3f} | {sum(strict.values()) / len(gold):.3f} "
            f"| {same} of {len(gold)} | {agree} of {len(gold)} | {len(gold) / one['wall']:.1f} "
            f"| {1000 * one['each']:.1f} |"
        )
    return lines


def main() -> None:
    """Ask with every client, one after the other, and write the table."""
    base_url, model, count = sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 102
    python = sys.argv[4] if len(sys.argv) > 4 else sys.executable
    items, tellings = plain(count), []
    for who, script in ((sys.executable, PROBE), (python, LM_EVAL), (python, INSPECT)):
        told, each = asked(who, script, items, base_url, model), cost(who, script)
        if told is not None and each is not None:
            tellings.append(told | {"each": each})
    text = "\n".join(section(tellings, items, model)) + "\n"
    print(text)
    page = HERE / "probe.md"
    page.write_text(page.read_text().split(HEADING)[0].rstrip("\n") + "\n\n" + text)


if __name__ == "__main__":
    main()
