"""Ownership of file descriptors: who closes what."""

from __future__ import annotations

import fcntl
import os
from typing import Self


class Descriptor:
    """Owns one file descriptor: closed at the end of a `with`, by `close`, or when the last reference goes."""

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    @property
    def fd(self) -> int:
        """The descriptor, lent. ValueError once it is closed."""
        if self._fd < 0:
            raise ValueError("the descriptor is closed")
        return self._fd

    def fileno(self) -> int:
        """The same, as the standard library asks for it."""
        return self.fd

    def close(self) -> None:
        """Closes it; harmless a second time."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0:
            self.close()


def duplicate(fd: int) -> int:
    """A second descriptor of the same thing, closed on exec; the caller owns it."""
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)


def kind_of(fd: int) -> str:
    """What a descriptor of the kernel's own making stands for: "bpf-map", "bpf-prog", …; anything for an ordinary file."""
    return os.readlink(f"/proc/self/fd/{fd}").removeprefix("anon_inode:").strip("[]")
