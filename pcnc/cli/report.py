"""What a person is told when something goes wrong, and the exit statuses: the one place where exceptions become words.

0    done
1    a problem: of the program, the rules, the machine
2    the command was used wrongly
130  interrupted from the keyboard
"""

from __future__ import annotations

import errno
import functools
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ParamSpec, TextIO, TypeVar

import typer

from pcnc.diagnostics import CompileError, Diagnostic, Note
from pcnc_runtime.errors import RefusedEdits, RuntimeProblem, problem_from_errno
from pcnc_runtime.locks import telling

PROBLEM, INTERRUPTED = 1, 130

MOST_LOG_LINES = 30
"""Of what a compiler or the verifier said, people are shown the last lines, which tell the reason."""

MOST_EDITS = 20
"""Of refused edits of rules people are shown the first."""

_OF_THE_MACHINE = ("/sys/", "/run/", "/proc/")
"""Where files lie that nobody named on the command line."""

P = ParamSpec("P")
R = TypeVar("R")


class Interrupted(Exception):
    """Ctrl-C, and what is to be said of it ("nothing was changed")."""


# ---- what is printed


def in_colour(stream: TextIO) -> bool:
    """Whether a stream is a terminal that wants colours (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def painted(text: str, code: str) -> str:
    """A text in an ANSI colour (`1;31`) where standard output shows colours."""
    return f"\x1b[{code}m{text}\x1b[0m" if in_colour(sys.stdout) else text


def print_json(value: Any) -> None:
    """Prints a value as JSON, indented, on standard output."""
    print(json.dumps(value, indent=2))


def tell(diagnostics: Sequence[Diagnostic], stream: TextIO | None = None) -> None:
    """Prints diagnostics with their source lines, on standard error where no stream is given."""
    if not diagnostics:
        return
    from pcnc.render import render

    chosen = stream or sys.stderr
    print(render(diagnostics, in_colour(chosen)), end="", file=chosen)


def counted(diagnostics: Iterable[Diagnostic]) -> str:
    """How many: `2 errors, 1 warning`."""
    errors = [diagnostic.is_error for diagnostic in diagnostics]
    numbers = ((errors.count(True), "error"), (errors.count(False), "warning"))
    return ", ".join(f"{number:,} {word}{'' if number == 1 else 's'}" for number, word in numbers if number)


def end_output(status: int) -> int:
    """Writes out what is buffered; the exit status, which a full disk or a reader that has gone may change."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            # What could not be written is still in the buffer, and would be tried again at the very end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            status = status or PROBLEM
            if error.errno != errno.EPIPE and stream is sys.stdout:
                print(f"pcnc: cannot write the output: {error.strerror}", file=sys.stderr)
    return status


# ---- what went wrong


def guarded(command: Callable[P, R]) -> Callable[P, R]:
    """Turns everything that a command raises into a message and an exit status; with its `as_json`, the message into JSON.

    With its `verbose`, all is told of what a compiler or the verifier said.
    """

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        telling.set(_tell_of_waiting)
        try:
            return command(*args, **kwargs)
        except (typer.Exit, typer.Abort, typer.BadParameter):
            raise
        except KeyboardInterrupt:
            _tell_interrupted("")
            raise typer.Exit(INTERRUPTED) from None
        except Interrupted as interrupted:
            _tell_interrupted(str(interrupted))
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            raise typer.Exit(PROBLEM) from None
        except Exception as error:  # noqa: BLE001 - the last resort: whoever sits at the keyboard gets a sentence, not a traceback
            report_exception(error, bool(kwargs.get("as_json")), bool(kwargs.get("verbose")))
            raise typer.Exit(PROBLEM) from None

    return run


def _tell_of_waiting(text: str) -> None:
    print(f"pcnc: {text}", file=sys.stderr, flush=True)


def _tell_interrupted(what: str) -> None:
    print(f"pcnc: interrupted{f'; {what}' if what else ''}", file=sys.stderr)


def report_exception(error: Exception, as_json: bool, verbose: bool = False) -> None:
    """Says what an exception means; one that nobody expected is a bug, and with PCNC_DEBUG=1 is told with its traceback."""
    match error:
        case CompileError():
            report_diagnostics(error.diagnostics, as_json)
        case RefusedEdits():
            report_refused_edits(error, as_json)
        case RuntimeProblem():
            report_problem(error, as_json, verbose)
        case OSError():
            report_problem(problem_of_os_error(error), as_json)
        case MemoryError():
            report_problem(RuntimeProblem("no-memory", "there is not enough memory for this"), as_json)
        case _:
            if os.environ.get("PCNC_DEBUG") == "1":
                traceback.print_exception(error)
            text = f"an error inside pcnc: {type(error).__name__}: {error}"
            help = "this is a bug, please report it; with PCNC_DEBUG=1 the command shows where it happened"
            report_problem(RuntimeProblem("internal-error", text, help), as_json)


