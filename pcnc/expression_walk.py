"""Walks over resolved expressions: what they are made of, and which fields and headers they read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_never

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


def operands(expression: Expression) -> tuple[Expression, ...]:
    """The expressions that one is made of, from left to right."""
    match expression:
        case Constant() | FieldRead() | HeaderPresent() | MetaRead() | ConfigRead() | LocalRead() | PacketLength() | CounterRead():
            return ()
        case Complement(operand) | Not(operand) | Membership(operand) | Cast(operand):
            return (operand,)
        case Arithmetic(_, left, right) | Compare(_, left, right) | Logic(_, left, right):
            return left, right
        case Conditional(condition, then, otherwise):
            return condition, then, otherwise
        case _:
            assert_never(expression)


def walk(expression: Expression) -> Iterator[Expression]:
    """The expression and everything in it, outermost first."""
    yield expression
    for operand in operands(expression):
        yield from walk(operand)


def fields_read(expression: Expression) -> tuple[FieldRef, ...]:
    """The fields that an expression reads, in order, each as often as it does."""
    return tuple(part.field for part in walk(expression) if isinstance(part, FieldRead))


def headers_asked(expression: Expression) -> tuple[str, ...]:
    """The headers whose presence an expression asks for."""
    return tuple(header for part in walk(expression) if isinstance(part, HeaderPresent) for header in part.headers)
