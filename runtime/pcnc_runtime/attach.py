"""Programs on devices: XDP by netlink, TC by a filter of the clsact qdisc; what is attached, and taking off what is ours.

Devices are named, or given by index, in the network namespace of the calling thread. An attachment outlives the process.
Nothing here replaces or removes a program of somebody else: XDP is changed with the program that is expected there, in one
step, and a TC filter is ours by its priority, handle and program.
"""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pcnc_runtime.devices import device_index, no_such_device
from pcnc_runtime.errors import RuntimeProblem, problem_from_errno
from pcnc_runtime.libbpf import TcHook, TcOptions, XdpQueryOptions, checked, library, messages
from pcnc_runtime.programs import open_program_by_id, program_id

TC_PRIORITY = 0x70
"""The priority ("pref") of our filters: before the ones that `tc` numbers itself, which begin at 49152 and count down."""

TC_HANDLE = 0x70636E63
"""The handle of our filters, "pcnc" in ASCII."""

_ETH_P_ALL = 0x0003
_ONLY_IF_NONE, _REPLACE = 1, 16  # XDP_FLAGS_* of <linux/if_link.h>
_NO_PROGRAM = -1


class XdpMode(StrEnum):
    """Where XDP runs: in the driver, in the stack (any device can), or in the card, which is only seen here and never chosen."""

    NATIVE = "native"
    GENERIC = "generic"
    OFFLOADED = "offloaded"


class Direction(StrEnum):
    """The two hooks of TC on a device, seen from the stack: `ingress` takes what arrives, `egress` what leaves."""

    INGRESS = "ingress"
    EGRESS = "egress"


_XDP_FLAG = {XdpMode.GENERIC: 2, XdpMode.NATIVE: 4, XdpMode.OFFLOADED: 8}
_TC_ATTACH_POINT = {Direction.INGRESS: 1, Direction.EGRESS: 2}  # enum bpf_tc_attach_point
_TC_PARENT = {Direction.INGRESS: 0xFFFFFFF2, Direction.EGRESS: 0xFFFFFFF3}


@dataclass(frozen=True, slots=True)
class XdpAttachment:
    """An XDP program on a device."""

    mode: XdpMode
    program_id: int


# ---- XDP


def xdp_attachment(device: str | int) -> XdpAttachment | None:
    """The XDP program that a device carries now, whoever attached it. RuntimeProblem `no-such-device`. Cheap."""
    options = XdpQueryOptions(sz=ctypes.sizeof(XdpQueryOptions))
    try:
        checked(library().bpf_xdp_query(device_index(device), 0, ctypes.byref(options)))
    except OSError as error:
        if error.errno == errno.ENODEV:
            raise no_such_device(device) from None
        raise problem_from_errno(error, f"ask what `{device}` carries") from None
    for mode, id in (
        (XdpMode.NATIVE, options.drv_prog_id),
        (XdpMode.GENERIC, options.skb_prog_id),
        (XdpMode.OFFLOADED, options.hw_prog_id),
    ):
        if id:
            return XdpAttachment(mode, id)
    return None


def attach_xdp(device: str | int, program_fd: int, mode: XdpMode | None = None) -> XdpMode:
    """Puts a program on a device that carries none; returns the mode. Without one asked for, native is tried, then generic.

    RuntimeProblem: `device-carries-xdp` names the program that is there; `not-supported` where the driver knows no native XDP;
    `no-such-device`; `no-privilege`.
    """
    index = device_index(device)
    if mode is None:
        try:
            _set_xdp(device, index, program_fd, _XDP_FLAG[XdpMode.NATIVE] | _ONLY_IF_NONE)
        except RuntimeProblem as problem:
            if problem.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ERANGE):
                raise
        else:
            return XdpMode.NATIVE
        mode = XdpMode.GENERIC
    _set_xdp(device, index, program_fd, _XDP_FLAG[mode] | _ONLY_IF_NONE)
    return mode


def replace_xdp(device: str | int, program_fd: int, expected_fd: int, mode: XdpMode) -> None:
    """Puts a program in place of the one expected there, in one step. RuntimeProblem `device-carries-xdp` if it is another."""
    _set_xdp(device, device_index(device), program_fd, _XDP_FLAG[mode] | _REPLACE, expected_fd)


def detach_xdp(device: str | int, expected_fd: int, mode: XdpMode | None = None) -> bool:
    """Takes off the program behind `expected_fd`; False if the device carries none or is gone.

    RuntimeProblem `device-carries-xdp` where it carries another, which stays.
    """
    try:
        found = xdp_attachment(device)
    except RuntimeProblem as problem:
        if problem.name == "no-such-device":
            return False
        raise
    if found is None:
        return False
    _set_xdp(device, device_index(device), _NO_PROGRAM, _XDP_FLAG[mode or found.mode] | _REPLACE, expected_fd)
    return True


