"""Runs the `test` blocks of a service, on the reference interpreter or on any other target, and compares what two targets did."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, assert_never

from pcnc.diagnostics import Diagnostic
from pcnc.evaluate import Surroundings, evaluate
from pcnc.expression import CounterRead, Expression, FieldRead, HeaderPresent, PacketLength
from pcnc.expression_walk import walk
from pcnc.interpret import Interpreter
from pcnc.packet import build
from pcnc.parse_packet import AbsentHeader, Packet, parse_packet
from pcnc.program import Program, Service, Table
from pcnc.program_tests import Test, TestConfig, TestExpect, TestExpectState, TestRules, TestSend
from pcnc.program_words import ChainName, VerdictKind
from pcnc.rules import Rule
from pcnc.show_value import show_value
from pcnc.source import Span

Unit = Literal["packets", "bytes"]


class NoSuchCounter(LookupError):
    """A test asks for the count of a rule that the table does not have."""


class Target(Protocol):
    """One running service that a test drives. It starts with no rules, settings as declared, and all counters 0."""

    def set_rules(self, table: str, rules: Sequence[Rule]) -> None:
        """Replaces all rules of a table. A rule with the same match as one before keeps its counts."""
        ...

    def set_config(self, name: str, value: int) -> None:
        """Changes a setting."""
        ...

    def send(self, chain: ChainName, frame: bytes) -> tuple[VerdictKind, bytes]:
        """Sends a frame through a chain; the verdict, and the frame as it left."""
        ...

    def counter(self, table: str, rule: int, unit: Unit) -> int:
        """What a table's rule (from 1), or its default (0), has counted; raises NoSuchCounter.

        It is asked only for what the table's `count` names.
        """
        ...


class InterpreterTarget:
    """The reference interpreter as a target."""

    def __init__(self, program: Program, service: Service) -> None:
        self._interpreter = Interpreter(program, service, {})

    def set_rules(self, table: str, rules: Sequence[Rule]) -> None:
        """Replaces all rules of a table."""
        self._interpreter.set_rules(table, rules)

    def set_config(self, name: str, value: int) -> None:
        """Changes a setting."""
        self._interpreter.set_config(name, value)

    def send(self, chain: ChainName, frame: bytes) -> tuple[VerdictKind, bytes]:
        """Runs a frame through a chain."""
        outcome = self._interpreter.run(chain, frame)
        return outcome.verdict, outcome.frame

    def counter(self, table: str, rule: int, unit: Unit) -> int:
        """A rule's count."""
        try:
            count = self._interpreter.counters[table, rule]
        except KeyError:
            raise NoSuchCounter(f"{table} has no rule {rule}") from None
        return count.packets if unit == "packets" else count.bytes


@dataclass(frozen=True, slots=True)
class Sent:
    """What a target did to one packet of a test: the frame sent, its verdict and the frame as it left."""

    chain: ChainName
    frame: bytes
    verdict: VerdictKind
    frame_out: bytes
    span: Span


@dataclass(frozen=True, slots=True)
class Expectation:
    """An `expect` and what came of it, in words: `expected` "drop", `actual` "next". Equal words do not say that it held."""

    span: Span
    held: bool
    expected: str
    actual: str


@dataclass(frozen=True, slots=True)
class Counted:
    """What a table's rule (0: its default) had counted when the test was over; only what the table's `count` names."""

    table: str
    rule: int
    unit: Unit
    value: int


@dataclass(frozen=True, slots=True)
class TestResult:
    """A test that was run, in the order of its lines. `broken` is a line that could not be carried out, which ended the test."""

    __test__ = False
    service: str
    test: Test
    expectations: tuple[Expectation, ...]
    sent: tuple[Sent, ...]
    counted: tuple[Counted, ...]
    broken: Diagnostic | None = None

    @property
    def passed(self) -> bool:
        """Whether every line was carried out and every expectation held."""
        return self.broken is None and all(expectation.held for expectation in self.expectations)

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """A `test-failed` for each expectation that did not hold, and for the line that could not be carried out."""
        found = [
            Diagnostic(
                "test-failed",
                f'test "{self.test.name}" failed: expected {expectation.expected}, got {expectation.actual}',
                expectation.span,
                label=f"got {expectation.actual}",
            )
            for expectation in self.expectations
            if not expectation.held
        ]
        return (*found, *((self.broken,) if self.broken is not None else ()))


def run_tests(
    program: Program, service: Service, new_target: Callable[[Program, Service], Target] = InterpreterTarget
) -> tuple[TestResult, ...]:
    """Runs all tests of a service, each on a fresh target."""
    return tuple(run_test(program, service, test, new_target(program, service)) for test in service.tests)


