"""No packet meets two versions, none is lost, doubled or out of turn, and no count is off, however often versions are flipped.

The same run with `soak.naive`, which replaces blocks one by one, must find packets that met two versions.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from statistics import median

from rich.table import Table

from bench import stamping
from bench.cpus import keep_to, split_cpus
from bench.observer import flows
from bench.swaps import percentile
from bench.traffic import Generator
from pcnc_runtime import operations
from pcnc_runtime.generation import put_into_force
from pcnc_runtime.state import Place, locked, place_of
from soak.bounds import Bound, at_least, at_most, bounds_table, exactly
from soak.naive import NaiveSwapper
from soak.wire import Counts, Wire, stamped_wire

SHARE = 0.9
"""Of the highest rate that loses nothing while nothing is flipped."""

_ROUND = 250  # flips after which the highest rate is found anew
_HURRIED = 1e8  # packets a second that no machine sends: as fast as goes, on the same way as at a pace
_AIM = 0.95  # share of the highest rate to send, where nothing holds it up
_FINDING = 0.4  # seconds
_SETTLED = 0.1  # seconds after which a generator has found its pace
_PATIENCE = 0.25  # seconds that a flip waits, at most, for traffic that has fallen behind
_BEHIND = 0.01  # seconds of traffic by which it may be behind
_FRAME = len(flows(1)[0])

Flip = Callable[[int], float]
"""Makes the version of this number (0 or 1) the one in force, and returns how long its one write took."""


@dataclass(frozen=True, slots=True)
class Phase:
    """Flips of one kind under traffic. Times in seconds, rates a second; `share` of the highest rate without loss was sent.

    `sent` is what the generator gave to the device; `counts` what became of that. `flip_*` is how long a flip's write took,
    `changes` how often packets had another version than the one before, since the first flip: once for each, unless none came
    between two.
    """

    kind: str
    flips: int
    seconds: float
    lossless_rate: float
    rate: float
    share: float
    sent: int
    lost_before_hook: int
    lost: int
    miscounted: int
    flip_median: float
    flip_p99: float
    changes: int
    counts: Counts

    @property
    def bounds(self) -> tuple[Bound, ...]:
        """What must hold of flips that are what they should be, line by line."""
        counts = self.counts
        return (
            Bound("  packets sent", f"{self.sent:,}"),
            exactly("  met two versions, behind the verdict", counts.mixed),
            exactly("  met two versions, by the service's count", counts.of_two),
            exactly("  lost before the hook, but for veth's ring", self.lost_before_hook),
            exactly("  lost between hook and verdict", self.lost),
            exactly("  duplicated", counts.duplicated),
            exactly("  reordered within their flow", counts.reordered),
            exactly("  counts of the service off by", self.miscounted),
            exactly("  foreign packets", counts.foreign),
            at_most("  changes of version, as packets saw them", self.changes, self.flips),
            Bound("  veth's ring was full for", f"{counts.refused + counts.ring_drops:,}"),
            Bound("  treated by the one and the other", f"{counts.first:,} and {counts.second:,}"),
            Bound("  flips a second", f"{self.flips / self.seconds:.1f}"),
            Bound("  the write of a flip: median, p99", f"{self.flip_median * 1e6:.0f} µs, {self.flip_p99 * 1e6:.0f} µs"),
        )


@dataclass(frozen=True, slots=True)
class Amounts:
    """How much to do: flips of each kind, and packets during those of the first."""

    flips: int = 10_000
    rollbacks: int = 500
    swaps: int = 1_000
    naive_swaps: int = 100
    packets: int = 10_000_000


@dataclass(frozen=True, slots=True)
class Mixed:
    """The write of the entry alone, between two prepared generations; whole operations; and the naive swap, to be found out."""

    flips: Phase
    rollbacks: Phase
    swaps: Phase
    naive: Phase

    def bounds(self, wanted: Amounts, share: float = SHARE) -> tuple[Bound, ...]:
        """What must hold: at least that much was done, at that share of the highest rate without loss."""
        lines: list[Bound] = [at_least("packets during flips", self.flips.sent, wanted.packets)]
        phases = ((self.flips, wanted.flips), (self.rollbacks, wanted.rollbacks), (self.swaps, wanted.swaps))
        for phase, count in phases:
            lines.append(at_least(phase.kind, phase.flips, count))
            lines.append(at_least("  of them seen by packets, as changes of version", phase.changes, count))
            found = f"{phase.share:.1%}: {phase.rate:,.0f}"
            held = round(phase.share, 3) >= share
            lines.append(Bound(f"  share of {phase.lossless_rate:,.0f} packets a second", found, f"at least {share:.0%}", held))
            lines += phase.bounds
        naive = self.naive.counts
        lines.append(at_least(f"{self.naive.kind}: met two versions, behind the verdict", naive.mixed, 1))
        lines.append(at_least(f"{self.naive.kind}: met two versions, by the service's count", naive.of_two, 1))
        return tuple(lines)


def measure_mixed(amounts: Amounts | None = None, progress: Callable[[str], object] = lambda doing: None) -> Mixed:
    """Flips under traffic, all kinds. RuntimeProblem, OSError, and RuntimeError where the kernel or a tool refuses."""
    amounts = amounts or Amounts()
    versions = stamping.bundle(0), stamping.bundle(1)
    with stamped_wire() as wire:

        def swap(version: int) -> float:
            return operations.swap(wire.name, versions[version]).flip

        def roll_back(version: int) -> float:
            return operations.rollback(wire.name).flip

        swap(1)
        swap(0)
        with prepared(wire.name) as generations:
            flip = partial(_flip, place_of(wire.name), generations)
            kind = "flips between two prepared generations"
            flipped = run_phase(wire, kind, flip, amounts.flips, amounts.packets, progress)
            flip(0)
        rolled_back = run_phase(wire, "rollbacks, each a whole operation", roll_back, amounts.rollbacks, 0, progress)
        if rolled_back.flips % 2:
            roll_back(0)
        swapped = run_phase(wire, "swaps to whole new generations", swap, amounts.swaps, 0, progress)
        with NaiveSwapper(wire.name, versions) as naive:
            naive.swap(0)
            found = run_phase(wire, "naive swaps", naive.swap, amounts.naive_swaps, 0, progress)
    return Mixed(flipped, rolled_back, swapped, found)


@contextmanager
def prepared(name: str) -> Iterator[tuple[int, int]]:
    """The live generation of a service and the one before it, both whole; no command changes them while the block runs."""
    place = place_of(name)
    with locked(name):
        state = place.read()
        assert state is not None, "it is loaded"
        live, previous = state.kept
        yield live, previous


def _flip(place: Place, generations: tuple[int, int], version: int) -> float:
    return put_into_force(place, generations[version])


def mixed_table(bounds: Sequence[Bound]) -> Table:
    """All of it for people."""
    caption = (
        "two versions of eight stages that check on each other. sent: by the generator; the hook: the driver ran XDP on it;"
        " behind the verdict: a program at TC follows each flow's numbers. naive swap: blocks replaced one by one"
    )
    return bounds_table("Versions flipped under traffic", bounds, caption)


class _Pace:
    """Keeps the traffic at SHARE of the highest rate while flips go on, and finds that rate anew every so often: others work on
    the machine, too, and what it can do changes.
    """

    def __init__(self, generator: Generator) -> None:
        self._generator = generator
        self.seconds = 0.0
        """How long flips have gone on."""
        self.sent = 0
        """What was sent meanwhile."""
        self.full = 0.0
        """What the highest rate would have sent meanwhile."""
        self._highest = 0.0
        self._at, self._sent_at = 0.0, 0

    def find(self) -> None:
        """Sends as fast as goes, while nothing is flipped, to find the highest rate; then goes back to less."""
        self._account()
        self._generator.set_rate(_HURRIED)
        time.sleep(_SETTLED)
        began, at_first = time.perf_counter(), self._generator.sent
        time.sleep(_FINDING)
        self._highest = (self._generator.sent - at_first) / (time.perf_counter() - began)
        self._generator.set_rate(_AIM * self._highest)
        time.sleep(_SETTLED)
        self._at, self._sent_at = time.perf_counter(), self._generator.sent

    def _account(self) -> None:
        """Adds what happened since it was last asked."""
        if self._highest:
            now, sent = time.perf_counter(), self._generator.sent
            self.seconds += now - self._at
            self.full += self._highest * (now - self._at)
            self.sent += sent - self._sent_at
            self._at, self._sent_at = now, sent

    def wait(self) -> None:
        """Returns once the traffic is up with its rate, or will not be soon."""
        give_up = time.perf_counter() + _PATIENCE
        self._account()
        while self.sent < SHARE * (self.full - self._highest * _BEHIND) and time.perf_counter() < give_up:
            time.sleep(_BEHIND / 4)
            self._account()


def run_phase(
    wire: Wire, kind: str, flip: Flip, flips: int, packets: int, progress: Callable[[str], object] = lambda doing: None
) -> Phase:
    """Flips so often, and on until packets saw so many flips and so many were sent, at SHARE of the highest rate.

    Version 0 is in force before. A flip that meets a pause of the generator, no packet sees. A flip waits for traffic that has
    fallen behind, since both share the machine, but not for long.
    """
    cpus = split_cpus()
    took: list[float] = []
    changed = 0
    wire.observer.forget()
    before = wire.counts()
    with wire.generator(_HURRIED, cpus) as generator, keep_to(cpus.others, urgent=cpus.apart):
        pace = _Pace(generator)
        while len(took) < flips or wire.observer.changes - changed < flips or generator.sent < packets:
            if len(took) % _ROUND == 0:
                pace.find()
            if not took:
                changed = wire.observer.changes
            took.append(flip((len(took) + 1) % 2))
            progress(f"{kind}: {len(took):,} flips")
            pace.wait()
        sent = generator.stop()
    wire.observer.wait_for(before.arrived + sent)
    counts = wire.counts().since(before)
    return Phase(
        kind=kind,
        flips=len(took),
        seconds=pace.seconds,
        lossless_rate=pace.full / pace.seconds,
        rate=pace.sent / pace.seconds,
        share=pace.sent / pace.full,
        sent=sent,
        lost_before_hook=sent - counts.refused - counts.ring_drops - counts.at_hook,
        lost=counts.at_hook - counts.arrived,
        miscounted=_miscounted(counts),
        flip_median=median(took),
        flip_p99=percentile(took, 99),
        changes=wire.observer.changes - changed,
        counts=counts,
    )


def _miscounted(counts: Counts) -> int:
    """By how much, all in all, the service's own counts are off."""
    return (
        abs(counts.entered - counts.at_hook)
        + counts.dropped
        + abs(counts.of_one + counts.of_two - counts.at_hook)
        + abs(counts.of_one_bytes + counts.of_two_bytes - _FRAME * counts.at_hook)
        + abs(counts.of_one - counts.first - counts.second)
    )
