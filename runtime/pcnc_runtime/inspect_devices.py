"""What devices carry now where we put something, and what others did beside it: asked of the kernel, for `show`."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress

from pcnc_runtime.attach import describe_program, filters_before_ours, tc_program_id, tcx_programs, xdp_attachment
from pcnc_runtime.attachments import DIRECTIONS, state_here
from pcnc_runtime.changes import Attachment, AttachState
from pcnc_runtime.devices import device_facts
from pcnc_runtime.errors import RuntimeProblem
from pcnc_runtime.moved_devices import find_moved
from pcnc_runtime.namespaces import current_namespace, entered, name_of_namespace
from pcnc_runtime.records import AttachedAt, State


def inspect_devices(state: State) -> tuple[Attachment, ...]:
    """What the devices of a service carry now, each with a remark where others changed something."""
    try:
        with entered(state.namespace) as found:
            return tuple(_inspect(at, found) for at in state.attachments)
    except OSError:
        return tuple(_report(at, "its network namespace cannot be entered", "unknown") for at in state.attachments)


def _inspect(at: AttachedAt, found: bool) -> Attachment:
    if not at.program_id:
        return _report(at, "", "saved")
    state = state_here(at) if found else "gone"
    match state:
        case "attached":
            return _report(at, "; ".join(_beside(at)), state)
        case "replaced":
            return _report(at, f"{_carried(at)} is there by now", state)
        case "gone":
            return _gone(at, found)
        case "detached":
            return _report(at, "taken off by somebody", state)
    return _report(at, "", state)


def _report(at: AttachedAt, remark: str, state: AttachState) -> Attachment:
    return Attachment(at.device, at.index, at.chain, at.hook, at.mode, state, remark)


def _gone(at: AttachedAt, found: bool) -> Attachment:
    moved = find_moved(at, current_namespace() if found else None)
    if moved is None:
        with suppress(OSError):
            if found and socket.if_nametoindex(at.device):
                return _report(at, "the device is gone, and another one has its name", "gone")
        return _report(at, "the device is gone" if found else "its network namespace is gone", "gone")
    namespace, index = moved
    with entered(namespace):
        device = socket.if_indextoname(index)
    name = name_of_namespace(namespace)
    where = {None: f"network namespace {namespace}", "": "the machine's own network namespace"}
    return _report(at, f"moved to {where.get(name, f'network namespace {name}')}, as {device}", "moved")


def _carried(at: AttachedAt) -> str:
    with suppress(RuntimeProblem):
        if at.hook == "tc":
            id = tc_program_id(at.index, DIRECTIONS[at.chain])
        else:
            found = xdp_attachment(at.index)
            id = found.program_id if found else None
        if id is not None:
            return f"program {describe_program(id)}"
    return "another program"


def _beside(at: AttachedAt) -> Iterator[str]:
    """What is to be known of a device that carries our program."""
    with suppress(RuntimeProblem):
        device = device_facts(at.index)
        if device.name != at.device:
            yield f"the device is named {device.name} now"
        if not device.is_up:
            yield "its link is down"
        if at.hook == "xdp":
            found = xdp_attachment(at.index)
            if found is not None and found.mode != at.mode:
                yield f"somebody made it run in {found.mode} mode"
            return
        direction = DIRECTIONS[at.chain]
        first = [f"program {describe_program(id)}" for id in tcx_programs(at.index, direction)]
        first += filters_before_ours(at.index, direction)
        if first:
            yield f"packets come to others first, which may end their way: {', '.join(first)}"
