"""Rules as data: what a rule matches and does, and the shape of the table it goes into.

This module stands apart from the rest of the compiler and imports almost nothing, so that a rule change at run time
needs neither grammar nor graph. Values are in host order.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from pcnc.source import Span
from pcnc.types import Type

MatchKind = Literal["exact", "lpm", "prefix", "range", "ternary"]


@dataclass(frozen=True, slots=True)
class Interval:
    """`low <= x <= high`."""

    low: int
    high: int


@dataclass(frozen=True, slots=True)
class MaskedValue:
    """`x & mask == value`: an exact value has all bits in its mask, a prefix the leading ones."""

    value: int
    mask: int


Pattern = Interval | MaskedValue | None
"""What a rule asks of one column; None is `*`, which an absent field matches, too."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of an action."""

    name: str
    type: Type


@dataclass(frozen=True, slots=True)
class ColumnSchema:
    """A column as rules see it. `constants` are the names that may stand for a value here (enum members, `tcp`, consts)."""

    name: str
    kind: MatchKind
    type: Type
    constants: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class ActionSchema:
    """An action that a rule may name, and what it wants."""

    name: str
    parameters: tuple[Parameter, ...] = ()
    needs: tuple[tuple[str, ...], ...] = ()
    """Of each of these groups of columns a rule with this action must ask something (not `*`) of at least one: it proves that
    the headers are there which the action reads or writes."""


@dataclass(frozen=True, slots=True)
class TableSchema:
    """A table as rules see it. `constants` are the file's consts, usable as an action's arguments."""

    name: str
    columns: tuple[ColumnSchema, ...]
    actions: tuple[ActionSchema, ...]
    ordered: bool
    size: int
    constants: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """A match and what is done: one pattern a column, the action's name, one value a parameter. Equal when they say the same."""

    matches: tuple[Pattern, ...]
    action: str
    arguments: tuple[int, ...] = ()
    span: Span | None = field(default=None, compare=False, repr=False)


def identities(rules: Iterable[Rule]) -> list[tuple[tuple[Pattern, ...], int]]:
    """What tells the rules of one table apart: the match, and how many with the same match stand before (in ordered tables)."""
    seen: dict[tuple[Pattern, ...], int] = {}
    found = []
    for rule in rules:
        before = seen.get(rule.matches, 0)
        seen[rule.matches] = before + 1
        found.append((rule.matches, before))
    return found
