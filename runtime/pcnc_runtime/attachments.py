"""The entry programs of a service on its devices: putting them on, all or none, and taking off what is still there."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from pcnc.manifest import EntryPlan, Variant
from pcnc.program_words import ChainName
from pcnc_runtime.attach import (
    Direction,
    XdpMode,
    attach_tc,
    attach_xdp,
    detach_tc,
    detach_xdp,
    has_clsact,
    remove_empty_clsact,
    replace_tc,
    replace_xdp,
    tc_program_id,
    xdp_attachment,
)
from pcnc_runtime.changes import Attachment, AttachState, Moves
from pcnc_runtime.devices import DeviceFacts, device_facts
from pcnc_runtime.errors import RuntimeProblem, problem_from_errno
from pcnc_runtime.moved_devices import find_moved
from pcnc_runtime.namespaces import current_namespace, entered
from pcnc_runtime.pins import list_pins, open_program
from pcnc_runtime.programs import Program, open_program_by_id, program_id
from pcnc_runtime.records import AttachedAt, State
from pcnc_runtime.signals import without_signals
from pcnc_runtime.state import Place, names_with_records, place_of

DIRECTIONS: Mapping[ChainName, Direction] = {"ingress": Direction.INGRESS, "egress": Direction.EGRESS}


def check_devices(devices: Sequence[str]) -> tuple[DeviceFacts, ...]:
    """What the devices are. RuntimeProblem `no-devices`, `no-such-device`, `no-ethernet`."""
    if not devices:
        raise RuntimeProblem("no-devices", "a service needs a device to sit on", "--dev DEVICE")
    facts = tuple(device_facts(device) for device in dict.fromkeys(devices))
    for device in facts:
        if not device.has_ethernet:
            text = f"frames on `{device.name}` have no Ethernet header, and every program begins with that"
            raise RuntimeProblem("no-ethernet", text, "take a device with Ethernet framing", errno=errno.EOPNOTSUPP)
    return facts


def devices_here(attachments: Sequence[AttachedAt]) -> tuple[DeviceFacts, ...]:
    """The devices of a service that are still there, in the calling thread's namespace."""
    found: list[DeviceFacts] = []
    for index in dict.fromkeys(at.index for at in attachments):
        with suppress(RuntimeProblem):
            found.append(device_facts(index))
    return tuple(found)


def unfinished_checksums(variants: Sequence[Variant], devices: Sequence[DeviceFacts]) -> tuple[str, ...]:
    """A warning for each device where XDP rewrites what a transport checksum covers, and may meet frames without one.

    See `DeviceFacts.leaves_checksums_unfinished`.
    """
    chains = (chain for variant in variants for chain in variant.chains if chain.hook == "xdp")
    fields = sorted({field for chain in chains for field in chain.rewrites})
    if not fields:
        return ()
    return tuple(
        f"frames of local sockets may reach `{device.name}` with unfinished checksums, and XDP rewrites {', '.join(fields)}: "
        "at the other end `ethtool -K PEER tx off`, or here --hook tc"
        for device in devices
        if device.leaves_checksums_unfinished
    )


def attach_all(
    devices: Sequence[DeviceFacts],
    entries: Sequence[EntryPlan],
    programs: Mapping[str, Program],
    mode: XdpMode | None,
    name: str,
    tell: Callable[[tuple[AttachedAt, ...]], None],
    done: tuple[AttachedAt, ...] = (),
) -> tuple[AttachedAt, ...]:
    """Puts the entry programs on the devices. Before each `tell` hears all that may be on devices from now on.

    `done` is what is on them already, and is told and returned as well. What was put on stays where this fails, and has been told:
    the caller takes it off.
    """
    for device in devices:
        for entry in sorted(entries, key=lambda entry: entry.chain):
            program = programs[entry.chain]
            planned = AttachedAt(device.name, device.index, entry.chain, entry.hook, "", program_id(program.fd))
            planned = with_qdisc(planned, done)
            tell((*done, planned))
            with without_signals():  # the netlink library does not survive an interrupt
                done = (*done, _attach(planned, program, mode, name, done))
    tell(done)
    return done