def _set_xdp(device: str | int, index: int, fd: int, flags: int, expected_fd: int | None = None) -> None:
    attributes = [("IFLA_XDP_FD", fd), ("IFLA_XDP_FLAGS", flags)]
    if expected_fd is not None:
        attributes.append(("IFLA_XDP_EXPECTED_FD", expected_fd))
    with _route() as route:
        try:
            with _refusals():
                route.link("set", index=index, xdp={"attrs": attributes})
        except OSError as error:
            raise _xdp_problem(error, device) from None


def _xdp_problem(error: OSError, device: str | int) -> RuntimeProblem:
    if error.errno == errno.ENODEV:
        return no_such_device(device)
    if error.errno in (errno.EBUSY, errno.EEXIST):
        with suppress(RuntimeProblem):
            if found := xdp_attachment(device):
                text = f"`{device}` already carries another XDP program: {describe_program(found.program_id)}, {found.mode}"
                return RuntimeProblem("device-carries-xdp", text, "take that off first, or use --hook tc", errno=error.errno)
    if error.errno == errno.EOPNOTSUPP:
        text = f"the driver of `{device}` knows no XDP in this mode"
        return RuntimeProblem("not-supported", text, "use --mode generic, or --hook tc", errno=error.errno)
    return problem_from_errno(error, f"attach to `{device}`")


def describe_program(id: int) -> str:
    """A program for the reader: "`name` (id 7)", or "id 7" where it has no name or cannot be asked."""
    try:
        with open_program_by_id(id) as program:
            name = program.facts.name
    except OSError:
        name = ""
    return f"`{name}` (id {id})" if name else f"id {id}"


# ---- TC


def tc_program_id(device: str | int, direction: Direction) -> int | None:
    """The id of the program in our filter (by priority and handle) on a device's hook; None if there is no such filter. Cheap."""
    hook = TcHook(ctypes.sizeof(TcHook), device_index(device), _TC_ATTACH_POINT[direction], 0)
    options = TcOptions(sz=ctypes.sizeof(TcOptions), handle=TC_HANDLE, priority=TC_PRIORITY)
    with messages():
        result = library().bpf_tc_query(ctypes.byref(hook), ctypes.byref(options))
    if result in (-errno.ENOENT, -errno.EINVAL):  # no filter; no clsact, or no filter of this priority
        return None
    if result == -errno.ENODEV:
        raise no_such_device(device)
    checked(result)
    return int(options.prog_id)


def attach_tc(device: str | int, direction: Direction, program_fd: int, *, name: str = "pcnc") -> bool:
    """Adds our filter (direct action, all protocols) to a device's hook; True if it had to add the clsact qdisc first.

    `name` is what `tc filter show` shows. RuntimeProblem: `device-carries-tc` where our filter is there already;
    `no-such-device`; `no-privilege`.
    """
    index, added = device_index(device), False
    with _route() as route:
        try:
            with suppress(FileExistsError), _refusals():
                route.tc("add", "clsact", index)
                added = True
            try:
                _set_filter(route, "add-filter", index, direction, program_fd, name)
            except BaseException:
                if added:
                    _remove_empty_clsact(route, index)
                raise
        except OSError as error:
            raise _tc_problem(error, device, direction) from None
    return added


def has_clsact(device: str | int) -> bool:
    """Whether a device has the qdisc that filters hang on, whoever added it. RuntimeProblem `no-such-device`."""
    index = device_index(device)
    with _route() as route, _refusals():
        return any(found["index"] == index and found.get_attr("TCA_KIND") == "clsact" for found in route.get_qdiscs(index=index))


def remove_empty_clsact(device: str | int) -> None:
    """For who added it: removes the clsact qdisc if no filter is on it; content where it is gone, or the device."""
    try:
        index = device_index(device)
    except RuntimeProblem:
        return
    with _route() as route:
        try:
            _remove_empty_clsact(route, index)
        except OSError as error:
            if error.errno not in (errno.ENODEV, errno.ENOENT, errno.EINVAL):  # the last: no qdisc there
                raise problem_from_errno(error, f"remove the clsact qdisc of `{device}`") from None


def _remove_empty_clsact(route: Any, index: int) -> None:
    with _refusals():
        if not any(_filters(route, index, direction) for direction in Direction):
            route.tc("del", "clsact", index)


def replace_tc(device: str | int, direction: Direction, program_fd: int, *, name: str = "pcnc") -> None:
    """Puts a program into our filter in place of the one there, in one step. RuntimeProblem as with `attach_tc`."""
    with _route() as route:
        try:
            _set_filter(route, "change-filter", device_index(device), direction, program_fd, name)
        except OSError as error:
            raise _tc_problem(error, device, direction) from None


