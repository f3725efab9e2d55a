"""Test blocks: what is expected and what came of it, in words; broken tests; two targets that do not agree."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from pcnc.compile import check
from pcnc.program_words import ChainName, VerdictKind
from pcnc.rules import Rule
from pcnc.run_tests import InterpreterTarget, NoSuchCounter, TestResult, Unit, disagreements, run_test, run_tests
from pcnc.show_value import show_value
from pcnc.source import Source
from pcnc.types import BOOL, DURATION, IPV4_ADDR, IPV6_ADDR, MAC_ADDR, Type, unsigned
from tests.pcn_text import program_of

pytestmark = pytest.mark.text

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.pcn"))

SERVICE = """
service s {
    config limit: u8 = 10
    table sources {
        match   ipv4.src: lpm
        action  drop, mark, next
        default next
        size    16
        count   packets, bytes
    }
    action mark(value: u6) { if ipv4 { ipv4.dscp = value } }
    chain ingress {
        sources
        stage ttl { if ipv4 { if ipv4.ttl < limit { drop } } }
    }
"""


def results(*items: str) -> TestResult:
    """What came of a test of SERVICE with these lines."""
    program, service = program_of(SERVICE + 'test "t" {\n' + "\n".join(items) + "\n}\n}\n")
    (result,) = run_tests(program, service)
    return result


def told(result: TestResult) -> list[tuple[bool, str, str]]:
    return [(e.held, e.expected, e.actual) for e in result.expectations]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_pass(path: Path) -> None:
    program = check(Source(path.name, path.read_text())).program
    for service in program.services:
        for result in run_tests(program, service):
            assert result.passed, result.diagnostics


def test_verdicts() -> None:
    result = results(
        "rules sources { 10.0.0.0/8 -> drop }",
        "send ingress: eth / ipv4(src=10.1.2.3)",
        "expect drop",
        "expect next",
    )
    assert told(result) == [(True, "drop", "drop"), (False, "next", "drop")]
    assert not result.passed
    (diagnostic,) = result.diagnostics
    assert diagnostic.name == "test-failed"
    assert diagnostic.message == 'test "t" failed: expected next, got drop'
    assert diagnostic.span is not None
    assert diagnostic.span.text == "expect next"


def test_conditions_are_about_the_packet_as_it_left() -> None:
    result = results(
        "rules sources { 10.0.0.0/8 -> mark(46) }",
        "send ingress: eth / ipv4(src=10.1.2.3) / tcp",
        "expect next with ipv4.dscp == 46, ipv4.dscp == 45, ipv4.src == 10.1.2.4, tcp.flags == syn, tcp.flags == ack",
        "expect next with udp, not tcp, packet.length > 100, vlan.id == 1",
    )
    assert told(result) == [
        (True, "next", "next"),
        (True, "ipv4.dscp == 46", "ipv4.dscp is 46"),
        (False, "ipv4.dscp == 45", "ipv4.dscp is 46"),
        (False, "ipv4.src == 10.1.2.4", "ipv4.src is 10.1.2.3"),
        (True, "tcp.flags == syn", "tcp.flags is syn"),
        (False, "tcp.flags == ack", "tcp.flags is syn"),
        (True, "next", "next"),
        (False, "udp", "udp is absent"),
        (False, "not tcp", "tcp is present"),
        (False, "packet.length > 100", "packet.length is 54"),
        (False, "vlan.id == 1", "vlan is absent"),
    ]


def test_conditions_say_nothing_more_where_the_verdict_is_wrong() -> None:
    result = results("send ingress: eth / ipv4(ttl=9)", "expect next with ipv4.ttl == 9")
    assert told(result) == [(False, "next", "drop")]


def test_counters() -> None:
    result = results(
        "rules sources { 10.0.0.0/8 -> drop }",
        "rules sources { 10.1.0.0/16 -> next }",
        "send ingress: eth / ipv4(src=10.1.2.3) / payload(6)",
        "send ingress: eth / ipv4(src=10.2.2.3) / payload(6)",
        "send ingress: eth / ipv4(src=10.2.2.3)",
        "expect sources[1].packets == 2",
        "expect sources[1].bytes == 74",
        "expect sources[2].packets == 1 and sources[0].packets == 0",
        "expect sources[2].packets == 1 and sources[0].packets == 1",
    )
    assert told(result) == [
        (True, "sources[1].packets == 2", "sources[1].packets is 2"),
        (True, "sources[1].bytes == 74", "sources[1].bytes is 74"),
        (True, "sources[2].packets == 1 and sources[0].packets == 0", "sources[2].packets is 1, sources[0].packets is 0"),
        (False, "sources[2].packets == 1 and sources[0].packets == 1", "sources[2].packets is 1, sources[0].packets is 0"),
    ]
    assert [(c.rule, c.unit, c.value) for c in result.counted] == [
        (0, "packets", 0),
        (0, "bytes", 0),
        (1, "packets", 2),
        (1, "bytes", 74),
        (2, "packets", 1),
        (2, "bytes", 40),
    ]


def test_a_test_starts_from_nothing() -> None:
    text = (
        SERVICE
        + """
        rules sources { * -> drop }
        test "the file's rules are not in force" {
            send ingress: eth / ipv4
            expect next
        }
        test "sets a setting" {
            limit = 65
            send ingress: eth / ipv4
            expect drop
            limit = 64
            send ingress: eth / ipv4
            expect next
        }
        test "the setting of the test before is gone" {
            send ingress: eth / ipv4
            expect next
            expect sources[0].packets == 1
        }
    }
    """
    )
    program, service = program_of(text)
    assert [result.passed for result in run_tests(program, service)] == [True, True, True]


def test_a_packet_that_cannot_be_built_ends_the_test() -> None:
    result = results("send ingress: eth / vlan / ipv4 / payload(65530)", "expect next")
    assert not result.passed
    assert result.expectations == ()
    (diagnostic,) = result.diagnostics
    assert diagnostic.name == "test-failed"
    assert "the packet cannot be built: ipv4 with what it carries is 65550 bytes long" in diagnostic.message
    assert diagnostic.span is not None
    assert diagnostic.span.text.startswith("send ingress")


class Wrong(InterpreterTarget):
    """A target that is wrong in one way."""

    way = ""

    def send(self, chain: ChainName, frame: bytes) -> tuple[VerdictKind, bytes]:
        verdict, frame_out = super().send(chain, frame)
        match self.way:
            case "verdict":
                return ("pass" if verdict == "next" else verdict), frame_out
            case "byte":
                return verdict, frame_out[:-1] + bytes([frame_out[-1] ^ 0x80])
            case "length":
                return verdict, frame_out + b"\0"
        return verdict, frame_out

    def counter(self, table: str, rule: int, unit: Unit) -> int:
        return super().counter(table, rule, unit) + (self.way == "counter")

    def set_rules(self, table: str, rules: Sequence[Rule]) -> None:
        super().set_rules(table, rules)


@pytest.mark.parametrize(
    ("way", "messages"),
    [
        ("", []),
        ("verdict", ["the interpreter says next, the kernel pass"]),
        ("byte", ["the kernel sends other bytes than the interpreter: byte 33 is 0x82, not 0x02"]),
        ("length", ["the kernel sends other bytes than the interpreter: 35 bytes, not 34"]),
        (
            "counter",
            [
                "sources[0].packets is 1 in the interpreter, 2 in the kernel",
                "sources[0].bytes is 34 in the interpreter, 35 in the kernel",
            ],
        ),
    ],
)
def test_two_targets_that_do_not_agree(way: str, messages: list[str]) -> None:
    program, service = program_of(SERVICE + 'test "t" {\nsend ingress: eth / ipv4\nexpect next\n}\n}\n')
    (test,) = service.tests
    reference = run_test(program, service, test, InterpreterTarget(program, service))
    wrong = Wrong(program, service)
    wrong.way = way
    found = disagreements(reference, run_test(program, service, test, wrong), "the kernel")
    assert [d.message.removeprefix('test "t": ') for d in found] == messages
    assert {d.name for d in found} <= {"test-disagrees"}


def test_how_a_packet_was_left_when_it_was_dropped_is_not_compared() -> None:
    program, service = program_of(SERVICE + 'test "t" {\nsend ingress: eth / ipv4(ttl=1)\nexpect drop\n}\n}\n')
    (test,) = service.tests
    wrong = Wrong(program, service)
    wrong.way = "byte"
    reference = run_test(program, service, test, InterpreterTarget(program, service))
    assert disagreements(reference, run_test(program, service, test, wrong), "the kernel") == ()


def test_a_counter_that_is_not_there() -> None:
    program, service = program_of(SERVICE + "}\n")
    with pytest.raises(NoSuchCounter, match="sources has no rule 1"):
        InterpreterTarget(program, service).counter("sources", 1, "packets")


@pytest.mark.parametrize(
    ("value", "type", "text"),
    [
        (1, BOOL, "true"),
        (0, BOOL, "false"),
        (80, unsigned(16), "80"),
        (0x0A000001, IPV4_ADDR, "10.0.0.1"),
        (1, IPV6_ADDR, "::1"),
        (0x020000000001, MAC_ADDR, "02:00:00:00:00:01"),
        (0, DURATION, "0s"),
        (90 * 10**9, DURATION, "90s"),
        (3600 * 10**9, DURATION, "1h"),
        (1500 * 10**3, DURATION, "1500us"),
        (7, DURATION, "7ns"),
        (2, Type("op", 8, "enum", (("request", 1), ("reply", 2))), "reply"),
        (3, Type("op", 8, "enum", (("request", 1), ("reply", 2))), "3"),
    ],
)
def test_values_are_shown_as_they_are_written(value: int, type: Type, text: str) -> None:
    assert show_value(value, type) == text
