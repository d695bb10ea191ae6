"""The verbs that write, each with two small inputs and a place for its results; killed at a moment or at a step."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time
import zipfile

import polars as pl
from hostile_server import HostileServer

from divergence.configuration import Configuration
from divergence.executions import read
from divergence.simulate import simulate, stream, world

HOOK = """
import atexit, json, os, signal, sys
from divergence import staging
from divergence.cli import main
left, place, told_to = int(sys.argv.pop(1)), sys.argv.pop(1), sys.argv.pop(1)
seen = {"steps": 0, "after": 0}
STEPS = ("os.rename", "os.link", "os.chmod", "os.chown", "os.remove", "os.rmdir")
def count(event, told):
    global left
    if event in STEPS and (staging._state["switching"] or staging._state["published"] or place and place in str(told)):
        seen["steps"] += 1
        seen["after"] += staging._state["published"]
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
def tell():
    told = json.dumps(seen)
    with open(told_to, "w") as file:
        file.write(told)
if told_to:
    atexit.register(tell)
sys.addaudithook(count)
main()
"""
"""The command, killed at a step of a switch, or at any that touches a place; the steps are counted from 0. One that comes
to its end can tell how many there were, and how many of them after the results had taken their place."""
MODEL = pathlib.Path(__file__).parents[2] / "models" / "serving-lab"
BY_PARTS = ("score",)  # finishes one result after the other, aside; steps of that are moments to be killed at, too
NEVER = 10**9  # steps


def logged(path: pathlib.Path, seed: int) -> pathlib.Path:
    log = simulate(world("baseline", n_models=2, n_contexts=2, n_items=20), seed)[0]
    bad = log.head(1).with_columns(score=pl.lit(7.0 + seed))  # a rejected row, another one in each log
    pl.concat([log, bad]).write_parquet(path)
    return path


def archived(path: pathlib.Path, answer: str) -> pathlib.Path:
    header = {"version": 2, "status": "success", "eval": {"task": "t", "model": "m", "run_id": "r"}, "plan": {}}
    scores = {"match": {"value": answer}, "other": {"value": "C"}}
    draw = random.Random(answer)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("header.json", json.dumps(header))
        for number in range(100):
            sample = {"id": f"i{number}", "epoch": 1, "uuid": f"{draw.getrandbits(128):x}", "scores": scores}
            file.writestr(f"samples/i{number}_epoch_1.json", json.dumps(sample))
    return path


def ran(path: pathlib.Path, seed: int) -> pathlib.Path:
    draw = random.Random(seed)
    rows = [{"model": "m", "item": f"i{k}", "score": float(draw.random() < 0.6), "regime": "evaluation"} for k in range(60)]
    pl.DataFrame(rows).write_parquet(path)
    return path


def drifting(path: pathlib.Path, seed: int) -> pathlib.Path:
    stream("null", seed, reference_rows=2000, chunks=4).write_parquet(path)
    return path


def traffic(folder: pathlib.Path, seed: int) -> pathlib.Path:
    """A log in four partitions, of which the last is the same for every seed."""
    folder.mkdir()
    for part in range(4):
        draw = random.Random(seed if part < 3 else 0)
        rows = [
            {"regime": "deployment", "model": draw.choice("ab"), "engine": "vllm", "item": f"i{k}", "score": float(k % 2)}
            for k in range(300)
        ]
        pl.DataFrame(rows).write_parquet(folder / f"part-{part}.parquet")
    return folder


class Case:
    """One verb with two inputs: the arguments of the first run and of the second, and where the results are."""

    def __init__(self, verb: str, folder: pathlib.Path, out: pathlib.Path | None = None) -> None:
        self.verb, self.out = verb, out or folder / "out" / "results"
        self.out.parent.mkdir(exist_ok=True)
        self.server: HostileServer | None = None
        make = getattr(self, f"_{verb}")
        self.first, self.second = make(folder)

    def _import(self, folder):
        a, b = archived(folder / "a.eval", "C"), archived(folder / "b.eval", "I")
        target = self.out / "log.parquet"
        return ["import", a, "-o", target, "--quiet"], ["import", b, "-o", target, "--quiet"]

    def close(self) -> None:
        if self.server:
            self.server.close()

    def _simulate(self, _):
        more = ["-o", self.out / "log.parquet", "--items", "100"]
        return ["simulate", "baseline", *more], ["simulate", "waves", *more]

    def _compare(self, folder):
        a, b, c = (ran(folder / f"{n}.parquet", n) for n in (1, 2, 3))
        return ["compare", a, b, "-o", self.out, "--exit-zero"], ["compare", a, c, "-o", self.out, "--exit-zero"]

    def _report(self, folder):
        more = ["-o", self.out, "--quiet", "--risk", "--format", "md,json"]
        return ["report", logged(folder / "a.parquet", 1), *more], ["report", logged(folder / "b.parquet", 2), *more]

    def _fit(self, folder):
        more = ["-o", self.out, "--quiet"]
        return ["fit", logged(folder / "a.parquet", 1), *more], ["fit", logged(folder / "b.parquet", 2), *more]

    def _drift(self, folder):
        more = ["-o", self.out, "--reference", "0.4", "--quiet"]
        return [["drift", drifting(folder / f"{n}.parquet", n), *more] for n in (1, 2)]

    def _probe(self, folder):
        self.server = HostileServer()
        plan = folder / "plan.toml"
        items = [{"item": f"i{n}", "prompt": "good please", "gold": "four", "scorer": "exact"} for n in range(8)]
        (folder / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in items))
        plan.write_text(
            f'name = "k"\nitems = "items.jsonl"\ntrials = 2\n[endpoint.host]\nbase_url = "{self.server.base_url}"\n'
            '[[system]]\nmodel = "m"\nendpoint = "host"\n[[context]]\nlabel = "live"\nregime = "deployment"\n'
            'factors = { sampler = "greedy" }\nsampler = { temperature = 0.0 }\n'
        )
        budget = folder / "some.toml"
        budget.write_text(plan.read_text().replace("[endpoint.host]", "[budget]\nrequests = 5\n[endpoint.host]"))
        return ["probe", budget, "-o", self.out, "--quiet"], ["probe", plan, "-o", self.out, "--quiet"]

    def _score(self, folder):
        more = ["-o", self.out, "--workers", "0", "--quiet"]
        return [["score", MODEL, traffic(folder / f"{n}", n), *more] for n in (1, 2)]

    def _plan(self, folder):
        more = ["-o", self.out, "--goal", "gap", "--requests", "100", "--quiet"]
        return [["plan", logged(folder / f"{n}.parquet", n), *more] for n in (1, 2)]

    def _export(self, folder):
        more = ["-o", self.out, "--format", "every-eval-ever", "--no-intervals", "--quiet"]
        return [["export", logged(folder / f"{n}.parquet", n), *more] for n in (1, 2)]

    def _init(self, folder):
        more = ["-o", self.out / "divergence.toml", "--force", "--quiet"]
        return ["init", ran(folder / "1.parquet", 1), *more], ["init", logged(folder / "2.parquet", 2), *more]

    def _preregister(self, folder):
        log = ran(folder / "1.parquet", 1)
        return [["preregister", log, "-o", self.out / f"{n}.json", "--seed", str(n), "--quiet"] for n in (1, 2)]

    def _loop(self, folder):
        plan = self._probe(folder)[1][1]
        more = ["--until", "requests=8", "--first", "4", "--goal", "deployed_level", "-o", self.out, "--quiet"]
        return [["loop", plan, *more]] * 2

    def seen(self) -> dict[str, bytes]:
        """The results: every file, the journals of a probe left out."""
        return {
            str(p.relative_to(self.out)): p.read_bytes()
            for p in sorted(self.out.rglob("*"))
            if p.is_file() and p.suffix != ".journal"
            and not any(part.startswith(".") for part in p.relative_to(self.out).parts)
        }  # fmt: skip

    def belongs(self) -> bool:
        """Is the truth of `simulate` that of the log beside it?"""
        told = json.loads((self.out / "truth.json").read_text())["log"]
        return hashlib.sha256((self.out / told["file"]).read_bytes()).hexdigest() == told["sha256"]

    def litter(self) -> list[pathlib.Path]:
        """What a run that was killed left beside the results or among them."""
        return [path for path in self.out.parent.rglob("*") if path.name.startswith(".")]

    def answer(self) -> object:
        """What a reader finds: the rows and the judgements of an import; of other verbs the results themselves."""
        if self.verb != "import":
            return self.seen()
        log = read(sorted(self.out.glob("*.parquet")), configuration=Configuration())
        judged = [] if log.outcomes is None else log.outcomes.drop("file").collect().rows()
        return log.scan().drop("file").collect().rows(), judged

    def run(self, arguments, killed_after: float | None = None, killed_at: int | None = None, told_to="") -> int:
        """Run to the end, or until it is killed after so many seconds or at a step."""
        command = [sys.executable, "-c", HOOK, str(NEVER if killed_at is None else killed_at)]
        command += [str(self.out) if self.verb in BY_PARTS else "", str(told_to), *map(str, arguments)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment)
        if killed_after is not None:
            time.sleep(killed_after)
            child.send_signal(signal.SIGKILL)
        error = child.communicate()[1].decode()
        assert child.returncode in (0, 1, -signal.SIGKILL), error
        return child.returncode
