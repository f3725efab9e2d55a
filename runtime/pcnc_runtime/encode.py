"""Rules to map entries: exactly the bytes that the plan of a table asks for."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import assert_never

from pcnc.manifest import ActionPlan, ColumnPlan, ConfigPlan, Place, TablePlan
from pcnc.rules import Interval, MaskedValue, Pattern, Rule, TableSchema

_CODES = {1: "B", 2: "H", 4: "I", 8: "Q", 16: "16s"}
_ACTION, _COUNTER, _ASKED = Place(0, 4, 32), Place(4, 4, 32), Place(8, 8, 64)
_PREFIX_LENGTH = Place(0, 4, 32)
_NO_SUCH_COLUMN = 1 << 63
_Value = int | bytes


@dataclass(frozen=True, slots=True)
class Entries:
    """Entries of a map, keys and values each laid end to end."""

    keys: bytes
    values: bytes
    count: int


def encode_rules(plan: TablePlan, schema: TableSchema, rules: Iterable[tuple[Rule, int]]) -> Entries:
    """The entries for rules, each with its slot in the counters.

    The rules are those of the table, checked, and of the shape that the plan was made for. ValueError where one is not. A list
    without rules has one entry that no packet matches, as an array cannot be empty.
    """
    actions = {action.name: _ActionEncoder(plan, action) for action in plan.actions}
    match plan.classifier:
        case "list":
            return _encode_list(plan, schema, actions, rules)
        case "hash":
            return _encode_keyed(plan, actions, rules, _hash_key(plan))
        case "lpm_trie":
            return _encode_keyed(plan, actions, rules, _prefix_key(plan, schema))
        case _:
            assert_never(plan.classifier)


def encode_settings(size: int, plans: Iterable[ConfigPlan], values: Mapping[str, int]) -> bytes:
    """The content of `.rodata.config`: values by name, of settings not named what they start with."""
    content = bytearray(size)
    for plan in plans:
        place = plan.place
        content[place.offset : place.offset + place.size] = values.get(plan.name, plan.value).to_bytes(place.size, sys.byteorder)
    return bytes(content)


class _Packer:
    """Packs values into their places, the gaps zero. Values come in the order of `places`."""

    __slots__ = ("_order", "_struct")

    def __init__(self, size: int, places: Sequence[Place], big_endian: bool = False) -> None:
        self._order = sorted(range(len(places)), key=lambda index: places[index].offset)
        layout, at = "=", 0
        for index in self._order:
            place = places[index]
            layout += f"{place.offset - at}x" if place.offset > at else ""
            layout += f"{place.size}s" if big_endian and index else _CODES[place.size]
            at = place.offset + place.size
        self._struct = struct.Struct(f"{layout}{size - at}x")

    def pack(self, values: Sequence[_Value]) -> bytes:
        """The bytes; a value of 16 bytes is given as such."""
        return self._struct.pack(*[values[index] for index in self._order])


def _wide(place: Place, value: int) -> _Value:
    return value.to_bytes(16, sys.byteorder) if place.size == 16 else value


class _ActionEncoder:
    """Encodes the values of the rules that name one action."""

    __slots__ = ("_arguments", "_id", "_packer", "_wide")

    def __init__(self, plan: TablePlan, action: ActionPlan) -> None:
        columns: list[Place] = []
        if plan.classifier == "list":
            columns.append(_ASKED)
            for column in plan.columns:
                columns += [column.first, _second(column)]
        self._id = action.id
        self._arguments = action.arguments
        self._wide = any(place.size == 16 for place in action.arguments)
        self._packer = _Packer(plan.value_size, [_ACTION, _COUNTER, *columns, *action.arguments])

    def encode(self, rule: Rule, slot: int, match: Sequence[_Value] = ()) -> bytes:
        """The value of a rule; `match` is what a `list` keeps of its match."""
        arguments: Sequence[_Value] = rule.arguments
        if len(arguments) != len(self._arguments):
            raise ValueError(f"{rule.action} takes {len(self._arguments)} arguments, not {len(arguments)}")
        if self._wide:
            arguments = [_wide(place, value) for place, value in zip(self._arguments, rule.arguments, strict=True)]
        return self._packer.pack((self._id, slot, *match, *arguments))


def _encode_keyed(
    plan: TablePlan, actions: Mapping[str, _ActionEncoder], rules: Iterable[tuple[Rule, int]], key: Callable[[Rule], bytes]
) -> Entries:
    keys, values = [], []
    for rule, slot in rules:
        keys.append(key(rule))
        values.append(_action(actions, plan, rule).encode(rule, slot))
    return Entries(b"".join(keys), b"".join(values), len(keys))


def _action(actions: Mapping[str, _ActionEncoder], plan: TablePlan, rule: Rule) -> _ActionEncoder:
    try:
        return actions[rule.action]
    except KeyError:
        raise ValueError(f"the code for table {plan.table} knows no action {rule.action}") from None


# ---- keys


def _hash_key(plan: TablePlan) -> Callable[[Rule], bytes]:
    packer = _Packer(plan.key_size, [column.first for column in plan.columns])
    columns = [(column.column, column.first) for column in plan.columns]

    def key(rule: Rule) -> bytes:
        return packer.pack([_wide(place, _exact(rule.matches[index], place.bits)) for index, place in columns])

    return key


def _prefix_key(plan: TablePlan, schema: TableSchema) -> Callable[[Rule], bytes]:
    prefixed = next(column for column in plan.columns if schema.columns[column.column].kind == "lpm")
    exact = [column for column in plan.columns if column is not prefixed]
    places = [_PREFIX_LENGTH, *(column.first for column in exact), Place(plan.present, 4, 32), prefixed.first]
    packer = _Packer(plan.key_size, places, big_endian=True)
    # What stands before the prefix counts as bits of it, gaps included.
    without, within = ((offset - _PREFIX_LENGTH.size) * 8 for offset in (plan.present, prefixed.first.offset))
    absent = (bytes(4), bytes(prefixed.first.size))
    present = (1).to_bytes(4, sys.byteorder)
    every = (1 << prefixed.first.bits) - 1

    def key(rule: Rule) -> bytes:
        head = [_leading(column.first, _exact(rule.matches[column.column], column.first.bits)) for column in exact]
        pattern = rule.matches[prefixed.column]
        if pattern is None:
            return packer.pack((without, *head, *absent))
        if not isinstance(pattern, MaskedValue):
            raise ValueError(f"{pattern} is not a prefix")
        length = pattern.mask.bit_count()
        if pattern.mask != every >> length ^ every:
            raise ValueError(f"{pattern} is not a prefix")
        return packer.pack((within + length, *head, present, _leading(prefixed.first, pattern.value)))

    return key


def _leading(place: Place, value: int) -> bytes:
    """Big-endian, in the high bits of the place."""
    return (value << place.size * 8 - place.bits).to_bytes(place.size, "big")


def _exact(pattern: Pattern, bits: int) -> int:
    match pattern:
        case MaskedValue(value=value, mask=mask) if mask == (1 << bits) - 1:
            return value
        case Interval(low=low, high=high) if low == high:
            return low
        case _:
            raise ValueError(f"{pattern} is not one value")


# ---- lists


def _second(column: ColumnPlan) -> Place:
    if column.second is None:
        raise ValueError(f"column {column.column} of a list has only one place")
    return column.second


def _encode_list(
    plan: TablePlan, schema: TableSchema, actions: Mapping[str, _ActionEncoder], rules: Iterable[tuple[Rule, int]]
) -> Entries:
    columns = [
        (1 << position, column.column, column.first, _mask_of if schema.columns[column.column].kind != "range" else _ends_of)
        for position, column in enumerate(plan.columns)
    ]
    values = []
    for rule, slot in rules:
        asked, match = 0, list[_Value]()
        for bit, index, place, ends in columns:
            pattern = rule.matches[index]
            asked |= bit if pattern is not None else 0
            first, second = ends(pattern, place.bits)
            match += (_wide(place, first), _wide(place, second))
        values.append(_action(actions, plan, rule).encode(rule, slot, (asked, *match)))
    if not values:
        # An array has at least one entry, and one of zeros would match whatever comes: this one asks for a column too many.
        values.append(_Packer(plan.value_size, [_ASKED]).pack((_NO_SUCH_COLUMN,)))
    keys = struct.pack(f"={len(values)}I", *range(len(values)))
    return Entries(keys, b"".join(values), len(values))


def _mask_of(pattern: Pattern, bits: int) -> tuple[int, int]:
    match pattern:
        case None:
            return 0, 0
        case MaskedValue(value=value, mask=mask):
            return value, mask
        case Interval(low=low, high=high) if low == high:
            return low, (1 << bits) - 1
        case _:
            raise ValueError(f"{pattern} is no value with a mask")


def _ends_of(pattern: Pattern, bits: int) -> tuple[int, int]:
    match pattern:
        case None:
            return 0, (1 << bits) - 1
        case Interval(low=low, high=high):
            return low, high
        case MaskedValue(value=value, mask=mask):
            above = mask ^ (1 << bits) - 1
            if above & (above + 1):
                raise ValueError(f"{pattern} is no range")
            return value, value | above
        case _:
            assert_never(pattern)
