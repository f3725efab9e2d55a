"""`pcnc watch`: saves of a file become swaps of what runs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pcnc.cli.changes import change_to_json, duration, tell_notes, told_if_interrupted, what_changed
from pcnc.cli.file_saves import moments, same, stamp_of
from pcnc.cli.options import AsJson, NameArgument, ServiceOption, ToolchainOption, Verbose
from pcnc.cli.progress import working
from pcnc.cli.read_source import read_source
from pcnc.cli.report import (
    PROBLEM,
    Interrupted,
    counted,
    diagnostics_to_json,
    guarded,
    in_colour,
    painted,
    problem_of_os_error,
    problem_to_json,
    report_problem,
    tell,
)
from pcnc.cli.swap import DiscardOption
from pcnc.diagnostics import CompileError
from pcnc.source import Source
from pcnc_runtime.errors import RuntimeProblem

if TYPE_CHECKING:
    from rich.status import Status

    from pcnc.manifest import Toolchain
    from pcnc_runtime.build import Compiler
    from pcnc_runtime.changes import Change
    from pcnc_runtime.live import Running

PATIENCE = 0.5
"""Seconds for which the file may be away without a word: many editors take the old one away before they put a new one there."""


def register(app: typer.Typer) -> None:
    """Adds this module's command."""
    app.command(short_help="Swap whenever a file is saved.")(watch)


@guarded
def watch(
    name: NameArgument,
    file: Annotated[str, typer.Argument(metavar="FILE", help="A source.", show_default=False)],
    discard: DiscardOption = None,
    service: ServiceOption = None,
    toolchain: ToolchainOption = None,
    verbose: Verbose = False,
    as_json: AsJson = False,
) -> None:
    """Put the version in FILE in place, now and at each save, until Ctrl-C. What does not compile or fit changes nothing."""
    if file == "-":
        raise typer.BadParameter("standard input is not saved: give a file", param_hint="FILE")
    watcher = _Watcher(name, file, discard or (), service, toolchain, verbose, as_json)
    try:
        with watcher.sign_of_life():
            watcher.run()
    except (KeyboardInterrupt, Interrupted) as interrupt:
        raise watcher.interrupted(interrupt) from None
    except (RuntimeProblem, OSError) as error:
        if not as_json or isinstance(error, BrokenPipeError):
            raise
        problem = error if isinstance(error, RuntimeProblem) else problem_of_os_error(error)
        watcher.tell("ended", "", {"error": problem_to_json(problem)})
        raise typer.Exit(PROBLEM) from None


