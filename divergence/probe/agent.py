"""Does a model that answers single questions also finish a task in several steps? A loop with tools and an end state.

The model writes one command a turn and sees what it returned; the loop ends when it says `done`, or at `max_calls`
(a cap is not a failure of the model: the row says `finish_reason = "calls"`). What counts is the state it leaves
behind, checked by equality, not what it says.

| command | returns |
|---|---|
| `calc A + B` (or `- *`) | the number |
| `set KEY VALUE` | ok |
| `get KEY` | the value |
| `line N` | line N of the task's file, from 1 |
| `done` | ends the task |

Everything else returns `error: ...`, and the loop goes on: a model may recover. One row an episode: `score` is the end
state, `calls` model calls, `tool_calls` commands that worked, `attempts` commands that were tried, `task_length` the
fewest commands that solve the task. Tokens and seconds are sums over the calls.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence

CALC = re.compile(r"(-?\d{1,9})\s*([-+*])\s*(-?\d{1,9})")
KEY = re.compile(r"[a-z]{1,20}")
VALUE_MAX = 60  # characters of a stored value: what a model babbles is not a value


@dataclasses.dataclass
class Desk:
    """The state that the tools work on."""

    store: dict[str, str]
    """Keys and values."""
    lines: tuple[str, ...]
    """The lines of the task's file."""
    worked: int = 0
    """Commands that worked."""
    tried: int = 0
    """Commands that were tried, `done` included."""
    finished: bool = False
    """Has the model said `done`?"""

    def run(self, command: str) -> str:
        """What the command returns; never raises."""
        self.tried += 1
        name, _, rest = command.strip().partition(" ")
        rest = rest.strip()
        if name == "done" and not rest:
            self.finished = True
            return "bye"
        result = self._tool(name, rest)
        self.worked += not result.startswith("error:")
        return result

    def _tool(self, name: str, rest: str) -> str:
        if name == "calc":
            found = CALC.fullmatch(rest)
            if found is None:
                return "error: calc takes two numbers and + - or *"
            a, b = int(found[1]), int(found[3])
            return str({"+": a + b, "-": a - b, "*": a * b}[found[2]])
        if name == "set":
            key, _, value = rest.partition(" ")
            if not KEY.fullmatch(key) or not value.strip() or len(value) > VALUE_MAX:
                return "error: set takes a key and a value"
            self.store[key] = value.strip()
            return "ok"
        if name == "get":
            return self.store.get(rest, f"error: there is no {rest[:20]}")
        if name == "line":
            if not rest.isdecimal() or not 1 <= int(rest[:9]) <= len(self.lines):
                return f"error: line takes a number from 1 to {len(self.lines)}"
            return self.lines[int(rest[:9]) - 1]
        return f"error: there is no command {name[:20]}"


def desk(item: Mapping) -> Desk:
    """A fresh desk for one episode of an agent item."""
    return Desk(dict(item["agent"].get("store", {})), tuple(item["agent"].get("lines", ())))


def solved(item: Mapping, left: Desk) -> bool:
    """Is the wanted state there? Other keys may have been set on the way."""
    return all(left.store.get(key) == value for key, value in item["agent"]["wanted"].items())


def messages(item: Mapping, exchanged: Sequence[tuple[str, str]], keep: int) -> list[dict[str, str]]:
    """The transcript so far: worked episodes, the task, and the last `keep` exchanges (-1 = all) of this episode."""
    told: list[dict[str, str]] = []
    for question, answer in item["examples"]:
        told += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    ask = item["prompt"]
    shown = exchanged if keep < 0 else exchanged[max(0, len(exchanged) - keep) :]
    for command, result in shown:
        told += [{"role": "user", "content": ask}, {"role": "assistant", "content": command}]
        ask = f"{result}\n>"
    return [*told, {"role": "user", "content": ask}]
