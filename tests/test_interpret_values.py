"""Operators, patterns and table lookup: what values mean, without any packet."""

from __future__ import annotations

import operator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pcnc.evaluate import Surroundings, calculate, compare, evaluate, matches
from pcnc.expression import (
    Arithmetic,
    Cast,
    Complement,
    Conditional,
    Constant,
    Expression,
    FieldRead,
    FieldRef,
    LocalRead,
    Logic,
    Membership,
    Not,
    PacketLength,
)
from pcnc.lookup import DEFAULT, lookup
from pcnc.parse_graph import Headers
from pcnc.parse_packet import Packet
from pcnc.program import CallAction, Column, Table
from pcnc.rules import Interval, MaskedValue, MatchKind, Pattern, Rule
from pcnc.source import Source, Span
from pcnc.types import BOOL, IPV4_ADDR, unsigned

pytestmark = pytest.mark.text

HERE = Span(Source("test.pcn", ""), 0, 0)
U8 = unsigned(8)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ((255, "+", 1, 8), 0),
        ((0, "-", 1, 8), 255),
        ((0, "-", 1, 64), 2**64 - 1),
        ((16, "*", 16, 8), 0),
        ((2**63, "*", 2, 64), 0),
        ((7, "/", 0, 8), 0),
        ((7, "/", 2, 8), 3),
        ((7, "%", 0, 8), 7),
        ((7, "%", 4, 8), 3),
        ((1, "<<", 7, 8), 128),
        ((1, "<<", 8, 8), 0),
        ((1, "<<", 2**64 - 1, 64), 0),
        ((255, ">>", 7, 8), 1),
        ((255, ">>", 8, 8), 0),
        ((0b1100, "&", 0b1010, 4), 0b1000),
        ((0b1100, "|", 0b1010, 4), 0b1110),
        ((0b1100, "^", 0b1010, 4), 0b0110),
        ((2**128 - 1, "^", 1, 128), 2**128 - 2),
        ((8191, "+", 1, 13), 0),
    ],
)
def test_arithmetic_wraps_in_its_width(text: tuple[int, object, int, int], expected: int) -> None:
    left, symbol, right, bits = text
    assert calculate(symbol, left, right, bits) == expected  # type: ignore[arg-type]  # the table's symbols are operators


@settings(deadline=None)
@given(st.sampled_from(["+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>"]), st.data())
def test_arithmetic_stays_in_its_width(symbol: object, data: st.DataObject) -> None:
    bits = data.draw(st.integers(1, 64))
    left, right = data.draw(st.integers(0, 2**bits - 1)), data.draw(st.integers(0, 2**bits - 1))
    assert 0 <= calculate(symbol, left, right, bits) < 2**bits  # type: ignore[arg-type]  # sampled from the operators


@settings(deadline=None)
@given(st.integers(0, 3), st.integers(0, 3))
def test_comparisons_are_those_of_integers(left: int, right: int) -> None:
    assert compare("==", left, right) == operator.eq(left, right)
    assert compare("!=", left, right) == operator.ne(left, right)
    assert compare("<", left, right) == operator.lt(left, right)
    assert compare("<=", left, right) == operator.le(left, right)
    assert compare(">", left, right) == operator.gt(left, right)
    assert compare(">=", left, right) == operator.ge(left, right)


def value(expression: Expression, **locals: int) -> int:
    return evaluate(expression, Surroundings(Packet(Headers((), ()), bytearray(60)), {}, {}, locals))


def test_expressions() -> None:
    assert value(Complement(Constant(0b1010, U8, HERE), U8, HERE)) == 0b11110101
    assert value(Not(Constant(0, BOOL, HERE), HERE)) == 1
    assert value(Not(Constant(1, BOOL, HERE), HERE)) == 0
    assert value(Cast(Constant(0x1234, unsigned(16), HERE), U8, HERE)) == 0x34
    assert value(Cast(Constant(0x34, U8, HERE), unsigned(64), HERE)) == 0x34
    assert value(PacketLength(unsigned(32), HERE)) == 60
    assert value(LocalRead("x", U8, HERE), x=7) == 7
    assert value(Arithmetic("-", Constant(1, U8, HERE), LocalRead("x", U8, HERE), U8, HERE), x=2) == 255
    choice = Conditional(LocalRead("x", BOOL, HERE), Constant(5, U8, HERE), Constant(6, U8, HERE), U8, HERE)
    assert (value(choice, x=1), value(choice, x=0)) == (5, 6)


def test_logic_leaves_out_the_right_side_where_the_left_decides() -> None:
    true, false = Constant(1, BOOL, HERE), Constant(0, BOOL, HERE)
    absent = FieldRead(FieldRef("tcp", "urgent"), BOOL, HERE)
    assert value(Logic("and", false, absent, HERE)) == 0
    assert value(Logic("or", true, absent, HERE)) == 1
    for left in (true, false):
        for right in (true, false):
            assert value(Logic("and", left, right, HERE)) == left.value * right.value
            assert value(Logic("or", left, right, HERE)) == max(left.value, right.value)


def test_membership_is_any_of_its_patterns() -> None:
    ports = (Interval(80, 90), MaskedValue(443, 0xFFFF), MaskedValue(0x8000, 0x8000))
    inside = [80, 85, 90, 443, 0x8000, 0xFFFF]
    outside = [0, 79, 91, 442, 444, 0x7FFF]
    for port in inside + outside:
        member = Membership(Constant(port, unsigned(16), HERE), ports, HERE)
        assert value(member) == (port in inside)


