"""Types that exist only while names are being resolved, and how types are told in messages."""

from __future__ import annotations

from pcnc.expression import Constant, Expression
from pcnc.source import Span
from pcnc.types import DURATION, IPV4_ADDR, IPV6_ADDR, MAC_ADDR, Type

NUMBER = Type("number", 0, "decimal")
"""An integer literal, or a constant made of such, that has not met a typed value yet. It may be negative."""

UNKNOWN = Type("?", 0, "decimal")
"""The type of what could not be resolved: it has been reported, and everything that touches it keeps quiet."""

ADDRESS_TYPES = {"ipv4": IPV4_ADDR, "ipv6": IPV6_ADDR, "mac": MAC_ADDR}


def poison(span: Span) -> Expression:
    """Stands for an expression whose problem has been reported."""
    return Constant(0, UNKNOWN, span)


def is_poison(expression: Expression) -> bool:
    """Whether a problem has been reported already."""
    return expression.type is UNKNOWN


def is_number(type: Type) -> bool:
    """Whether one can calculate with it: `u1` to `u64` and enums, not a bool, an address or a duration."""
    return type.format in ("decimal", "enum")


def in_words(type: Type) -> str:
    """`a number`, `an IPv4 address`, `u16`: a type as a message tells it."""
    if type is NUMBER:
        return "a number"
    if type.format == "bool":
        return "a bool"
    if type == IPV4_ADDR:
        return "an IPv4 address"
    if type == IPV6_ADDR:
        return "an IPv6 address"
    if type == MAC_ADDR:
        return "a MAC address"
    if type == DURATION:
        return "a duration"
    return f"a value of `{type}`"
