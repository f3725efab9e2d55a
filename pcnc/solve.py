"""Finds field values that make a header's clauses come out as wanted: the parse graph read backwards, to build packets."""

from __future__ import annotations

from collections.abc import Callable

from pcnc.program import Arithmetic, Cast, Compare, Constant, Expression, FieldRead, FieldRef, Logic, Membership, Not
from pcnc.rules import Interval, MaskedValue

Solution = dict[FieldRef, int]


def satisfy(condition: Expression) -> Solution | None:
    """Values of fields with which a condition holds, or None where it is not of a form that this function can read.

    Read are `field == constant`, `field >= constant`, `field > constant` (the least value), `field in (…)` (the first
    value), a bool field and `not` of one, and their joins by `and` (as many sides as can be read) and `or` (the first).
    """
    match condition:
        case Compare("==" | ">=", left, Constant(value)) | Compare("==" | "<=", Constant(value), left):
            return _set(left, value)
        case Compare(">", left, Constant(value)) | Compare("<", Constant(value), left):
            return _set(left, value + 1)
        case Membership(operand, patterns) if patterns:
            match patterns[0]:
                case Interval(low, _):
                    return _set(operand, low)
                case MaskedValue(value, _):
                    return _set(operand, value)
        case FieldRead(field):
            return {field: 1}
        case Not(FieldRead(field)):
            return {field: 0}
        case Logic("and", left, right):
            sides = [side for side in (satisfy(left), satisfy(right)) if side is not None]
            return {field: value for side in reversed(sides) for field, value in side.items()} if sides else None
        case Logic("or", left, right):
            first = satisfy(left)
            return satisfy(right) if first is None else first
    return None


def invert(expression: Expression, wanted: int, evaluate: Callable[[Expression], int]) -> Solution | None:
    """The value of a field with which an expression comes to `wanted`, or None where there is none or it cannot be found.

    Read are sums, differences, products and left shifts of one field and of what `evaluate` knows (`length + 40`, `ihl * 4`).
    """
    match expression:
        case FieldRead() | Cast():
            return _set(expression, wanted)
        case Arithmetic(operator, left, right):
            known, unknown = (left, right) if fields_read(right) else (right, left)
            if not fields_read(unknown):
                return None
            other = evaluate(known)
            match operator:
                case "+":
                    return invert(unknown, wanted - other, evaluate)
                case "-" if unknown is left:
                    return invert(unknown, wanted + other, evaluate)
                case "-":
                    return invert(unknown, other - wanted, evaluate)
                case "*" if other and wanted % other == 0:
                    return invert(unknown, wanted // other, evaluate)
                case "<<" if unknown is left and wanted % (1 << other) == 0:
                    return invert(unknown, wanted >> other, evaluate)
    return None


def fields_read(expression: Expression) -> tuple[FieldRef, ...]:
    """The fields that sums, products and casts read, in order; what stands in other forms is not looked into."""
    match expression:
        case FieldRead(field):
            return (field,)
        case Cast(operand, _):
            return fields_read(operand)
        case Arithmetic(_, left, right):
            return fields_read(left) + fields_read(right)
    return ()


def _set(target: Expression, value: int) -> Solution | None:
    """`target` is a field, perhaps cast to a wider type."""
    match target:
        case FieldRead(field):
            return {field: value}
        case Cast(operand, type) if value <= type.maximum:
            return _set(operand, value)
    return None
