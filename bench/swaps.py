"""Packets through a veth pair while the firewall is swapped, again and again: what was lost, and what met a wrong verdict."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

from bench.compiled import FIREWALL, firewall
from bench.cpus import keep_to, split_cpus
from bench.lab import Lab, Namespace
from bench.packets import datagram
from bench.traffic import CATCH_UP, Generator, Kind, Sink, lossless_rate
from pcnc.cli.compile_service import build_service
from pcnc_runtime import operations
from pcnc_runtime.bundle import Bundle
from pcnc_runtime.facts import Statistics

SWAPS = 1_000
PACKETS = 1_000_000

_OPEN, _BLOCKED = 0x0B000001, 0x0A000001
"""11.0.0.1, which both versions let by, and 10.0.0.1, which both drop."""

_SERVER = 0xC0000201  # 192.0.2.1
LONGER = 64
"""Bytes by which a blocked frame is longer: wherever packets and bytes are counted, that tells how many were of which kind."""

_RULES = ("10.0.0.0/8 -> drop", "198.51.100.0/24 -> drop")
_OF_RULE = "drop: rule sources"


@dataclass(frozen=True, slots=True)
class Swapped:
    """What became of the packets. Times in seconds, rates a second.

    `sent` were given to the device; `overruns` of them it refused since its peer's ring was full, and no program has seen those.
    `arrived` came out behind the service, `dropped` were counted by it; `lost` is the rest (below 0: some came twice). `wrong`
    are packets that arrived and should have been dropped, or were dropped and should have arrived, for whatever reason.
    `in_force` is from the beginning of an operation to the one write that puts the new version into force, `flip` that write.
    """

    swaps: int
    seconds: float
    lossless_rate: float
    rate: float
    sent: int
    overruns: int
    arrived: int
    dropped: int
    lost: int
    wrong: int
    in_force_median: float
    in_force_p99: float
    flip_median: float
    flip_p99: float


def measure_swaps(swaps: int = SWAPS, packets: int = PACKETS, progress: Callable[[int], object] = lambda done: None) -> Swapped:
    """Swaps versions of the firewall, of two and of three blocks, while packets flow at 90 % of the highest lossless rate.

    At least so many swaps and packets; `progress` is told how many swaps were made. RuntimeProblem, OSError where the kernel
    refuses.
    """
    versions = [version(1), version(2)]
    name = f"bench-{os.getpid()}"
    cpus = split_cpus()
    frames = datagram(_OPEN, _SERVER), datagram(_BLOCKED, _SERVER) + bytes(LONGER)
    in_force: list[float] = []
    flips: list[float] = []
    with Lab() as lab:
        left, right = lab.namespace("left"), lab.namespace("right")
        lab.veth(left, "eth0", right, "eth0")
        with loaded(versions[0], name, right), Sink(right, "eth0", Kind.TC) as sink:
            highest = lossless_rate(left, "eth0", frames[0], lambda: sink.packets, cpu=cpus.traffic, urgent=cpus.apart)
            before = Counts.read(name, sink)
            traffic = Generator(left, "eth0", *frames, rate=0.9 * highest, cpu=cpus.traffic, burst=CATCH_UP, urgent=cpus.apart)
            with traffic as generator, keep_to(cpus.others, urgent=cpus.apart):
                began = time.perf_counter()
                while len(in_force) < swaps or generator.sent < packets:
                    change = operations.swap(name, versions[(len(in_force) + 1) % 2])
                    in_force.append(change.in_force)
                    flips.append(change.flip)
                    progress(len(in_force))
                seconds = time.perf_counter() - began
                sent = generator.stop()
                overruns = generator.overruns
            sink.wait_for(before.arrived + sent)
            counts = Counts.read(name, sink).since(before)
    return Swapped(
        swaps=len(in_force),
        seconds=seconds,
        lossless_rate=highest,
        rate=sent / seconds,
        sent=sent,
        overruns=overruns,
        arrived=counts.arrived,
        dropped=counts.dropped,
        lost=sent - overruns - counts.arrived - counts.dropped,
        wrong=counts.wrong,
        in_force_median=median(in_force),
        in_force_p99=percentile(in_force, 99),
        flip_median=median(flips),
        flip_p99=percentile(flips, 99),
    )


def percentile(values: Sequence[float], percent: float) -> float:
    """The least of the values that so many percent of them do not exceed."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


@dataclass(frozen=True, slots=True)
class Counts:
    """Packets and bytes that arrived, those that the rule in `sources` dropped, and all packets that were dropped."""

    arrived: int
    arrived_bytes: int
    by_rule: int
    by_rule_bytes: int
    dropped: int

    @classmethod
    def read(cls, name: str, sink: Sink) -> Counts:
        """Those of a loaded service and of what is behind it, now."""
        found: Statistics = operations.statistics(name)
        (chain,) = found.chains
        table = found.table("sources")
        assert table is not None, "its tables count"
        ((_, rule),) = table.rules
        if dict(chain.reasons)[_OF_RULE] != rule.packets:
            raise RuntimeError(f"{name} counts {rule.packets} packets for its rule, and {chain.reasons} for the reasons")
        return cls(sink.packets, sink.bytes, rule.packets, rule.bytes, chain.dropped)

    def since(self, before: Counts) -> Counts:
        """What was added."""
        return Counts(
            self.arrived - before.arrived,
            self.arrived_bytes - before.arrived_bytes,
            self.by_rule - before.by_rule,
            self.by_rule_bytes - before.by_rule_bytes,
            self.dropped - before.dropped,
        )

    @property
    def wrong(self) -> int:
        """Blocked packets that arrived, open ones that the rule dropped, and whatever was dropped by anything else."""
        blocked_arrived = _blocked_of(self.arrived, self.arrived_bytes)
        open_dropped = self.by_rule - _blocked_of(self.by_rule, self.by_rule_bytes)
        return blocked_arrived + open_dropped + self.dropped - self.by_rule


def _blocked_of(packets: int, length: int) -> int:
    """How many of so many packets, with so many bytes together, were the longer ones."""
    return (length - packets * len(datagram(_OPEN, _SERVER))) // LONGER


def version(tables: int) -> Bundle:
    """The firewall with a rule in its first table or in both, and with tables that count; built as `pcnc swap` does."""
    text = FIREWALL.read_text().replace("size    64k", "size    64k\n        count   packets, bytes")
    rules = zip(("sources", "destinations"), _RULES[:tables], strict=False)
    body, brace, _ = text.rpartition("}")
    text = body + "".join(f"    rules {table} {{ {rule} }}\n" for table, rule in rules) + brace + "\n"
    return build_service(firewall(text), "xdp")


@contextmanager
def loaded(version: Bundle, name: str, namespace: Namespace) -> Iterator[None]:
    with namespace.entered():
        operations.load(version, name, ["eth0"])
    try:
        yield
    finally:
        operations.unload(name)