class _Watcher:
    """One run of the command. What it prints is a line for each thing that happens, on a terminal with a status below."""

    def __init__(
        self,
        name: str,
        file: str,
        discard: Sequence[str],
        service: str | None,
        toolchain: Toolchain | None,
        verbose: bool,
        as_json: bool,
    ) -> None:
        self._name, self._file, self._discard, self._service = name, file, discard, service
        self._toolchain, self._verbose, self._as_json = toolchain, verbose, as_json
        self._generation = 0
        self._status: Status | None = None

    # ---- what happens

    def run(self) -> None:
        """Watches until Ctrl-C, or until there is nothing to swap any more. RuntimeProblem, OSError."""
        from pcnc.cli.compile_service import open_compiler
        from pcnc_runtime import operations

        first = operations.read_running(self._name)
        self._generation = first.generation
        seen = stamp_of(self._file)
        source = read_source(self._file)
        compiler = open_compiler(self._toolchain)
        is_new = not self._is_in_force(source)
        self.tell("watching", f"{self._name}: {self._file} is watched{', and is not what runs' if is_new else ''}; {self._now()}")
        if is_new:
            self._swap(source, compiler, None)
        else:
            self._get_ready(source, compiler, first)
        looked, away_since = time.time(), 0.0
        for _ in moments(self._file):
            self._look_at_service(first)
            before, looked = looked, time.time()
            now = stamp_of(self._file)
            if same(now, seen):
                away_since = 0.0
            elif now is None:
                away_since = away_since or looked
                if looked - away_since >= PATIENCE:
                    seen = None
                    self.tell("gone", f"{self._name}: {self._file} is gone; {self._stays()}")
            else:
                away_since = 0.0
                # Where the file does not say when it was saved, it was since the last look.
                seen = now if self._save(compiler, max(now.saved, before)) else None

    def _get_ready(self, source: Source, compiler: Compiler, running: Running) -> None:
        """Compiles what is in force, which the cache has: the first save finds the compiler imported, and is as quick as others."""
        from pcnc.cli.compile_service import build_service, service_of

        with self._silence(), suppress(CompileError, RuntimeProblem):
            build_service(service_of(source, self._service, running.service), running.hook, compiler)

    def interrupted(self, interrupt: KeyboardInterrupt | Interrupted) -> Interrupted:
        """What Ctrl-C ends: the watching, and nothing else."""
        if isinstance(interrupt, Interrupted):
            with suppress(RuntimeProblem, OSError):
                from pcnc_runtime import operations

                self._generation = operations.read_running(self._name).generation
        if self._as_json:
            self.tell("ended", "")
        found = str(interrupt) if isinstance(interrupt, Interrupted) else self._stays()
        return Interrupted(f"{self._file} is not watched any more; {found}")

    def _look_at_service(self, first: Running) -> None:
        """Notices what other commands do. RuntimeProblem `not-loaded` where what was to be swapped is gone."""
        from pcnc_runtime import operations

        try:
            running = operations.read_running(self._name)
        except RuntimeProblem as problem:
            if problem.name == "not-loaded":
                raise self._unloaded() from None
            raise
        if running.loaded != first.loaded:
            raise self._unloaded()
        if running.generation != self._generation:
            self._generation = running.generation
            self.tell("changed", f"{self._name}: another command was here; {self._now()}")

    def _unloaded(self) -> RuntimeProblem:
        help = f"`pcnc load {self._file} --name {self._name} --dev DEVICE` loads it again"
        return RuntimeProblem("not-loaded", f"`{self._name}` was unloaded meanwhile: there is nothing to swap any more", help)

    def _is_in_force(self, source: Source) -> bool:
        from pcnc_runtime import operations

        running = operations.read_source(self._name)
        return running is not None and running.text == source.text and self._service in (None, running.service)

    def _save(self, compiler: Compiler, saved: float) -> bool:
        """Answers a save; false where it is to be tried again."""
        try:
            source = read_source(self._file)
        except FileNotFoundError:
            return True  # gone again: the next look tells
        except (RuntimeProblem, OSError) as error:
            self._refused(error)
            return True
        if self._is_in_force(source):
            self.tell("unchanged", f"{self._name}: saved as it was; {self._stays()}")
            return True
        return self._swap(source, compiler, saved)

    def _swap(self, source: Source, compiler: Compiler, saved: float | None) -> bool:
        """Puts a source into force that was saved at this time (None: before one looked); false where it is to be tried again."""
        from pcnc.cli.compile_service import build_service, recompile, record_of, service_of
        from pcnc_runtime import operations
        from pcnc_runtime.toolchains import toolchain_of

        try:
            with self._silence(), told_if_interrupted(self._name, last=False):
                running = operations.read_running(self._name)
                chosen = service_of(source, self._service, running.service)
                record = record_of(chosen, running.hook, toolchain_of(compiler))
                with working(f"swapping {self._name}"):
                    bundle = build_service(chosen, running.hook, compiler)
                    began = time.time()
                    change = operations.swap(self._name, bundle, source=record, recompile=recompile, discard=tuple(self._discard))
                self._generation = change.generation
        except (CompileError, RuntimeProblem, OSError) as error:
            if isinstance(error, RuntimeProblem) and error.name == "not-loaded":
                raise self._unloaded() from None
            self._refused(error)
            return not (isinstance(error, RuntimeProblem) and error.name == "busy")
        # What is told is told outside: an interrupt that comes after it ends the watching alone.
        self._swapped(change, None if saved is None else began + change.in_force - saved)
        return True

    # ---- what is told

    def tell(self, event: str, words: str, facts: dict[str, Any] | None = None) -> None:
        """Prints a line: the time and what happened, or all of it as an object."""
        now = time.time()
        if self._as_json:
            about = {"event": event, "time": now, "name": self._name, "file": self._file, "generation": self._generation}
            print(json.dumps({**about, **(facts or {})}), flush=True)
            return
        with self._silence():
            print(f"{painted(time.strftime('%H:%M:%S', time.localtime(now)), '2')}  {words}", flush=True)

    def _swapped(self, change: Change, after: float | None) -> None:
        when = f"in {duration(change.in_force)}" if after is None else f"{duration(after)} after it was saved"
        words = f"{self._name}: generation {change.generation} is in force {when}: {'; '.join(what_changed(change))}"
        if not change.changed:
            words = f"{self._name}: nothing to change; {self._stays()}"
        self.tell("swapped", words, {"after": after, "change": change_to_json(change)})
        if not self._as_json:
            tell_notes(change)

    def _refused(self, error: CompileError | RuntimeProblem | OSError) -> None:
        """Tells why a save changes nothing."""
        facts: dict[str, Any]
        with self._silence():
            if isinstance(error, CompileError):
                words, facts = counted(error.diagnostics), {"diagnostics": diagnostics_to_json(error.diagnostics)}
                if not self._as_json:
                    tell(error.diagnostics)
            else:
                problem = error if isinstance(error, RuntimeProblem) else problem_of_os_error(error)
                words, facts = problem.name, {"error": problem_to_json(problem)}
                if not self._as_json:
                    report_problem(problem, False, self._verbose)
            self.tell("refused", f"{self._name}: {words}; {self._stays()}", facts)

    def _now(self) -> str:
        return f"generation {self._generation} is in force"

    def _stays(self) -> str:
        return f"generation {self._generation} stays in force"

    # ---- the status on a terminal

    @contextmanager
    def sign_of_life(self) -> Iterator[None]:
        """Shows on a terminal, below what is printed, that the file is watched."""
        if self._as_json or not in_colour(sys.stderr):
            yield
            return
        from rich.console import Console

        console = Console(stderr=True)
        self._status = console.status("", spinner="dots")
        try:
            self._start_status()
            yield
        finally:
            status, self._status = self._status, None
            status.stop()

    @contextmanager
    def _silence(self) -> Iterator[None]:
        """Takes the status away while something else is printed."""
        status, self._status = self._status, None
        if status is not None:
            status.stop()
        try:
            yield
        finally:
            self._status = status
            self._start_status()

    def _start_status(self) -> None:
        if self._status is not None:
            from rich.markup import escape

            where = f"generation {self._generation} of {self._name}" if self._generation else self._name
            self._status.update(escape(f"{where} is in force; watching {self._file}, Ctrl-C ends that"))
            self._status.start()
