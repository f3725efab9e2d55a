"""Stretches that no signal interrupts: a few system calls that belong together, or a library that calls back into Python."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

_HELD = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


@contextmanager
def without_signals() -> Iterator[None]:
    """Holds back what asks the calling thread to end, until the block is over. An exception in a callback would be lost."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