def report_diagnostics(diagnostics: tuple[Diagnostic, ...], as_json: bool) -> None:
    """Tells diagnostics: with carets on standard error, or as JSON on standard output."""
    if as_json:
        print_json({"diagnostics": diagnostics_to_json(diagnostics)})
    else:
        tell(diagnostics)
        print(f"\n{counted(diagnostics)}", file=sys.stderr)


def report_refused_edits(problem: RefusedEdits, as_json: bool) -> None:
    """Tells all edits of rules that are refused, each where it stands in a text if it does; as JSON the first is `error`, too."""
    diagnostics = diagnostics_of_edits(problem)
    if as_json:
        print_json({"error": problem_to_json(problem), "diagnostics": diagnostics_to_json(diagnostics)})
        return
    shown = diagnostics[:MOST_EDITS]
    tell(shown)
    if len(diagnostics) > len(shown):
        print(f"\n{len(diagnostics) - len(shown):,} more: --json has them all", file=sys.stderr)
    print(f"\n{counted(diagnostics)}", file=sys.stderr)


def diagnostics_of_edits(problem: RefusedEdits) -> list[Diagnostic]:
    """Refused edits of rules as diagnostics."""
    return [
        Diagnostic(
            each.problem.name,
            each.problem.message,
            each.span,
            help=each.problem.help,
            notes=(Note(each.note, each.earlier),) if each.earlier else (),
        )
        for each in problem.refused
    ]


def report_problem(problem: RuntimeProblem, as_json: bool, verbose: bool = False) -> None:
    """Tells a problem: on standard error, or as JSON on standard output. What a compiler or the verifier said stands below it:

    the few lines that tell where these are known, else the last ones; with `verbose` all.
    """
    if as_json:
        print_json({"error": problem_to_json(problem)})
        return
    if problem.misfits and in_colour(sys.stderr):
        from pcnc.cli.report_misfits import tell_misfits
        from pcnc_runtime.misfits import headline

        tell([Diagnostic(problem.name, headline(problem.misfits), None)])
        tell_misfits(problem)
    else:
        tell([problem_as_diagnostic(problem, verbose)])
    lines = problem.log.rstrip("\n").splitlines()
    if problem.refusal is not None and not verbose:
        lines = list(problem.refusal.excerpt)
    elif len(lines) > MOST_LOG_LINES and not verbose:
        print(f"  | … {len(lines) - MOST_LOG_LINES} lines before these: --json has them all", file=sys.stderr)
        lines = lines[-MOST_LOG_LINES:]
    for line in lines:
        print(f"  | {line}", file=sys.stderr)


def problem_as_diagnostic(problem: RuntimeProblem, verbose: bool = False) -> Diagnostic:
    """A problem as a diagnostic: on a line of the source where that is known, with the help that it has."""
    if problem.refusal is None:
        return Diagnostic(problem.name, problem.message, None, help=problem.help)
    from pcnc.cli.refusals import refusal_as_diagnostic

    return refusal_as_diagnostic(problem, problem.refusal, verbose)


def problem_of_os_error(error: OSError) -> RuntimeProblem:
    """The problem that a refused file or system call amounts to."""
    where = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else ""
    said = error.strerror or str(error)
    match error.errno:
        case errno.ENOENT:
            return RuntimeProblem("no-such-file", f"there is no {where or 'such file'}", errno=errno.ENOENT)
        case errno.EISDIR:
            return RuntimeProblem("is-a-folder", f"{where or 'this'} is a folder, not a file", errno=errno.EISDIR)
        case errno.EACCES | errno.EPERM if not where or where.startswith(_OF_THE_MACHINE):
            return problem_from_errno(error, f"use {where or 'what this needs'}")
        case errno.EACCES | errno.EPERM:
            return RuntimeProblem("no-permission", f"{where or 'this'} may not be used: {said}", errno=error.errno)
        case errno.ENOSPC | errno.EDQUOT:
            return RuntimeProblem("disk-full", f"cannot write {where or 'the output'}: {said}", errno=error.errno)
        case _:
            return RuntimeProblem("refused", f"{where}: {said}" if where else said, errno=error.errno or 0)


# ---- as JSON


def problem_to_json(problem: RuntimeProblem) -> dict[str, Any]:
    """A problem for programs: name, message, help, errno (0: none) and log; `misfits` where another version cannot hold things.

    Of a program that is refused also what it is and where.
    """
    told: dict[str, Any] = {
        "name": problem.name,
        "message": problem.message,
        "help": problem_as_diagnostic(problem).help,
        "errno": problem.errno,
        "log": problem.log,
    }
    if problem.misfits:
        from pcnc.cli.report_misfits import misfit_to_json

        told["misfits"] = [misfit_to_json(misfit) for misfit in problem.misfits]
    if problem.refusal is not None:
        from pcnc.cli.refusals import refusal_to_json

        told |= refusal_to_json(problem, problem.refusal)
    return told


def diagnostics_to_json(diagnostics: Iterable[Diagnostic]) -> list[dict[str, Any]]:
    """Diagnostics for editors: lines and columns from 1, an end column behind the last character."""
    from pcnc.render import to_json

    return [dict(to_json(diagnostic)) for diagnostic in diagnostics]
