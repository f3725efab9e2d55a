"""Signs of life for what takes long: on standard error, only on a terminal, and only after a second."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PATIENCE = 1.0
"""Seconds of silence."""


@contextmanager
def working(what: str) -> Iterator[None]:
    """Shows a spinner with these words while the body takes long."""
    with progressing(what, 0):
        yield


@contextmanager
def progressing(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Shows a bar while the body takes long; the body says how far of `total` (0: nobody knows) it has come."""
    done = 0

    def so_far(amount: int) -> None:
        nonlocal done
        done = amount

    if not sys.stderr.isatty():
        yield so_far
        return
    over = threading.Event()
    shower = threading.Thread(target=_show, args=(what, total, lambda: done, over), daemon=True)
    shower.start()
    try:
        yield so_far
    finally:
        over.set()
        shower.join()


def _show(what: str, total: int, done: Callable[[], int], over: threading.Event) -> None:
    if over.wait(PATIENCE):
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = [SpinnerColumn(), TextColumn("{task.description}")]
    columns += [BarColumn(), TaskProgressColumn()] if total else []
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total or None)
        while not over.wait(0.1):
            progress.update(task, completed=done())
