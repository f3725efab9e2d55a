"""A service of stamping blocks on one end of a wire, traffic from the other, and all counts of a packet's way read together."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields

from bench import stamping
from bench.cpus import Cpus
from bench.lab import Lab, Namespace
from bench.observer import NUMBER_OFFSET, Observed, Observer, flows
from bench.traffic import CATCH_UP, Generator
from pcnc_runtime import operations

FLOWS = 8


@dataclass(frozen=True, slots=True)
class Counts:
    """The packets of one wire at each place that counts them. Each is a total, or what was added since another reading.

    `refused` by the device, since its peer's ring was full; `ring_drops` by that peer, before any program; `at_hook`: it ran XDP on
    them. The service counts `entered` and `dropped` for its chain, and in its last table, by packets and bytes, those that met one
    version (`of_one`) and those that met two. The rest is what was seen behind it.
    """

    refused: int
    ring_drops: int
    at_hook: int
    entered: int
    dropped: int
    of_one: int
    of_one_bytes: int
    of_two: int
    of_two_bytes: int
    first: int
    second: int
    mixed: int
    duplicated: int
    reordered: int
    foreign: int

    def since(self, before: Counts) -> Counts:
        """What was added."""
        return Counts(*(getattr(self, each.name) - getattr(before, each.name) for each in fields(self)))

    @property
    def arrived(self) -> int:
        """Different packets behind the verdict."""
        return self.first + self.second + self.mixed


class Wire:
    """A veth pair with version 0 of `bench.stamping` on its right end, and an observer behind it."""

    def __init__(self, left: Namespace, right: Namespace, name: str, observer: Observer) -> None:
        self.left, self.right, self.name, self.observer = left, right, name, observer

    def generator(self, rate: float | None, cpus: Cpus) -> Generator:
        """Traffic of several flows, from the left."""
        frames, cpu, urgent = flows(FLOWS), cpus.traffic, cpus.apart
        return Generator(self.left, "eth0", *frames, rate=rate, cpu=cpu, urgent=urgent, burst=CATCH_UP, number=NUMBER_OFFSET)

    def counts(self) -> Counts:
        """All counts now; they agree with each other once nothing is under way."""
        found = operations.statistics(self.name)
        (chain,) = found.chains
        table = found.table(stamping.TABLE)
        assert table is not None, "it counts"
        ((_, one),) = table.rules
        seen: Observed = self.observer.read()
        sender, receiver = _device_counts(self.left), _device_counts(self.right)
        return Counts(
            refused=sender["xdp_xmit_errors"],
            ring_drops=receiver["drops"],
            at_hook=receiver["xdp_packets"],
            entered=chain.packets,
            dropped=chain.dropped,
            of_one=one.packets,
            of_one_bytes=one.bytes,
            of_two=table.default.packets,
            of_two_bytes=table.default.bytes,
            first=seen.total("first"),
            second=seen.total("second"),
            mixed=seen.total("mixed"),
            duplicated=seen.total("duplicated"),
            reordered=seen.total("reordered"),
            foreign=seen.foreign,
        )


_COUNT = re.compile(r"^ *[rt]x_queue_\d+_(\w+): (\d+)$", re.MULTILINE)


def _device_counts(namespace: Namespace) -> dict[str, int]:
    """What the veth driver counts at eth0, over all queues."""
    found: dict[str, int] = {}
    for name, count in _COUNT.findall(namespace.run("ethtool", "-S", "eth0")):
        found[name] = found.get(name, 0) + int(count)
    return found


@contextmanager
def stamped_wire() -> Iterator[Wire]:
    """A wire for the time of the block; nothing of it remains."""
    name = f"soak-{os.getpid()}"
    with Lab() as lab:
        left, right = lab.namespace("left"), lab.namespace("right")
        lab.veth(left, "eth0", right, "eth0")
        with right.entered():
            operations.load(stamping.bundle(0), name, ["eth0"])
        try:
            with Observer(right, "eth0", (stamping.marks(0), stamping.marks(1))) as observer:
                yield Wire(left, right, name, observer)
        finally:
            operations.unload(name)
