"""Pages that are made from the code itself, so that they cannot say anything else: questions, verbs, configuration, API.

`python docs/site/pages.py` writes `docs/configuration.md`, which is committed; the others are made with the site.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import json
import pathlib
import textwrap
import types
import typing

import click

import divergence as dv
from divergence import configuration, estimands
from divergence.cli import VERBS, cli
from divergence.executions.schema import COLUMNS

DOCS = pathlib.Path(__file__).parents[1]
EXAMPLES: dict[str, str] = {
    "outcome": 'outcome = "score"',
    "kind": 'kind = "binary"',
    "better": 'better = "higher"   # of an outcome whose name does not say it',
    "grades": 'grades = ["wrong", "partly", "right"]',
    "factors": 'factors = ["engine", "sampler"]',
    "features": 'features = ["input_tokens", "turn"]',
    "deployment_law": 'deployment_law = { vllm = 0.7, sglang = 0.3 }   # or "logged", "own", "uniform"',
    "stability_eps": "stability_eps = 0.05",
    "quality_required": "quality_required = 0.6",
    "items": 'items = "observed"',
    "zero_cost": 'zero_cost = "free"',
    "prices": '[prices]\ncurrency = "USD"\ndate = "2026-01-01"\n"my-model" = { input = 0.5, output = 1.5 }   # a million',
    "what_if": "[what_if]\nnight = { vllm = 0.2, sglang = 0.8 }",
    "incumbent": 'incumbent = ["model-x"]   # what runs now',
    "acceptance": "[acceptance]\nquality_min = 0.6\nlatency_p95_max_s = 2.0",
    "values": "[values]\nscore = { up = 1, down = 0 }   # or { scale = [1, 5] }",
    "models": '[models]\n"openai/model-x" = "model-x"',
    "columns": '[columns]\nscore = "data.correct"   # a dot leads into a record',
    "constants": '[constants]\nregime = "evaluation"',
    "regime": '[regime]\ncolumn = "env"\nevaluation = ["bench", "ci"]',
    "where": '[where]\nsource_file = ["a", "b"]',
    "wide": '[wide]\nmodel = "Model"\ntrials = { MMLU = 14042 }',
}
"""One example a key; `tests/test_docs.py` parses each and asks that none is missing."""
CHOICES = {
    "kind": configuration.KINDS,
    "better": configuration.BETTER,
    "items": configuration.POPULATIONS,
    "zero_cost": configuration.ZERO_COSTS,
    "deployment_law": (*configuration.LAWS, "a table of shares"),
    "becomes": getattr(configuration, "WIDE", ()),
}


def field_docs(kind: type) -> dict[str, str]:
    """The text under each field of a dataclass."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    body = next(node for node in tree.body if isinstance(node, ast.ClassDef)).body
    told = {}
    for one, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name) and isinstance(after, ast.Expr):
            told[one.target.id] = inspect.cleandoc(ast.literal_eval(after.value))
    return told


def inner(kind: object) -> type | None:
    """The dataclass of the configuration inside an annotation, if there is one."""
    if dataclasses.is_dataclass(kind):
        return typing.cast(type, kind)
    return next((found for part in typing.get_args(kind) if (found := inner(part)) is not None), None)


def configuration_page() -> str:
    """Every key of `divergence.toml`."""
    hints = typing.get_type_hints(dv.Configuration)
    told = field_docs(dv.Configuration)
    lines = [
        "# Configuration",
        "",
        "Made by `python docs/site/pages.py` from the schema itself; do not edit. All of it is optional. It is read",
        "from `divergence.toml` beside the log, or from `--config FILE`; `divergence init LOG` writes one with what it",
        "recognised. The same in Python: `dv.Configuration.from_table({...})`. An unknown key is an error that names the",
        "nearest known one.",
        "",
    ]
    for field in dataclasses.fields(dv.Configuration):
        if field.name == "path":
            continue
        lines += [f"## `{field.name}`", "", told[field.name], ""]
        if field.name in CHOICES:
            lines += [f"One of: {', '.join(f'`{choice}`' for choice in CHOICES[field.name])}.", ""]
        if field.default is not dataclasses.MISSING and isinstance(field.default, str | int | float):
            lines += [f"Default: `{json.dumps(field.default)}`.", ""]
        lines += ["```toml", EXAMPLES[field.name], "```", ""]
        parts = inner(hints[field.name])
        if parts is not None:
            lines += ["| key | meaning |", "|---|---|"]
            lines += [f"| `{name}` | {' '.join(text.split())} |" for name, text in field_docs(parts).items()] + [""]
    lines += [
        "## Columns of a log",
        "",
        "What `[columns]` and `--map` can name.",
        "",
        "| column | meaning | unit |",
        "|---|---|---|",
    ]
    lines += [f"| `{c.name}` | {c.meaning if hasattr(c, 'meaning') else ''} | {c.unit or ''} |" for c in COLUMNS.values()]
    return "\n".join(lines) + "\n"


