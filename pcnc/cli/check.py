"""`pcnc check`: reads files and tells every problem."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pcnc.cli.progress import working
from pcnc.cli.read_source import read_source
from pcnc.cli.report import (
    PROBLEM,
    counted,
    diagnostics_to_json,
    guarded,
    painted,
    print_json,
    problem_of_os_error,
    problem_to_json,
    report_problem,
    tell,
)
from pcnc.diagnostics import CompileError, Diagnostic
from pcnc.program import Program, Service
from pcnc_runtime.errors import RuntimeProblem


def register(app: typer.Typer) -> None:
    """Adds this module's command."""
    app.command(short_help="Tell every problem of sources.")(check)


@guarded
def check(
    files: Annotated[list[str], typer.Argument(metavar="FILE", help="Sources; - is standard input.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print the problems as JSON.")] = False,
) -> None:
    """Read sources and tell every problem; exit with 1 if there is an error."""
    from pcnc.compile import check as check_source

    diagnostics: list[Diagnostic] = []
    reports: list[dict[str, Any]] = []
    for file in files:
        found: tuple[Diagnostic, ...] = ()
        program: Program | None = None
        problem: RuntimeProblem | None = None
        try:
            with working(f"reading {file}"):
                checked = check_source(read_source(file))
            program, found = checked.program, checked.warnings
        except CompileError as error:
            found = error.diagnostics
        except RuntimeProblem as error:
            problem = error
        except OSError as error:
            problem = problem_of_os_error(error)
        diagnostics += found
        names = [service.name for service in program.services] if program else []
        told = problem_to_json(problem) if problem else None
        reports.append({"file": file, "ok": program is not None, "services": names, "error": told})
        if not as_json:
            _tell(file, program, found, problem)
    if as_json:
        print_json({"files": reports, "diagnostics": diagnostics_to_json(diagnostics)})
    if not all(report["ok"] for report in reports):
        raise typer.Exit(PROBLEM)


def _tell(file: str, program: Program | None, found: tuple[Diagnostic, ...], problem: RuntimeProblem | None) -> None:
    if problem is not None:
        report_problem(problem, as_json=False)
        return
    tell(found)
    said = [counted(found)] if found else []
    if program is not None:
        said.append(f"{painted('ok', '1;32')}: {_described(program)}")
    print(f"{file}: {'; '.join(said)}")


def _described(program: Program) -> str:
    return "; ".join(_described_service(service) for service in program.services)


def _described_service(service: Service) -> str:
    rules = sum(len(table.rules) for table in service.tables)
    numbers = ((len(service.tables), "table"), (len(service.stages), "stage"), (rules, "rule"), (len(service.tests), "test"))
    parts = [f"{number:,} {noun}{'' if number == 1 else 's'}" for number, noun in numbers if number]
    return f"service {service.name} ({', '.join(parts)})" if parts else f"service {service.name}"
