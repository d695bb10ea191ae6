"""Does a pattern of the user's own match an answer? Within a bound: some patterns take years for forty letters, as
`(a+)+$` does, and the letters come from a server.

Patterns are matched in a process of their own, which is ended when one match has taken `CPU_S` seconds of it; other work of
the campaign, and the times that it measures, go on meanwhile. A process matches some ten thousand answers a second.
"""

from __future__ import annotations

import atexit
import json
import subprocess
import sys
import threading

CPU_S = 1.0  # seconds of the processor a match; a sound pattern needs milliseconds for the longest answer
WALL_S = 60.0  # where the system has no clock of the processor, or the machine is that busy
PROGRAM = """
import json, re, signal, sys
clock = getattr(signal, "setitimer", None)
for line in sys.stdin:
    pattern, text, whole, seconds = json.loads(line)
    if clock:
        clock(signal.ITIMER_PROF, seconds)
    found = (re.fullmatch if whole else re.search)(pattern, text)
    if clock:
        clock(signal.ITIMER_PROF, 0)
    print(json.dumps(None if found is None else [found.group(1) or ""] if found.re.groups else []), flush=True)
"""
"""What the process runs; the clock ends it."""


class TooSlowError(Exception):
    """A pattern did not come to an end with an answer within the bound."""


class _Process:
    """The process, started when it is needed; one match at a time."""

    def __init__(self) -> None:
        self.alone = threading.Lock()
        self.running: subprocess.Popen[str] | None = None

    def match(self, pattern: str, text: str, whole: bool) -> list[str] | None:
        with self.alone:
            if self.running is None:
                command = [sys.executable, "-I", "-S", "-c", PROGRAM]
                self.running = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="ascii")
            running = self.running
            assert running.stdin is not None and running.stdout is not None
            watch = threading.Timer(WALL_S, running.kill)
            watch.start()
            try:
                running.stdin.write(json.dumps([pattern, text, whole, CPU_S]) + "\n")
                running.stdin.flush()
                line = running.stdout.readline()
            except OSError:
                line = ""
            finally:
                watch.cancel()
            if not line:
                self._end()
                raise TooSlowError
            return json.loads(line)

    def end(self) -> None:
        with self.alone:
            self._end()

    def _end(self) -> None:
        if self.running is not None:
            self.running.kill()
            self.running.communicate()
            self.running = None


_process = _Process()
atexit.register(_process.end)


def matched(pattern: str, text: str, whole: bool) -> list[str] | None:
    """The first group of the match, in a list that is empty where the pattern has no group; None where it does not match.

    `whole`: the text as a whole must match. Raises `TooSlowError` where that is not known within the bound.

    >>> matched(r"answer: (\\d+)", "answer: 7", True), matched("[ab]+", "c", False)
    (['7'], None)
    """
    return _process.match(pattern, text, whole)