def _set_filter(route: Any, command: str, index: int, direction: Direction, program_fd: int, name: str) -> None:
    parent = _TC_PARENT[direction]
    settings = {"fd": program_fd, "name": name, "prio": TC_PRIORITY, "protocol": _ETH_P_ALL, "direct_action": True}
    with _refusals():
        route.tc(command, "bpf", index, TC_HANDLE, parent=parent, **settings)


def _tc_problem(error: OSError, device: str | int, direction: Direction) -> RuntimeProblem:
    if error.errno == errno.ENODEV:
        return no_such_device(device)
    if error.errno == errno.EEXIST:
        with suppress(RuntimeProblem, OSError):
            if found := tc_program_id(device, direction):
                text = f"`{device}` already carries our filter on {direction}: {describe_program(found)}"
                return RuntimeProblem("device-carries-tc", text, "unload it first", errno=error.errno)
    return problem_from_errno(error, f"attach to `{device}` {direction}")


def detach_tc(device: str | int, direction: Direction, program_fd: int, *, remove_qdisc: bool = False) -> bool:
    """Removes our filter if it runs this program; False if there is none, or the device is gone.

    With `remove_qdisc`, for who added it, the clsact qdisc goes, too, if no filter is left on either hook. RuntimeProblem
    `device-carries-tc` where the filter runs another program, and stays.
    """
    try:
        index, found = device_index(device), tc_program_id(device, direction)
    except RuntimeProblem as problem:
        if problem.name == "no-such-device":
            return False
        raise
    if found is None:
        return False
    if found != program_id(program_fd):
        text = f"the filter on `{device}` {direction} runs another program: {describe_program(found)}"
        raise RuntimeProblem("device-carries-tc", text, "nothing was removed")
    parent = _TC_PARENT[direction]
    with _route() as route:
        try:
            with _refusals():
                route.tc("del-filter", "bpf", index, TC_HANDLE, parent=parent, prio=TC_PRIORITY, protocol=_ETH_P_ALL)
                if remove_qdisc:
                    _remove_empty_clsact(route, index)
        except OSError as error:
            if error.errno in (errno.ENODEV, errno.ENOENT):
                return False
            raise _tc_problem(error, device, direction) from None
    return True


def _filters(route: Any, index: int, direction: Direction) -> tuple[Any, ...]:
    return tuple(route.get_filters(index=index, parent=_TC_PARENT[direction]))


def filters_before_ours(device: str | int, direction: Direction) -> tuple[str, ...]:
    """The filters on a device's hook that see a packet before ours does, as `tc filter show` names them: "pref 1 bpf `name`"."""
    found: list[str] = []
    with _route() as route, _refusals():
        for each in _filters(route, device_index(device), direction):
            preference = each["info"] >> 16
            if preference > TC_PRIORITY or (preference == TC_PRIORITY and each["handle"] == TC_HANDLE):
                break
            if each["handle"] and not each.get_attr("TCA_CHAIN"):
                options = each.get_attr("TCA_OPTIONS")
                name = options.get_attr("TCA_BPF_NAME") if each.get_attr("TCA_KIND") == "bpf" else ""
                found.append(f"pref {preference} {each.get_attr('TCA_KIND')}{f' `{name}`' if name else ''}")
    return tuple(found)


_MOST_PROGRAMS = 64
_TCX = {Direction.INGRESS: 46, Direction.EGRESS: 47}  # enum bpf_attach_type, from Linux 6.6 on


def tcx_programs(device: str | int, direction: Direction) -> tuple[int, ...]:
    """The ids of programs that sit on a device's hook by TCX, which all come before filters; none where the kernel has no TCX."""
    flags, ids = ctypes.c_uint32(0), (ctypes.c_uint32 * _MOST_PROGRAMS)()
    count = ctypes.c_uint32(_MOST_PROGRAMS)
    result = library().bpf_prog_query(device_index(device), _TCX[direction], 0, ctypes.byref(flags), ids, ctypes.byref(count))
    return tuple(ids[: count.value]) if result == 0 else ()


# ---- netlink


@contextmanager
def _route() -> Iterator[Any]:
    """A netlink socket in the current network namespace. pyroute2 takes 0.15 s to import, and only what attaches needs it."""
    from pyroute2 import IPRoute

    with IPRoute() as route:
        yield route


@contextmanager
def _refusals() -> Iterator[None]:
    """Turns pyroute2's NetlinkError into the OSError that it stands for."""
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        yield
    except NetlinkError as error:
        raise OSError(error.code, str(error)) from None