def with_qdisc(planned: AttachedAt, beside: Sequence[AttachedAt]) -> AttachedAt:
    """What is to be written down before something is attached: until it is known who added the clsact qdisc, it counts as ours.

    It goes only when it is empty. `beside` is what is attached.
    """
    if planned.hook == "xdp" or planned.added_qdisc:
        return planned
    with without_signals():
        return replace(planned, added_qdisc=_brought_clsact(planned.index, beside) or not has_clsact(planned.index))


def _brought_clsact(index: int, beside: Sequence[AttachedAt]) -> bool:
    """Whether a service of ours brought the clsact qdisc of a device: whichever attachment is the last to go removes it."""
    return any(at.added_qdisc for at in beside if at.index == index) or _brought_by_another(index)


def _brought_by_another(index: int) -> bool:
    found: list[AttachedAt] = []
    for name in names_with_records():
        with suppress(RuntimeProblem):
            state = place_of(name).read()
            if state is not None and state.namespace == current_namespace():
                found += state.attachments
    return any(at.index == index and at.added_qdisc and at.program_id for at in found)


def _attach(planned: AttachedAt, program: Program, mode: XdpMode | None, name: str, done: Sequence[AttachedAt]) -> AttachedAt:
    if planned.hook == "xdp":
        return replace(planned, mode=attach_xdp(planned.device, program.fd, mode).value)
    added = attach_tc(planned.device, DIRECTIONS[planned.chain], program.fd, name=f"pcnc_{name}")
    return replace(planned, added_qdisc=added or _brought_clsact(planned.index, done))


def put_on(
    planned: AttachedAt, was: AttachedAt, program: Program, mode: XdpMode | None, name: str, beside: Sequence[AttachedAt]
) -> AttachedAt:
    """Puts an entry program on a device of the calling thread's namespace, in one step in place of the one that is there yet.

    `beside` is what is attached, or was by what is written down.
    """
    with without_signals():
        if was.program_id == planned.program_id or replace(was, index=planned.index) != was or state_here(was) != "attached":
            return _attach(planned, program, mode, name, beside)
        if was.hook == "xdp":
            with open_program_by_id(was.program_id) as old:
                replace_xdp(was.index, program.fd, old.fd, XdpMode(was.mode))
        else:
            replace_tc(was.index, DIRECTIONS[was.chain], program.fd, name=f"pcnc_{name}")
        return planned


def detach_all(namespace: int, attachments: Sequence[AttachedAt]) -> tuple[Attachment, ...]:
    """Takes our programs off devices; what each carried before. Where another program is by now, it stays."""
    with without_signals(), entered(namespace) as found:
        if not found:
            return tuple(_report(at, _detach_elsewhere(at, None)) for at in attachments)
        # An added clsact can go only when the filters of both directions are off.
        ordered = sorted(attachments, key=lambda at: at.added_qdisc)
        reports: dict[AttachedAt, Attachment] = {}
        for at in ordered:
            try:
                reports[at] = _report(at, _detach(at))
            except (RuntimeProblem, OSError) as error:
                raise _stays_on(at, error, list(reports)) from None
    return tuple(reports[at] for at in attachments)


def _stays_on(at: AttachedAt, error: RuntimeProblem | OSError, off: Sequence[AttachedAt]) -> RuntimeProblem:
    """What is told where a program cannot be taken off: which one, and which ones are off already."""
    with suppress(RuntimeProblem, OSError):
        if state_here(at) != "attached":  # its filter is off, and the qdisc stays
            off = [*off, at]
    problem = problem_from_errno(OSError(error.errno or 0, ""), f"take all of it off `{at.device}` {at.chain}")
    if not error.errno and isinstance(error, RuntimeProblem):
        problem = error
    already = ", ".join(f"`{each.device}` {each.chain}" for each in off)
    text = f"{problem.message}{f'; off already: {already}' if already else ''}"
    return RuntimeProblem(problem.name, text, "what is on goes on; the same command again goes on from there", errno=problem.errno)


