"""`x in …` and the properties of addresses (`eth.dst.is_multicast`): a value held against patterns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pcnc import problems, syntax
from pcnc.expression import Constant, Expression, FieldRead, Membership
from pcnc.prefixes import prefix_mask, show_prefix
from pcnc.resolve.pseudo_types import ADDRESS_TYPES, in_words, is_poison, poison
from pcnc.resolve.scope import Scope
from pcnc.rules import Interval, MaskedValue
from pcnc.source import Span
from pcnc.types import IPV4_ADDR, IPV6_ADDR, MAC_ADDR, Type

if TYPE_CHECKING:
    from pcnc.resolve.expressions import Expressions

_PROPERTIES: dict[Type, dict[str, MaskedValue]] = {
    # IEEE 802.3 3.2.3: the first bit on the wire, the lowest of the first byte, marks a group address.
    MAC_ADDR: {
        "is_multicast": MaskedValue(1 << 40, 1 << 40),
        "is_broadcast": MaskedValue(MAC_ADDR.maximum, MAC_ADDR.maximum),
    },
    # RFC 5771 and RFC 919.
    IPV4_ADDR: {
        "is_multicast": MaskedValue(0xE0000000, 0xF0000000),
        "is_broadcast": MaskedValue(0xFFFFFFFF, 0xFFFFFFFF),
    },
    # RFC 4291, 2.7.
    IPV6_ADDR: {"is_multicast": MaskedValue(0xFF << 120, 0xFF << 120)},
}


def property_names(type: Type) -> tuple[str, ...]:
    """The properties that values of a type have."""
    return tuple(_PROPERTIES.get(type, ()))


def property_of(value: Expression, name: str, span: Span) -> Expression | None:
    """`value.name` as a test of the value; None where values of its type have no such property."""
    pattern = _PROPERTIES.get(value.type, {}).get(name)
    return Membership(value, (pattern,), span) if pattern is not None else None


def membership(expressions: Expressions, operand: Expression, written: syntax.Expression, scope: Scope, span: Span) -> Expression:
    """`operand in written`, where written is a range, prefix, mask, value, or a set of such."""
    if is_poison(operand):
        return operand
    items = written.items if isinstance(written, syntax.Tuple) else (written,)
    patterns = [_pattern(expressions, operand, item, scope) for item in items]
    sound = tuple(pattern for pattern in patterns if pattern is not None)
    return Membership(operand, sound, span) if len(sound) == len(patterns) else poison(span)


def _pattern(expressions: Expressions, operand: Expression, item: syntax.Expression, scope: Scope) -> Interval | MaskedValue | None:
    found, type = expressions.found, operand.type
    match item:
        case syntax.PrefixLiteral(kind, value, length):
            if ADDRESS_TYPES[kind] != type:
                found.add(problems.type_mismatch(in_words(type), f"an {_FAMILY[kind]} prefix", item.span))
                return None
            mask = prefix_mask(length, type.bits)
            if value & ~mask:
                meant = show_prefix(value & mask, length, type)
                found.add(problems.bits_beyond_prefix(item.span.text, meant, item.span))
                return None
            return MaskedValue(value, mask)
        case syntax.Range(low, high):
            first, last = _constant(expressions, operand, low, scope), _constant(expressions, operand, high, scope)
            if first is None or last is None:
                return None
            if first.value > last.value:
                found.add(problems.empty_range(low.span.text, high.span.text, item.span))
                return None
            return Interval(first.value, last.value)
        case syntax.Masked(wanted, masked):
            value_of, mask_of = _constant(expressions, operand, wanted, scope), _constant(expressions, operand, masked, scope)
            if value_of is None or mask_of is None:
                return None
            if value_of.value & ~mask_of.value:
                kept = f"{value_of.value & mask_of.value:#x} &&& {mask_of.value:#x}"
                found.add(problems.bits_beyond_mask(item.span.text, kept, item.span))
                return None
            return MaskedValue(value_of.value, mask_of.value)
        case _:
            one = _constant(expressions, operand, item, scope)
            return MaskedValue(one.value, type.maximum) if one is not None else None


def _constant(expressions: Expressions, operand: Expression, item: syntax.Expression, scope: Scope) -> Constant | None:
    field = operand.field if isinstance(operand, FieldRead) else None
    return expressions.constant(item, scope, operand.type, "what `in` looks through", field)


_FAMILY = {"ipv4": "IPv4", "ipv6": "IPv6"}
