"""Reads a plan and its items, and says in one sentence what is wrong with them.

Every key is checked: an unknown one is an error that names the nearest known one, a missing one and a value of another
kind are errors that name the place. What is returned needs no further check.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from divergence.errors import InputError
from divergence.executions.schema import REGIMES, SERVING_FACTORS
from divergence.plain_files import toml
from divergence.probe import allocation, arrivals, budget, factorial, router, telemetry
from divergence.probe.plan import Context, Endpoint, Plan, ServerSettings

LEVEL_SETS = ("endpoint", "sampler", "concurrency", "arrivals", "router", "system_prompt", "keep_examples", "wrap", "server")
RESERVED = ("messages", "model", "stream", "stream_options", "max_tokens", "stop")  # set by the probe, not the sampler
HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # a token of RFC 9110
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")  # a name of an environment variable
LARGEST_BITS = 64  # of an integer: a seed may have as many
FLASH = ("on", "off", "auto")


def read_plan(path: str | Path) -> Plan:
    """The plan in a TOML file, validated. Raises `InputError`."""
    path = Path(path)
    table = toml(path, "The plan")
    plan = dataclasses.replace(_build(Plan, table, "the plan"), folder=path.parent)
    plan = dataclasses.replace(plan, context=(*plan.context, *crossed(plan)))
    _check(plan)
    return plan


def _nearest(key: str, known: typing.Iterable[str]) -> str:
    known = list(known)
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.4)
    return f"the nearest known one is {near[0]!r}" if near else f"the known ones are {', '.join(known)}"


def _build(kind: type, table: Mapping, where: str):
    """A dataclass from a TOML table, every key checked."""
    if not isinstance(table, Mapping):
        raise InputError(f"{where} is {table!r}; it must be a table.")
    fields = {f.name: f for f in dataclasses.fields(kind) if f.name != "folder"}
    for key in table:
        if key not in fields:
            raise InputError(f"Unknown key {key!r} in {where}; {_nearest(key, fields)}.")
    hints = typing.get_type_hints(kind)
    values = {key: _value(hints[key], value, f"{key!r} in {where}") for key, value in table.items()}
    for name, field in fields.items():
        if name not in values and field.default is field.default_factory is dataclasses.MISSING:
            raise InputError(f"{where} lacks the key {name!r}.")
    return kind(**values)


def _value(hint, value, where: str) -> typing.Any:
    """One TOML value as the type that the field declares."""
    _check_size(value, where)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return _build(hint, value, where)
    if origin is types.UnionType and (made := [a for a in arguments if isinstance(a, type) and dataclasses.is_dataclass(a)]):
        return _build(made[0], value, where)
    if origin is tuple:
        if not isinstance(value, list):
            raise InputError(f"{where} is {value!r}; it must be a list.")
        return tuple(_value(arguments[0], v, f"{where}, entry {n}") for n, v in enumerate(value, 1))
    if origin is not None and origin is not types.UnionType:  # the only other generic is a mapping
        if not isinstance(value, dict):
            raise InputError(f"{where} is {_shown(value, where)}; it must be a table.")
        return {k: _value(arguments[1], v, f"{k!r} of {where}") for k, v in value.items()}
    if hint is typing.Any:
        return value
    if hint is float and type(value) is int:
        return float(value)
    accepted = arguments if origin is types.UnionType else (hint,)
    if type(value) not in accepted:
        names = " or ".join(a.__name__ for a in accepted)
        raise InputError(f"{where} is {_shown(value, where)}; it must be of type {names}.")
    return value


def _check_size(value, where: str) -> None:
    """No float and no clock holds an integer of hundreds of digits."""
    if type(value) is int and value.bit_length() > LARGEST_BITS:
        raise InputError(f"{where} is an integer of {value.bit_length()} bits; those of a plan have at most {LARGEST_BITS}.")


def _shown(value, where: str) -> str:
    """The value as an error shows it; where a variable is to be named only its type, as it may be a pasted key."""
    return f"of type {type(value).__name__}" if "_env'" in where else repr(value)


def crossed(plan: Plan) -> list[Context]:
    """The contexts of the plan's factorial, each labelled `factor=level|factor=level`. Raises `InputError`."""
    design = plan.factorial
    if design is None:
        return []
    base = next((c for c in plan.context if c.label == design.base), None)
    if base is None:
        raise InputError(
            f"The factorial's base {design.base!r} is not a listed context; "
            f"{_nearest(design.base, [c.label for c in plan.context])}."
        )
    if design.design not in ("full", "fraction"):
        raise InputError(f"The design of the factorial is {design.design!r}; the choices are full, fraction.")
    levels = {f: tuple(by_level) for f, by_level in design.factor.items()}
    named = [pair for pair in base.factors.items() if pair[0] in levels]
    for name, level in [*named, *(pair for rule in design.forbid for pair in rule.items())]:
        if level not in levels.get(name, ()):
            raise InputError(
                f"The factorial does not have {name} = {level!r}; its factors and levels are "
                + "; ".join(f"{f}: {', '.join(names)}" for f, names in levels.items())
                + "."
            )
    odd = [f for pair in design.pairs for f in pair if f not in levels] + [f for f in levels if f not in base.factors]
    if odd or any(len(set(pair)) != 2 for pair in design.pairs):
        raise InputError(
            f"Factors of the factorial ({', '.join(levels)}) must be named by its base, and each of its pairs "
            f"must name two of them; seen {', '.join(odd) or design.pairs}."
        )
    hints = typing.get_type_hints(Context)
    out = []
    for cell in factorial.cells(design, [context.factors for context in plan.context]):
        fields: dict = {"server": dict(base.server)}
        for factor, level in cell.items():
            for key, value in design.factor[factor][level].items():
                where = f"{key!r} of the level {factor} = {level}"
                if key not in LEVEL_SETS:
                    raise InputError(f"Unknown {where}; {_nearest(key, LEVEL_SETS)}.")
                made = _value(hints[key], value, where)
                fields[key] = {**fields["server"], **made} if key == "server" else made
        label = "|".join(f"{f}={cell[f]}" for f in SERVING_FACTORS if f in cell)
        out.append(dataclasses.replace(base, label=label, regime="deployment", factors={**base.factors, **cell}, **fields))
    return out