def run_test(program: Program, service: Service, test: Test, target: Target) -> TestResult:
    """Runs one test on a fresh target, all of it even where an expectation fails."""
    rules: dict[str, tuple[Rule, ...]] = {}
    sent: list[Sent] = []
    expectations: list[Expectation] = []
    broken: Diagnostic | None = None
    for item in test.items:
        match item:
            case TestRules(table, added):
                rules[table] = rules.get(table, ()) + added
                target.set_rules(table, rules[table])
            case TestConfig(config, value):
                target.set_config(config, value)
            case TestSend(chain, template, span):
                try:
                    frame = build(program.headers, template)
                except ValueError as error:
                    broken = Diagnostic("test-failed", f'test "{test.name}": the packet cannot be built: {error}', span)
                    break
                verdict, frame_out = target.send(chain, frame)
                sent.append(Sent(chain, frame, verdict, frame_out, span))
            case TestExpect(verdict, conditions, span):
                if not sent:
                    expectations.append(Expectation(span, False, verdict, "no packet was sent"))
                    continue
                expectations.append(_expect_verdict(span, verdict, sent[-1]))
                if expectations[-1].held:
                    packet = parse_packet(program.headers, sent[-1].frame_out)
                    expectations.extend(_expect(condition, packet, target) for condition in conditions)
            case TestExpectState(condition):
                last = sent[-1].frame_out if sent else b""
                expectations.append(_expect(condition, parse_packet(program.headers, last), target))
            case _:
                assert_never(item)
    counted = tuple(
        Counted(table.name, rule, unit, target.counter(table.name, rule, unit))
        for table in service.tables
        for rule in range(len(rules.get(table.name, ())) + 1)
        for unit in _counted_units(table)
    )
    return TestResult(service.name, test, tuple(expectations), tuple(sent), counted, broken)


def _counted_units(table: Table) -> Iterator[Unit]:
    if table.count_packets:
        yield "packets"
    if table.count_bytes:
        yield "bytes"


def disagreements(reference: TestResult, other: TestResult, other_name: str) -> tuple[Diagnostic, ...]:
    """Where another target did not do what the interpreter did in the same test: verdict, bytes, counters; `test-disagrees`."""
    title = f'test "{reference.test.name}"'
    found = []
    for expected, actual in zip(reference.sent, other.sent, strict=True):
        if expected.verdict != actual.verdict:
            message = f"{title}: the interpreter says {expected.verdict}, {other_name} {actual.verdict}"
            found.append(Diagnostic("test-disagrees", message, expected.span))
        elif expected.verdict != "drop" and expected.frame_out != actual.frame_out:
            message = f"{title}: {other_name} sends other bytes than the interpreter: {_first_difference(expected, actual)}"
            found.append(Diagnostic("test-disagrees", message, expected.span))
    for mine, theirs in zip(reference.counted, other.counted, strict=True):
        if mine != theirs:
            counter = f"{mine.table}[{mine.rule}].{mine.unit}"
            message = f"{title}: {counter} is {mine.value} in the interpreter, {theirs.value} in {other_name}"
            found.append(Diagnostic("test-disagrees", message, reference.test.span))
    return tuple(found)


def _first_difference(expected: Sent, actual: Sent) -> str:
    if len(expected.frame_out) != len(actual.frame_out):
        return f"{len(actual.frame_out)} bytes, not {len(expected.frame_out)}"
    at = next(i for i, (mine, theirs) in enumerate(zip(expected.frame_out, actual.frame_out, strict=True)) if mine != theirs)
    return f"byte {at} is 0x{actual.frame_out[at]:02x}, not 0x{expected.frame_out[at]:02x}"


def _expect_verdict(span: Span, verdict: VerdictKind, sent: Sent) -> Expectation:
    return Expectation(span, sent.verdict == verdict, verdict, sent.verdict)


def _expect(condition: Expression, packet: Packet, target: Target) -> Expectation:
    """A condition over the packet as it left and over counters. One that reads an absent header does not hold."""
    at = Surroundings(packet, {}, {}, {}, target.counter)
    try:
        held = bool(evaluate(condition, at))
    except (AbsentHeader, NoSuchCounter):
        held = False
    shown = list(dict.fromkeys(_show(read, at) for read in walk(condition) if isinstance(read, Read)))
    return Expectation(condition.span, held, condition.span.text, ", ".join(shown) or str(held).lower())


Read = FieldRead | HeaderPresent | PacketLength | CounterRead


def _show(read: Read, at: Surroundings) -> str:
    """`ipv4.ttl is 64`, `tcp is absent`, `sources[1].packets is 2`."""
    match read:
        case HeaderPresent(headers):
            return f"{' or '.join(headers)} is {'present' if evaluate(read, at) else 'absent'}"
        case FieldRead(field):
            name = str(field)
        case PacketLength():
            name = "packet.length"
        case CounterRead(table, rule, unit):
            name = f"{table}[{rule}].{unit}"
        case _:
            assert_never(read)
    try:
        return f"{name} is {show_value(evaluate(read, at), read.type)}"
    except (AbsentHeader, NoSuchCounter) as missing:
        return str(missing)