def test_patterns_take_their_ends_and_nothing_beside_them() -> None:
    assert [matches(Interval(10, 12), x) for x in (9, 10, 11, 12, 13)] == [False, True, True, True, False]
    assert [matches(Interval(0, 0), x) for x in (0, 1)] == [True, False]
    prefix = MaskedValue(0x0A000000, 0xFF000000)
    assert matches(prefix, 0x0A000000)
    assert matches(prefix, 0x0AFFFFFF)
    assert not matches(prefix, 0x0B000000)
    assert not matches(prefix, 0x09FFFFFF)
    assert matches(MaskedValue(0, 0), 0xFFFFFFFF)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 32), st.integers(0, 31))
@example(0, 0, 0)
@example(0xFFFFFFFF, 32, 31)
def test_one_bit_off_a_prefix_does_not_match(address: int, length: int, bit: int) -> None:
    mask = (0xFFFFFFFF << (32 - length)) & 0xFFFFFFFF
    prefix = MaskedValue(address & mask, mask)
    assert matches(prefix, address)
    assert matches(prefix, address ^ (0x80000000 >> bit)) == (bit >= length)


def table(*kinds: MatchKind, ordered: bool = False) -> Table:
    columns = tuple(
        Column(f"c{i}", kind, FieldRead(FieldRef("ipv4", f"c{i}"), IPV4_ADDR, HERE), ("ipv4",)) for i, kind in enumerate(kinds)
    )
    return Table("t", columns, ("drop", "next"), CallAction("next", (), HERE), ordered, 16, False, False, (), HERE)


def rules(*matches: tuple[Pattern, ...]) -> list[Rule]:
    return [Rule(match, "drop") for match in matches]


def prefix(address: int, length: int) -> MaskedValue:
    mask = (0xFFFFFFFF << (32 - length)) & 0xFFFFFFFF
    return MaskedValue(address & mask, mask)


def test_exact_takes_one_value() -> None:
    one_and_five = rules((MaskedValue(1, 0xFFFFFFFF),), (MaskedValue(5, 0xFFFFFFFF),))
    assert [lookup(table("exact"), one_and_five, [x]) for x in (0, 1, 2, 4, 5, 6, 0x80000001)] == [0, 1, 0, 0, 2, 0, 0]


def test_the_longest_prefix_wins_wherever_it_stands() -> None:
    nested = rules((prefix(0x0A000000, 8),), (prefix(0x0A010000, 16),), (prefix(0x0A010203, 32),), (prefix(0, 0),), (None,))
    assert lookup(table("lpm"), nested, [0x0A010203]) == 3
    assert lookup(table("lpm"), nested, [0x0A010202]) == 2
    assert lookup(table("lpm"), nested, [0x0A020000]) == 1
    assert lookup(table("lpm"), nested, [0x0B000000]) == 4
    assert lookup(table("lpm"), nested[::-1], [0x0A010203]) == 3
    assert lookup(table("lpm"), nested[:3], [0x0B000000]) == DEFAULT


def test_a_star_in_an_lpm_column_is_shorter_than_a_prefix_of_no_bits_and_takes_absent_fields() -> None:
    both = rules((None,), (prefix(0, 0),))
    assert lookup(table("lpm"), both, [7]) == 2
    assert lookup(table("lpm"), both, [None]) == 1
    assert lookup(table("lpm"), both[1:], [None]) == DEFAULT


def test_exact_columns_must_hold_beside_the_longest_prefix() -> None:
    both = rules((prefix(0x0A000000, 8), MaskedValue(80, 0xFFFF)), (prefix(0x0A010000, 16), MaskedValue(81, 0xFFFF)))
    shape = table("lpm", "exact")
    assert lookup(shape, both, [0x0A010000, 80]) == 1
    assert lookup(shape, both, [0x0A010000, 81]) == 2
    assert lookup(shape, both, [0x0A010000, 82]) == DEFAULT
    assert lookup(shape, both, [0x0A010000, None]) == DEFAULT


def test_the_first_rule_wins_in_an_ordered_table() -> None:
    shape = table("prefix", "range", "ternary", ordered=True)
    acl = rules(
        (prefix(0x0A000000, 8), Interval(80, 90), None),
        (None, Interval(85, 85), None),
        (None, None, MaskedValue(0x02, 0x12)),
        (prefix(0, 0), None, None),
    )
    assert lookup(shape, acl, [0x0A000001, 85, 0]) == 1
    assert lookup(shape, acl, [0x0B000001, 85, 0x02]) == 2
    assert lookup(shape, acl, [0x0B000001, 84, 0x02]) == 3
    assert lookup(shape, acl, [0x0B000001, 84, 0x12]) == 4
    assert lookup(shape, acl, [None, None, 0x03]) == 3
    assert lookup(shape, acl, [None, None, 0x13]) == DEFAULT
    assert lookup(shape, acl, [None, None, None]) == DEFAULT


def test_no_rules_is_the_default() -> None:
    assert lookup(table("lpm"), [], [0]) == DEFAULT
    assert lookup(table("range", ordered=True), [], [None]) == DEFAULT


def test_a_range_in_an_lpm_column_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="range in its lpm column c0"):
        lookup(table("lpm"), rules((Interval(1, 2),)), [1])
