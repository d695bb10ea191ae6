"""What is one execution made of? A single question, a conversation with its own history, or an agent's episode.

| item has | workload | rows |
|---|---|---|
| `prompt` | one question after its worked examples | one |
| `turns` | questions of one conversation; the model's own answers stay in its history | one a turn, `session` and `turn` |
| `agent` | a loop with tools and a checkable end state (`agent`) | one an episode |

The rows of one item are written together, so that a resumed run never finds half a conversation.
"""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import hashlib
from collections.abc import Awaitable, Callable, Mapping

from divergence.probe import agent, scoring
from divergence.probe.bounded_pattern import TooSlowError
from divergence.probe.client import Reply
from divergence.probe.plan import Context, System
from divergence.probe.store import Key

# What a reply and a row call by the same name.
MEASURED = (
    "input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens", "draft_tokens", "accepted_tokens", "retries",
    "latency_s", "ttft_s", "error_type", "finish_reason", "served_model", "system_fingerprint",
)  # fmt: skip
SUMMED = (
    "input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens", "draft_tokens", "accepted_tokens", "retries",
    "latency_s",
)  # fmt: skip
TOO_SLOW = "pattern_timeout"
"""`error_type` of an answer with which the item's own pattern does not come to an end."""
LONG = 1 << 16  # characters of an answer that is judged in a thread: one can stand for 18 in its plain form
ANSWER_MAX = 4096
"""Characters of a parsed answer that are kept; a longer one is its beginning and its hash, which tell flips as well."""

Send = Callable[[list[dict[str, str]], str | None], Awaitable[Reply]]
"""Messages and session to the reply."""


@dataclasses.dataclass(frozen=True)
class Asked:
    """One item for one system in one context."""

    system: System
    """Who is asked."""
    context: Context
    """How it is served."""
    item: Mapping
    """What is asked."""
    key: Key
    """Which execution this is; a conversation's turns extend its item."""
    scorers: Mapping[str, scoring.Function]
    """Python scorers by name."""

    @property
    def session(self) -> str:
        """Name of the conversation or episode, or the item's own session (traffic of one user)."""
        given = self.item.get("session")
        return str(given) if given else hashlib.sha256(repr(self.key).encode()).hexdigest()[:12]

    def row(self, reply: Reply, **more) -> dict:
        """The columns that every row has."""
        row = {"regime": self.context.regime, "model": self.system.model, "item": self.item["item"]}
        row |= {"task": self.item["task"], "trial": self.key[4], "wave": str(self.key[3])}
        row |= {"context": self.context.label, **self.context.factors}
        return row | {name: getattr(reply, name) for name in MEASURED} | more


async def execute(asked: Asked, send: Send) -> list[tuple[dict, list[Reply]]]:
    """The rows of one item, each with the replies behind it, the first turn last (see `store`)."""
    if "agent" in asked.item:
        return [await _episode(asked, send)]
    if asked.item.get("turns"):
        return await _conversation(asked, send)
    reply = await send(question(asked.context, asked.item, asked.item["prompt"]), asked.item.get("session"))
    given = {"session": asked.item["session"]} if asked.item.get("session") else {}
    said = await judged(reply, asked.item, asked.scorers)
    return [(asked.row(reply, **{**paced(reply), **said, **given}), [reply])]


