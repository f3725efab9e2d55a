"""The whole walk on one page: text → syntax → program → pipelines → optimised pipelines. Pure; a backend goes on from here."""

from __future__ import annotations

from dataclasses import dataclass

from pcnc.diagnostics import Diagnostic
from pcnc.graph import Pipeline
from pcnc.lower import lower
from pcnc.optimise import optimise
from pcnc.parse import parse, parse_prelude
from pcnc.program import Program, Service
from pcnc.resolve import resolve
from pcnc.shape import Shape, shape_of
from pcnc.source import Source


@dataclass(frozen=True, slots=True)
class Checked:
    """A program without errors, and what there is to warn of."""

    program: Program
    warnings: tuple[Diagnostic, ...]


def check(source: Source) -> Checked:
    """Parses and resolves a file, and looks whether its chains fit the kernel.

    Raises CompileError with all problems of the first stage that finds an error.
    """
    program, warnings = resolve(parse_prelude(), parse(source))
    for service in program.services:
        lower(program, service)
    return Checked(program, warnings)


def shape_of_file(service: Service) -> Shape:
    """The shape of the rules that stand in the file."""
    return shape_of(service.schemas, {table.name: table.rules for table in service.tables})


def pipelines(program: Program, service: Service, shape: Shape, last: str | None = None) -> tuple[Pipeline, ...]:
    """The pipelines of a service, optimised for a shape; with `last`, only by the passes up to that one.

    Raises KeyError where `last` is no pass, CompileError where a chain is too long for the kernel.
    """
    return tuple(optimise(pipeline, shape, last) for pipeline in lower(program, service))
