"""What each operator wants of its operands and makes of them; constants are calculated at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pcnc import problems
from pcnc.diagnostics import Diagnostics
from pcnc.evaluate import calculate, compare
from pcnc.expression import Arithmetic, Cast, Compare, Complement, Constant, Expression, Not
from pcnc.resolve.coercion import coerce_number, unify, widened
from pcnc.resolve.intervals import Interval, interval_of
from pcnc.resolve.pseudo_types import NUMBER, UNKNOWN, in_words, is_number, is_poison, poison
from pcnc.source import Span
from pcnc.types import BOOL, IPV6_ADDR, Type, unsigned

ArithmeticOperator = Literal["+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>"]
ComparisonOperator = Literal["==", "!=", "<", "<=", ">", ">="]

_MOST_BITS = 128


def negated(operand: Expression, span: Span) -> Expression:
    """`not operand`."""
    if isinstance(operand, Constant):
        return Constant(1 - operand.value, BOOL, span)
    return Not(operand, span)


def unary(operator: Literal["-", "~"], operand: Expression, found: Diagnostics, span: Span) -> Expression:
    """`-x`, which wraps, and `~x`."""
    if is_poison(operand):
        return operand
    if operand.type is NUMBER:
        assert isinstance(operand, Constant)
        if operator == "-":
            return Constant(-operand.value, NUMBER, span)
        found.add(problems.no_such_operation("~", "a number without a type", span, "`~u16(x)` has 16 bits"))
        return poison(span)
    if operand.type.format == "bool":
        found.add(problems.no_such_operation(operator, "a bool", span, "`not x` is the opposite of x"))
        return poison(span)
    if operand.type == IPV6_ADDR or (operator == "-" and not is_number(operand.type)):
        found.add(problems.no_such_operation(operator, in_words(operand.type), span))
        return poison(span)
    if operator == "~":
        if isinstance(operand, Constant):
            return Constant(~operand.value & operand.type.maximum, operand.type, span)
        return Complement(operand, operand.type, span)
    plain = unsigned(operand.type.bits)
    return _folded("-", Constant(0, plain, span), widened(operand, plain), plain, span)


def cast(operand: Expression, type: Type, found: Diagnostics, span: Span) -> Expression:
    """`u16(x)`: zero-extended or cut. A literal must fit, as nobody writes one to have it cut."""
    if is_poison(operand):
        return operand
    if operand.type is NUMBER:
        assert isinstance(operand, Constant)
        return coerce_cast_literal(operand, type, found)
    if type.format == "bool" and operand.type.format != "bool":
        found.add(problems.type_mismatch("a bool", in_words(operand.type), span, "`x != 0` makes a bool of a number"))
        return poison(span)
    if isinstance(operand, Constant):
        return Constant(operand.value & type.maximum, type, span)
    return operand if operand.type == type else Cast(operand, type, span)


def coerce_cast_literal(operand: Constant, type: Type, found: Diagnostics) -> Expression:
    """`ipv4_addr(1)`, `u16(80)`, `duration(5)`: a literal takes any type but bool, where it fits."""
    if type.format in ("bool", "decimal", "enum"):
        return coerce_number(operand, type, found, operand.span)
    if not 0 <= operand.value <= type.maximum:
        found.add(problems.value_does_not_fit(operand.value, type, operand.span))
        return poison(operand.span)
    return Constant(operand.value, type, operand.span)


def comparison(operator: ComparisonOperator, left: Expression, right: Expression, found: Diagnostics, span: Span) -> Expression:
    """Both sides in one type."""
    if left.type is NUMBER and right.type is NUMBER:
        assert isinstance(left, Constant)
        assert isinstance(right, Constant)
        return Constant(int(compare(operator, left.value, right.value)), BOOL, span)
    left, right, type = unify(left, right, found, span)
    if type is UNKNOWN:
        return poison(span)
    if type.format == "bool" and operator not in ("==", "!="):
        found.add(problems.no_such_operation(operator, "a bool", span))
        return poison(span)
    if isinstance(left, Constant) and isinstance(right, Constant):
        return Constant(int(compare(operator, left.value, right.value)), BOOL, span)
    return Compare(operator, left, right, span)


def arithmetic(
    operator: ArithmeticOperator,
    left: Expression,
    right: Expression,
    found: Diagnostics,
    span: Span,
    least_bits: int,
    known: Mapping[str, Interval],
) -> Expression:
    """Both sides and the result in one type; the result wraps."""
    if is_poison(left) or is_poison(right):
        return poison(span)
    if left.type is NUMBER and right.type is NUMBER:
        assert isinstance(left, Constant)
        assert isinstance(right, Constant)
        return _of_numbers(operator, left.value, right.value, found, span)
    if operator in ("<<", ">>") and right.type is NUMBER and isinstance(right, Constant) and is_number(left.type):
        bits = max(left.type.bits, least_bits)
        if not 0 <= right.value < bits:
            found.add(problems.shift_too_large(right.value, f"a value of `u{bits}`", right.span))
            return poison(span)
        # The amount fits the width it is calculated in even where it does not fit the operand's: u1 has no 1 << 1.
        left = widened(left, unsigned(bits))
        return _folded(operator, left, Constant(right.value, left.type, right.span), left.type, span)
    left, right, type = unify(left, right, found, span)
    if type is UNKNOWN:
        return poison(span)
    if not _works(operator, type, found, span):
        return poison(span)
    if type.format == "enum" and operator not in ("&", "|", "^"):
        type = unsigned(type.bits)
    if is_number(type) and type.bits < least_bits:
        type = unsigned(least_bits)
    left, right = widened(left, type), widened(right, type)
    if operator in ("/", "%") and interval_of(right, known) == (0, 0):
        found.add(problems.division_by_zero(operator, right.span))
    return _folded(operator, left, right, type, span)


def _works(operator: str, type: Type, found: Diagnostics, span: Span) -> bool:
    if type.format == "bool":
        logic = {"&": "and", "|": "or", "^": "!="}.get(operator, "")
        help = f"`x {logic} y` is for bools" if logic else "`u8(x)` makes a number of a bool"
        found.add(problems.no_such_operation(operator, "bools", span, help))
        return False
    if type.format in ("ipv4", "ipv6", "mac") and operator not in ("&", "|", "^"):
        cast_to = {"ipv4": "u32", "mac": "u64"}.get(type.format)
        help = f"`{cast_to}(x)` makes a number of it" if cast_to else "addresses of 128 bits have only `&`, `|` and `^`"
        found.add(problems.no_such_operation(operator, "addresses", span, help))
        return False
    return True


def _of_numbers(operator: ArithmeticOperator, left: int, right: int, found: Diagnostics, span: Span) -> Expression:
    """Literals among themselves are calculated without a width; only what comes out must fit."""
    if operator in ("<<", ">>") and not 0 <= right < _MOST_BITS:
        found.add(problems.shift_too_large(right, "any number", span))
        return poison(span)
    if operator in ("/", "%") and right == 0:
        found.add(problems.division_by_zero(operator, span))
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
            result = left << right
        case ">>":
            result = left >> right
    if abs(result) >> (2 * _MOST_BITS):
        found.add(problems.value_does_not_fit(result, IPV6_ADDR, span))
        return poison(span)
    return Constant(result, NUMBER, span)


def _folded(operator: ArithmeticOperator, left: Expression, right: Expression, type: Type, span: Span) -> Expression:
    if isinstance(left, Constant) and isinstance(right, Constant):
        return Constant(calculate(operator, left.value, right.value, type.bits), type, span)
    return Arithmetic(operator, left, right, type, span)
