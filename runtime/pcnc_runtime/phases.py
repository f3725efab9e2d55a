"""When the parts of an operation began and ended, for who measures: without a listener nothing is kept."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of an operation: `load` (maps made and filled, blocks verified and pinned) or `flip` (the entries written).

    Times are `time.perf_counter`'s: on Linux seconds of CLOCK_MONOTONIC, as `bpf_ktime_get_ns` has them.
    """

    name: str
    began: float
    ended: float

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.ended - self.began


_heard: ContextVar[list[Phase] | None] = ContextVar("heard", default=None)


@contextmanager
def phase(name: str) -> Iterator[None]:
    """Tells a listener, if there is one, how long the block took; also where it fails."""
    heard = _heard.get()
    began = time.perf_counter()
    try:
        yield
    finally:
        if heard is not None:
            heard.append(Phase(name, began, time.perf_counter()))


@contextmanager
def listening() -> Iterator[list[Phase]]:
    """Collects the phases of this thread's operations, in the order in which they end, while the block runs."""
    heard: list[Phase] = []
    token = _heard.set(heard)
    try:
        yield heard
    finally:
        _heard.reset(token)
