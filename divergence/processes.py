"""Jobs in worker processes of this machine: each worker takes the next job when it has finished one.

Workers are spawned (never forked: Arrow, Polars and JAX have threads) with one thread each. A worker that dies (a crash
inside a library, no memory) costs its job: how it ended and its last words come back; a new worker takes over. Workers
end when their parent does, however it ends.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pathlib
import signal
import tempfile
from collections.abc import Callable, Iterator
from multiprocessing import connection
from typing import Any

import pyarrow as pa

ONE_THREAD = {
    "POLARS_MAX_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}
"""The environment of a worker: the cores are shared out by workers, not by the threads of each."""

Work = Callable[[Any, Callable[..., None]], Any]
"""What a worker does with a job; an importable function. Its second argument tells the parent how far it is."""


class _Worker:
    """One process, the pipe to it, what it is doing, and where its last words go."""

    def __init__(self, work: Work) -> None:
        context = multiprocessing.get_context("spawn")
        number, words = tempfile.mkstemp(prefix="divergence-", suffix=".words")
        os.close(number)
        self.words = pathlib.Path(words)
        self.pipe, far = context.Pipe()
        self.process = context.Process(target=_serve, args=(work, far, os.getpid(), words), daemon=True)
        with _environment(ONE_THREAD):
            self.process.start()
        far.close()
        self.job: Any = None

    def give(self, waiting: list[Any]) -> None:
        """Take the next job, if one is left."""
        self.job = waiting.pop() if waiting else None
        if self.job is not None:
            with contextlib.suppress(BrokenPipeError):  # it has died, which the next look at the pipe finds
                self.pipe.send(self.job)

    def end(self) -> tuple[str, str]:
        """Stop the process; how it ended, and the last line that it wrote (empty where it wrote none)."""
        self.pipe.close()
        self.process.join(0 if self.process.is_alive() and self.job is None else 1)
        if self.process.is_alive():
            self.process.terminate()
            self.process.join()
        code = self.process.exitcode or 0
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        lines = [line.strip() for line in self.words.read_text(errors="replace").splitlines() if line.strip()]
        self.words.unlink(missing_ok=True)
        return f"its worker ended with {how}", lines[-1] if lines else ""


def in_processes(
    jobs: list[Any],
    count: int,
    work: Work,
    lost: Callable[[Any, str, str], Any],
    tell: Callable[..., None],
) -> Iterator[Any]:
    """What `work` gives for each job, in `count` processes, in the order in which they finish.

    `lost(job, how, last words)` is what stands for a job whose worker died; `tell` hears what the workers tell.
    """
    waiting = list(reversed(jobs))
    workers: list[_Worker] = []
    try:
        for _ in range(min(count, len(jobs))):
            workers.append(_Worker(work))
            workers[-1].give(waiting)
        while busy := [worker for worker in workers if worker.job is not None]:
            ready = connection.wait([worker.pipe for worker in busy])
            for worker in busy:
                if worker.pipe not in ready:
                    continue
                try:
                    done, message = worker.pipe.recv()
                except (EOFError, OSError):
                    workers.remove(worker)
                    yield lost(worker.job, *worker.end())
                    if waiting:
                        workers.append(_Worker(work))
                        workers[-1].give(waiting)
                    continue
                if done:
                    worker.give(waiting)
                    yield message
                else:
                    tell(*message)
    finally:
        for worker in workers:
            worker.end()


def _serve(work: Work, pipe: connection.Connection, parent: int, words: str) -> None:
    """The life of a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    number = os.open(words, os.O_WRONLY | os.O_APPEND)
    os.dup2(number, 2)
    pa.set_cpu_count(1)

    def tell(*message: object) -> None:
        if os.getppid() != parent:
            raise BrokenPipeError("the parent has ended")
        pipe.send((False, message))

    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        outcome = work(job, tell)
        with contextlib.suppress(BrokenPipeError):
            pipe.send((True, outcome))


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """These variables while a process is started."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
