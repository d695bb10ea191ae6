"""Partitions in worker processes of this machine: each worker takes the next partition when it has finished one.

Workers are spawned (never forked: Arrow, Polars and JAX have threads) with one thread each. A worker that dies (a crash
inside a library, no memory) costs its partition: one sentence with the last words of the worker; a new worker takes
over. Workers end when their parent does, however it ends, and leave no result half-written.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pathlib
import signal
import tempfile
from collections.abc import Iterator
from multiprocessing import connection

import pyarrow as pa

from divergence.scoring.filesystems import scrubbed
from divergence.scoring.jobs import Job, PartitionOutcome
from divergence.scoring.partitions import Tell, attempt, silent

ONE_THREAD = {
    "POLARS_MAX_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}
"""The environment of a worker: the cores are shared out by workers, not by the threads of each."""


class _Worker:
    """One process, the pipe to it, what it is doing, and where its last words go."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        number, words = tempfile.mkstemp(prefix="divergence-", suffix=".words")
        os.close(number)
        self.words = pathlib.Path(words)
        self.pipe, far = context.Pipe()
        self.process = context.Process(target=_serve, args=(far, os.getpid(), words), daemon=True)
        with _environment(ONE_THREAD):
            self.process.start()
        far.close()
        self.job: Job | None = None

    def give(self, waiting: list[Job]) -> None:
        """Take the next partition, if one is left."""
        self.job = waiting.pop() if waiting else None
        if self.job is not None:
            with contextlib.suppress(BrokenPipeError):  # it has died, which the next look at the pipe finds
                self.pipe.send(self.job)

    def end(self) -> str:
        """Stop the process; how it ended and the last line that it wrote, a sentence."""
        self.pipe.close()
        self.process.join(0 if self.process.is_alive() and self.job is None else 1)
        if self.process.is_alive():
            self.process.terminate()
            self.process.join()
        code = self.process.exitcode or 0
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        lines = [line.strip() for line in self.words.read_text(errors="replace").splitlines() if line.strip()]
        self.words.unlink(missing_ok=True)
        return f"its worker ended with {how}" + (f": {scrubbed(lines[-1])[:300]}" if lines else "")


def in_workers(jobs: list[Job], count: int, tell: Tell = silent) -> Iterator[PartitionOutcome]:
    """The jobs in `count` processes; outcomes in the order in which they finish."""
    waiting = list(reversed(jobs))
    workers: list[_Worker] = []
    try:
        for _ in range(min(count, len(jobs))):
            workers.append(_Worker())
            workers[-1].give(waiting)
        while busy := [(worker, worker.job) for worker in workers if worker.job is not None]:
            ready = connection.wait([worker.pipe for worker, _ in busy])
            for worker, job in busy:
                if worker.pipe not in ready:
                    continue
                try:
                    message = worker.pipe.recv()
                except (EOFError, OSError):
                    workers.remove(worker)
                    yield PartitionOutcome(job, None, worker.end())
                    if waiting:
                        workers.append(_Worker())
                        workers[-1].give(waiting)
                    continue
                if isinstance(message, PartitionOutcome):
                    worker.give(waiting)
                    yield message
                else:
                    tell(*message)
    finally:
        for worker in workers:
            worker.end()


def _serve(pipe: connection.Connection, parent: int, words: str) -> None:
    """The life of a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    number = os.open(words, os.O_WRONLY | os.O_APPEND)
    os.dup2(number, 2)
    pa.set_cpu_count(1)

    def tell(rows: int, size: int) -> None:
        if os.getppid() != parent:
            raise BrokenPipeError("the parent has ended")
        pipe.send((rows, size))

    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        outcome = attempt(job, tell)
        with contextlib.suppress(BrokenPipeError):
            pipe.send(outcome)


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
