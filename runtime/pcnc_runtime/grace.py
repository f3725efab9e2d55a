"""Waiting until no packet can still be inside what was replaced: one RCU grace period."""

from __future__ import annotations

import ctypes
import errno
import os

from pcnc_runtime.kernel_maps import MapType, create_map

_MEMBARRIER_GLOBAL = 1
_MEMBARRIER = {"x86_64": 324, "aarch64": 283, "riscv64": 283, "loongarch64": 283, "ppc64le": 365, "s390x": 356, "armv7l": 389}


def wait_for_packets() -> None:
    """Returns once every program that was running when it was called, on any CPU, has returned: about 10 ms.

    membarrier(2) GLOBAL is a synchronize_rcu(); kernels with nohz_full refuse it, and those whose system calls are not
    numbered here are not asked: there the update of a map of maps, which waits in the same way, takes its place.
    OSError where neither is to be had.
    """
    number = _MEMBARRIER.get(os.uname().machine)
    if number is not None and _membarrier(number):
        return
    _replace_inner_map()


def _membarrier(number: int) -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(ctypes.c_long(number), _MEMBARRIER_GLOBAL, 0, 0) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.EINVAL, errno.ENOSYS, errno.EPERM):
        return False
    raise OSError(code, os.strerror(code))


def _replace_inner_map() -> None:
    """The kernel waits for a grace period before the update of a map of maps returns (`maybe_wait_bpf_programs`, 5.12)."""
    with (
        create_map(MapType.ARRAY, 4, 4, 1, name="grace_inner") as inner,
        create_map(MapType.ARRAY_OF_MAPS, 4, 4, 1, name="grace_outer", inner_map_fd=inner.fd) as outer,
    ):
        outer.set_slot(0, inner.fd)
