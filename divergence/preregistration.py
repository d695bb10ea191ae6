"""Questions, margins and seed, fixed before data are seen: the lock file, and how a run departs from it.

The lock is JSON for people, with the SHA-256 of what it says: a lock that was edited afterwards is refused. It holds what
can bend a result: the outcome and its kind, the law over contexts, factors, requirements, margins, prices, which rows are
kept, the seed, and the questions that were asked in advance. All others of a report are exploratory. It proves nothing
about when it was made: publish its hash.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from divergence.configuration import Configuration
from divergence.errors import InputError
from divergence.plain_files import regular
from divergence.staging import several

FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Lock:
    """A lock file that holds."""

    path: str
    """Where it lies."""
    sha256: str
    """Hash over what it says."""
    says: Mapping[str, Any]
    """`created`, `version`, `questions`, `seed`, `interval`, `declared`, `data`."""


def declared(configuration: Configuration) -> dict[str, Any]:
    """What of a configuration is locked, as plain values."""
    told = {f.name: getattr(configuration, f.name) for f in dataclasses.fields(configuration) if f.name != "path"}
    return json.loads(json.dumps({k: _plain(v) for k, v in told.items()}, sort_keys=True))


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value


def _hash(says: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(says, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def write(
    path: pathlib.Path,
    configuration: Configuration,
    questions: Sequence[str],
    seed: int,
    data: Mapping[str, str | None],
    version: str,
) -> Lock:
    """Write the lock. `data`: files that are there already, by name, with their hash. Raises InputError for a file there."""
    says = {
        "format": FORMAT,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "version": version,
        "questions": list(questions),
        "seed": seed,
        "interval": 0.9,
        "declared": declared(configuration),
        "data": dict(data),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with several([path], new=True) as (part,):
            part.write_text(
                json.dumps({**says, "sha256": _hash(says)}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
            )
    except FileExistsError:
        raise InputError(f"{path} is there already: a registration is not written over; name another file with -o") from None
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from None
    return Lock(str(path), _hash(says), says)


def load(path: str | pathlib.Path) -> Lock:
    """Read a lock. Raises InputError where it is none, or was changed after it was written."""
    regular(path)
    try:
        table = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"the registration {path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise InputError(f"the registration {path} is not JSON: name a file that divergence preregister wrote") from None
    if not isinstance(table, dict) or table.get("format") != FORMAT or not _whole(table):
        raise InputError(
            f"{path} is no registration of this format ({FORMAT}): name a file that divergence preregister wrote"
        )
    says = {key: value for key, value in table.items() if key != "sha256"}
    try:
        hashed = _hash(says)
    except UnicodeEncodeError:
        hashed = "no text"
    if hashed != table["sha256"]:
        raise InputError(
            f"the registration {path} was changed after it was written: its hash is {hashed[:12]}, it says "
            f"{str(table['sha256'])[:12]}"
        )
    return Lock(str(path), table["sha256"], says)


def _whole(table: Mapping[str, Any]) -> bool:
    """Does a table say what a lock says, each in its type?"""
    kinds = {
        "sha256": str,
        "created": str,
        "seed": int,
        "interval": float,
        "questions": list,
        "declared": dict,
        "data": dict,
    }
    return all(type(table.get(key)) is kind for key, kind in kinds.items()) and all(
        type(name) is str for name in table["questions"]
    )


Held = TypeVar("Held")


def held_to(posterior: Held, lock: Lock) -> Held:
    """The posterior, which carries the lock that its report is held to."""
    of: Any = posterior
    return dataclasses.replace(of, provenance={**of.provenance, "preregistered": dataclasses.asdict(lock)})


def registered(posterior: Any) -> Lock | None:
    """The lock that a posterior carries, if it does."""
    found = posterior.provenance.get("preregistered")
    return Lock(**found) if found else None


def departures(lock: Lock, configuration: Configuration, seed: int, interval: float) -> tuple[str, ...]:
    """How a run departs from what was registered, one sentence each; empty where it does not."""
    now, then = declared(configuration), lock.says["declared"]
    told = [f"{key} is {_shown(now.get(key))}, registered was {_shown(then.get(key))}" for key in {**then, **now}
            if now.get(key) != then.get(key)]  # fmt: skip
    if seed != lock.says["seed"]:
        told.append(f"the seed is {seed}, registered was {lock.says['seed']}")
    if interval != lock.says["interval"]:
        told.append(f"the intervals are of {interval:g}, registered was {lock.says['interval']:g}")
    return tuple(told)


def record(lock: Lock, told: Sequence[str], answered: Mapping[str, bool]) -> dict[str, Any]:
    """What the record of the run says; `answered`: question -> is any of its numbers identified?"""
    return {
        "file": lock.path,
        "sha256": lock.sha256,
        "created": lock.says["created"],
        "departures": list(told),
        "questions": {name: answered.get(name, False) for name in lock.says["questions"]},
        "exploratory": [name for name in answered if name not in lock.says["questions"]],
        "data_seen": [name for name in lock.says["data"]],
    }


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "..."
