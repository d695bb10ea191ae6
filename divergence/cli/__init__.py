"""The command `divergence`. Thin: each verb reads flags, calls the stages in order, and turns errors into sentences.

One verb a file; to add one, write `cli/NAME.py` with a command `NAME` and put its name into `VERBS`. A verb's file is
loaded when it is asked for, so that no verb pays for the imports of another.

Exit codes: 0 done; 1 done, but a diagnostic failed; 2 input or usage error, or interrupted, nothing half-written;
3 no question, or not the one asked for, can be answered from this log; `compare` only: 4 worse, 5 not settled.
"""

from __future__ import annotations

import gc
import importlib
import os
import signal
import sys

import click

from divergence.errors import InputError, NotIdentifiedError, printed, shortened

VERBS = (
    "init",
    "report",
    "compare",
    "drift",
    "check",
    "fit",
    "import",
    "export",
    "probe",
    "plan",
    "loop",
    "score",
    "simulate",
    "preregister",
)
KEPT = (["probe"], ["loop"], ["score"])  # verbs that keep what was done when interrupted
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Threads of matrix products, one unless the user says otherwise: numbers then do not depend on the machine, and threads
that wait for small matrices take several times the work. Said before a library is loaded."""
COLLECTED = (20_000, 20, 20)
"""New containers, and passes over the young ones, after which Python looks for circles of references. Loading libraries
makes many containers and no garbage: with its own numbers (700, 10, 10) a small report spends a twentieth of its time
looking."""
LISTS = ("--evaluation", "--deployment")  # take several values after one flag, as a shell's glob gives them


class Verbs(click.Group):
    """A group whose commands are the files of this folder, loaded one at a time."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Names of the verbs, in the order in which a newcomer meets them."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command of that name; None where there is no such verb."""
        if cmd_name not in VERBS:
            return None
        name = "import_" if cmd_name == "import" else cmd_name  # `import` is a word of the language
        return getattr(importlib.import_module(f"divergence.cli.{name}"), name)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="eval-divergence", prog_name="divergence")
def cli() -> None:
    """How far does a benchmark score carry to deployment? Fits both worlds' logs jointly, with uncertainty."""


def spread_lists(arguments: list[str]) -> list[str]:
    """`--evaluation a b` as `--evaluation a --evaluation b`: a shell expands a glob to several words."""
    out, flag = [], None
    for argument in arguments:
        if argument.startswith("-"):
            name = argument.split("=")[0]
            flag = name if name in LISTS else None
            if argument != flag:
                out.append(argument)
            continue
        out += [flag, argument] if flag else [argument]
    return out


def _interrupted(*_) -> None:
    """Ctrl-C, or SIGTERM: an exception raised in the middle of a compiled module's import would crash, so the process just
    ends. Results that are just being put in their place are let come to rest first: the verb then ends by itself."""
    from divergence.staging import abandon
    from divergence.temporary_folders import remove_temporary_folders

    written = abandon()
    if written is not None:
        remove_temporary_folders()
        os.write(2, b"divergence: interrupted; " + (b"results are written\n" if written else b"nothing was written\n"))
        os._exit(2)


def _as_interrupt(*_) -> None:
    """SIGTERM: the same as Ctrl-C, whoever handles that now."""
    signal.raise_signal(signal.SIGINT)


def _unexpected(kind: type[BaseException], error: BaseException, _) -> None:
    """What no rule foresaw is one sentence too; `--debug` shows where it came from."""
    from divergence.staging import abandon
    from divergence.temporary_folders import remove_temporary_folders

    abandon()
    remove_temporary_folders()
    words = f"unexpected {kind.__name__}: {printed(str(error))}; run again with --debug and report it"
    os.write(2, f"divergence: {shortened(words)}\n".encode())
    os._exit(2)


def main(arguments: list[str] | None = None) -> None:
    """Entry point: runs a verb and exits with its code."""
    for name in ONE_THREAD:
        os.environ.setdefault(name, "1")
    given = spread_lists(list(sys.argv[1:] if arguments is None else arguments))
    if arguments is None and "--debug" not in given:
        sys.excepthook = _unexpected
    if arguments is None and given[:1] not in KEPT:  # the probe ends its servers and its journal by itself
        signal.signal(signal.SIGINT, _interrupted)
    if arguments is None:
        signal.signal(signal.SIGTERM, _as_interrupt)
        gc.set_threshold(*COLLECTED)
    try:
        sys.exit(cli.main(given, prog_name="divergence", standalone_mode=False) or 0)
    except NotIdentifiedError as error:
        code, sentence, cause = 3, str(error), error
    except InputError as error:
        code, sentence, cause = 2, str(error), error
    except click.ClickException as error:
        code, sentence, cause = 2, error.format_message(), error
    except (KeyboardInterrupt, click.Abort) as error:
        kept = "what was done is kept, run again to go on" if given[:1] in KEPT else "nothing was written"
        code, sentence, cause = 2, f"interrupted; {kept}", error
    if "--debug" in given:
        raise cause
    click.echo(f"divergence: {shortened(printed(sentence))}", err=True)
    sys.exit(code)
