"""What an expression is worth: the meaning of every operator, on plain integers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, assert_never

from pcnc.expression import (
    Arithmetic,
    Cast,
    Compare,
    Complement,
    Conditional,
    ConfigRead,
    Constant,
    CounterRead,
    Expression,
    FieldRead,
    FieldRef,
    HeaderPresent,
    LocalRead,
    Logic,
    Membership,
    MetaRead,
    Not,
    PacketLength,
)
from pcnc.rules import Interval, MaskedValue


class PacketView(Protocol):
    """What an expression may ask of a packet."""

    def present(self, header: str) -> bool:
        """Whether a header instance is present."""
        ...

    def read(self, field: FieldRef) -> int:
        """A field's value as the packet is now; raises a LookupError where its header is absent."""
        ...

    @property
    def length(self) -> int:
        """The frame's length in bytes."""
        ...


CounterReader = Callable[[str, int, Literal["packets", "bytes"]], int]


def _no_counters(table: str, rule: int, unit: Literal["packets", "bytes"]) -> int:
    raise LookupError(f"a packet cannot read the counter {table}[{rule}].{unit}")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where an expression stands: the packet, and the values of the names it may use."""

    packet: PacketView
    metas: Mapping[str, int]
    configs: Mapping[str, int]
    locals: Mapping[str, int]
    counter: CounterReader = _no_counters
    """Only a test's `expect` reads counters."""


def packet_only(packet: PacketView) -> Surroundings:
    """The surroundings of a header's own clauses, which see nothing but the packet."""
    return Surroundings(packet, {}, {}, {})


def evaluate(expression: Expression, at: Surroundings) -> int:
    """The value of an expression: an unsigned integer that fits the expression's type; a bool is 0 or 1."""
    match expression:
        case Constant(value):
            return value
        case FieldRead(field):
            return at.packet.read(field)
        case HeaderPresent(headers):
            return int(any(at.packet.present(header) for header in headers))
        case MetaRead(name):
            return at.metas[name]
        case ConfigRead(name):
            return at.configs[name]
        case LocalRead(name):
            return at.locals[name]
        case PacketLength():
            return at.packet.length
        case Complement(operand, type):
            return ~evaluate(operand, at) & type.maximum
        case Not(operand):
            return int(not evaluate(operand, at))
        case Arithmetic():
            return calculate(
                expression.operator, evaluate(expression.left, at), evaluate(expression.right, at), expression.type.bits
            )
        case Compare():
            return int(compare(expression.operator, evaluate(expression.left, at), evaluate(expression.right, at)))
        case Logic("and", left, right):
            return evaluate(right, at) if evaluate(left, at) else 0
        case Logic(_, left, right):
            return 1 if evaluate(left, at) else evaluate(right, at)
        case Membership(operand, patterns):
            value = evaluate(operand, at)
            return int(any(matches(pattern, value) for pattern in patterns))
        case Cast(operand, type):
            return evaluate(operand, at) & type.maximum
        case Conditional(condition, then, otherwise):
            return evaluate(then if evaluate(condition, at) else otherwise, at)
        case CounterRead(table, rule, unit):
            return at.counter(table, rule, unit)
        case _:
            assert_never(expression)


def calculate(operator: Literal["+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>"], left: int, right: int, bits: int) -> int:
    """`left operator right` in `bits` bits. It wraps; `x / 0` is 0, `x % 0` is x, a shift by the width or more is 0."""
    match operator:
        case "+":
            result = left + right
        case "-":
            result = left - right
        case "*":
            result = left * right
        case "/":
            result = left // right if right else 0
        case "%":
            result = left % right if right else left
        case "&":
            result = left & right
        case "|":
            result = left | right
        case "^":
            result = left ^ right
        case "<<":
            result = left << right if right < bits else 0
        case ">>":
            result = left >> right if right < bits else 0
        case _:
            assert_never(operator)
    return result & ((1 << bits) - 1)


def compare(operator: Literal["==", "!=", "<", "<=", ">", ">="], left: int, right: int) -> bool:
    """Whether `left operator right` holds; both are unsigned."""
    match operator:
        case "==":
            return left == right
        case "!=":
            return left != right
        case "<":
            return left < right
        case "<=":
            return left <= right
        case ">":
            return left > right
        case ">=":
            return left >= right
        case _:
            assert_never(operator)


def matches(pattern: Interval | MaskedValue, value: int) -> bool:
    """Whether a value lies in an interval, both ends included, or equals a masked value where its mask has ones."""
    match pattern:
        case Interval(low, high):
            return low <= value <= high
        case MaskedValue(wanted, mask):
            return value & mask == wanted
        case _:
            assert_never(pattern)