def question(
    context: Context, item: Mapping, prompt: str, history: list[dict[str, str]] | None = None
) -> list[dict[str, str]]:
    """Messages after the context's truncation and wrapping."""
    past = []
    for asked, answered in item["examples"]:
        past += [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
    past += history or []
    keep = len(past) if context.keep_examples < 0 else 2 * context.keep_examples
    told = [{"role": "system", "content": context.system_prompt}] if context.system_prompt else []
    told += past[max(0, len(past) - keep) :]
    return [*told, {"role": "user", "content": context.wrap.replace("{prompt}", prompt)}]


async def judged(reply: Reply, item: Mapping, scorers: Mapping[str, scoring.Function]) -> dict:
    """Answer, gold and scores of one reply; null where nothing was served, and where a pattern does not come to an end with
    it, which is an `error_type`: others are asked and timed meanwhile."""
    quick = len(reply.text) <= LONG or item["scorer"].startswith(
        scoring.PYTHON
    )  # whose functions may not be made for threads
    if reply.error_type or (quick and item["scorer"] != "regex"):
        return _judged(reply, item, scorers)
    try:
        return await asyncio.to_thread(_judged, reply, item, scorers)
    except TooSlowError:
        unknown = _judged(dataclasses.replace(reply, error_type=TOO_SLOW), item, scorers)
        return {**unknown, "error_type": TOO_SLOW}


def _judged(reply: Reply, item: Mapping, scorers: Mapping[str, scoring.Function]) -> dict:
    answer = score = lenient = None
    if not reply.error_type:
        answer, score = scoring.score(reply.text, dict(item), scorers)
        answer = _short(answer)
        lenient = scoring.lenient(reply.text, dict(item), score)
    gold = scoring.tidy(item["gold"])
    return {"answer": answer, "gold": gold, "scorer": item["scorer"], "score": score, "lenient": lenient}


def _short(answer: str) -> str:
    if len(answer) <= ANSWER_MAX:
        return answer
    return f"{answer[:ANSWER_MAX]}… {hashlib.sha256(answer.encode('utf-8', 'replace')).hexdigest()[:16]}"


def paced(reply: Reply) -> dict:
    """Seconds an output token after the first."""
    decoded = (reply.output_tokens or 0) - 1
    spread = None if reply.latency_s is None or reply.ttft_s is None else reply.latency_s - reply.ttft_s
    return {"tpot_s": spread / decoded if spread is not None and decoded > 0 and not reply.error_type else None}


async def _conversation(asked: Asked, send: Send) -> list[tuple[dict, list[Reply]]]:
    history: list[dict[str, str]] = []
    rows = []
    for number, turn in enumerate(asked.item["turns"], 1):
        begun = datetime.datetime.now(datetime.UTC)
        part = {**asked.item, **turn, "item": turn_name(asked.item["item"], number)}
        told = question(asked.context, asked.item, turn["prompt"], history)
        reply = await send(told, asked.session)
        own = dataclasses.replace(asked, item=part)
        more = {"session": asked.session, "turn": number, "time": begun.isoformat()}
        said = await judged(reply, part, asked.scorers)
        rows.append((own.row(reply, **{**paced(reply), **said, **more}), [reply]))
        history += [{"role": "user", "content": turn["prompt"]}, {"role": "assistant", "content": reply.text.strip()}]
    return rows[::-1]


def turn_name(item: str, number: int) -> str:
    """Item name of one turn of a conversation."""
    return f"{item}/t{number}"


async def _episode(asked: Asked, send: Send) -> tuple[dict, list[Reply]]:
    desk = agent.desk(asked.item)
    exchanged: list[tuple[str, str]] = []
    replies: list[Reply] = []
    while not desk.finished and len(replies) < asked.item["agent"]["max_calls"]:
        reply = await send(agent.messages(asked.item, exchanged, asked.context.keep_examples), asked.session)
        replies.append(reply)
        if reply.error_type:
            break
        command = reply.text.strip()
        exchanged.append((command, desk.run(command)))
    whole = replies[-1]
    ended = "done" if desk.finished else "error" if whole.error_type else "calls"
    row = asked.row(whole, **{name: _total(replies, name) for name in SUMMED})
    row |= {"ttft_s": replies[0].ttft_s, "finish_reason": ended, "session": asked.session, "scorer": "end_state"}
    row |= {"score": None if whole.error_type else float(desk.finished and agent.solved(asked.item, desk))}
    row |= {"calls": len(replies), "tool_calls": desk.worked, "attempts": desk.tried, "lenient": None}
    row |= {"task_length": asked.item["agent"]["length"], "gold": None, "answer": _state(desk)}
    return row, replies


def _total(replies: list[Reply], name: str) -> float | int | None:
    values = [getattr(r, name) for r in replies if getattr(r, name) is not None]
    return sum(values) if values else None


def _state(desk: agent.Desk) -> str:
    """The end state as one short text, for answer flips."""
    return "; ".join(f"{key}={value}" for key, value in sorted(desk.store.items()))[:200] or "(nothing)"
