"""Which slot of a table's map of counts each rule has, and whether the map of the live generation has room for all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pcnc_runtime.live_rules import LiveRule
from pcnc_runtime.records import Generation, TableRecord


def capacity_for(size: int) -> int:
    """The entries of a map of counts: one a rule, and one for the default."""
    return size + 1


def give_slots(
    name: str, rules: tuple[LiveRule, ...], capacity: int, live: TableRecord | None, kept: Sequence[Generation]
) -> tuple[LiveRule, ...] | None:
    """The rules of a table, each with its slot in the live map of counts; None where there must be a new one.

    A slot goes to another rule only when nothing that is kept knows it.
    """
    if live is None or live.capacity != capacity:
        return None
    if rules is live.rules:
        return rules
    taken = {
        rule.slot
        for record in kept
        if name in record.tables and record.tables[name].counters == live.counters
        for rule in record.tables[name].rules
    }
    free = iter(slot for slot in range(1, capacity) if slot not in taken)
    given = tuple(rule if rule.slot else replace(rule, slot=next(free, 0)) for rule in rules)
    return given if all(rule.slot for rule in given) else None
