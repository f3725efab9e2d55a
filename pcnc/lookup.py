"""Which rule of a table a packet hits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from pcnc.evaluate import matches
from pcnc.program import Table
from pcnc.rules import Interval, MaskedValue, Pattern, Rule

DEFAULT = 0
"""The number that stands for a table's default; rules are numbered from 1."""


def lookup(table: Table, rules: Sequence[Rule], values: Sequence[int | None]) -> int:
    """The number of the rule hit, from 1 in the order given, or DEFAULT.

    `values` has one entry a column, None where the column's header is absent. A rule matches when every pattern does.
    In an ordered table the first that matches wins. In an unordered one with an lpm column the longest prefix does, and
    `*` there is shorter than /0; without one at most one rule matches.
    """
    hits = [number for number, rule in enumerate(rules, start=1) if _rule_matches(rule, values)]
    if not hits:
        return DEFAULT
    if table.ordered:
        return hits[0]
    return max(hits, key=lambda number: _prefix_length(table, rules[number - 1]))


def _rule_matches(rule: Rule, values: Sequence[int | None]) -> bool:
    return all(pattern_matches(pattern, value) for pattern, value in zip(rule.matches, values, strict=True))


def pattern_matches(pattern: Pattern, value: int | None) -> bool:
    """Whether a pattern takes a column's value. `*` takes everything; an absent field (None) is taken by `*` alone."""
    if pattern is None:
        return True
    return value is not None and matches(pattern, value)


def _prefix_length(table: Table, rule: Rule) -> int:
    """How many bits a rule asks of the lpm column, -1 for `*` or where there is no such column."""
    for column, pattern in zip(table.columns, rule.matches, strict=True):
        if column.kind == "lpm":
            match pattern:
                case None:
                    return -1
                case MaskedValue(_, mask):
                    return mask.bit_count()
                case Interval():
                    raise ValueError(f"a rule of {table.name} has a range in its lpm column {column.name}")
                case _:
                    assert_never(pattern)
    return -1
