"""Rules that go from a table without order into one with, or back: who wins stays who won, or the rule does not fit.

Without order the longest prefix wins, with order the first rule. The one becomes the other where longer prefixes stand first.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence

from pcnc.rules import Interval, MaskedValue, Pattern, TableSchema
from pcnc_runtime.live_rules import LiveRule

NO_PLACE = "the longest prefix won and the first rule does now, and no place among the file's rules gives it its meaning"


def put_in_order(
    mine: Sequence[LiveRule], from_file: Sequence[LiveRule], lengths: Mapping[int, int], column: int | None
) -> tuple[list[LiveRule], list[int]]:
    """The operator's rules of a table that had no order among the file's of one that has, and the ids of those without a place.

    Longer prefixes come first, each rule as early as it can, which is behind those rules of the file that are narrower and meet
    it. `lengths` are those of the operator's prefixes by id; `column` is where they stand, None where there was no prefix.
    """
    ordered = sorted(mine, key=lambda rule: (-lengths.get(rule.id, 0), rule.id))
    if column is None:
        return [*ordered, *from_file], []
    narrower = _Narrower(from_file, column)
    before: dict[int, list[LiveRule]] = {}
    placeless: list[int] = []
    for rule in ordered:
        place = narrower.end(rule)
        if any(_meet(rule, earlier) and not _is_narrower(earlier, rule, column) for earlier in from_file[:place]):
            placeless.append(rule.id)
        else:
            before.setdefault(place, []).append(rule)
    together: list[LiveRule] = []
    for place in range(len(from_file) + 1):
        together += before.get(place, ())
        together += from_file[place : place + 1]
    return together, placeless


class _Narrower:
    """The file's rules by what they ask of one column, to find those that ask for less than a given one."""

    def __init__(self, rules: Sequence[LiveRule], column: int) -> None:
        self._rules, self._column = rules, column
        self._sorted = sorted((_lowest(rule.rule.matches[column]), index) for index, rule in enumerate(rules))

    def end(self, rule: LiveRule) -> int:
        """The place behind the last rule that is narrower than this one and meets it; 0 where there is none."""
        low, high = _lowest(rule.rule.matches[self._column]), _highest(rule.rule.matches[self._column])
        first = bisect_left(self._sorted, (low, -1))
        behind = len(self._sorted) if high is None else bisect_right(self._sorted, (high, len(self._rules)))
        found = (index for _, index in self._sorted[first:behind] if self._counts(rule, self._rules[index]))
        return max(found, default=-1) + 1

    def _counts(self, rule: LiveRule, other: LiveRule) -> bool:
        return _is_narrower(other, rule, self._column) and _meet(rule, other)


def _lowest(pattern: Pattern) -> int:
    match pattern:
        case None:
            return 0
        case Interval(low=low):
            return low
        case MaskedValue(value=value):
            return value


def _highest(pattern: Pattern) -> int | None:
    """The largest value that a prefix or a range takes, None for no end."""
    match pattern:
        case None:
            return None
        case Interval(high=high):
            return high
        case MaskedValue(value=value, mask=mask):
            # The bits below a prefix are those up to its lowest one.
            return value | (mask & -mask) - 1 if mask else None


def _is_narrower(rule: LiveRule, other: LiveRule, column: int) -> bool:
    """Whether a rule asks more of a column than another one: all that it takes, the other takes, too, and more."""
    mine, its = rule.rule.matches[column], other.rule.matches[column]
    if mine == its:
        return False
    match mine, its:
        case _, None:
            return True
        case None, _:
            return False
        case Interval(), Interval():
            return its.low <= mine.low and mine.high <= its.high
        case MaskedValue(), MaskedValue():
            return mine.mask & its.mask == its.mask and mine.value & its.mask == its.value
        case _:
            return False


def _meet(rule: LiveRule, other: LiveRule) -> bool:
    """Whether some packet could match both."""
    return all(_overlap(mine, its) for mine, its in zip(rule.rule.matches, other.rule.matches, strict=True))


def _overlap(mine: Pattern, its: Pattern) -> bool:
    match mine, its:
        case (None, _) | (_, None):
            return True
        case Interval(), Interval():
            return mine.low <= its.high and its.low <= mine.high
        case MaskedValue(), MaskedValue():
            return not (mine.value ^ its.value) & mine.mask & its.mask
        case _:
            return True


def lose_order(rules: Sequence[LiveRule], new: TableSchema) -> dict[int, str]:
    """The operator's rules whose meaning changes when the first rule does not win any more, each with the reason, by id.

    `rules` are those of the old table that live on, in its order, as the new table writes them. Rules that a packet matches lie
    within each other there, so the longest prefix among them wins what the first rule over all of it used to win.
    """
    column = next((index for index, each in enumerate(new.columns) if each.kind == "lpm"), None)
    reasons: dict[int, str] = {}
    remaining, found = list(rules), True
    while found:
        # Where one goes, another rule may be the first.
        found = False
        first = _First(remaining, column)
        for rule in remaining:
            early = first.over(rule)
            if early.id == rule.id or rule.id in reasons or early.id in reasons:
                continue
            if early.rule.matches == rule.rule.matches:
                reason = f"rule {early.id} has the same match, and the table has no order any more"
            elif _does(early) == _does(rule):
                continue
            else:
                reason = f"rule {early.id} came before it and covers it; without order the longer prefix would win"
            if rule.origin != "file":
                reasons[rule.id] = reason
                found = True
            elif early.origin != "file":
                reasons[early.id] = f"it came before rule {rule.id}, whose prefix is longer and would win without order"
                found = True
        remaining = [rule for rule in remaining if rule.id not in reasons]
    return reasons


def _does(rule: LiveRule) -> tuple[str, tuple[int, ...]]:
    return rule.rule.action, rule.rule.arguments


class _First:
    """Which of several rules was the first over all that another one matches."""

    def __init__(self, rules: Sequence[LiveRule], column: int | None) -> None:
        self._column = column
        self._places: dict[tuple[Pattern, ...], tuple[int, LiveRule]] = {}
        masks: set[int | None] = set()
        for place, rule in enumerate(rules):
            matches = rule.rule.matches
            self._places.setdefault(matches, (place, rule))
            pattern = None if column is None else matches[column]
            masks.add(pattern.mask if isinstance(pattern, MaskedValue) else None)
        self._masks = masks

    def over(self, rule: LiveRule) -> LiveRule:
        """The first of the rules that cover this one; maybe the rule itself."""
        matches, column = rule.rule.matches, self._column
        own = None if column is None else matches[column]
        found = [self._places[matches]]
        if column is not None and isinstance(own, MaskedValue):
            for mask in self._masks:
                wider = None if mask is None else MaskedValue(own.value & mask, mask)
                if mask is None or mask & own.mask == mask:
                    there = self._places.get((*matches[:column], wider, *matches[column + 1 :]))
                    if there is not None:
                        found.append(there)
        return min(found, key=lambda each: each[0])[1]


def prefix_lengths(rules: Sequence[LiveRule], schema: TableSchema) -> tuple[dict[int, int], str]:
    """How long the prefix of each rule is (-1 for `*`) by id, and the name of its column; empty where the table has none."""
    for index, column in enumerate(schema.columns):
        if column.kind == "lpm":
            found = {rule.id: _length(rule.rule.matches[index]) for rule in rules}
            return found, column.name
    return {}, ""


def _length(pattern: Pattern) -> int:
    return pattern.mask.bit_count() if isinstance(pattern, MaskedValue) else -1
