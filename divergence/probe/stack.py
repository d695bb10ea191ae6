"""A local serving stack: one real llama.cpp server a process, on a free loopback port, for as long as it is needed.

    async with serve(weights_file("smollm2-135m-q4_1"), ServerSettings(slots=8)) as server:
        ...  # server.base_url is OpenAI-compatible

The server is stopped when the block is left, by an error or by Ctrl-C too. It reads a pipe from this process, so it
also ends when this process is killed outright. Needs the `lab` extra (xllamacpp) and weights.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import importlib.util
import json
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

from divergence.errors import InputError

if TYPE_CHECKING:
    from divergence.probe.plan import ServerSettings

START_S = 120.0  # longest wait for the weights to load from a cold disk
STOP_S = 5.0  # then the process is killed


@dataclasses.dataclass(frozen=True)
class Server:
    """A running local server."""

    base_url: str
    """OpenAI-compatible address up to `/v1`."""
    version: str
    """Package of the engine and its version."""
    pid: int
    """Process id."""


ENGINES = {  # name in the plan and in the log: the script of its server, the package that it needs
    "llama.cpp": ("server.py", "xllamacpp"),
    "ik_llama.cpp": ("second_engine.py", "ik_llama_cpp"),
}


def check_installed(engine: str = "llama.cpp") -> None:
    """Raise `InputError` where the engine is unknown or missing."""
    if engine not in ENGINES:
        raise InputError(f"The engine {engine!r} is unknown; the choices are {', '.join(ENGINES)}.")
    package = ENGINES[engine][1]
    if importlib.util.find_spec(package) is None:
        raise InputError(f"The local stack needs the package {package!r}: pip install 'eval-divergence[lab]'.")


@contextlib.asynccontextmanager
async def serve(weights: Path, settings: ServerSettings) -> AsyncIterator[Server]:
    """A server of these weights with these settings, stopped on leaving. Raises `InputError` when it does not start."""
    check_installed(settings.engine)
    pipe = asyncio.subprocess.PIPE
    with tempfile.TemporaryFile() as messages:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", str(Path(__file__).with_name(ENGINES[settings.engine][0])),
            stdin=pipe, stdout=pipe, stderr=messages,
            start_new_session=True,  # Ctrl-C reaches this process, which then stops the server in order
        )  # fmt: skip
        try:
            yield await _started(process, weights, settings, messages)
        finally:
            await asyncio.shield(_stop(process))


async def _started(process, weights: Path, settings: ServerSettings, messages) -> Server:
    """Hand over the settings and wait for the announcement."""
    process.stdin.write(json.dumps(dataclasses.asdict(settings) | {"path": str(weights)}).encode() + b"\n")
    try:
        async with asyncio.timeout(START_S):
            line = await process.stdout.readline()
    except TimeoutError:
        raise InputError(f"The local server of {weights.name} did not start within {START_S:.0f} s.") from None
    announced = json.loads(line) if line else {"error": "the process ended"}
    if "error" in announced:
        messages.seek(0)
        told = messages.read().decode(errors="replace").strip().splitlines()
        last = f" ({told[-1]})" if told else ""
        raise InputError(
            f"The local server of {weights.name} did not start: {announced['error']}{last}; settings were {settings}. "
            "A quantised kv_cache needs flash_attention = 'on'."
        )
    return Server(f"http://127.0.0.1:{announced['port']}/v1", announced["version"], process.pid)


async def _stop(process) -> None:
    """Close the pipe that keeps the server alive; kill it where that is not enough."""
    process.stdin.close()
    try:
        async with asyncio.timeout(STOP_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
