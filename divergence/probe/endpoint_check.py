"""Is somebody there, and is the key taken? Asked once of every endpoint, before the first request of a run.

`GET base_url/models` costs nothing and every OpenAI-compatible server has it. An endpoint that nobody listens at, or that
refuses the key (401), would turn a whole run into rows of errors, so it ends the run before anything is written. Other
answers prove nothing (some gateways do not have the route) and are let pass; a model that is not in the list is a note.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping

from divergence.errors import InputError
from divergence.probe import client
from divergence.probe.plan import Plan
from divergence.probe.reply_stream import UNUSABLE, body

WAIT_S = 10.0  # a server that is loading its weights may be slow to say so
LARGEST_LIST = 1 << 24  # bytes; gateways that list thousands of models need a few megabytes
LISTED_MAX = 5  # model names in a note
NAME_MAX = 100  # characters of one
LONGEST_NAME = 1 << 14  # characters of what can be a name


async def greet(plan: Plan, heads: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Notes on the endpoints that the systems name. Raises `InputError` where one cannot be asked."""
    notes = []
    async with client.open_session(1) as session:
        served = [(plan.where(system, context), system) for system in plan.system for context in plan.context]
        for name in dict.fromkeys(name for name, _ in served if name):
            wanted = [system.request_model or system.model for where, system in served if where == name]
            listed = await _models(session, name, plan.endpoint[name].base_url, heads[name])
            unknown = [model for model in wanted if listed and model not in listed]
            if unknown:
                # A name is cut when it holds no key any more: the part of one that a cut leaves would not be found.
                known = ", ".join(client.without_keys(model, heads[name])[:NAME_MAX] for model in listed[:LISTED_MAX])
                notes.append(
                    f"the endpoint {name!r} lists the models {known} and not {unknown[0]!r}; "
                    "servers may refuse a name that they do not know"
                )
    return notes


async def _models(session, name: str, base_url: str, head: Mapping[str, str]) -> list[str]:
    """The models that the endpoint lists; empty where it lists none."""
    import aiohttp

    url, wanted = f"{base_url.rstrip('/')}/models", {**head, "Accept": "application/json"}
    try:
        async with asyncio.timeout(WAIT_S), session.get(url, headers=wanted, allow_redirects=False) as response:
            if response.status == 401:
                raise InputError(
                    f"The endpoint {name!r} at {base_url} refuses "
                    + (
                        "the key from the environment."
                        if len(head) > 1
                        else "to answer without a key; name its variable in api_key_env."
                    )
                )
            content = await body(response, LARGEST_LIST) if response.status == 200 else b"{}"
    except aiohttp.ClientConnectorError as error:
        why = error.os_error.strerror or type(error.os_error).__name__
        raise InputError(
            f"Nobody answers at {base_url} (endpoint {name!r}: {why}); start the server, or correct base_url."
        ) from None
    except InputError:
        raise
    except (TimeoutError, aiohttp.ClientError, OSError, *UNUSABLE):
        return []
    try:
        given = [entry["id"] for entry in json.loads(content)["data"]]
    except UNUSABLE:
        return []
    return [model for model in given if isinstance(model, str) and len(model) <= LONGEST_NAME and model.isprintable()]
