"""Programs that clang or the kernel's verifier refused, as diagnostics on the line of PCN, and what is needed to report them."""

from __future__ import annotations

import platform
from typing import Any

import pcnc
from pcnc.diagnostics import Diagnostic, Note
from pcnc.line_directives import file_name
from pcnc.source import Source, Span
from pcnc_runtime.errors import Refusal, RuntimeProblem

_PRELUDE = "prelude.pcn"


def refusal_as_diagnostic(problem: RuntimeProblem, refusal: Refusal, verbose: bool) -> Diagnostic:
    """The refusal on its line; where there is no source, with what the log quotes of the line."""
    span = _span(problem, refusal)
    notes = []
    if span is None and refusal.line:
        notes.append(Note(f"{refusal.file}:{refusal.line}: {refusal.text}".removesuffix(": "), None))
    hidden = len(problem.log.splitlines()) - len(refusal.excerpt)
    if hidden > 0 and not verbose:
        notes.append(Note(f"--verbose shows the whole log, {hidden:,} lines more than these", None))
    return Diagnostic(problem.name, problem.message, span, help=_help(problem), label="compiled to this", notes=tuple(notes))


def refusal_to_json(problem: RuntimeProblem, refusal: Refusal) -> dict[str, Any]:
    """The refusal for programs: what was refused and why, and the place; line and columns from 1, null where unknown."""
    span = _span(problem, refusal)
    return {
        "program": refusal.program,
        "reason": refusal.reason,
        "excerpt": list(refusal.excerpt),
        "file": span.source.path if span else refusal.file or None,
        "line": span.line if span else refusal.line or None,
        "column": span.column if span else None,
        "end_column": span.column + len(span.text) if span else None,
        "text": span.text if span else refusal.text or None,
        "versions": versions(problem),
    }


def versions(problem: RuntimeProblem) -> str:
    """What somebody who is to find the fault has to know of this machine, on one line."""
    from pcnc_runtime.bcc import find_bcc
    from pcnc_runtime.build import find_clang

    compiler = "no compiler"
    for find in (find_bcc, find_clang) if problem.name == "bcc-refused" else (find_clang, find_bcc):
        try:
            compiler = find().version
        except RuntimeProblem:
            continue
        break
    return f"pcnc {pcnc.__version__}, {platform.system()} {platform.release()} {platform.machine()}, {compiler}"


def _help(problem: RuntimeProblem) -> str:
    source = file_name(problem.source.path) if problem.source else "the bundle"
    return (
        f"this is a bug of pcnc, not of your program. Please report it, with {source},\n"
        "what this command prints with --verbose, and this line:\n"
        f"{versions(problem)}"
    )


def _span(problem: RuntimeProblem, refusal: Refusal) -> Span | None:
    """The line, from its first character to its last, None where there is no source of it."""
    source = _source(problem, refusal)
    if source is None:
        return None
    lines = source.text.split("\n")
    number = refusal.line
    if not number and refusal.text:
        # A kernel that tells the text alone: it will do where only one line has it.
        found = [index for index, line in enumerate(lines, start=1) if line.strip() == refusal.text.strip()]
        number = found[0] if len(found) == 1 else 0
    if not 0 < number <= len(lines):
        return None
    start = sum(len(line) + 1 for line in lines[: number - 1])
    line = lines[number - 1].rstrip()
    return Span(source, start + len(line) - len(line.lstrip()), start + len(line))


def _source(problem: RuntimeProblem, refusal: Refusal) -> Source | None:
    if problem.source is not None and refusal.file in ("", file_name(problem.source.path)):
        return problem.source
    if refusal.file == _PRELUDE:
        from pcnc_grammar import prelude_source

        return prelude_source()
    return None
