"""Expressions as C. Every value has the smallest unsigned C type that holds it and never a bit beyond its width."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
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
from pcnc.rules import Interval, MaskedValue
from pcnc.types import Type
from pcnc_ebpf.layout import c_type, storage


def bare(text: str) -> str:
    """A C expression without the parentheses, or the `!!( )`, around all of it."""
    start = 3 if text.startswith("!!(") else 1 if text.startswith("(") else 0
    depth = 1
    for index in range(start, len(text) if start else 0):
        depth += (text[index] == "(") - (text[index] == ")")
        if depth == 0:
            return text[start:-1] if index == len(text) - 1 else text
    return text


def constant(value: int, type: Type) -> str:
    """A literal of that type: decimal where small, hexadecimal where people read bits."""
    if storage(type.bits) == 16:
        high, low = value >> 64, value & (1 << 64) - 1
        return f"((u128){high:#x}ull << 64 | {low:#x}ull)"
    suffix = "ull" if value > 0xFFFFFFFF else "u" if value > 0x7FFFFFFF else ""
    written = str(value) if value < 1000 and type.format in ("decimal", "bool", "enum", "duration") else f"{value:#x}"
    return written + suffix


@dataclass(frozen=True, slots=True)
class ExpressionWriter:
    """Writes expressions; how a field, a header's presence and a local are read differs between parser and stages."""

    field: Callable[[FieldRef], str]
    presence: Callable[[tuple[str, ...]], str]
    locals: Mapping[str, str]

    def condition(self, expression: Expression) -> str:
        """The C expression without the parentheses around all of it, for `if (…)`."""
        return bare(self.write(expression))

    def write(self, expression: Expression) -> str:
        """The C expression, in parentheses where it is more than one operand."""
        match expression:
            case Constant(value=value, type=type):
                return constant(value, type)
            case FieldRead(field=field):
                return self.field(field)
            case HeaderPresent(headers=headers):
                return self.presence(headers)
            case MetaRead(name=name):
                return f"frame->meta_{name}"
            case ConfigRead(name=name):
                return f"config.{name}"
            case LocalRead(name=name):
                return self.locals[name]
            case PacketLength():
                return "pcnc_length(ctx)"
            case Complement(operand=operand, type=type):
                return self._cut(f"~{self.write(operand)}", type)
            case Not(operand=operand):
                return f"!{self.write(operand)}"
            case Arithmetic():
                return self._arithmetic(expression)
            case Compare(operator=operator, left=left, right=right):
                return f"({self.write(left)} {operator} {self.write(right)})"
            case Logic(operator=operator, left=left, right=right):
                return f"({self.write(left)} {'&&' if operator == 'and' else '||'} {self.write(right)})"
            case Membership(operand=operand, patterns=patterns):
                asked = self.write(operand)
                return "(" + " || ".join(_matches(asked, pattern, operand.type) for pattern in patterns) + ")"
            case Cast(operand=operand, type=type):
                if type.bits >= operand.type.bits:
                    return f"({c_type(type.bits)}){self.write(operand)}"
                return self._cut(self.write(operand), type)
            case Conditional(condition=condition, then=then, otherwise=otherwise):
                return f"({self.write(condition)} ? {self.write(then)} : {self.write(otherwise)})"
            case CounterRead():
                raise ValueError("counters are read by tests only")
            case _:
                assert_never(expression)

    def _arithmetic(self, expression: Arithmetic) -> str:
        left, right, type = self.write(expression.left), self.write(expression.right), expression.type
        wide = c_type(type.bits)
        match expression.operator:
            case "/" | "%" as operator:
                # eBPF defines what C leaves undefined: x / 0 is 0, x % 0 is x.
                zero = "0" if operator == "/" else left
                if isinstance(expression.right, Constant) and expression.right.value:
                    return f"({left} {operator} {right})"
                return f"({right} ? {left} {operator} {right} : {zero})"
            case "<<" | ">>" as operator:
                if isinstance(expression.right, Constant):
                    if expression.right.value >= type.bits:
                        return "0"
                    return self._cut(f"({wide}){left} {operator} {right}", type)
                return self._cut(f"({right} < {type.bits} ? ({wide}){left} {operator} {right} : 0)", type)
            case "&" | "|" | "^" as operator:
                return f"({left} {operator} {right})"
            case operator:
                return self._cut(f"{left} {operator} {right}", type)

    def _cut(self, text: str, type: Type) -> str:
        wide = c_type(type.bits)
        if type.bits == storage(type.bits) * 8:
            return f"({wide})({text})"
        return f"({wide})(({text}) & {type.maximum:#x}{'ull' if type.bits > 32 else ''})"


def _matches(value: str, pattern: Interval | MaskedValue, type: Type) -> str:
    match pattern:
        case Interval(low=low, high=high):
            if low == high:
                return f"{value} == {constant(low, type)}"
            lower = "" if low == 0 else f"{value} >= {constant(low, type)}"
            upper = "" if high == type.maximum else f"{value} <= {constant(high, type)}"
            both = " && ".join(part for part in (lower, upper) if part)
            return f"({both})" if both else "1"
        case MaskedValue(value=wanted, mask=mask):
            if mask == type.maximum:
                return f"{value} == {constant(wanted, type)}"
            return f"({value} & {constant(mask, type)}) == {constant(wanted, type)}"
        case _:
            assert_never(pattern)
