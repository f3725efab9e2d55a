"""How values go from one type to another: literals take the type they meet, the rest must provably fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pcnc import problems
from pcnc.diagnostics import Diagnostics
from pcnc.expression import Cast, Constant, Expression
from pcnc.resolve.intervals import Interval, interval_of
from pcnc.resolve.pseudo_types import NUMBER, UNKNOWN, in_words, is_number, is_poison, poison
from pcnc.source import Span
from pcnc.types import BOOL, DURATION, IPV4_ADDR, IPV6_ADDR, MAC_ADDR, Type, unsigned

_HOW_WRITTEN = {
    IPV4_ADDR: "an IPv4 address is written `10.0.0.1`",
    IPV6_ADDR: "an IPv6 address is written `2001:db8::1`",
    MAC_ADDR: "a MAC address is written `02:00:00:00:00:01`",
    DURATION: "a duration has a unit, as in `30s`",
    BOOL: "the bools are `true` and `false`",
}


def coerce(value: Expression, wanted: Type, known: Mapping[str, Interval], found: Diagnostics, span: Span) -> Expression:
    """The value as one of `wanted`; says so, and gives poison, where it is of another kind or may not fit."""
    have = value.type
    if have is UNKNOWN or wanted is UNKNOWN:
        return poison(span)
    if have is NUMBER:
        assert isinstance(value, Constant)
        return coerce_number(value, wanted, found, span)
    if have == wanted:
        return value
    if not (is_number(have) and is_number(wanted)) or (wanted.format == "enum" and wanted.name != have.name):
        found.add(problems.type_mismatch(in_words(wanted), in_words(have), span, _conversion(have, wanted, span)))
        return poison(span)
    if isinstance(value, Constant):
        if value.value > wanted.maximum:
            found.add(problems.value_does_not_fit(value.value, wanted, span))
            return poison(span)
        return Constant(value.value, wanted, value.span)
    if wanted.bits < have.bits and interval_of(value, known)[1] > wanted.maximum:
        found.add(problems.narrowing(have, wanted, span, span.text))
        return poison(span)
    return Cast(value, wanted, span)


def coerce_number(value: Constant, wanted: Type, found: Diagnostics, span: Span, help: str = "") -> Expression:
    """An integer literal (or a folding of such) as a value of `wanted`."""
    if not is_number(wanted):
        found.add(problems.type_mismatch(in_words(wanted), "a number", span, _HOW_WRITTEN.get(wanted, "")))
        return poison(span)
    if not 0 <= value.value <= wanted.maximum:
        found.add(problems.value_does_not_fit(value.value, wanted, span, help))
        return poison(span)
    return Constant(value.value, wanted, value.span)


def settle(value: Expression, found: Diagnostics) -> Expression:
    """A value with a type of its own: a number that met none is `u32`, or `u64` where it must be."""
    if value.type is not NUMBER:
        return value
    assert isinstance(value, Constant)
    wanted = unsigned(32 if value.value >> 32 == 0 else 64)
    return coerce_number(value, wanted, found, value.span)


def unify(left: Expression, right: Expression, found: Diagnostics, span: Span) -> tuple[Expression, Expression, Type]:
    """Both operands in one type: the wider of two numbers, or the type that both have; poison where there is none."""
    bad = poison(span)
    if is_poison(left) or is_poison(right):
        return bad, bad, UNKNOWN
    if left.type is NUMBER and right.type is not NUMBER:
        return _both(_literal(left, right, found), right)
    if right.type is NUMBER and left.type is not NUMBER:
        return _both(left, _literal(right, left, found))
    if left.type == right.type:
        return left, right, left.type
    alike = is_number(left.type) and is_number(right.type) and not left.type.format == right.type.format == "enum"
    if not alike:
        help = _conversion(right.type, left.type, right.span)
        found.add(problems.type_mismatch(in_words(left.type), in_words(right.type), right.span, help))
        return bad, bad, UNKNOWN
    common = unsigned(max(left.type.bits, right.type.bits))
    return widened(left, common), widened(right, common), common


def widened(value: Expression, type: Type) -> Expression:
    """A number in a type at least as wide."""
    if value.type == type:
        return value
    if isinstance(value, Constant):
        return replace(value, type=type)
    return Cast(value, type, value.span)


def _literal(literal: Expression, other: Expression, found: Diagnostics) -> Expression:
    assert isinstance(literal, Constant)
    help = ""
    if is_number(other.type) and literal.value >= 0:
        wider = next((bits for bits in (8, 16, 32, 64) if literal.value >> bits == 0), 0)
        text = other.span.text
        help = f"`u{wider}({text})` is wide enough" if wider and len(text) < 40 and "\n" not in text else ""
    return coerce_number(literal, other.type, found, literal.span, help)


def _both(left: Expression, right: Expression) -> tuple[Expression, Expression, Type]:
    if is_poison(left) or is_poison(right):
        return left, right, UNKNOWN
    return left, right, left.type


def _conversion(have: Type, wanted: Type, span: Span) -> str:
    """Which cast makes one of the other, if any does."""
    text = span.text
    if len(text) > 40 or "\n" in text:
        text = "…"
    if wanted.format == "bool":
        return f"`{text} != 0` is a bool" if is_number(have) else ""
    if have.format in ("ipv4", "ipv6", "mac") and wanted.format in ("ipv4", "ipv6", "mac"):
        return ""
    return f"`{wanted}({text})` converts it"
