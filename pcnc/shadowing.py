"""Finds the rules of an ordered table that an earlier rule covers, fast enough for tens of thousands.

Rule A covers a later rule B when it asks nothing that B does not ask as narrowly. All columns but those with a proper range
are laid side by side into one integer, with a bit more for each column that says whether the rule asks anything at all; then A
covers B in these columns exactly when A's mask lies inside B's, and B's value under A's mask is A's value. So the earlier rules
are kept by mask, and under each mask by value: a few masks stand for thousands of rules. Under one value the ranges of the
other columns are kept as intervals inside intervals.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from pcnc.rules import Interval, MaskedValue, Pattern, Rule, TableSchema


def covering_rules(rules: Sequence[Rule], schema: TableSchema) -> Iterator[tuple[Rule, Rule]]:
    """Every rule that an earlier one covers, with that one."""
    shifts: list[int] = []
    position = 0
    for column in schema.columns:
        shifts.append(position)
        position += column.type.bits + 1
    widths = [column.type.bits for column in schema.columns]
    shapes: dict[tuple[int, tuple[int, ...]], dict[int, _Earlier]] = {}
    for rule in rules:
        packed = _pack(rule.matches, shifts, widths)
        earlier = _find(shapes, packed, rule)
        if earlier is not None:
            yield rule, earlier
            # What it covers is covered by the earlier one, too.
            continue
        values = shapes.setdefault((packed.mask, packed.ranges), {})
        values.setdefault(packed.value, _Earlier()).add([_interval(rule.matches[i]) for i in packed.ranges], rule)


@dataclass(frozen=True, slots=True)
class _Packed:
    mask: int
    value: int
    ranges: tuple[int, ...]
    """The columns with a proper range, which is not in mask and value but for the bit that something is asked."""


def _pack(matches: tuple[Pattern, ...], shifts: Sequence[int], widths: Sequence[int]) -> _Packed:
    mask = value = 0
    ranges: list[int] = []
    for index, pattern in enumerate(matches):
        if pattern is None:
            continue
        shift, width = shifts[index], widths[index]
        asked = 1 << (shift + width)
        mask |= asked
        value |= asked
        match pattern:
            case MaskedValue(wanted, bits):
                mask |= bits << shift
                value |= wanted << shift
            case Interval(low, high) if low == high:
                mask |= ((1 << width) - 1) << shift
                value |= low << shift
            case Interval():
                ranges.append(index)
    return _Packed(mask, value, tuple(ranges))


def _interval(pattern: Pattern) -> tuple[int, int]:
    assert isinstance(pattern, Interval)
    return pattern.low, pattern.high


def _find(shapes: dict[tuple[int, tuple[int, ...]], dict[int, _Earlier]], packed: _Packed, rule: Rule) -> Rule | None:
    wanted_mask, wanted_value = packed.mask, packed.value
    for (mask, ranges), values in shapes.items():
        if mask & wanted_mask != mask:
            continue
        earlier = values.get(wanted_value & mask)
        if earlier is not None:
            covering = earlier.covering([_interval(rule.matches[index]) for index in ranges])
            if covering is not None:
                return covering
    return None


@dataclass(slots=True)
class _Earlier:
    """Earlier rules that are alike but for the ranges of some columns.

    With one column left: `lows` rises, and so does `highs`, as an interval inside another need not be kept. With more: for
    each interval of the first column, the rules by their other columns.
    """

    rule: Rule | None = None
    lows: list[int] = field(default_factory=list)
    highs: list[int] = field(default_factory=list)
    rules: list[Rule] = field(default_factory=list)
    inside: dict[tuple[int, int], _Earlier] = field(default_factory=dict)

    def add(self, intervals: list[tuple[int, int]], rule: Rule) -> None:
        """Takes in a rule that none of these covers."""
        if not intervals:
            self.rule = self.rule or rule
        elif len(intervals) > 1:
            self.inside.setdefault(intervals[0], _Earlier()).add(intervals[1:], rule)
        else:
            low, high = intervals[0]
            at = bisect_right(self.lows, low - 1)
            behind = at
            while behind < len(self.highs) and self.highs[behind] <= high:
                behind += 1
            self.lows[at:behind] = [low]
            self.highs[at:behind] = [high]
            self.rules[at:behind] = [rule]

    def covering(self, intervals: list[tuple[int, int]]) -> Rule | None:
        """A rule whose intervals hold these, if there is one."""
        if not intervals:
            return self.rule
        low, high = intervals[0]
        if len(intervals) == 1:
            at = bisect_right(self.lows, low) - 1
            return self.rules[at] if at >= 0 and self.highs[at] >= high else None
        for (first, last), inner in self.inside.items():
            if first <= low and high <= last:
                found = inner.covering(intervals[1:])
                if found is not None:
                    return found
        return None
