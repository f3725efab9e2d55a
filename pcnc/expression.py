"""Resolved expressions: typed, every name bound, every value an unsigned integer in host order (a bool is 0 or 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pcnc.rules import Interval, MaskedValue
from pcnc.source import Span, uncompared_span
from pcnc.types import BOOL, Type


@dataclass(frozen=True, slots=True)
class FieldRef:
    """A field of a header instance: `FieldRef("vlan.inner", "id")`. The header may be an `either` (`l4`)."""

    header: str
    name: str

    def __str__(self) -> str:
        return f"{self.header}.{self.name}"


@dataclass(frozen=True, slots=True)
class Constant:
    """A value known to the compiler."""

    value: int
    type: Type
    span: Span = uncompared_span()


@dataclass(frozen=True, slots=True)
class FieldRead:
    """The field's value as the packet is now. Its header is present wherever this is reached (resolve has proved it)."""

    field: FieldRef
    type: Type
    span: Span = uncompared_span()


@dataclass(frozen=True, slots=True)
class HeaderPresent:
    """Whether any of these header instances is present."""

    headers: tuple[str, ...]
    span: Span = uncompared_span()

    @property
    def type(self) -> Type:
        """Always bool."""
        return BOOL


@dataclass(frozen=True, slots=True)
class MetaRead:
    """Per-packet state."""

    name: str
    type: Type
    span: Span = uncompared_span()


@dataclass(frozen=True, slots=True)
class ConfigRead:
    """A setting's present value."""

    name: str
    type: Type
    span: Span = uncompared_span()


@dataclass(frozen=True, slots=True)
class LocalRead:
    """A `let` or an action's parameter; names are unique inside one stage or action body."""

    name: str
    type: Type
    span: Span = uncompared_span()


@dataclass(frozen=True, slots=True)
class PacketLength:
    """The frame's length in bytes, Ethernet header and tags included: u32."""

    type: Type
    span: Span = uncompared_span()


@dataclass(frozen=True, slots=True)
class Complement:
    """`~x`, in the operand's width."""

    operand: Expression
    type: Type
    span: Span = uncompared_span()


@dataclass(frozen=True, slots=True)
class Not:
    """`not x` of a bool."""

    operand: Expression
    span: Span = uncompared_span()

    @property
    def type(self) -> Type:
        """Always bool."""
        return BOOL


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """Both operands and the result have `type`; the result wraps. `x / 0` is 0, `x % 0` is x, a shift by the width or more is 0.

    `-x` is `0 - x`. Over ipv6_addr (128 bits) resolve lets only `& | ^` pass.
    """

    operator: Literal["+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>"]
    left: Expression
    right: Expression
    type: Type
    span: Span = uncompared_span()


@dataclass(frozen=True, slots=True)
class Compare:
    """An unsigned comparison of two values of the same width."""

    operator: Literal["==", "!=", "<", "<=", ">", ">="]
    left: Expression
    right: Expression
    span: Span = uncompared_span()

    @property
    def type(self) -> Type:
        """Always bool."""
        return BOOL


@dataclass(frozen=True, slots=True)
class Logic:
    """`and`, `or`: the right side is evaluated only where the left does not decide."""

    operator: Literal["and", "or"]
    left: Expression
    right: Expression
    span: Span = uncompared_span()

    @property
    def type(self) -> Type:
        """Always bool."""
        return BOOL


@dataclass(frozen=True, slots=True)
class Membership:
    """`operand in (…)`: whether any of the patterns matches."""

    operand: Expression
    patterns: tuple[Interval | MaskedValue, ...]
    span: Span = uncompared_span()

    @property
    def type(self) -> Type:
        """Always bool."""
        return BOOL


@dataclass(frozen=True, slots=True)
class Cast:
    """The operand in another width: zero-extended, or cut to the low bits."""

    operand: Expression
    type: Type
    span: Span = uncompared_span()


@dataclass(frozen=True, slots=True)
class Conditional:
    """`then` where the condition holds, else `otherwise`; made for a header's sizes."""

    condition: Expression
    then: Expression
    otherwise: Expression
    type: Type
    span: Span = uncompared_span()


@dataclass(frozen=True, slots=True)
class CounterRead:
    """Only in a test's `expect`: packets or bytes counted by a table's rule (from 1, in the order written) or, 0, its default."""

    table: str
    rule: int
    unit: Literal["packets", "bytes"]
    type: Type
    span: Span = uncompared_span()


Expression = (
    Constant
    | FieldRead
    | HeaderPresent
    | MetaRead
    | ConfigRead
    | LocalRead
    | PacketLength
    | Complement
    | Not
    | Arithmetic
    | Compare
    | Logic
    | Membership
    | Cast
    | Conditional
    | CounterRead
)
