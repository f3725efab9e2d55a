"""Whether a value or a pattern of one version can be had in another: types that grow or shrink, kinds of match that change.

What fits stands for the same values as before. Everything here gives the new value or, as a text, why there is none.
"""

from __future__ import annotations

from typing import assert_never

from pcnc.rule_values import format_pattern
from pcnc.rules import ColumnSchema, Interval, MaskedValue, MatchKind, Pattern
from pcnc.show_value import show_value
from pcnc.types import Type

_NUMBERS = ("decimal", "enum")


class Unfit(Exception):
    """The value or pattern cannot be had in the new version; the text says why."""


def fit_type(what: str, old: Type, new: Type) -> None:
    """Raises Unfit unless values of the old type mean the same as values of the new one, if they are small enough for it.

    Numbers and enums of any width do, unless a member that both have stands for another value now. `what` is whose type it is.
    """
    if old == new:
        return
    if not (old.format in _NUMBERS and new.format in _NUMBERS):
        raise Unfit(f"{what} is of type {new} now, and was of type {old}")
    values = dict(new.members)
    for name, value in old.members:
        if values.get(name, value) != value:
            raise Unfit(f"`{name}` of {new} is {values[name]} now, and was {value}")


def fit_value(what: str, value: int, old: Type, new: Type) -> int:
    """The value in the new type. Raises Unfit."""
    fit_type(what, old, new)
    if value > new.maximum:
        raise Unfit(f"{show_value(value, old)} does not fit {what}, which is of type {new} now")
    return value


def fit_pattern(pattern: Pattern, old: ColumnSchema, new: ColumnSchema) -> Pattern:
    """What a rule asks of a column, as the new column of that name would ask it. Raises Unfit. `*` is always `*`."""
    if pattern is None or (old.kind == new.kind and old.type == new.type):
        return pattern
    what = f"`{new.name}`"
    fit_type(what, old.type, new.type)
    written = format_pattern(pattern, old)
    match pattern:
        case MaskedValue(value=value, mask=mask) if mask == old.type.maximum:
            # A plain value: all bits are asked for, however many there are.
            fitted: MaskedValue | Interval = MaskedValue(fit_value(what, value, old.type, new.type), new.type.maximum)
        case MaskedValue(mask=highest) | Interval(high=highest):
            if highest > new.type.maximum:
                raise Unfit(f"{written} does not fit {what}, which is of type {new.type} now")
            fitted = pattern
        case _:
            assert_never(pattern)
    return _of_kind(fitted, new, written)


_WANTED: dict[MatchKind, str] = {
    "exact": "no single value",
    "lpm": "no prefix",
    "prefix": "no prefix",
    "range": "no range",
    "ternary": "no value with a mask",
}


def _of_kind(pattern: MaskedValue | Interval, column: ColumnSchema, written: str) -> MaskedValue | Interval:
    """The same set of values, said as a column of this kind wants it."""
    maximum = column.type.maximum
    masked = _as_masked(pattern, maximum)
    fits: MaskedValue | Interval | None
    match column.kind:
        case "exact":
            fits = masked if masked and masked.mask == maximum else None
        case "lpm" | "prefix":
            fits = masked if masked and _is_leading(masked.mask, maximum) else None
        case "ternary":
            fits = masked
        case "range":
            fits = _as_interval(pattern, maximum)
        case _:
            assert_never(column.kind)
    if fits is None:
        raise Unfit(f"`{column.name}` is matched by {column.kind} now, and {written} is {_WANTED[column.kind]}")
    return fits


def _is_leading(mask: int, maximum: int) -> bool:
    below = maximum ^ mask
    return not below & (below + 1)


def _as_masked(pattern: MaskedValue | Interval, maximum: int) -> MaskedValue | None:
    if isinstance(pattern, MaskedValue):
        return pattern
    below = pattern.high - pattern.low
    return None if below & (below + 1) or pattern.low & below else MaskedValue(pattern.low, maximum ^ below)


def _as_interval(pattern: MaskedValue | Interval, maximum: int) -> Interval | None:
    if isinstance(pattern, Interval):
        return pattern
    return Interval(pattern.value, pattern.value | maximum ^ pattern.mask) if _is_leading(pattern.mask, maximum) else None
