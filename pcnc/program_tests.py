"""What the `test` blocks of a service mean: packets as templates, rules and settings to set, what to expect."""

from __future__ import annotations

from dataclasses import dataclass

from pcnc.expression import Expression
from pcnc.program_words import ChainName, VerdictKind
from pcnc.rules import Rule
from pcnc.source import Span, uncompared_span


@dataclass(frozen=True, slots=True)
class LayerValues:
    """A header of a test packet and the fields that were given; all others are filled in (packet.py has the defaults)."""

    header: str
    values: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Payload:
    """Raw bytes at the end of a test packet (`payload(n)` is n zero bytes)."""

    data: bytes


@dataclass(frozen=True, slots=True)
class PacketTemplate:
    """A packet as a test writes it; `truncate` cuts the finished frame to so many bytes."""

    layers: tuple[LayerValues | Payload, ...]
    truncate: int | None


@dataclass(frozen=True, slots=True)
class TestRules:
    """Sets a table's rules, adding to those that the test has set so far."""

    __test__ = False
    table: str
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class TestConfig:
    """Sets a setting."""

    __test__ = False
    config: str
    value: int


@dataclass(frozen=True, slots=True)
class TestSend:
    """Sends one packet through a chain."""

    __test__ = False
    chain: ChainName
    packet: PacketTemplate
    span: Span = uncompared_span()


@dataclass(frozen=True, slots=True)
class TestExpect:
    """What became of the last packet sent: its verdict, and conditions over its fields as it left."""

    __test__ = False
    verdict: VerdictKind
    conditions: tuple[Expression, ...]
    span: Span = uncompared_span()


@dataclass(frozen=True, slots=True)
class TestExpectState:
    """A condition over counters."""

    __test__ = False
    condition: Expression
    span: Span = uncompared_span()


@dataclass(frozen=True, slots=True)
class Test:
    """Starts from nothing: no rules (the file's neither), settings at their declared values, counters 0."""

    __test__ = False
    name: str
    items: tuple[TestRules | TestConfig | TestSend | TestExpect | TestExpectState, ...]
    span: Span = uncompared_span()
