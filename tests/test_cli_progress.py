"""Progress moves until the end, shows texts as they are, and is plain lines off a terminal; completion is a shell's."""

import io
import os
import pathlib
import re
import subprocess
import sys

import pytest

from divergence.cli import VERBS, progress

PACKAGE = pathlib.Path(__file__).parents[1] / "divergence"


class Terminal(io.StringIO):
    """A standard error that says it is a terminal."""

    def isatty(self):
        return True


def test_on_a_terminal_the_clock_runs_on_and_words_in_brackets_stay(monkeypatch):
    import rich.progress

    bars = []
    start = rich.progress.Progress.__init__
    monkeypatch.setattr(
        rich.progress.Progress, "__init__", lambda self, *a, **k: (start(self, *a, **k), bars.append(self))[0]
    )
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    with progress.steps(2, quiet=False) as tell:
        for k in range(7):  # more steps than were expected
            tell(f"step {k} of [bold]file[/bold] [/tmp/x]")
            task = bars[0].tasks[0]
            assert not task.finished and task.completed < task.total, "a full bar stops its clock"
        bars[0].refresh()
    assert "[bold]file[/bold] [/tmp/x]" in screen.getvalue()


def test_off_a_terminal_each_step_is_a_line(capsys):
    with progress.steps(2, quiet=False) as tell:
        tell("reading [a]")
        tell("reading: 10 of 20", steps=0)  # what only counts on is not told at once
        tell("fitting")
    lines = capsys.readouterr().err.splitlines()
    assert [re.sub(r"^ +\d+\.\d s  ", "", line) for line in lines] == ["reading [a]", "fitting"]


def test_quiet_says_nothing(capsys):
    with progress.steps(2, quiet=True) as tell:
        tell("reading")
    assert capsys.readouterr() == ("", "")


def test_a_long_count_is_told_now_and_then(capsys, monkeypatch):
    lines = progress.ProgressLines()
    monkeypatch.setattr(progress.time, "monotonic", lambda: lines.begin + 11)
    lines("counting rows: 5 of 9", 0)
    assert "counting rows: 5 of 9" in capsys.readouterr().err


def test_tables_show_brackets(capsys):
    progress.print_table(("question", "why"), [("gap", "it needs [values] score = { up = 1 }")])
    assert "[values]" in capsys.readouterr().out


def test_only_one_place_locks_files():
    """No module imports fcntl, which Windows has not, but for the one that does without it."""
    importing = [p for p in PACKAGE.rglob("*.py") if re.search(r"^\s*import fcntl", p.read_text(), re.MULTILINE)]
    assert [p.name for p in importing] == ["staging.py"]


def test_a_system_without_locks_still_writes(tmp_path, monkeypatch):
    from divergence.staging import hold

    monkeypatch.setitem(sys.modules, "fcntl", None)
    with open(tmp_path / "lock", "w") as file:
        hold(file)
    monkeypatch.undo()
    with open(tmp_path / "lock", "w") as one, open(tmp_path / "lock", "w") as other:
        hold(one)
        with pytest.raises(BlockingIOError):
            hold(other)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_written_for_each_shell(shell):
    code = "import sys; sys.argv = ['divergence']; from divergence.cli import main; main()"
    given = {**os.environ, "_DIVERGENCE_COMPLETE": f"{shell}_source"}
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=given)
    assert "_DIVERGENCE_COMPLETE" in out.stdout and out.returncode == 0, out.stderr


def test_completion_knows_verbs_and_flags():
    code = "import sys; sys.argv = ['divergence']; from divergence.cli import main; main()"
    for words, word, expected in (
        ("divergence ", "1", set(VERBS)),
        ("divergence report --out", "2", {"--outcome", "--output"}),
    ):
        given = {**os.environ, "_DIVERGENCE_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": word}
        out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=given)
        assert {line.partition(",")[2] for line in out.stdout.splitlines()} >= expected, out.stderr


def test_json_is_what_the_help_says():
    import click

    from divergence.cli import cli

    for verb in VERBS:
        command = cli.get_command(click.Context(cli), verb)
        flag = next(p for p in command.params if p.name == "as_json")
        assert "of report a list of rows, else an object" in flag.help
