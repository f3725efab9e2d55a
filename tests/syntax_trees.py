"""Syntax trees from PCN text, and what the parser says of a text that has none."""

from __future__ import annotations

import pytest

from pcnc import syntax
from pcnc.diagnostics import CompileError, Diagnostic
from pcnc.parse import parse
from pcnc.source import Source
from pcnc.syntax import (
    Attribute,
    Binary,
    Call,
    ConstDeclaration,
    Expression,
    Index,
    Masked,
    Name,
    Number,
    Range,
    ServiceDeclaration,
    Statement,
    Tuple,
    Unary,
)


def tree(text: str) -> syntax.File:
    return parse(Source("test.pcn", text))


def expression(text: str) -> Expression:
    item = tree(f"const x = {text}\n").items[0]
    assert isinstance(item, ConstDeclaration)
    return item.value


def members(text: str) -> tuple[syntax.Member, ...]:
    item = tree(f"service s {{\n{text}\n}}\n").items[0]
    assert isinstance(item, ServiceDeclaration)
    return item.members


def statements(text: str) -> tuple[Statement, ...]:
    chain = members(f"chain ingress {{\n{text}\n}}")[0]
    assert isinstance(chain, syntax.ChainDeclaration)
    return chain.body.statements


def problems(text: str) -> tuple[Diagnostic, ...]:
    with pytest.raises(CompileError) as caught:
        tree(text)
    return caught.value.diagnostics


def told(text: str) -> list[str]:
    """Each problem as `line:column name`."""
    return [f"{d.span.line}:{d.span.column} {d.name}" for d in problems(text) if d.span is not None]


def s(expression: object) -> str:
    """An expression with every pair of operands in parentheses."""
    match expression:
        case Name(text):
            return text
        case Number(value):
            return str(value)
        case Unary(operator, operand):
            return f"({operator} {s(operand)})"
        case Binary(operator, left, right):
            return f"({s(left)} {operator} {s(right)})"
        case Attribute(value, name):
            return f"{s(value)}.{name.text}"
        case Call(function, arguments):
            return f"{s(function)}({', '.join(map(s, arguments))})"
        case Index(value, index):
            return f"{s(value)}[{s(index)}]"
        case Range(low, high):
            return f"{s(low)}..{s(high)}"
        case Masked(value, mask):
            return f"{s(value)} &&& {s(mask)}"
        case Tuple(items):
            return f"<{', '.join(map(s, items))}>"
        case _:
            return repr(expression)
