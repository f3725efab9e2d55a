"""Network namespaces of devices: which one we are in, getting into another by its inode, and what sort of devices are there."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pcnc_runtime.attach import device_index
from pcnc_runtime.errors import RuntimeProblem, problem_from_errno

_OURS = "/proc/thread-self/ns/net"
_NAMED = Path("/run/netns")
_CLONE_NEWNET = 0x40000000
_SIOCGIFHWADDR = 0x8927
_ETHERNET, _LOOPBACK = 1, 772  # ARPHRD_*: frames on the loopback device have an Ethernet header, too


def current_namespace() -> int:
    """The inode of the calling thread's network namespace."""
    return os.stat(_OURS).st_ino


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


def _open(inode: int) -> int | None:
    for path in _candidates():
        with suppress(OSError):
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            if os.fstat(fd).st_ino == inode:
                return fd
            os.close(fd)
    return None


def _candidates() -> Iterator[str]:
    with suppress(FileNotFoundError):
        yield from (str(path) for path in _NAMED.iterdir())
    yield from (f"/proc/{name}/ns/net" for name in os.listdir("/proc") if name.isdigit())


def _enter(fd: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(fd, _CLONE_NEWNET):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def check_ethernet(device: str) -> int:
    """The index of a device whose frames begin with an Ethernet header. RuntimeProblem `no-such-device`, `no-ethernet`."""
    index = device_index(device)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        try:
            answer = fcntl.ioctl(control, _SIOCGIFHWADDR, struct.pack("16s24x", device.encode()))
        except OSError as error:
            raise problem_from_errno(error, f"ask what `{device}` is") from None
    (kind,) = struct.unpack_from("=H", answer, 16)
    if kind not in (_ETHERNET, _LOOPBACK):
        text = f"frames on `{device}` have no Ethernet header, and every program begins with that"
        raise RuntimeProblem("no-ethernet", text, "attach to a device with Ethernet framing", errno=errno.EOPNOTSUPP)
    return index
