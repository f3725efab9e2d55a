"""Devices that somebody has moved to another network namespace: XDP goes along with them, filters of TC do not."""

from __future__ import annotations

import socket
from contextlib import suppress

from pcnc_runtime.attach import xdp_attachment
from pcnc_runtime.errors import RuntimeProblem
from pcnc_runtime.namespaces import all_namespaces, entered
from pcnc_runtime.records import AttachedAt


def find_moved(at: AttachedAt, home: int | None) -> tuple[int, int] | None:
    """The namespace (its inode) and index of the device that carries the program now; None where no device does.

    Numbers of programs are the same in all namespaces. `home` is the namespace that it is not in any more, None where that one is
    gone itself: other devices there may carry the same program by right.
    """
    if at.hook != "xdp" or not at.program_id:
        return None
    for namespace in all_namespaces():
        if namespace == home:
            continue
        with suppress(OSError), entered(namespace) as found:
            if found and (index := _index_with(at.program_id, at.index)) is not None:
                return namespace, index
    return None


def _index_with(program: int, likely: int) -> int | None:
    """The device of the calling thread's namespace that carries a program. A device keeps its index where that is free."""
    indexes = [index for index, _ in socket.if_nameindex()]
    for index in sorted(indexes, key=lambda index: index != likely):
        with suppress(RuntimeProblem):
            attached = xdp_attachment(index)
            if attached is not None and attached.program_id == program:
                return index
    return None
