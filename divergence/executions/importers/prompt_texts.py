"""The text of a prompt, in the shapes in which tools log it: a text, messages of a chat, or either of them as JSON.

It is read only where the user asks for texts, or for items that are known by their prompt (`--item-key prompt`). What the
system was told is left out: the same item is asked under several system prompts.
"""

from __future__ import annotations

import json
from typing import Any

SYSTEM = ("system", "developer")
DEPTH = 8  # of lists in lists; what is deeper is no prompt


def prompt_text(value: Any, depth: int = 0) -> str | None:
    """The text of a prompt, messages joined by lines; None where there is none."""
    if depth > DEPTH:
        return None
    if isinstance(value, str):
        return _unwrapped(value, depth) or None
    if isinstance(value, dict):
        if value.get("role") in SYSTEM:
            return None
        for name in ("content", "text", "parts"):
            if value.get(name):
                return prompt_text(value[name], depth + 1)
        return None
    if isinstance(value, list):
        return "\n".join(text for part in value if (text := prompt_text(part, depth + 1))) or None
    return None


def _unwrapped(text: str, depth: int) -> str | None:
    """A text, or the messages that it holds as JSON."""
    if text[:2] in ("[{", '{"'):
        try:
            inner = prompt_text(json.loads(text), depth + 1)
        except (ValueError, RecursionError):
            return text
        return inner or text
    return text
