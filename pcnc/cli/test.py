"""`pcnc test`: the tests that stand in files, on the reference interpreter and on the compiled programs in the kernel."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pcnc.cli.compile_service import IN_WORDS, Chosen, build_shape, open_compiler, record_of
from pcnc.cli.options import AsJson, HookOption, ToolchainOption, Verbose
from pcnc.cli.progress import working
from pcnc.cli.read_source import read_source
from pcnc.cli.report import PROBLEM, diagnostics_to_json, guarded, painted, print_json, tell
from pcnc.diagnostics import Diagnostic
from pcnc.manifest import Hook, Toolchain, Variant
from pcnc.program import Program, Service
from pcnc.program_tests import Test
from pcnc.shape import Shape
from pcnc_runtime.errors import RuntimeProblem

if TYPE_CHECKING:
    from pcnc_runtime.build import Compiler
    from pcnc_runtime.trial import Trial

INTERPRETER = "interpreter"
SHORTEST_TRIAL = 14
"""The shortest frame, in bytes, that the kernel takes for a trial."""


@dataclass(frozen=True, slots=True)
class Report:
    """A test and what came of it on each target."""

    file: str
    service: str
    test: Test
    passed: bool
    targets: tuple[str, ...]
    problems: tuple[Diagnostic, ...] = field(repr=False)


def register(app: typer.Typer) -> None:
    """Adds this module's command."""
    app.command("test", short_help="Run the tests that stand in sources.")(try_files)


@guarded
def try_files(
    files: Annotated[list[str], typer.Argument(metavar="FILE", help="Sources; - is standard input.", show_default=False)],
    kernel: Annotated[
        bool, typer.Option("--kernel/--no-kernel", help="Whether the compiled programs are tried, too, where that can be.")
    ] = True,
    hook: HookOption = "xdp",
    toolchain: ToolchainOption = None,
    verbose: Verbose = False,
    as_json: AsJson = False,
) -> None:
    """Run the tests in sources on the interpreter and, where the kernel allows, on the compiled programs; the two must agree."""
    from pcnc.compile import check

    compiler, without = _open_kernel(toolchain) if kernel else (None, "--no-kernel")
    reports: list[Report] = []
    for file in files:
        checked = check(read_source(file))
        if not as_json:
            tell(checked.warnings)
        for service in checked.program.services:
            if not as_json and service.tests:
                print(f"{file}: service {service.name}")
            for each in service.tests:
                with working(each.name):
                    report = _run(file, checked.program, service, each, hook, compiler)
                reports.append(report)
                if not as_json:
                    _tell(report)
    failed = [report for report in reports if not report.passed]
    if as_json:
        print_json({"passed": not failed, "no_kernel": without, "tests": [_as_json(report) for report in reports]})
    else:
        _sum_up(reports, without)
    if failed:
        raise typer.Exit(PROBLEM)


def _run(file: str, program: Program, service: Service, test: Test, hook: Hook, compiler: Compiler | None) -> Report:
    """One test on the interpreter and, with a compiler, in the kernel."""
    from pcnc.run_tests import InterpreterTarget, disagreements, run_test
    from pcnc_runtime.refusals import compiled_from
    from pcnc_runtime.toolchains import toolchain_of

    chosen = Chosen(program, service)
    reference = run_test(program, service, test, InterpreterTarget(program, service))
    targets, problems = [INTERPRETER], list(reference.diagnostics)
    if compiler is not None and all(len(sent.frame) >= SHORTEST_TRIAL for sent in reference.sent):
        with kernel_target(program, service, hook, compiler) as target, compiled_from(lambda: record_of(chosen, hook)):
            compiled = run_test(program, service, test, target)
        made_by = toolchain_of(compiler)
        by = "" if made_by == "clang" else f", {IN_WORDS[made_by]}"
        targets.append(f"kernel ({hook}{by})")
        problems += disagreements(reference, compiled, f"the kernel ({hook})")
        # What fails on both in the same way is told once.
        known = {_told(problem) for problem in problems}
        problems += [each for each in compiled.diagnostics if _told(each) not in known]
    return Report(file, service.name, test, not problems, tuple(targets), tuple(problems))


def _told(problem: Diagnostic) -> tuple[str, str, int]:
    return problem.name, problem.message, problem.span.start if problem.span is not None else 0


# ---- the kernel


def kernel_target(program: Program, service: Service, hook: Hook, compiler: Compiler | None = None) -> Trial:
    """The compiled programs of a service, loaded to be tried and attached nowhere. RuntimeProblem."""
    from pcnc_ebpf.plan import plan_manifest
    from pcnc_runtime.trial import Trial

    def compile_shape(shape: Shape) -> tuple[Variant, Mapping[str, bytes]]:
        built = build_shape(Chosen(program, service), hook, shape, compiler)
        return built.variant, built.files

    return Trial(plan_manifest(program, service, hook, [])[0], compile_shape)


def _open_kernel(toolchain: Toolchain | None) -> tuple[Compiler | None, str]:
    """The compiler for trials in the kernel; where these cannot be, none and why. RuntimeProblem for one that was asked for."""
    from pcnc_runtime.probe import probe

    try:
        compiler = open_compiler(toolchain)
    except RuntimeProblem as problem:
        if toolchain is not None or problem.name == "no-such-toolchain":
            raise
        return None, problem.message
    without = next((f"{fact.feature}: {fact.reason}" for fact in probe() if not fact.works), "")
    return (None if without else compiler), without


# ---- told


def _tell(report: Report) -> None:
    mark = painted("✓", "1;32") if report.passed else painted("✗", "1;31")
    print(f"  {mark} {report.test.name}", flush=True)
    tell(report.problems, sys.stdout)


def _sum_up(reports: list[Report], without: str) -> None:
    failed = sum(not report.passed for report in reports)
    targets = " and ".join(dict.fromkeys(name for report in reports for name in report.targets))
    if not reports:
        print("no tests")
        return
    verdict = painted(f"{failed} failed", "1;31") if failed else painted("all passed", "1;32")
    print(f"{len(reports)} test{'' if len(reports) == 1 else 's'}, {verdict}, on {targets}")
    if without and without != "--no-kernel":
        print(f"not tried in the kernel: {without}")


def _as_json(report: Report) -> dict[str, Any]:
    return {
        "file": report.file,
        "service": report.service,
        "name": report.test.name,
        "line": report.test.span.line,
        "passed": report.passed,
        "targets": list(report.targets),
        "diagnostics": diagnostics_to_json(report.problems),
    }
