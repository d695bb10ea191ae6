"""Under which names other tools log the serving factors, and what is never taken from a log.

The table of names is data: one row says which canonical column a foreign name fills and how its value is written. The
rows of one column are tried from top to bottom. Only names that stand here are read from free-form dictionaries
(metadata, model arguments, tags), so that nothing else in them can reach the canonical table; names that look like
secrets are not even listed among the unmapped fields.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from divergence.executions.importers import convert

VOCABULARY = (
    "bos|eos|eot|eom|sos|pad|unk|sep|cls|mask|stop|special|think|image|prompt|completion|output|input|per"
    "|first|second|next|last"
)
SECRET = re.compile(
    rf"key|secret|passw|credential|authori[sz]ation|bearer"
    rf"|(?<!{'_)(?<!'.join(VOCABULARY.split('|'))}_)token(?!s|i[sz]|_?(type|id|limit|count|usage|budget))",
    re.IGNORECASE,
)
"""Names of secrets. A token is one, unless it is a word of a vocabulary (`add_bos_token`) or is counted (`token_limit`)."""


PRIVATE = re.compile(
    r"headers?$|^env(iron(ment)?)?(_?vars?)?$|cookie|e-?mail|(^|_)auth($|_)|^(end_?)?user(_?(id|name))?$", re.IGNORECASE
)
"""Names of settings that carry secrets under names of their own, or say who somebody is."""
BEFORE_A_HOST = re.compile(r"(?<=://)[^/@\s\"']+@")
"""User and password in an address."""
ASSIGNED = re.compile(
    r"""(["']?([\w.-]+)["']?\s*[=:]\s*)(?!//)(?:bearer\s+)?("[^"]*"|'[^']*'|[^\s,;?&"'}\])]+)""", re.IGNORECASE
)
"""A name with its value inside a text: `api_key=...` in arguments or in the query of an address, `"password": "..."`."""


@dataclasses.dataclass(frozen=True)
class FactorName:
    """One foreign name of a serving factor."""

    column: str
    """Canonical column."""
    name: str
    """Name in the foreign dictionary."""
    form: str = "{}"
    """How the value is written. Without a place for the value the form stands for a switch that is on. Forms that
    hold an equals sign are parts, and the parts of one column are joined by commas."""


FACTOR_NAMES: tuple[FactorName, ...] = (
    FactorName("engine", "engine"),
    FactorName("engine", "serving_engine"),
    FactorName("engine", "inference_engine"),
    FactorName("engine", "backend"),
    FactorName("engine_version", "engine_version"),
    FactorName("engine_version", "backend_version"),
    FactorName("quantization", "quantization"),
    FactorName("quantization", "quant"),
    FactorName("quantization", "load_in_4bit", "4bit"),
    FactorName("quantization", "load_in_8bit", "8bit"),
    FactorName("quantization", "dtype"),
    FactorName("quantization", "torch_dtype"),
    FactorName("kv_cache_dtype", "kv_cache_dtype"),
    FactorName("kv_cache_dtype", "cache_type_k"),
    FactorName("attention", "attention"),
    FactorName("attention", "attention_backend"),
    FactorName("attention", "attn_implementation"),
    FactorName("batch_policy", "batch_policy"),
    FactorName("batch_policy", "max_num_seqs", "max_num_seqs={}"),
    FactorName("batch_policy", "max_num_batched_tokens", "max_num_batched_tokens={}"),
    FactorName("concurrency", "concurrency"),
    FactorName("concurrency", "num_concurrent"),
    FactorName("concurrency", "max_connections"),
    FactorName("prefix_cache", "prefix_cache"),
    FactorName("prefix_cache", "enable_prefix_caching"),
    FactorName("spec_decode", "spec_decode"),
    FactorName("spec_decode", "speculative_model"),
    FactorName("parallelism", "parallelism"),
    FactorName("parallelism", "tensor_parallel_size", "tp={}"),
    FactorName("parallelism", "tp_size", "tp={}"),
    FactorName("parallelism", "pipeline_parallel_size", "pp={}"),
    FactorName("parallelism", "data_parallel_size", "dp={}"),
    FactorName("hardware", "hardware"),
    FactorName("hardware", "accelerator"),
    FactorName("hardware", "gpu"),
    FactorName("region", "region"),
    FactorName("router", "router"),
    FactorName("provider", "provider"),
    FactorName("scaffold", "scaffold"),
    FactorName("prompt_version", "prompt_version"),
    FactorName("chat_template", "chat_template"),
    FactorName("tool_set", "tool_set"),
    FactorName("sampler", "sampler"),
    FactorName("context", "context"),
    FactorName("context", "serving_context"),
    FactorName("wave", "wave"),
)

SAMPLER_NAMES = (
    *("do_sample", "temperature", "top_p", "top_k", "min_p", "seed", "max_tokens", "max_gen_toks", "max_new_tokens"),
    *("frequency_penalty", "presence_penalty", "repetition_penalty", "num_choices", "best_of"),
    *("reasoning_effort", "reasoning_tokens"),
)
"""Settings of the sampler in the order in which its label names them."""


@functools.lru_cache(maxsize=4096)
def secret(name: str) -> bool:
    """Does a field of this name hold a secret? (keys, tokens, passwords; not counts such as `max_tokens`)"""
    return SECRET.search(name) is not None


@functools.lru_cache(maxsize=4096)
def private(name: str) -> bool:
    """Does a setting of this name hold secrets or name a person? (secrets, headers, environments, users)"""
    return secret(name) or PRIVATE.search(name) is not None


def without_secrets(value: Any) -> Any:
    """A setting without what lies under private names at any depth, and its texts without passwords and keys."""
    if isinstance(value, dict):
        return {name: without_secrets(part) for name, part in value.items() if not private(str(name))}
    if isinstance(value, list):
        return [without_secrets(part) for part in value]
    if not isinstance(value, str):
        return value
    text = BEFORE_A_HOST.sub("", value)
    return ASSIGNED.sub(lambda found: f"{found[1]}..." if private(found[2]) else found[0], text)


def serving_factors(*sources: Any) -> dict[str, str]:
    """Canonical factors found in free-form dictionaries; earlier sources and earlier names win.

    `auto` says that the engine chose by itself, which names no level: it is passed over like an absent value.
    """
    found: dict[str, list[str]] = {}
    for source in sources:
        settled = set(found)
        for factor in FACTOR_NAMES:
            value = source.get(factor.name) if isinstance(source, dict) else None
            written = _level(value, factor.form)
            if written is not None and factor.column not in settled:
                found.setdefault(factor.column, []).append(written)
    return {column: _joined(parts) for column, parts in found.items()}


def _level(value: Any, form: str) -> str | None:
    if value is None or isinstance(value, dict | list) or str(value).lower() == "auto":
        return None
    if "{}" not in form:
        return form if value is True or str(value).lower() == "true" else None
    try:
        written = convert.label(value)
    except ValueError:
        return None
    return form.format(written) if written is not None else None


def _joined(parts: list[str]) -> str:
    if "=" not in parts[0]:
        return parts[0]
    return ",".join(dict.fromkeys(part for part in parts if "=" in part))


def tagged(tags: Any) -> dict[str, str]:
    """Tags of the form `name=value` or `name:value` as a dictionary; other tags say nothing about serving."""
    texts = [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []
    pairs = (re.split("[=:]", tag, maxsplit=1) for tag in texts)
    return {pair[0].strip(): pair[1].strip() for pair in pairs if len(pair) == 2}


def parsed_arguments(arguments: Any) -> dict[str, Any]:
    """Arguments as a dictionary, from a dictionary or from text of the form `name=value,name=value`."""
    if isinstance(arguments, dict):
        return dict(arguments)
    pairs = (part.partition("=") for part in arguments.split(",")) if isinstance(arguments, str) else ()
    return {name.strip(): value.strip() for name, equals, value in pairs if equals}


def sampler_label(*configurations: Any) -> str | None:
    """The sampler's settings as one label, `temperature=0.7,seed=3`; later configurations override earlier ones."""
    merged: dict[str, str] = {}
    for configuration in configurations:
        for name in SAMPLER_NAMES:
            value = configuration.get(name) if isinstance(configuration, dict) else None
            if isinstance(value, bool | int | float | str):
                merged[name] = _setting(value)
    ordered = [f"{name}={merged[name]}" for name in SAMPLER_NAMES if merged.get(name)]
    return convert.label(",".join(ordered))


def _setting(value: bool | int | float | str) -> str:
    number = None if isinstance(value, bool) else convert.finite_number(str(value))
    if number is None:
        return convert.printable(value).lower().strip()
    return str(int(number)) if number.is_integer() and abs(number) < 2**53 else repr(number)


def host(url: Any) -> str | None:
    """Host and port of a model's address, without user, password, path or query."""
    try:
        parts = urlsplit(url) if isinstance(url, str) else None
        return f"{parts.hostname}:{parts.port}" if parts and parts.port else parts.hostname if parts else None
    except ValueError:
        return None


def factor_paths(*prefixes: str) -> Iterator[str]:
    """The paths that `serving_factors` reads below each prefix, for the list of what is mapped."""
    for prefix in prefixes:
        for factor in FACTOR_NAMES:
            yield f"{prefix}.{factor.name}"
