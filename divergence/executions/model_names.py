"""Names that may be one model: tools write a provider before it, a date, a number format or a release after it.

A name is never taken for another one in silence. Two names are suggested as one where they are equal without these
parts; what the user declares in `[models]` is used, and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

DATE = re.compile(r"[-@:](20\d{2}-?\d{2}-?\d{2}|\d{4}(?=$))")
RELEASE = re.compile(r"[-:@](latest|preview|default|stable|main|v\d+(:\d+)?)$")
FORMAT = re.compile(
    r"[-.:_](q\d(_[a-z0-9]+)*|[wa]\d+a?\d*|awq|gptq|gguf|exl2|fp8|fp16|bf16|int[48]|nf4|\dbit|mlx)(?=$|[-.:_])"
)
PROVIDER = re.compile(
    r"^(openai|anthropic|azure(openai)?|bedrock|vertex|google|mistral|groq|cohere|ollama|huggingface|openrouter|together(ai)?"
    r"|deepseek|xai|litellm|vllm)(:(chat|completions?|responses|messages|embeddings?|text))?:(?=.)"
)
"""As promptfoo writes them: `openai:chat:gpt-4o`. The colon of `llama3:8b` is another one."""
SEPARATOR = re.compile(r"[-_.\s:]+")


def bare(name: str) -> str:
    """A model's name without provider, date, release and number format, in one spelling."""
    stem = PROVIDER.sub("", name.strip().lower().rstrip("/")).rsplit("/", 1)[-1]
    before = ""
    while stem != before:
        before = stem
        for part in (DATE, RELEASE, FORMAT):
            stem = part.sub("", stem)
    return SEPARATOR.sub("-", stem).strip("-") or name


def may_be_one(names: Iterable[str], declared: Mapping[str, str] | None = None) -> list[tuple[str, ...]]:
    """Groups of different names that may be one model, in the order of the alphabet; those declared are left out."""
    groups: dict[str, set[str]] = {}
    for name in names:
        groups.setdefault(bare(name), set()).add((declared or {}).get(name, name))
    return sorted(tuple(sorted(group, key=lambda name: (len(name), name))) for group in groups.values() if len(group) > 1)


def suggestions(names: Iterable[str], declared: Mapping[str, str] | None = None) -> list[str]:
    """A sentence for every group of names that may be one model, with the line that would make them one."""
    said = []
    for first, *others in may_be_one(names, declared):
        lines = ", ".join(f'"{other}" = "{first}"' for other in others)
        said.append(
            f"{', '.join((first, *others))} may be one model: if so, declare it in divergence.toml: [models] {lines}."
        )
    return said
