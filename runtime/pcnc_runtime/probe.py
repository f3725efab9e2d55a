"""What this kernel, and this user, may do: each feature is tried for real, never guessed from a version.

`probe` touches no device and leaves nothing but bpffs mounted. `probe_attaching` attaches to devices of a network namespace
of its own, which goes with the thread that made it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass

from pcnc_runtime.attach import Direction, XdpMode, attach_tc, attach_xdp, detach_tc, detach_xdp
from pcnc_runtime.errors import RuntimeProblem
from pcnc_runtime.grace import wait_for_packets
from pcnc_runtime.kernel_maps import MapType, create_constant_map, create_map
from pcnc_runtime.libbpf import checked, library
from pcnc_runtime.pins import bpffs, pin, unlink
from pcnc_runtime.programs import Program, ProgramType, run_program

_RETURN_ZERO = struct.pack("=BBhi", 0xB7, 0, 0, 0) + struct.pack("=BBhi", 0x95, 0, 0, 0)  # r0 = 0; exit
_HELPER_LOOP = 181
_CLONE_NEWNET = 0x40000000


@dataclass(frozen=True, slots=True)
class Fact:
    """Whether a feature works; if not, the errno (0 where the kernel gave none) and what was said."""

    feature: str
    works: bool
    errno: int = 0
    reason: str = ""


def probe() -> tuple[Fact, ...]:
    """Tries what loading needs: maps, both kinds of program, BTF, `bpf_loop`, running a program, grace periods, pins."""
    return tuple(_try(feature, attempt) for feature, attempt in _ATTEMPTS.items())


def probe_attaching() -> tuple[Fact, ...]:
    """Tries what attaching needs: native XDP (on veth), generic XDP, TC. Takes about a third of a second."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(_probe_attaching_here).result()


def load_minimal(kind: ProgramType) -> Program:
    """A program that returns 0, as no compiler made it. OSError where the kernel refuses."""
    arguments = (kind, b"pcnc_probe", b"Dual BSD/GPL", _RETURN_ZERO, len(_RETURN_ZERO) // 8, None)
    return Program(checked(library().bpf_prog_load(*arguments)))


def _try(feature: str, attempt: Callable[[], None]) -> Fact:
    try:
        attempt()
    except OSError as error:
        return Fact(feature, False, error.errno or 0, os.strerror(error.errno or 0))
    except RuntimeProblem as problem:
        return Fact(feature, False, problem.errno, problem.message)
    return Fact(feature, True)


def _maps() -> None:
    for kind in (MapType.HASH, MapType.ARRAY, MapType.PROG_ARRAY, MapType.PERCPU_ARRAY):
        create_map(kind, 4, 4, 1, name="pcnc_probe").close()
    create_constant_map(bytes(8), name="pcnc_probe").close()


def _program(kind: ProgramType) -> Callable[[], None]:
    return lambda: load_minimal(kind).close()


def _btf() -> None:
    names = b"\0int\0"
    integer = struct.pack("=IIII", 1, 1 << 24, 4, 1 << 24 | 32)
    header = struct.pack("=HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(integer), len(integer), len(names))
    blob = header + integer + names
    os.close(checked(library().bpf_btf_load(blob, len(blob), None)))


def _loop() -> None:
    load_minimal(ProgramType.XDP).close()  # without privilege the question below is answered yes
    if not checked(library().libbpf_probe_bpf_helper(ProgramType.XDP, _HELPER_LOOP, None)):
        raise OSError(errno.EINVAL, "unknown helper")


def _test_run() -> None:
    with load_minimal(ProgramType.XDP) as program:
        run_program(program.fd, bytes(64))


def _pins() -> None:
    with create_map(MapType.ARRAY, 4, 4, 1, name="pcnc_probe") as made:
        path = bpffs() / f"pcnc_probe_{os.getpid()}"
        pin(made.fd, path)
        unlink(path)


_ATTEMPTS: dict[str, Callable[[], None]] = {
    "maps": _maps,
    "XDP programs": _program(ProgramType.XDP),
    "TC programs": _program(ProgramType.SCHED_CLS),
    "BTF": _btf,
    "bpf_loop": _loop,
    "BPF_PROG_TEST_RUN": _test_run,
    "grace periods": wait_for_packets,
    "pins": _pins,
}


def _probe_attaching_here() -> tuple[Fact, ...]:
    features = (*(f"attaching {mode} XDP" for mode in (XdpMode.NATIVE, XdpMode.GENERIC)), "attaching to TC")
    try:
        _enter_new_namespace()
    except OSError as error:
        return tuple(Fact(feature, False, error.errno or 0, "cannot make a network namespace") for feature in features)
    attempts = (lambda: _attach_xdp(XdpMode.NATIVE), lambda: _attach_xdp(XdpMode.GENERIC), _attach_tc)
    return tuple(_try(feature, attempt) for feature, attempt in zip(features, attempts, strict=True))


def _enter_new_namespace() -> None:
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    try:
        with IPRoute() as route:
            route.link("add", ifname="probe0", kind="veth", peer={"ifname": "probe1"})
    except NetlinkError as error:
        raise OSError(error.code, str(error)) from None


def _attach_xdp(mode: XdpMode) -> None:
    with load_minimal(ProgramType.XDP) as program:
        attach_xdp("probe0", program.fd, mode)
        detach_xdp("probe0", program.fd, mode)


def _attach_tc() -> None:
    with load_minimal(ProgramType.SCHED_CLS) as program:
        for direction in Direction:
            attach_tc("probe0", direction, program.fd)
            detach_tc("probe0", direction, program.fd)
