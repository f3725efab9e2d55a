"""The entries of chains: what sits on the devices while generations come and go, and the bypass of those that lack a chain.

A change may bring a chain or end one. Its entry comes before the flip and goes after it, and so that one write decides for this
chain as for any other, the generation without the chain has a *bypass* in its place: one block that lets every packet on.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace

from pcnc.manifest import EntryPlan, Hook
from pcnc_runtime.attach import XdpMode
from pcnc_runtime.attachments import attach_all, detach_all, devices_here
from pcnc_runtime.bundle_store import StoredBundle
from pcnc_runtime.counts import NO_GENERATION
from pcnc_runtime.errors import RuntimeProblem, problem_from_errno
from pcnc_runtime.generation import BYPASS, CHAIN_PINS, is_whole
from pcnc_runtime.grace import wait_for_packets
from pcnc_runtime.kernel_maps import MapType, create_map
from pcnc_runtime.namespaces import entered
from pcnc_runtime.objects import load_program
from pcnc_runtime.pins import open_map, pin, unlink
from pcnc_runtime.programs import Program, ProgramType, load_instructions, program_id
from pcnc_runtime.records import AttachedAt, Carried, Generation, State
from pcnc_runtime.signals import without_signals
from pcnc_runtime.state import Place

_LET_ON: Mapping[Hook, tuple[ProgramType, int]] = {"xdp": (ProgramType.XDP, 2), "tc": (ProgramType.SCHED_CLS, -1)}
"""XDP_PASS, and TC_ACT_UNSPEC: the next filter decides."""


def make_entry(place: Place, plan: EntryPlan, stored: StoredBundle, first: Program | None = None) -> Program:
    """Makes and pins a chain's entry: the array of one slot, the count of packets that find it empty, the program.

    `first` is what the slot holds from the start. RuntimeProblem, and what is pinned by then stays for the caller to remove.
    """
    folder, chain = place.pins, plan.chain
    try:
        with (
            create_map(MapType.PROG_ARRAY, 4, 4, 1, name="entry") as entry,
            create_map(MapType.PERCPU_ARRAY, 4, 8, 1, name="fallen") as fallen,
        ):
            given = {"blocks": entry.fd, "verdicts": fallen.fd}
            with without_signals():
                program = load_program(stored.read(plan.object), maps=given, name=f"entry_{chain}")
            try:
                if program.facts.name != f"pcnc_{chain}":
                    text = f"what is to be the entry of chain `{chain}` is a program `{program.facts.name}`"
                    raise RuntimeProblem("broken-bundle", text, "build it again")
                if first is not None:
                    entry.set_slot(0, first.fd)
                pin(fallen.fd, folder / f"fallen_{chain}")
                pin(program.fd, folder / f"program_{chain}")
                # Last: by this one the others see that the service has the chain.
                pin(entry.fd, folder / f"entry_{chain}")
            except BaseException:
                program.close()
                raise
            return program
    except OSError as error:
        raise problem_from_errno(error, f"make the entry of chain `{chain}`") from None


def make_bypass(place: Place, number: int, chain: str, hook: Hook) -> Program:
    """Gives a generation that lacks a chain one block that lets every packet on; returns that, for the caller to close."""
    kind, verdict = _LET_ON[hook]
    # r0 = verdict; exit
    code = struct.pack("=BBhi", 0xB7, 0, 0, verdict) + struct.pack("=BBhi", 0x95, 0, 0, 0)
    try:
        with create_map(MapType.PROG_ARRAY, 4, 4, 1, name="bypass") as blocks:
            program = load_instructions(kind, code, "bypass")
            try:
                blocks.set_slot(0, program.fd)
                path = place.generation(number) / f"{BYPASS}_{chain}"
                unlink(path)
                pin(blocks.fd, path)
            except BaseException:
                program.close()
                raise
            return program
    except OSError as error:
        raise problem_from_errno(error, f"make the bypass of chain `{chain}`") from None


Tell = Callable[[tuple[AttachedAt, ...]], None]


def fit_chains(place: Place, state: State, target: Generation, stored: StoredBundle, tell: Tell) -> tuple[AttachedAt, ...]:
    """Sees to it that one write an entry takes packets from the live generation to `target`, whatever chains the two have.

    Chains that only the target has get an entry on all devices, which holds the live generation's bypass until then: no packet
    notices. For chains that only the live one has the target gets a bypass. `tell` hears of every attachment before it is made;
    returned are all of the service. `stored` is the target's bundle.
    """
    live = state.kept[0]
    old, manifest = state.summaries[live].chains, stored.manifest
    for chain in old.keys() - target.chains.keys():
        if not is_whole(place, target.number, (chain,)):
            make_bypass(place, target.number, chain, "tc" if chain == "egress" else manifest.hook).close()
    plans = [plan for plan in manifest.entries if plan.chain not in old]
    if not plans:
        return state.attachments
    with ExitStack() as stack:
        entries: dict[str, Program] = {}
        for plan in plans:
            bypass = stack.enter_context(make_bypass(place, live, plan.chain, plan.hook))
            entries[plan.chain] = stack.enter_context(make_entry(place, plan, stored, bypass))
        return _attach(place, state, plans, entries, tell)


def _attach(
    place: Place, state: State, plans: Sequence[EntryPlan], entries: Mapping[str, Program], tell: Tell
) -> tuple[AttachedAt, ...]:
    """Puts the entries of new chains on the devices of a service. Those that are gone are named all the same."""
    with without_signals(), entered(state.namespace) as found:
        there, done = devices_here(state.attachments) if found else (), state.attachments
        for name, index in dict.fromkeys((at.device, at.index) for at in state.attachments):
            if all(device.index != index for device in there):
                ids = {chain: program_id(entry.fd) for chain, entry in entries.items()}
                done = (*done, *(AttachedAt(name, index, plan.chain, plan.hook, "", ids[plan.chain]) for plan in plans))
        mode = XdpMode(state.mode) if state.mode else None
        return attach_all(there, plans, entries, mode, place.name, tell, done)


def drop_chains(place: Place, state: State, chains: Collection[str]) -> State:
    """Takes chains off the devices and lets go of their entries, which hold a bypass by now, or never held anything else.

    Where something cannot be taken off, that is raised, and what is written down still names it.
    """
    off = tuple(at for at in state.attachments if at.chain in chains)
    if off:
        detach_all(state.namespace, off)
        remaining = tuple(at for at in state.attachments if at.chain not in chains)
        state = replace(state, attachments=remaining, carried=_with_fallen(place, state.carried, chains))
        place.write(state)
    wait_for_packets()
    for chain in chains:
        for each in CHAIN_PINS:
            unlink(place.pins / f"{each}_{chain}")
        for number in place.pinned_generations():
            unlink(place.generation(number) / f"{BYPASS}_{chain}")
    return state


def _with_fallen(place: Place, carried: Carried, chains: Collection[str]) -> Carried:
    """The totals with the packets that found the entries of these chains empty, whose counts go."""
    reasons = {chain: dict(counts) for chain, counts in carried.reasons.items()}
    for chain in chains:
        with suppress(FileNotFoundError), open_map(place.pins / f"fallen_{chain}") as fallen:
            if count := (fallen.sum_per_cpu(0) or (0,))[0]:
                counts = reasons.setdefault(chain, {})
                counts[NO_GENERATION] = counts.get(NO_GENERATION, 0) + count
    return replace(carried, reasons=reasons)