def _check(plan: Plan) -> None:
    """Rules that concern more than one value."""
    for name in ("waves", "trials", "blocks_at_once"):
        if getattr(plan, name) < 1:
            raise InputError(f"{name!r} is {getattr(plan, name)}; it must be at least 1.")
    if not plan.system or not plan.context:
        raise InputError("The plan needs at least one [[system]] and one [[context]].")
    for kind, names in (("model", [s.model for s in plan.system]), ("label", [c.label for c in plan.context])):
        twice = next((n for n in names if names.count(n) > 1), None)
        if twice is not None:
            raise InputError(f"The {kind} {twice!r} is listed twice; measure again with `waves` or `trials` instead.")
    ask = plan.request
    if not (
        ask.max_tokens >= 1
        and 0 < ask.timeout_s < math.inf
        and ask.retries >= 0
        and 0 <= ask.backoff_s < math.inf
        and 0 <= ask.backoff_max_s < math.inf
        and 0 <= plan.telemetry_period_s < math.inf
    ):
        raise InputError(
            "A request needs max_tokens >= 1, timeout_s > 0, retries >= 0, backoff_s >= 0, backoff_max_s >= 0, "
            f"and telemetry_period_s must be >= 0, all finite; seen {ask}, {plan.telemetry_period_s}."
        )
    for name, endpoint in plan.endpoint.items():
        _check_endpoint(name, endpoint)
    for system in plan.system:
        if bool(system.endpoint) == bool(system.weights):
            raise InputError(f"System {system.model!r} must give exactly one of 'endpoint' and 'weights'.")
        if system.endpoint and system.endpoint not in plan.endpoint:
            hint = _nearest(system.endpoint, plan.endpoint)
            raise InputError(f"System {system.model!r} names the undeclared endpoint {system.endpoint!r}; {hint}.")
    allocation.check(plan)
    budget.check(plan.budget, plan.price, [system.model for system in plan.system])
    telemetry.check(plan.telemetry)
    for scrape in plan.telemetry:
        _check_variables(f"telemetry {scrape.instance!r}", scrape)
    for context in plan.context:
        if context.endpoint and (context.endpoint not in plan.endpoint or any(s.weights for s in plan.system)):
            raise InputError(
                f"Context {context.label!r} names the endpoint {context.endpoint!r}, which must be declared; "
                "systems with weights are served here only."
            )
        _check_context(plan, context)