def _detach(at: AttachedAt) -> AttachState:
    state = state_here(at)
    if state == "gone":
        return _detach_elsewhere(at, current_namespace())
    if state == "detached" and at.added_qdisc:
        remove_empty_clsact(at.index)
    if state != "attached":
        return state
    try:
        with open_program_by_id(at.program_id) as program:
            if at.hook == "xdp":
                off = detach_xdp(at.index, program.fd)
            else:
                off = detach_tc(at.index, DIRECTIONS[at.chain], program.fd, remove_qdisc=at.added_qdisc)
    except RuntimeProblem as problem:
        if problem.name in ("device-carries-xdp", "device-carries-tc"):
            return "replaced"
        raise
    except FileNotFoundError:
        return "detached"
    return "attached" if off else "detached"


def attachment_states(state: State) -> tuple[Attachment, ...]:
    """What the devices carry now. `inspect_devices` tells more."""
    try:
        with entered(state.namespace) as found:
            return tuple(_report(at, state_here(at) if found or not at.program_id else "gone") for at in state.attachments)
    except OSError:
        return tuple(_report(at, "unknown") for at in state.attachments)


def _detach_elsewhere(at: AttachedAt, home: int | None) -> AttachState:
    """Takes our program off a device that is in another namespace by now."""
    if not at.program_id:
        return "saved"
    found = find_moved(at, home)
    if found is None:
        return "gone"
    namespace, index = found
    with entered(namespace) as there:
        if there and _detach(replace(at, index=index)) == "attached":
            return "moved"
    return "gone"


def planned_moves(attachments: Sequence[AttachedAt], chains: Collection[str], entries: Sequence[EntryPlan]) -> Moves:
    """What a change of a service with these chains to one with these entries would put on its devices and take off them."""
    devices = dict.fromkeys((at.device, at.index) for at in attachments)
    wanted = {plan.chain for plan in entries}
    return Moves(
        tuple(Attachment(*at, plan.chain, plan.hook, "") for at in devices for plan in entries if plan.chain not in chains),
        tuple(_report(at, "attached") for at in attachments if at.chain not in wanted),
    )


def state_here(at: AttachedAt) -> AttachState:
    """What a device of the calling thread's namespace carries where we put something."""
    if not at.program_id:
        return "saved"
    try:
        if at.hook == "xdp":
            found = xdp_attachment(at.index)
            carried = found.program_id if found else None
        else:
            carried = tc_program_id(at.index, DIRECTIONS[at.chain])
    except RuntimeProblem as problem:
        if problem.name == "no-such-device":
            return "gone"
        raise
    if carried is None:
        return "detached"
    return "attached" if carried == at.program_id else "replaced"


def _report(at: AttachedAt, state: AttachState) -> Attachment:
    return Attachment(at.device, at.index, at.chain, at.hook, at.mode, state)


def find_attachments(place: Place) -> tuple[AttachedAt, ...]:
    """Where the pinned entry programs are, on devices of the calling thread's namespace, when nothing is written down of it."""
    return tuple(_search(place))


def _search(place: Place) -> Iterator[AttachedAt]:
    for pinned in list_pins(place.pins):
        if not pinned.startswith("program_"):
            continue
        chain: ChainName = "egress" if pinned == "program_egress" else "ingress"
        with open_program(place.pins / pinned) as program:
            id = program_id(program.fd)
        for index, device in socket.if_nameindex():
            with suppress(RuntimeProblem):
                found = xdp_attachment(index)
                if found is not None and found.program_id == id:
                    yield AttachedAt(device, index, chain, "xdp", found.mode.value, id)
                if tc_program_id(index, DIRECTIONS[chain]) == id:
                    yield AttachedAt(device, index, chain, "tc", "", id)
