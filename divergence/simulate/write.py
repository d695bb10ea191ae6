"""A simulated log as files: Parquet, and the truth in the rows of the results table."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib

import numpy as np

from divergence.errors import InputError
from divergence.simulate import agents
from divergence.simulate.draw import simulate
from divergence.simulate.worlds import World
from divergence.staging import alone, several


def write(spec: World | agents.AgentWorld, seed: int, path: pathlib.Path) -> int:
    """Write the log to `path` and the truth to `truth.json` beside it; returns the number of rows.

    The truth takes its place first and names the log that it is of, by file and content: of a run that was killed between
    the two, whoever has both can tell that they are not of one draw. Two runs in one folder wait for one another. Raises
    InputError where nothing can be written.
    """
    truth_path = path.parent / "truth.json"
    if path.name.casefold() == truth_path.name:
        raise InputError(f"{path} is where the truth is written: name another file with -o, such as log.parquet.")
    if isinstance(spec, agents.AgentWorld):
        log, truth = agents.simulate_agents(spec, seed)
        rows = agents.truth_rows(spec, truth)
    else:
        log, truth = simulate(spec, seed)
        rows = truth_rows(spec, truth)
    words: dict[str, object] = {"world": dataclasses.asdict(spec), "seed": seed, "estimates": rows}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with alone(path.parent / ".truth.divergence-lock", path.parent), several([path, truth_path]) as (part, beside):
            log.write_parquet(part)
            with part.open("rb") as file:
                words["log"] = {"file": path.name, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
            beside.write_text(json.dumps(words, indent=1))
    except OSError as error:
        raise InputError(f"the simulated log cannot be written to {path}: {error.strerror}") from None
    return log.height


def truth_rows(spec: World, truth: dict[str, np.ndarray]) -> list[dict]:
    """The truth, one row a number, with the coordinates that the results table uses."""
    rows = []
    for m in range(spec.n_models):
        model = {"model": f"model-{m}"}
        rows += [
            {"question": "bench_level", **model, "value": float(truth["level"][m, 0])},
            {"question": "deployed_level", **model, "value": float(truth["level"][m, 1:].mean())},
            {"question": "gap", **model, "value": float(truth["gap"][m])},
            {"question": "evaluation_advantage", **model, "value": -float(truth["gap"][m])},
            {"question": "kappa", **model, "value": float(truth["kappa"][m])},
        ]
        for c in range(spec.n_contexts):
            context = f"context-{c + 1}"
            rows.append(
                {"question": "context_effect", **model, "context": context, "value": float(truth["context_effect"][m, c])}
            )
            if "excess_flips" in truth:
                rows.append(
                    {
                        "question": "excess_flips",
                        **model,
                        "context": "bench",
                        "context_b": context,
                        "value": float(truth["excess_flips"][m, c]),
                    }
                )
    rows.append({"question": "coupling", "value": float(truth["coupling"])})
    rows += [
        {"question": "instrument", "factor": "wave", "level": f"wave-{w}", "value": float(v)}
        for w, v in enumerate(truth["instrument"])
        if len(truth["instrument"]) > 1
    ]
    return rows
