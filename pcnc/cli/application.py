"""The commands and where they are: only the module of the one that is called is imported.

A change of a rule is over in a tenth of a second, and importing everything that some command needs would take three times that.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Annotated

import typer

import pcnc
from pcnc.cli.report import PROBLEM, end_output, report_exception

COMMANDS = {
    "check": "check",
    "build": "build",
    "test": "test",
    "run": "run",
    "graph": "graph",
    "passes": "graph",
    "load": "load",
    "unload": "load",
    "swap": "swap",
    "diff": "diff",
    "watch": "watch",
    "rollback": "swap",
    "set": "swap",
    "rules": "rules",
    "apply": "apply",
    "history": "history",
    "show": "show",
    "restore": "restore",
    "save": "restore",
    "unit": "unit",
    "stats": "stats",
    "probe": "probe",
}
"""Every command and the module that has it; the order is that of the help."""


def run(arguments: Sequence[str]) -> int:
    """Runs a command line and returns its exit status. Only KeyboardInterrupt gets out, and only from before a command began."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A terminal that cannot show a character, or a path that is no text, is no reason to fail.
            stream.reconfigure(errors="backslashreplace")
    status = 0
    try:
        application(arguments)(args=list(arguments), prog_name="pcnc")
    except SystemExit as exit:
        status = exit.code if isinstance(exit.code, int) else PROBLEM if exit.code else 0
    except Exception as error:  # noqa: BLE001 - a damaged installation is told in a sentence, too
        report_exception(error, as_json=False)
        status = PROBLEM
    return end_output(status)


def application(arguments: Sequence[str]) -> typer.Typer:
    """The application with the commands that this command line needs: one, or, where it names none, all."""
    app = typer.Typer(
        name="pcnc",
        help=pcnc.__doc__,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    called = arguments[0] if arguments else ""
    for module in _modules_for(called):
        import_module(f"pcnc.cli.{module}").register(app)
    return app


def _modules_for(called: str) -> Iterable[str]:
    if called in COMMANDS:
        return (COMMANDS[called],)
    return () if called == "--version" else dict.fromkeys(COMMANDS.values())


def _show_version(asked: bool) -> None:
    if asked:
        print(f"pcnc {pcnc.__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Compile match/action pipelines to eBPF, load them, and change them while packets flow."""
