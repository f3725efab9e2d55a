"""The maps of counts of the generations that are kept, and totals over them and over what maps that are gone had counted.

Generations share a map of counts while its shape stays the same; every map has a number. What a service counted is the sum
over the distinct maps of its generations and what was carried from maps that are gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

from pcnc_runtime.kernel_maps import KernelMap
from pcnc_runtime.pins import open_map
from pcnc_runtime.records import Carried, Generation, State
from pcnc_runtime.state import Place

NO_GENERATION = "drop: no generation"
"""The reason of packets that found the entry empty."""

_ONE_BY_ONE = 8
"""Where less than one in so many entries is wanted, a map is read entry by entry."""

ReadRecord = Callable[[int], Generation]


@dataclass(frozen=True, slots=True)
class VerdictMap:
    """A chain's map of verdicts, open, and the reason of each entry."""

    chain: str
    reasons: tuple[str, ...]
    map: KernelMap

    def read(self) -> Iterator[tuple[str, int]]:
        """What it counted, by reason."""
        for (_, value), reason in zip(self.map.items(), self.reasons, strict=False):
            yield reason, self.map.sum_words(value)[0]


@dataclass(frozen=True, slots=True)
class CounterMap:
    """A table's map of counters, open, and the rule id (0: the default) of each slot in use."""

    table: str
    ids: Mapping[int, int]
    map: KernelMap

    def read(self) -> Iterator[tuple[int, tuple[int, int]]]:
        """What it counted, by rule id: packets and bytes."""
        for slot, value in self._values():
            if (id := self.ids.get(slot)) is not None:
                packets, length = self.map.sum_words(value)
                yield id, (packets, length)

    def _values(self) -> Iterator[tuple[int, bytes]]:
        if len(self.ids) * _ONE_BY_ONE < max(self.ids):
            yield from ((slot, value) for slot in self.ids if (value := self.map.lookup(slot)) is not None)
        else:
            # Slots are given from the lowest on: behind the last one in use there is nothing to read.
            yield from islice(enumerate(value for _, value in self.map.items()), max(self.ids) + 1)


@dataclass(frozen=True, slots=True)
class CountMaps:
    """Open maps of counts. Who opened them closes them."""

    verdicts: tuple[VerdictMap, ...]
    counters: tuple[CounterMap, ...]

    def close(self) -> None:
        """Closes all maps."""
        for opened in (*(each.map for each in self.verdicts), *(each.map for each in self.counters)):
            opened.close()


def open_count_maps(
    place: Place, state: State, numbers: Iterable[int], read_record: ReadRecord, without: Iterable[int] = ()
) -> CountMaps:
    """Opens each map that one of these generations uses, once, but none that one of `without` uses as well.

    A pin that somebody removed is passed over.
    """
    spared = [state.summaries[number] for number in without]
    known_verdicts = {key for maps in spared for key in maps.chains.items()}
    known_counters = {key for maps in spared for key in maps.tables.items()}
    verdicts: dict[tuple[str, int], VerdictMap] = {}
    counters: dict[tuple[str, int], CounterMap] = {}
    ids: dict[tuple[str, int], dict[int, int]] = {}
    for number in numbers:
        maps, folder = state.summaries[number], place.generation(number)
        wanted = {key for key in maps.chains.items() if key not in known_verdicts}
        counted = {key for key in maps.tables.items() if key not in known_counters}
        if not wanted and not counted:
            continue
        record = read_record(number)
        for key in wanted - verdicts.keys():
            with suppress(FileNotFoundError):
                verdicts[key] = VerdictMap(key[0], record.chains[key[0]].reasons, open_map(folder / f"verdicts_{key[0]}"))
        for place_of_map in counted:
            # A slot belongs to one rule among all generations that are kept.
            table = place_of_map[0]
            slots = ids.setdefault(place_of_map, {0: 0})
            slots.update((rule.slot, rule.id) for rule in record.tables[table].rules)
            if place_of_map not in counters:
                with suppress(FileNotFoundError):
                    counters[place_of_map] = CounterMap(table, slots, open_map(folder / f"counters_{table}"))
    return CountMaps(tuple(verdicts.values()), tuple(counters.values()))


Reasons = dict[str, dict[str, int]]
Rules = dict[str, dict[int, tuple[int, int]]]


def total(maps: CountMaps, carried: Carried) -> tuple[Reasons, Rules]:
    """What was counted altogether, by chain and reason, and by table and rule id."""
    reasons: Reasons = {chain: dict(counts) for chain, counts in carried.reasons.items()}
    for verdicts in maps.verdicts:
        by_reason = reasons.setdefault(verdicts.chain, {})
        for reason, count in verdicts.read():
            by_reason[reason] = by_reason.get(reason, 0) + count
    rules: Rules = {table: dict(counts) for table, counts in carried.rules.items()}
    for counters in maps.counters:
        by_id = rules.setdefault(counters.table, {})
        for id, (packets, length) in counters.read():
            before = by_id.get(id, (0, 0))
            by_id[id] = (before[0] + packets, before[1] + length)
    return reasons, rules


def carry(place: Place, state: State, kept: tuple[int, ...], read_record: ReadRecord) -> Carried:
    """What is carried once only the generations `kept` remain: the totals of maps that go with the others are added.

    To be called when no packet can be in the others any more. Of a table that counts nothing any more the totals rest, and go on
    where a later version counts again.
    """
    dropped = [number for number in state.mentioned if number not in kept]
    maps = open_count_maps(place, state, dropped, read_record, without=kept)
    if not maps.verdicts and not maps.counters:
        return state.carried
    try:
        reasons, rules = total(maps, state.carried)
    finally:
        maps.close()
    alive: dict[str, set[int]] = {}
    for number in kept:
        for name, table in read_record(number).tables.items():
            alive.setdefault(name, {0}).update(rule.id for rule in table.rules)
    remaining = {
        name: {id: count for id, count in counts.items() if id in alive[name] and any(count)}
        for name, counts in rules.items()
        if name in alive
    }
    return Carried({chain: {reason: n for reason, n in counts.items() if n} for chain, counts in reasons.items()}, remaining)