def _check_endpoint(name: str, endpoint: Endpoint) -> None:
    """An address, and names of variables; no message shows a name, as it may be a key pasted in its place."""
    _check_variables(f"endpoint {name!r}", endpoint)
    try:
        parts = urlsplit(endpoint.base_url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a bracket that is not closed, a port that is no number up to 65535
        valid = False
    if not valid or "@" in parts.netloc or "?" in endpoint.base_url or "#" in endpoint.base_url:
        raise InputError(
            f"base_url of endpoint {name!r} must be http(s)://host[:port]/path without user, password, query "
            "or fragment, with a port from 1 to 65535; keys come from the environment variable that "
            "api_key_env names."
        )
    if parts.path.rstrip("/").endswith("/completions"):
        raise InputError(f"base_url of endpoint {name!r} ends in {parts.path}; give the address up to and including /v1.")


def _check_variables(where: str, asked: Endpoint | telemetry.Scrape) -> None:
    for number, header in enumerate(asked.headers_env, 1):
        if not HEADER.fullmatch(header):
            raise InputError(f"Entry {number} in headers_env of {where} is no name of an HTTP header.")
    for field, variable in asked.variables().items():
        if not VARIABLE.fullmatch(variable):
            raise InputError(
                f"{field} of {where} must be the name of an environment variable (letters, digits, "
                "_; no digit first), never the key itself."
            )


def _check_context(plan: Plan, context: Context) -> None:
    where = f"context {context.label!r}"
    if context.regime not in REGIMES:
        raise InputError(f"regime of {where} is {context.regime!r}; the choices are {', '.join(REGIMES)}.")
    for factor in context.factors:
        if factor not in SERVING_FACTORS:
            raise InputError(f"Unknown serving factor {factor!r} in {where}; {_nearest(factor, SERVING_FACTORS)}.")
    if set(context.factors) != set(plan.context[0].factors):
        odd = sorted(set(context.factors) ^ set(plan.context[0].factors))
        raise InputError(f"{where} and the first context differ in the factors they name: {', '.join(odd)}.")
    for key in context.sampler:
        if key in RESERVED:
            raise InputError(f"{key!r} in the sampler of {where} is set by the probe itself; remove it.")
        value = context.sampler[key]
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError(f"{key!r} in the sampler of {where} is {value}, which JSON cannot say.")
    if "{prompt}" not in context.wrap or context.concurrency < 1 or context.keep_examples < -1:
        raise InputError(f"{where} needs '{{prompt}}' in wrap, concurrency >= 1 and keep_examples >= -1.")
    arrivals.check(context.arrivals, where)
    if context.router is not None:
        router.check(context.router, where)
        if any(system.endpoint for system in plan.system):
            raise InputError(f"{where} has a router, which stands before local servers; a system names an endpoint.")
    _build(ServerSettings, context.server, f"server of {where}")
    replicas = context.router.replica if context.router is not None else (router.Replica("server"),)
    for replica in replicas:
        _build(ServerSettings, replica.server, f"server of replica {replica.name!r} of {where}")
        _check_settings(dataclasses.replace(plan.settings(context), **replica.server), where)


def _check_settings(settings: ServerSettings, where: str) -> None:
    if settings.flash_attention not in FLASH:
        raise InputError(f"flash_attention of {where} must be one of {', '.join(FLASH)}.")
    if settings.draft and settings.engine != "llama.cpp":
        raise InputError(f"{where} has a draft model before the engine {settings.engine!r}; only llama.cpp drafts here.")
    if settings.draft_tokens < 1:
        raise InputError(f"draft_tokens of {where} is {settings.draft_tokens}; it must be at least 1.")
