"""Programs and packets from PCN text, for tests of what they mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pcnc.compile import check
from pcnc.interpret import Interpreter
from pcnc.packet import build
from pcnc.parse_graph import Headers
from pcnc.parse_packet import parse_packet
from pcnc.program import Program, Service
from pcnc.program_tests import PacketTemplate, TestSend
from pcnc.rule_reader import read_rules
from pcnc.rules import Rule
from pcnc.source import Source


def program_of(text: str) -> tuple[Program, Service]:
    """The program that a text means, and its first service."""
    program = check(Source("test.pcn", text)).program
    return program, program.services[0]


def headers_of(declarations: str = "") -> Headers:
    """The prelude's headers and further ones."""
    program, _ = program_of(f"{declarations}\nservice s {{\n chain ingress {{\n }}\n}}\n")
    return program.headers


def template_of(packet: str, declarations: str = "") -> tuple[Headers, PacketTemplate]:
    """A packet as a test writes it, and the headers it is made of."""
    text = f'{declarations}\nservice s {{\n chain ingress {{\n }}\n test "t" {{\n send ingress: {packet}\n }}\n}}\n'
    program, service = program_of(text)
    (sent,) = service.tests[0].items
    assert isinstance(sent, TestSend)
    return program.headers, sent.packet


def frame_of(packet: str, declarations: str = "") -> bytes:
    """The frame that a packet as a test writes it stands for."""
    return build(*template_of(packet, declarations))


def present_in(headers: Headers, frame: bytes) -> list[str]:
    """The names of the headers that a frame holds, outermost first."""
    return [placed.instance.name for placed in parse_packet(headers, frame).path]


def rules_of(service: Service, table: str, text: str) -> tuple[Rule, ...]:
    """Rules of a table from their text."""
    schema = next(schema for schema in service.schemas if schema.name == table)
    rules, problems = read_rules(Source("rules", text), schema)
    assert not problems, problems
    return tuple(rules)


def running(text: str, rules: Mapping[str, str] | None = None, configs: Mapping[str, int] | None = None) -> Interpreter:
    """The first service of a text on the interpreter, with these rules by table."""
    program, service = program_of(text)
    held: dict[str, Sequence[Rule]] = {table: rules_of(service, table, written) for table, written in (rules or {}).items()}
    return Interpreter(program, service, held, configs)
