"""Reading the counts of a loaded service, once or ten times a second."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Self

from pcnc_runtime.bundle_store import StoredBundle
from pcnc_runtime.counts import NO_GENERATION, CountMaps, Reasons, Rules, open_count_maps, total
from pcnc_runtime.errors import RuntimeProblem
from pcnc_runtime.facts import ChainStatistics, Count, Statistics, TableStatistics
from pcnc_runtime.kernel_maps import KernelMap
from pcnc_runtime.live import read_loaded
from pcnc_runtime.pins import open_map
from pcnc_runtime.records import Generation, State
from pcnc_runtime.recovery import not_loaded
from pcnc_runtime.state import Place, place_of, told

_ATTEMPTS = 20
_NOT_DROPPED = ("next", "pass")


@contextmanager
def _patiently(attempt: int) -> Iterator[None]:
    """What is read without a lock may go while it is read: then there is something newer to read."""
    try:
        yield
    except (FileNotFoundError, RuntimeProblem) as error:
        if attempt == _ATTEMPTS or (isinstance(error, RuntimeProblem) and error.name != "broken-record"):
            raise
        time.sleep(0.005)


class Watcher:
    """Reads the counts of a service again and again, with its maps kept open; it follows the service through swaps.

    A context manager, or ended by `close`. RuntimeProblem `not-loaded`, also from `read` once the service is unloaded.
    """

    def __init__(self, name: str) -> None:
        self._view: CountView | None = None
        self._written: tuple[tuple[int, int], ...] | None = None
        with told(f"read `{name}`"):
            self._place = place_of(name)
            self._refresh()

    def read(self) -> Statistics:
        """All counts now."""
        with told(f"read `{self._place.name}`"):
            return self._refresh().read()

    def _refresh(self) -> CountView:
        """The view that goes with the state as it is written now."""
        try:
            written = self._place.stamp()
        except FileNotFoundError:
            self.close()
            raise not_loaded(self._place.name) from None
        if self._view is None or written != self._written:
            self.close()
            self._view, self._written = open_view(self._place), written
        return self._view

    def close(self) -> None:
        """Closes the maps."""
        view, self._view = self._view, None
        if view is not None:
            view.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class CountView:
    """The maps of a service in one state, open; `state` and `live` are what is written down of that."""

    def __init__(self, place: Place, state: State, live: Generation, maps: CountMaps, fallen: Mapping[str, KernelMap]) -> None:
        self.state, self.live, self._name = state, live, place.name
        self._maps, self._fallen = maps, fallen
        manifest = StoredBundle(place.bundles / live.bundle).manifest
        self._counting = {
            table.schema.name: (table.count_packets, table.count_bytes)
            for table in manifest.tables
            if table.count_packets or table.count_bytes
        }

    def read(self) -> Statistics:
        """All counts now."""
        reasons, rules = total(self._maps, self.state.carried)
        return Statistics(
            name=self._name,
            generation=self.live.number,
            at=time.monotonic(),
            chains=tuple(self._chain(chain, reasons) for chain in self.live.chains),
            tables=tuple(self._table(table, rules) for table in self.live.tables if table in self._counting),
        )

    def _chain(self, name: str, counts: Reasons) -> ChainStatistics:
        counted = counts.get(name, {})
        # Reasons that only an earlier version knew come behind those of the live one.
        known = dict.fromkeys((*self.live.chains[name].reasons, *counted))
        known.pop(NO_GENERATION, None)
        fallen = (self._fallen[name].sum_per_cpu(0) if name in self._fallen else None) or (0,)
        lost = counted.get(NO_GENERATION, 0) + fallen[0]
        listed = (*((reason, counted.get(reason, 0)) for reason in known), (NO_GENERATION, lost))
        return ChainStatistics(
            chain="egress" if name == "egress" else "ingress",
            packets=sum(count for _, count in listed),
            dropped=sum(count for reason, count in listed if not reason.startswith(_NOT_DROPPED)),
            reasons=listed,
        )

    def _table(self, name: str, counts: Rules) -> TableStatistics:
        counted = counts.get(name, {})
        packets, length = self._counting[name]

        def count(id: int) -> Count:
            found = counted.get(id, (0, 0))
            return Count(found[0] if packets else 0, found[1] if length else 0)

        rules = tuple((rule.id, count(rule.id)) for rule in self.live.tables[name].rules)
        return TableStatistics(name, packets, length, rules, count(0))

    def close(self) -> None:
        """Closes the maps."""
        self._maps.close()
        for fallen in self._fallen.values():
            fallen.close()


def open_view(place: Place) -> CountView:
    """Opens the maps of a service, without its lock. RuntimeProblem `not-loaded`."""
    for attempt in range(1, _ATTEMPTS + 1):
        with _patiently(attempt):
            state, number = read_loaded(place)
            read_record = lru_cache(maxsize=4)(place.read_record)
            live = read_record(number)
            maps = open_count_maps(place, state, state.mentioned, read_record)
            fallen: dict[str, KernelMap] = {}
            for chain in live.chains:
                with suppress(FileNotFoundError):
                    fallen[chain] = open_map(place.pins / f"fallen_{chain}")
            return CountView(place, state, live, maps, fallen)
    raise AssertionError("the last attempt returns or raises")
