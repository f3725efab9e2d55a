"""Statements as written, in stages, actions and chains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pcnc.source import Span, uncompared_span
from pcnc.syntax.expressions import Expression, Identifier


@dataclass(frozen=True, slots=True)
class Let:
    """`let name = value`."""

    name: Identifier
    value: Expression
    span: Span = uncompared_span()


@dataclass(frozen=True, slots=True)
class Assign:
    """`target = value`, `target += value` (operator `+`), and so on; operator is empty for plain `=`."""

    target: Expression
    operator: Literal["", "+", "-", "|", "&", "^"]
    value: Expression
    span: Span = uncompared_span()


@dataclass(frozen=True, slots=True)
class Do:
    """An expression as a statement: a verdict (`drop`), an action (`mark`, `mark(3)`); in a chain also a table or stage."""

    expression: Expression
    span: Span = uncompared_span()


@dataclass(frozen=True, slots=True)
class If:
    """`if condition { … } else { … }`; `else if` is an otherwise with one If."""

    condition: Expression
    then: Block
    otherwise: Block | None
    span: Span = uncompared_span()


@dataclass(frozen=True, slots=True)
class Stage:
    """`stage name { … }`, in a chain or at service level."""

    name: Identifier
    body: Block
    span: Span = uncompared_span()


Statement = Let | Assign | Do | If | Stage


@dataclass(frozen=True, slots=True)
class Block:
    """Statements between braces."""

    statements: tuple[Statement, ...]
    span: Span = uncompared_span()
