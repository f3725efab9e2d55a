"""From what was written to what it means: the whole of name resolution on one page."""

from __future__ import annotations

from pcnc import problems, syntax
from pcnc.diagnostics import Diagnostic, Diagnostics
from pcnc.headers import resolve_headers
from pcnc.program import Program, Service
from pcnc.resolve.declarations import declare_built_in, declare_constants
from pcnc.resolve.scope import Scope
from pcnc.resolve.services import resolve_service
from pcnc.rules import TableSchema


def resolve(prelude: syntax.File, file: syntax.File) -> tuple[Program, tuple[Diagnostic, ...]]:
    """The program that a file means, and warnings.

    Raises CompileError with everything found, warnings included, if there is an error.
    """
    found = Diagnostics()
    scope = Scope()
    declare_built_in(scope)
    items = (*prelude.items, *file.items)
    constants = [i for i in items if isinstance(i, syntax.EnumDeclaration | syntax.ConstDeclaration)]
    declare_constants(constants, scope, found)
    declared = [i for i in items if isinstance(i, syntax.HeaderDeclaration)]
    eithers = [i for i in items if isinstance(i, syntax.EitherDeclaration)]
    headers = resolve_headers(declared, eithers, scope, found)

    services: dict[str, Service] = {}
    for item in items:
        if isinstance(item, syntax.ServiceDeclaration):
            service = resolve_service(item, scope, headers, found)
            if service.name in services:
                found.add(problems.duplicate_name(service.name, item.name.span, services[service.name].span))
            services.setdefault(service.name, service)
    if not services:
        found.add(problems.no_service(file.span.source.path, None))
    found.found.sort(key=lambda problem: _place(problem, file))
    found.raise_if_errors()
    return Program(headers.headers, tuple(services.values()), file.span.source), tuple(found.found)


def _place(problem: Diagnostic, file: syntax.File) -> tuple[bool, int]:
    """The file's problems as they stand in it, those that have no place in it last."""
    span = problem.span
    return (span is None or span.source is not file.span.source), span.start if span else 0


def table_schema(program: Program, service: str, table: str) -> TableSchema:
    """A table as rules see it; KeyError if there is no such service or table."""
    for candidate in program.services:
        if candidate.name == service:
            for schema in candidate.schemas:
                if schema.name == table:
                    return schema
    raise KeyError(f"{service}.{table}")
