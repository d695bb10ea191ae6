"""The documentation says all there is: every flag, key, question, format and public name; links lead somewhere."""

import dataclasses
import importlib
import pathlib
import re
import subprocess
import sys
import tomllib

import click
import pytest

import divergence as dv
from divergence import estimands
from divergence.cli import VERBS, cli
from divergence.configuration import Acceptance, Prices, RegimeRule, Wide
from divergence.executions.importers.registry import declared
from divergence.executions.schema import COLUMNS

ROOT = pathlib.Path(__file__).parents[1]
WRITTEN = (
    *("install", "choose_a_question", "own_logs", "notebook", "papers", "probe", "drift", "limits"),
    *("coverage", "engine", "formats", "compare"),
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The modules that make the site, and its sources."""
    path = str(ROOT / "docs" / "site")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(path)
        pages, assembled = importlib.import_module("pages"), importlib.import_module("assemble")
        folder = tmp_path_factory.mktemp("site") / "source"
        assembled.assemble(folder)
        yield pages, folder
        for name in ("pages", "assemble"):
            sys.modules.pop(name)


def test_the_configuration_page_is_that_of_the_schema(site):
    pages, _ = site
    text = pages.configuration_page()
    committed = (ROOT / "docs" / "configuration.md").read_text()
    assert committed == text, "make it anew: python docs/site/pages.py"
    for field in dataclasses.fields(dv.Configuration):
        if field.name != "path":
            assert f"\n## `{field.name}`\n" in text
            assert tomllib.loads(pages.EXAMPLES[field.name]).keys() == {field.name}
            dv.Configuration.from_table(tomllib.loads(pages.EXAMPLES[field.name]))  # every example is read as it stands
    for part in (Acceptance, Prices, RegimeRule, Wide):
        for field in dataclasses.fields(part):
            assert f"| `{field.name}` |" in text
    for column in COLUMNS.values():
        assert f"| `{column.name}` | {column.meaning}" in text


def test_every_verb_and_every_flag_is_there(site):
    text = (site[1] / "docs" / "verbs.md").read_text()
    for verb in VERBS:
        section = text.split(f"\n## `{verb}`\n")[1].split("\n## ")[0]
        command = cli.get_command(click.Context(cli), verb)
        for parameter in command.params:
            for flag in parameter.opts if isinstance(parameter, click.Option) else ():
                assert flag in section, f"{verb} {flag}"
        assert len(section.split("```")[0].split()) >= 5, f"{verb} says nothing of itself"


def test_every_question_is_there_and_can_be_chosen(site):
    text, chosen = ((site[1] / "docs" / f"{name}.md").read_text() for name in ("questions", "choose_a_question"))
    for question in estimands.QUESTIONS:
        assert f"\n## `{question.name}`\n" in text and question.text in text
    left = [q.name for q in estimands.QUESTIONS if f"`{q.name}`" not in chosen]
    assert len(left) <= 12, f"how to choose says nothing of {left}"


def test_every_public_name_is_there(site):
    text = (site[1] / "docs" / "api.md").read_text()
    for name in dv.__all__:
        assert f"\n## `{name}`\n" in text
    assert text.count("```") % 2 == 0


def test_every_format_is_there(site):
    text = (site[1] / "docs" / "formats.md").read_text()
    for format_ in declared():
        assert f"\n## {format_.name}\n" in text


def test_pages_are_in_the_contents_and_links_lead_somewhere(site):
    """`assemble` refuses a link to nowhere; what is written stands in the contents."""
    contents = (site[1] / "index.md").read_text()
    for name in (*WRITTEN, "verbs", "configuration", "questions", "api"):
        assert f"docs/{name}" in contents and (site[1] / "docs" / f"{name}.md").is_file()
    for page in (site[1] / "benchmarks").glob("*.md"):
        assert f"benchmarks/{page.stem}" in contents
    assert len(list((site[1] / "notebooks").glob("*.ipynb"))) == len(list((ROOT / "notebooks").glob("*.ipynb")))


@pytest.mark.usefixtures("site")
def test_a_link_to_nowhere_is_found(tmp_path):
    assembled = sys.modules["assemble"]
    page = tmp_path / "docs" / "page.md"
    page.parent.mkdir()
    page.write_text("[a page](engine.md) and [code](../divergence/joint/fit.py)")
    (tmp_path / "docs" / "engine.md").write_text("")
    assert assembled.plain_code(page, tmp_path) == "[a page](engine.md) and `code`"
    page.write_text("[a page](nothing.md)")
    with pytest.raises(SystemExit, match=r"nothing\.md"):
        assembled.plain_code(page, tmp_path)


def test_links_of_the_readme_lead_somewhere():
    for name in ("README.md", "CONTRIBUTING.md"):
        for target in re.findall(r"\]\(([^)#:\s]+)", (ROOT / name).read_text()):
            assert (ROOT / target).exists(), f"{name}: {target}"


def test_code_of_the_written_pages_names_what_exists():
    """Every `dv.NAME` and every `divergence VERB` of the written pages and the README is there."""
    pages = [ROOT / "README.md", *(ROOT / "docs" / f"{name}.md" for name in WRITTEN)]
    for page in pages:
        text = page.read_text()
        for name in re.findall(r"\bdv\.([a-z_]+)\b", text):
            assert hasattr(dv, name), f"{page.name}: dv.{name}"
        for verb in re.findall(r"^(?: {4})?(?:\.venv/bin/)?divergence ([a-z]+)", text, re.MULTILINE):
            assert verb in VERBS, f"{page.name}: divergence {verb}"


def test_the_site_builds_without_a_warning(site, tmp_path):
    pytest.importorskip("sphinx", reason="Sphinx is in requirements-docs.lock only; make docs asks it")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", str(site[1]), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
