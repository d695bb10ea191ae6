"""How long does a newcomer's own file take to an answer? Four files that nobody described, two commands each.

    python benchmarks/newcomer.py            # writes benchmarks/newcomer.md

Own CSV and JSON lines with other names, a leaderboard of models by benchmarks, a latency A/B: `init`, then `report`, in an
empty folder, as a process of its own each. Seconds are wall time, on whatever machine this runs.
"""

from __future__ import annotations

import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).parent
STUMBLES = """
What made a newcomer stumble before, and how it is now:

- `has no column model, only llm, ...` named no way on; now the error shows first values and lines that were tried.
- `--map model=NAME` was advised for a latency A/B without models; now `init` takes all rows for one model, and says so.
- Latency in milliseconds made levels of 400 "seconds"; now it is read on the scale 0 to 1000, and said to be.
- A wide table could not be read; now it is `[wide]`. Cells such as `-` and `71.3%` are read as people write them.
- Names inside records (`data.correct`) could not be mapped; now a dot leads in, and a misspelt name gets the nearest one.
- `--outcome` stood in the contract and not in the command.
- A `divergence.toml` that `init` wrote for one file is used for every log beside it; where its names do not fit, the error
  now says which file declares them. Keep logs of different shape in folders of their own, or name one with `--config`.
- `divergence score` did not take names inside records, although `fit` did; now both read a log alike.
- Rows that differ only in a column that is not mapped count as copies: map the column that tells them apart.
"""


def files(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """The four files, each in a folder of its own."""
    random.seed(1)
    made = {
        "own CSV": ("own.csv", _csv()),
        "own JSON lines": ("own.jsonl", _json_lines()),
        "leaderboard, wide": ("leaderboard.csv", _leaderboard()),
        "latency A/B": ("latency.csv", _latency()),
    }
    paths = {}
    for name, (file, lines) in made.items():
        paths[name] = folder / file.replace(".", "_") / file
        paths[name].parent.mkdir()
        paths[name].write_text("\n".join(lines) + "\n", encoding="utf-8")
    return paths


def _csv() -> list[str]:
    places = {"bench": 0.7, "prod-vllm": 0.65, "prod-sglang": 0.55}
    rows = [f"{q},{m},{env},{int(random.random() < p)}" for m in "ab" for q in range(60) for env, p in places.items()]
    return ["question_id,llm,env,correct", *rows]


def _json_lines() -> list[str]:
    return [
        json.dumps({"id": f"q{q}", "meta": {"model": m, "env": env}, "data": {"correct": random.random() < 0.7}})
        for m in "ab"
        for q in range(60)
        for env in ("eval", "prod")
    ]


def _leaderboard() -> list[str]:
    rows = []
    for k in range(30):
        level = random.gauss(60, 10)
        cells = [f"{min(max(level + random.gauss(d, 4), 0), 100):.1f}" for d in (0, -10, 5, 15, -8)]
        rows.append(",".join([f"org/model-{k}", *cells]))
    return ["Model,MMLU,GSM8K,ARC-C,HellaSwag,TruthfulQA", *rows]


def _latency() -> list[str]:
    rows = [f"{'AB'[k % 2]},r{k},{random.lognormvariate(6 + (k % 2) * 0.1, 0.3):.1f}" for k in range(400)]
    return ["variant,request_id,latency_ms", *rows]


def run(*arguments: str) -> tuple[str, float]:
    """Standard output of the command, and how long it took; a failure ends this script."""
    begin = time.monotonic()
    command = [sys.executable, "-m", "divergence", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr}")
    return done.stdout, time.monotonic() - begin


def main() -> None:
    """Run the four and write the table."""
    lines = [
        "# A newcomer's own file",
        "",
        "Made by `python benchmarks/newcomer.py`. Wall seconds of `init`, then of `report`.",
        "",
    ]
    lines += ["| file | `init` | `report` | questions answered | the page begins |", "|---|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as folder:
        for name, path in files(pathlib.Path(folder)).items():
            told, first = run("init", str(path), "--json")
            out = path.parent / "out"
            _, second = run("report", str(path), "-o", str(out), "--format", "json", "--quiet")
            decision = json.loads((out / "report.json").read_text())["decision"]
            lines.append(f"| {name} | {first:.0f} s | {second:.0f} s | {len(json.loads(told)['answers'])} | {decision} |")
            print(lines[-1], flush=True)
    (HERE / "newcomer.md").write_text("\n".join(lines) + "\n" + STUMBLES, encoding="utf-8")


if __name__ == "__main__":
    main()
