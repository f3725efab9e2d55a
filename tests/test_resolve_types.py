"""Types and widths: which operands go together, what fits where, and what arithmetic is done in."""

from __future__ import annotations

from random import Random

import pytest

from pcnc.evaluate import calculate
from pcnc.expression import Arithmetic, Cast, Constant, Expression, LocalRead
from pcnc.program import AssignMeta, If, Let
from pcnc.resolve.intervals import interval_of
from pcnc.source import Source, Span
from pcnc.types import unsigned
from tests.test_resolve import problems, service

pytestmark = pytest.mark.text


def value_of(expression: str, type: str = "u64") -> Expression:
    """What is assigned to a meta of that type, with `a: u8`, `b: u16`, `c: u32` and `l: u64` at hand."""
    made = service(f"meta a: u8; meta b: u16; meta c: u32; meta l: u64; meta out: {type}\nchain ingress {{ out = {expression} }}")
    (statement,) = made.stages[0].body
    assert isinstance(statement, AssignMeta)
    return statement.value


def refused(expression: str, type: str = "u64") -> str:
    """The problem of an expression with the same names."""
    found = problems(
        f"meta a: u8; meta b: u16; meta c: u32; meta l: u64; meta f: bool; meta out: {type}\nchain ingress {{ out = {expression} }}"
    )
    errors = [problem.name for problem in found if problem.is_error]
    assert len(errors) <= 1, errors
    return errors[0] if errors else ""


def test_arithmetic_is_done_in_the_wider_operand() -> None:
    value = value_of("a + b", "u16")
    assert isinstance(value, Arithmetic)
    assert value.type == unsigned(16)
    assert isinstance(value.left, Cast)


def test_a_literal_takes_the_other_width() -> None:
    value = value_of("a + 1", "u8")
    assert isinstance(value, Arithmetic)
    assert value.right == Constant(1, unsigned(8), value.span)


@pytest.mark.parametrize(
    ("expression", "type", "problem"),
    [
        ("a", "u8", ""),
        ("b", "u8", "narrowing"),
        ("u8(b)", "u8", ""),
        ("b % 256", "u8", ""),
        ("b % 257", "u8", "narrowing"),
        ("b & 0xff", "u8", ""),
        ("b & 0x1ff", "u8", "narrowing"),
        ("b >> 8", "u8", ""),
        ("b >> 7", "u8", "narrowing"),
        ("b / 257", "u8", ""),
        ("1024 + c % 64512", "u16", ""),
        ("1025 + c % 64512", "u16", "narrowing"),
        ("(b & 3) * 85", "u8", ""),
        ("(b & 3) * 86", "u8", "narrowing"),
        ("(b & 1) | (b & 6)", "u3", ""),
        ("1 << (b & 7)", "u8", ""),
        ("256 - 1", "u8", ""),
        ("256", "u8", "value-does-not-fit"),
        ("a + 256", "u16", "value-does-not-fit"),
        ("u16(a) + 256", "u16", ""),
        ("-1", "u8", "value-does-not-fit"),
        ("-a", "u8", ""),
        ("~b", "u16", ""),
        ("a << 8", "u16", "shift-too-large"),
        ("u16(a) << 8", "u16", ""),
        ("f", "u8", "type-mismatch"),
        ("u8(f)", "u8", ""),
        ("10.0.0.1", "u32", "type-mismatch"),
        ("u32(10.0.0.1)", "u32", ""),
        ("5", "ipv4_addr", "type-mismatch"),
        ("ipv4_addr(c)", "ipv4_addr", ""),
        ("10.0.0.1 & 255.0.0.0", "ipv4_addr", ""),
        ("30s", "duration", ""),
        ("30", "duration", "type-mismatch"),
        ("tcp", "bool", ""),
        ("tcp and not udp", "bool", ""),
        ("a", "bool", "type-mismatch"),
        ("a == 1", "bool", ""),
        ("a == b", "bool", ""),
        ("a == f", "bool", "type-mismatch"),
        ("1 == 1", "bool", ""),
        ("true", "bool", ""),
        ("1", "bool", "type-mismatch"),
    ],
)
def test_what_fits(expression: str, type: str, problem: str) -> None:
    assert refused(expression, type) == problem


def test_a_let_is_known_by_its_interval() -> None:
    made = service("meta out: u8\nchain ingress { stage s1 { let small = packet.length % 200; out = small } }")
    let, assign = made.stage("s1").body
    assert isinstance(let, Let)
    assert let.value.type == unsigned(32)
    assert isinstance(assign, AssignMeta)
    assert isinstance(assign.value, Cast)
    assert isinstance(assign.value.operand, LocalRead)


def test_division_by_a_constant_zero_is_a_warning() -> None:
    found = problems("meta a: u8\nchain ingress { a = a / (5 - 5) }")
    assert [(problem.name, problem.is_error) for problem in found] == [("division-by-zero", False)]


def test_header_constants_want_a_field() -> None:
    assert refused("b == tcp", "bool") == "header-is-no-value"


def test_comparisons_of_flags() -> None:
    made = service("chain ingress { if tcp and tcp.flags & (syn | ack) == syn { drop } }")
    (choice,) = made.stages[0].body
    assert isinstance(choice, If)
    assert "Constant(value=18" in repr(choice.condition)


def test_intervals_hold_every_value() -> None:
    random = Random(7)
    span = Span(Source("", ""), 0, 0)
    for _ in range(3000):
        bits = random.choice((3, 8, 16))
        values: dict[str, int] = {}

        def grow(depth: int, bits: int = bits, values: dict[str, int] = values) -> Expression:
            type = unsigned(bits)
            if not depth or random.random() < 0.2:
                if random.random() < 0.5:
                    return Constant(random.choice((0, 1, 2, type.maximum, random.getrandbits(bits))), type, span)
                name = f"x{len(values)}"
                values[name] = random.choice((0, 1, type.maximum, random.getrandbits(bits)))
                return LocalRead(name, type, span)
            operator = random.choice(("+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>"))
            return Arithmetic(operator, grow(depth - 1), grow(depth - 1), type, span)  # type: ignore[arg-type]

        expression = grow(3)
        known = {}
        for name, value in values.items():
            if random.random() < 0.5:
                known[name] = (random.randint(0, value), random.randint(value, (1 << bits) - 1))
        low, high = interval_of(expression, known)
        assert low <= _worth(expression, values) <= high


def _worth(expression: Expression, values: dict[str, int]) -> int:
    match expression:
        case Constant(value):
            return value
        case LocalRead(name):
            return values[name]
        case Arithmetic(operator, left, right, type):
            return calculate(operator, _worth(left, values), _worth(right, values), type.bits)
    raise AssertionError(expression)
