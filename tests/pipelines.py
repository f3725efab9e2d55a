"""Pipelines from PCN text, for the tests of the passes and of what comes after them."""

from __future__ import annotations

from collections.abc import Mapping

from pcnc.compile import check
from pcnc.graph import Pipeline
from pcnc.lower import lower
from pcnc.program import Program, Service
from pcnc.rule_reader import read_rules
from pcnc.shape import Shape, shape_of
from pcnc.source import Source

FIREWALL = """
service firewall {
    table sources {
        match   ipv4.src: lpm
        action  drop, next
        default next
    }
    table destinations {
        match   ipv4.dst: lpm
        action  drop, next
        default next
    }
    chain ingress { sources; destinations }
}
"""


def compile_text(text: str) -> tuple[Program, Service]:
    """The program and its only service."""
    program = check(Source("test.pcn", text)).program
    (service,) = program.services
    return program, service


def shape(service: Service, rules: Mapping[str, str]) -> Shape:
    """The shape of rules, written a table."""
    held = {}
    for schema in service.schemas:
        found, problems = read_rules(Source("rules", rules.get(schema.name, "")), schema)
        assert not problems
        held[schema.name] = found
    return shape_of(service.schemas, held)


def pipeline(text: str, rules: Mapping[str, str]) -> tuple[Pipeline, Shape]:
    """The pipeline of the first chain, nothing pruned, and the shape of the rules."""
    program, service = compile_text(text)
    return lower(program, service)[0], shape(service, rules)


def live(pipeline: Pipeline) -> list[str]:
    """The blocks that become programs, in order."""
    return [block.name for block in pipeline.programs()]
