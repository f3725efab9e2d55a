"""Finds field values that make a header's clauses come out as wanted: the parse graph read backwards, to build packets."""

from __future__ import annotations

from pcnc.expression import Arithmetic, Cast, Compare, Constant, Expression, FieldRead, FieldRef, Logic, Membership, Not
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


def invert(expression: Expression, wanted: int) -> Solution | None:
    """The value of a field with which an expression comes to `wanted`, or None where there is none or it cannot be found.

    Read are a field, and sums, differences, products and left shifts of one and constants (`length + 40`, `ihl * 4`).
    """
    match expression:
        case FieldRead() | Cast():
            return _set(expression, wanted)
        case Arithmetic("+", inner, Constant(value)) | Arithmetic("+", Constant(value), inner):
            return invert(inner, wanted - value)
        case Arithmetic("-", inner, Constant(value)):
            return invert(inner, wanted + value)
        case Arithmetic("*", inner, Constant(value)) | Arithmetic("*", Constant(value), inner) if value and wanted % value == 0:
            return invert(inner, wanted // value)
        case Arithmetic("<<", inner, Constant(value)) if wanted % (1 << value) == 0:
            return invert(inner, wanted >> value)
    return None


def _set(target: Expression, value: int) -> Solution | None:
    """`target` is a field, perhaps cast to a wider type."""
    match target:
        case FieldRead(field):
            return {field: value}
        case Cast(operand, type) if value <= type.maximum:
            return _set(operand, value)
    return None
