"""Who runs where while packets are made: their generator has a CPU, and what is measured has the others."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cpus:
    """A CPU for the traffic, and those for everything else. Where there is one only, both have it, and nobody may go `first`."""

    traffic: int
    others: frozenset[int]

    @property
    def apart(self) -> bool:
        """Whether the two have different ones: else whoever goes first would keep the other from its work."""
        return self.traffic not in self.others


def split_cpus() -> Cpus:
    """Divides the CPUs that this thread may use."""
    traffic, *others = sorted(os.sched_getaffinity(0))
    return Cpus(traffic, frozenset(others or [traffic]))


def go_first() -> None:
    """Lets the calling thread run whenever it wants to (sched(7): SCHED_FIFO), whoever else is at work; where it may not, it waits.

    A nice value would not do: where the kernel groups processes by session, it counts among those of one session only.
    """
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))


@contextmanager
def keep_to(cpus: Collection[int], *, urgent: bool = False) -> Iterator[None]:
    """Keeps the calling thread to these CPUs: one that swaps where packets are made would only slow them down.

    An `urgent` one does not wait for others there, where it may do that.
    """
    before, policy, priority = os.sched_getaffinity(0), os.sched_getscheduler(0), os.sched_getparam(0)
    os.sched_setaffinity(0, cpus)
    try:
        if urgent:
            go_first()
        yield
    finally:
        os.sched_setscheduler(0, policy & ~os.SCHED_RESET_ON_FORK, priority)
        os.sched_setaffinity(0, before)
