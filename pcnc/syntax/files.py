"""Tests, services and files as written."""

from __future__ import annotations

from dataclasses import dataclass

from pcnc.source import Span, uncompared_span
from pcnc.syntax.declarations import (
    ActionDeclaration,
    ChainDeclaration,
    ConfigDeclaration,
    ConstDeclaration,
    EitherDeclaration,
    EnumDeclaration,
    HeaderDeclaration,
    MetaDeclaration,
    RulesDeclaration,
    TableDeclaration,
)
from pcnc.syntax.expressions import Expression, Identifier, StringLiteral
from pcnc.syntax.statements import Assign, Stage


@dataclass(frozen=True, slots=True)
class KeywordArgument:
    """`src = 10.0.0.1` in a packet's layer."""

    name: Identifier
    value: Expression
    span: Span = uncompared_span()


@dataclass(frozen=True, slots=True)
class PacketLayer:
    """`ipv4(src=10.0.0.1)`, `vlan.inner` is written as a second `vlan`; also `payload(100)`, `bytes("0a 0b")`, `truncate(40)`."""

    name: Identifier
    arguments: tuple[Expression, ...]
    values: tuple[KeywordArgument, ...]
    span: Span = uncompared_span()


@dataclass(frozen=True, slots=True)
class Send:
    """`send ingress: eth / ipv4 / tcp`."""

    chain: Identifier
    layers: tuple[PacketLayer, ...]
    span: Span = uncompared_span()


@dataclass(frozen=True, slots=True)
class Expect:
    """`expect drop`, `expect next with ipv4.ttl == 63, …`, `expect sources[1].packets == 1`."""

    value: Expression
    conditions: tuple[Expression, ...]
    span: Span = uncompared_span()


@dataclass(frozen=True, slots=True)
class TestDeclaration:
    """`test "name" { … }`; an Assign sets a setting."""

    __test__ = False
    name: StringLiteral
    items: tuple[RulesDeclaration | Assign | Send | Expect, ...]
    span: Span = uncompared_span()


Member = (
    TableDeclaration
    | ActionDeclaration
    | RulesDeclaration
    | ChainDeclaration
    | Stage
    | ConstDeclaration
    | ConfigDeclaration
    | MetaDeclaration
    | EnumDeclaration
    | TestDeclaration
)


@dataclass(frozen=True, slots=True)
class ServiceDeclaration:
    """`service name { … }`."""

    name: Identifier
    members: tuple[Member, ...]
    span: Span = uncompared_span()


Item = ServiceDeclaration | HeaderDeclaration | EitherDeclaration | EnumDeclaration | ConstDeclaration


@dataclass(frozen=True, slots=True)
class File:
    """A whole `.pcn` file."""

    items: tuple[Item, ...]
    span: Span = uncompared_span()
