"""Expressions as written: literals, names, operators, and what may stand on the right of `in`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pcnc.source import Span, uncompared_span


@dataclass(frozen=True, slots=True)
class Identifier:
    """A name where it is declared or referred to."""

    text: str
    span: Span = uncompared_span()


@dataclass(frozen=True, slots=True)
class Number:
    """`80`, `0x800`, `64k`: an integer without a type of its own (it takes the other operand's)."""

    value: int
    span: Span = uncompared_span()


@dataclass(frozen=True, slots=True)
class DurationLiteral:
    """`5ms`, `30s`: a length of time in nanoseconds."""

    nanoseconds: int
    span: Span = uncompared_span()


@dataclass(frozen=True, slots=True)
class AddressLiteral:
    """`10.0.0.1`, `2001:db8::1`, `02:00:00:00:00:01`, its value in host order."""

    kind: Literal["ipv4", "ipv6", "mac"]
    value: int
    span: Span = uncompared_span()


@dataclass(frozen=True, slots=True)
class PrefixLiteral:
    """`10.0.0.0/8`: an address and how many leading bits count. Bits beyond may be set here; resolve objects."""

    kind: Literal["ipv4", "ipv6"]
    value: int
    length: int
    span: Span = uncompared_span()


@dataclass(frozen=True, slots=True)
class StringLiteral:
    """`"text"`, without its quotes."""

    value: str
    span: Span = uncompared_span()


@dataclass(frozen=True, slots=True)
class Name:
    """A bare name used as an operand: a header, constant, setting, let, parameter, meta, `true`, `false`."""

    text: str
    span: Span = uncompared_span()


@dataclass(frozen=True, slots=True)
class Attribute:
    """`value.name`: a field of a header, a member, a property (`ipv4.src`, `vlan.inner`, `eth.dst.is_multicast`)."""

    value: Expression
    name: Identifier
    span: Span = uncompared_span()


@dataclass(frozen=True, slots=True)
class Call:
    """`function(argument, …)`: an action, or a type used as a cast (`u16(x)`)."""

    function: Expression
    arguments: tuple[Expression, ...]
    span: Span = uncompared_span()


@dataclass(frozen=True, slots=True)
class Index:
    """`value[index]`, in this version only in tests: `sources[1].packets`."""

    value: Expression
    index: Expression
    span: Span = uncompared_span()


@dataclass(frozen=True, slots=True)
class Unary:
    """`-x`, `~x`, `not x`."""

    operator: Literal["-", "~", "not"]
    operand: Expression
    span: Span = uncompared_span()


BinaryOperator = Literal["+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>", "==", "!=", "<", "<=", ">", ">=", "and", "or", "in"]


@dataclass(frozen=True, slots=True)
class Binary:
    """`left operator right`."""

    operator: BinaryOperator
    left: Expression
    right: Expression
    span: Span = uncompared_span()


@dataclass(frozen=True, slots=True)
class Range:
    """`80..90`, both ends included; only on the right of `in`."""

    low: Expression
    high: Expression
    span: Span = uncompared_span()


@dataclass(frozen=True, slots=True)
class Masked:
    """`0x02 &&& 0x12`: value and mask; only on the right of `in`."""

    value: Expression
    mask: Expression
    span: Span = uncompared_span()


@dataclass(frozen=True, slots=True)
class Tuple:
    """`(tcp, udp)`: a set on the right of `in`."""

    items: tuple[Expression, ...]
    span: Span = uncompared_span()


Expression = (
    Number
    | DurationLiteral
    | AddressLiteral
    | PrefixLiteral
    | StringLiteral
    | Name
    | Attribute
    | Call
    | Index
    | Unary
    | Binary
    | Range
    | Masked
    | Tuple
)