def verbs_page() -> str:
    """Every verb with its flags, as `--help` has them."""
    lines = [
        "# Verbs",
        "",
        "Progress goes to stderr, results to stdout. Exit codes: 0 done; 1 done, but a diagnostic failed; 2 input or",
        "usage error, nothing half-written; 3 not identified; `compare` only: 4 worse, 5 not settled.",
        "",
        'Completion of verbs and flags: `eval "$(_DIVERGENCE_COMPLETE=bash_source divergence)"` in `~/.bashrc`',
        "(`zsh_source` in `~/.zshrc`;",
        "`_DIVERGENCE_COMPLETE=fish_source divergence | source` for fish).",
        "",
    ]
    for verb in VERBS:
        command = cli.get_command(click.Context(cli), verb)
        assert command is not None
        module = inspect.getmodule(inspect.unwrap(command.callback)) if command.callback else None
        about = inspect.cleandoc(command.help or (module.__doc__ if module else "") or "")
        context = click.Context(command, info_name=f"divergence {verb}")
        lines += [f"## `{verb}`", "", about, "", "```text", command.get_usage(context), "```", ""]
        lines += ["| flag | |", "|---|---|"]
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                record = parameter.get_help_record(context)
                if record:
                    lines.append(f"| `{_cell(record[0])}` | {_cell(record[1])} |")
        lines.append("")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def questions_page() -> str:
    """Every question: its words, its function, its unit and what identifies it, by the file that answers it."""
    lines = [
        "# All questions",
        "",
        "Every answer is for new items of the same source, with a 90 % equal-tailed interval. What a log does not",
        "identify is a row with the reason, never a number. `divergence check LOG` says which of these a log answers.",
        "",
    ]
    for question in estimands.QUESTIONS:
        module = inspect.getmodule(inspect.unwrap(getattr(estimands, question.name)))
        told = inspect.cleandoc((module.__doc__ if module else "") or "")
        lines += [f"## `{question.name}`", "", f"*{question.words}*: {question.text}.", "", markdown(told), ""]
    return "\n".join(lines)


def api_page() -> str:
    """Every public name with its signature and its docstring."""
    lines = ["# Python", "", "`import divergence as dv`; names and folders load on first use.", ""]
    for name in dv.__all__:
        thing = getattr(dv, name)
        signature = _signature(thing)
        lines += [f"## `{name}`", "", *(["```python", f"{name}{signature}", "```", ""] if signature else [])]
        lines += [markdown(inspect.getdoc(thing) or ""), ""]
        if inspect.isclass(thing) and dataclasses.is_dataclass(thing):
            lines += ["| field | meaning |", "|---|---|"]
            lines += [f"| `{field}` | {_cell(text)} |" for field, text in field_docs(thing).items()] + [""]
        if inspect.isclass(thing):
            methods = [
                (n, f)
                for n, f in vars(thing).items()
                if not n.startswith("_") and isinstance(f, METHODS) and inspect.getdoc(f)
            ]
            for method, function in methods:
                lines += [f"### `{name}.{method}`", "", markdown(inspect.getdoc(function) or ""), ""]
    return "\n".join(lines)


METHODS = (types.FunctionType, property, classmethod, functools.cached_property)


def _signature(thing: object) -> str:
    try:
        text = str(inspect.signature(thing)).replace("'", "")  # type: ignore[arg-type]
    except (ValueError, TypeError):
        return ""
    return (
        text
        if len(text) < 90
        else "(\n    " + ",\n    ".join(_parts(text[1 : text.rindex(")")])) + "\n)" + text[text.rindex(")") + 1 :]
    )


def _parts(text: str) -> list[str]:
    """Parameters of a signature, split where no bracket is open."""
    parts, depth, begin = [], 0, 0
    for place, sign in enumerate(text):
        depth += (sign in "([{") - (sign in ")]}")
        if sign == "," and not depth:
            parts.append(text[begin:place].strip())
            begin = place + 1
    return [*parts, text[begin:].strip()]


def markdown(text: str) -> str:
    """A docstring as Markdown: examples and indented formulas become blocks of code."""
    out: list[str] = []
    lines, place = text.splitlines(), 0
    while place < len(lines):
        line = lines[place]
        if line.startswith(">>> "):
            out.append("```pycon")
            while place < len(lines) and lines[place].strip():
                out.append(lines[place])
                place += 1
            out += ["```"]
        elif line.startswith("    ") and (not out or not out[-1].strip()):
            out.append("```text")
            while place < len(lines) and (lines[place].startswith("    ") or not lines[place].strip()):
                out.append(lines[place][4:])
                place += 1
            while not out[-1].strip():
                out.pop()
            out += ["```", ""]
        else:
            out.append(line.replace("{", "\\{") if line.startswith("{") else line)
            place += 1
    return "\n".join(out)


PAGES = {"verbs": verbs_page, "questions": questions_page, "api": api_page}
"""Made with the site, beside `docs/configuration.md`."""

if __name__ == "__main__":
    (DOCS / "configuration.md").write_text(configuration_page(), encoding="utf-8")
