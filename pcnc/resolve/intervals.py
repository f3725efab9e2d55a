"""Which values an expression can have, by simple interval analysis."""

from __future__ import annotations

from collections.abc import Mapping

from pcnc.expression import Arithmetic, Cast, Conditional, Constant, Expression, LocalRead
from pcnc.types import Type

Interval = tuple[int, int]


def interval_of(expression: Expression, known: Mapping[str, Interval]) -> Interval:
    """The least and the greatest value; `known` has those of locals. It is never too narrow."""
    match expression:
        case Constant(value):
            return value, value
        case LocalRead(name, type):
            return known.get(name, (0, type.maximum))
        case Arithmetic():
            return _calculated(expression, interval_of(expression.left, known), interval_of(expression.right, known))
        case Cast(operand, type):
            inner = interval_of(operand, known)
            return inner if inner[1] <= type.maximum else (0, type.maximum)
        case Conditional(_, then, otherwise):
            first, second = interval_of(then, known), interval_of(otherwise, known)
            return min(first[0], second[0]), max(first[1], second[1])
        case _:
            return 0, expression.type.maximum


def _calculated(expression: Arithmetic, left: Interval, right: Interval) -> Interval:
    (a, b), (c, d) = left, right
    whole = (0, expression.type.maximum)
    match expression.operator:
        case "+":
            result = (a + c, b + d)
        case "-":
            result = (a - d, b - c)
        case "*":
            result = (a * c, b * d)
        case "/":
            result = (a // d, b // c) if c > 0 else (0, b)
        case "%":
            result = (0, min(b, d - 1)) if c > 0 else (0, b)
        case "&":
            result = (0, min(b, d))
        case "|" | "^":
            result = (0, (1 << max(b, d).bit_length()) - 1)
        case "<<":
            result = (a << c, b << d) if d < expression.type.bits else whole
        case ">>":
            result = (a >> min(d, 128), b >> min(c, 128))
    return result if _fits(result, expression.type) else whole


def _fits(interval: Interval, type: Type) -> bool:
    return interval[0] >= 0 and interval[1] <= type.maximum
