"""Network namespaces of devices: which one we are in, and getting into another, known by its inode."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_OURS = "/proc/thread-self/ns/net"
_NAMED = Path("/run/netns")
_CLONE_NEWNET = 0x40000000


def current_namespace() -> int:
    """The inode of the calling thread's network namespace."""
    return os.stat(_OURS).st_ino


def name_of_namespace(inode: int) -> str | None:
    """By what a namespace is found when the machine has been started anew: its name (`ip netns`), or "" for the machine's own.

    None where it is neither, as with a container's.
    """
    with suppress(OSError):
        if os.stat("/proc/1/ns/net").st_ino == inode:
            return ""
    with suppress(FileNotFoundError):
        for path in sorted(_NAMED.iterdir()):
            with suppress(OSError):
                if path.stat().st_ino == inode:
                    return path.name
    return None


def namespace_of_name(name: str) -> int | None:
    """The inode of the namespace of that name, as `name_of_namespace` gives it; None where there is none."""
    with suppress(OSError):
        return os.stat(_NAMED / name if name else "/proc/1/ns/net").st_ino
    return None


@contextmanager
def entered(inode: int) -> Iterator[bool]:
    """Puts the calling thread into the namespace with this inode, and back; False, and nothing done, where it is not found.

    It is found by its name (`ip netns`) or by a process in it. OSError where it may not be entered.
    """
    before = os.open(_OURS, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if os.fstat(before).st_ino == inode:
            yield True
            return
        wanted = _open(inode)
        if wanted is None:
            yield False
            return
        try:
            _enter(wanted)
        finally:
            os.close(wanted)
        try:
            yield True
        finally:
            _enter(before)
    finally:
        os.close(before)


def all_namespaces() -> tuple[int, ...]:
    """The inodes of all network namespaces that can be found: those with a name, and those of processes."""
    found: dict[int, None] = {}
    for path in _candidates():
        with suppress(OSError):
            found[os.stat(path).st_ino] = None
    return tuple(found)


def _open(inode: int) -> int | None:
    for path in _candidates():
        with suppress(OSError):
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            if os.fstat(fd).st_ino == inode:
                return fd
            os.close(fd)
    return None


def _candidates() -> Iterator[str]:
    yield "/proc/1/ns/net"
    with suppress(FileNotFoundError):
        yield from (str(path) for path in _NAMED.iterdir())
    yield from (f"/proc/{name}/ns/net" for name in os.listdir("/proc") if name.isdigit())


def _enter(fd: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(fd, _CLONE_NEWNET):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
