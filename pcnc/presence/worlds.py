"""The sets of headers that one packet can hold, and facts about a packet as sets of such sets.

The headers of a packet are one way through the parse graph from its root: `eth`, `eth/ipv4`, `eth/vlan/ipv4/tcp`, …. Each way
is a *world*, and what is known of a packet is the set of worlds that it may be in: one bit each in a Python integer. So
`and`, `or` and `not` are exact, and that `tcp` implies `ipv4` or `ipv6` needs no rule of its own.
"""

from __future__ import annotations

from collections.abc import Iterable

from pcnc.parse_graph import Either, Headers


class Worlds:
    """All worlds of a parse graph, up to a limit (beyond it `is_cut` is true, and what is told is not exact)."""

    def __init__(self, headers: Headers, limit: int) -> None:
        children: dict[str, list[str]] = {instance.name: [] for instance in headers.instances}
        for instance in headers.instances:
            for parent in instance.parents:
                children[parent.header].append(instance.name)
        self._holding = dict.fromkeys(children, 0)
        self.is_cut = False
        count = 0
        # A way ends anywhere: what follows may be cut off, malformed, opaque or unknown.
        waiting: list[tuple[str, ...]] = []
        waiting.extend((instance.name,) for instance in headers.instances[:1])
        while waiting:
            way = waiting.pop()
            if count == limit:
                self.is_cut = True
                break
            bit = 1 << count
            count += 1
            for name in way:
                self._holding[name] |= bit
            waiting.extend((*way, child) for child in children[way[-1]])
        self.all = (1 << count) - 1
        """Every world: nothing is known but that the frame holds the root header."""

    def add_either(self, either: Either) -> None:
        """Makes an either's name known."""
        self._holding[either.name] = self.holding_any(either.members)

    def holding(self, header: str) -> int:
        """The worlds in which an instance, or a member of an either, is present."""
        return self._holding[header]

    def holding_any(self, headers: Iterable[str]) -> int:
        """The worlds in which one of these is present."""
        worlds = 0
        for header in headers:
            worlds |= self._holding[header]
        return worlds
