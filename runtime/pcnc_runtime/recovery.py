"""From one generation to the next, and back to order after a command that died: whatever it was doing, the next one goes on.

What the entry holds decides. Before it was written, the old generation is whole and in force; after, the new one is.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from pcnc_runtime.bundle_store import VARIANTS
from pcnc_runtime.changes import Attachment
from pcnc_runtime.counts import ReadRecord, carry
from pcnc_runtime.describe_change import complete_entry
from pcnc_runtime.errors import RuntimeProblem, problem_from_errno
from pcnc_runtime.generation import BYPASS, CHAIN_PINS, chains_of, is_whole, put_into_force, runs_in
from pcnc_runtime.grace import wait_for_packets
from pcnc_runtime.history import add_entry
from pcnc_runtime.history_entry import HistoryEntry
from pcnc_runtime.pins import list_pins, remove_tree
from pcnc_runtime.records import Carried, State
from pcnc_runtime.state import Place, remove_lock, run_folder

_KEPT = 2
"""The live generation and the one before it."""


def recover(place: Place) -> State | None:
    """Brings a service back to order, under its lock; None where none is loaded.

    RuntimeProblem: `pins-lost` where its pins were removed, `records-lost` where its records were; both ask for `unload`.
    `not-restored` where the machine was started anew since.
    """
    state = place.read()
    if state is None:
        _recover_without_state(place)
        return None
    if state.phase == "restoring":
        undo_restore(place, state)
        return recover(place)
    if state.phase == "saved":
        raise not_restored(place.name)
    if state.phase != "loaded":
        tear_down(place, state)
        return None
    there = chains_of(place)
    if any(chain not in there for chain in state.summaries[state.kept[0]].chains):
        text = f"the pins of `{place.name}` were removed: its blocks are gone, and its devices drop every packet"
        raise RuntimeProblem("pins-lost", text, f"pcnc restore {place.name}")
    if state.target:
        if any(runs_in(place, chain, state.target[0]) for chain in chains_of(place)):
            put_into_force(place, state.target[0])
            return settle(place, state, lru_cache(maxsize=4)(place.read_record))
        state = replace(state, target=(), coming=None)
        place.write(state)
    elif place.pending.exists():
        place.write(state)  # who wrote it died before it could last
    return sweep(place, write_history(place, state))


def write_history(place: Place, state: State) -> State:
    """Writes down that a generation came into force, where that is known and not written yet."""
    if state.coming is None:
        return state
    add_entry(place.history, state.coming)
    written = replace(state, coming=None)
    place.write(written)
    return written


def whole_entry(place: Place, entry: HistoryEntry, read_record: ReadRecord) -> HistoryEntry:
    """An entry with what the command that died had no time to find out, as far as that can be read."""
    if entry.is_bare:
        with suppress(RuntimeProblem):
            return complete_entry(place, entry, read_record)[0]
    return entry


def undo_restore(place: Place, state: State) -> None:
    """Undoes what a restore has done until now: what is written down is what it was before. The opposite of `restore`."""
    from pcnc_runtime.attachments import detach_all

    detach_all(state.namespace, state.attachments)
    wait_for_packets()
    remove_tree(place.pins)
    place.record(state.last).unlink(missing_ok=True)
    place.pending.unlink(missing_ok=True)


def _recover_without_state(place: Place) -> None:
    if list_pins(place.pins):
        from pcnc_runtime.attachments import find_attachments

        if found := find_attachments(place):
            devices = ", ".join(f"`{at.device}`" for at in found)
            text = f"the records of `{place.name}` were removed, while its programs are on {devices}"
            raise RuntimeProblem("records-lost", text, f"pcnc unload {place.name}")
        remove_tree(place.pins)
    if place.folder.exists():
        place.remove_files()


def settle(place: Place, state: State, read_record: ReadRecord) -> State:
    """Waits until no packet is in what was replaced, keeps its counts, and lets go of all but the target and its previous.

    That the target is in force is known by now, and the history says so.
    """
    kept = state.target[:_KEPT]
    wait_for_packets()
    carried = carry(place, state, kept, read_record)
    summaries = {number: state.summaries[number] for number in kept}
    if state.coming is not None:
        add_entry(place.history, whole_entry(place, state.coming, read_record))
    settled = replace(state, kept=kept, target=(), carried=carried, summaries=summaries, coming=None)
    place.write(settled)
    return _let_go(place, settled, waited=True)


def sweep(place: Place, state: State) -> State:
    """Removes what a command that died left behind; the state after that."""
    return _let_go(place, state, waited=False)


def tidy_up(place: Place) -> None:
    """Removes what a change has made that failed before it was in force. Where that cannot be done the next command does it."""
    with suppress(OSError, RuntimeProblem):
        state = place.read()
        if state is not None and state.phase == "loaded" and not state.target:
            sweep(place, state)


def _let_go(place: Place, state: State, *, waited: bool) -> State:
    state = end_chains(place, state)
    _remove_unmentioned(place, state, waited=waited)
    return state


def end_chains(place: Place, state: State) -> State:
    """Takes chains that the live generation does not have off the devices, and lets go of their entries; the state after that."""
    pinned = (name.partition("_") for name in list_pins(place.pins))
    live = state.kept[0]
    bypassed = (name.partition("_") for name in list_pins(place.generation(live)))
    found = {chain for kind, _, chain in pinned if kind in CHAIN_PINS}.union(at.chain for at in state.attachments)
    found.update(chain for kind, _, chain in bypassed if kind == BYPASS)
    ended = found.difference(state.summaries[live].chains)
    if not ended:
        return state
    from pcnc_runtime.chain_entries import drop_chains  # devices are touched only where something comes or goes

    return drop_chains(place, state, ended)


def _remove_unmentioned(place: Place, state: State, *, waited: bool) -> None:
    leftover = [number for number in place.pinned_generations() if number not in state.mentioned]
    if leftover and not waited:
        wait_for_packets()
    for number in leftover:
        remove_tree(place.generation(number))
    variants = (bundle / VARIANTS for bundle in _files(place.bundles))
    for path in (path for folder in (place.folder, *variants) for path in _files(folder)):
        if path.name.startswith("."):  # what is written beside until it is whole
            _remove(path)
    mentioned = [state.summaries[number] for number in state.mentioned]
    _keep_only(place.record(0).parent, {f"{number}.json" for number in state.mentioned})
    _keep_only(place.bundles, {each.bundle for each in mentioned})
    _keep_only(place.sources, {f"{each.source}.json" for each in mentioned})


def _files(folder: Path) -> list[Path]:
    with suppress(FileNotFoundError):
        return list(folder.iterdir())
    return []


def _keep_only(folder: Path, names: Iterable[str]) -> None:
    for path in _files(folder):
        if path.name not in names:
            _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def is_in_order(place: Place, state: State) -> bool:
    """Whether packets go to the live generation and it is whole. Where not, they are dropped, until the next change mends that."""
    live = state.kept[0]
    return is_whole(place, live, chains_of(place)) and all(runs_in(place, chain, live) for chain in chains_of(place))


def has_its_counts(place: Place, state: State) -> bool:
    """Whether all maps of counts of the live generation are pinned. Where not, the next change begins with new ones."""
    live = state.kept[0]
    maps, pins = state.summaries[live], set(list_pins(place.generation(live)))
    return {*(f"verdicts_{chain}" for chain in maps.chains), *(f"counters_{table}" for table in maps.tables)} <= pins


def tear_down(place: Place, state: State) -> tuple[Attachment, ...]:
    """Takes a service off its devices and removes all of it but the lock; what its devices carried."""
    from pcnc_runtime.attachments import detach_all  # devices are touched only where something comes or goes

    if state.phase != "unloading":
        place.write(replace(state, phase="unloading"))
    try:
        reports = detach_all(state.namespace, state.attachments)
    except (RuntimeProblem, OSError):
        # What is still on its devices is loaded, and stays so.
        if state.phase == "loaded":
            place.write(state)
        raise
    with _off_its_devices(place):
        # Packets may still be in the blocks, which lose each other when their array is unpinned.
        wait_for_packets()
        remove_tree(place.pins)
        place.remove_files()
    return reports


@contextmanager
def _off_its_devices(place: Place) -> Iterator[None]:
    """What fails from here on is told with the words that packets are not filtered any more."""
    try:
        yield
    except OSError as error:
        problem = problem_from_errno(error, "remove all of it")
        text = f"`{place.name}` is off its devices, but {problem.message}"
        help = f"`pcnc unload {place.name}` again removes the rest"
        raise RuntimeProblem(problem.name, text, help, errno=problem.errno) from None


def remove_service(place: Place) -> tuple[Attachment, ...]:
    """Removes a service, whatever state it is in, under its lock; what its devices carried. RuntimeProblem `not-loaded`."""
    try:
        state = place.read()
    except RuntimeProblem as problem:
        if problem.name != "broken-record":
            raise
        state = None
    if state is None:
        if not list_pins(place.pins):
            known = place.state.exists()
            remove_everything(place)
            if known:
                return ()
            raise not_loaded(place.name)
        state = _without_records(place)
    reports = tear_down(place, state)
    with _off_its_devices(place):
        remove_everything(place)
    return reports


def _without_records(place: Place) -> State:
    """What can be known of a service whose records are gone: where its programs are, in this namespace."""
    from pcnc_runtime.attachments import find_attachments
    from pcnc_runtime.namespaces import current_namespace

    return State(
        name=place.name,
        phase="unloading",
        loaded=0.0,
        namespace=current_namespace(),
        netns=None,
        mode="",
        attachments=find_attachments(place),
        kept=(),
        target=(),
        last=0,
        last_map=0,
        summaries={},
        next_ids={},
        carried=Carried(),
    )


def remove_everything(place: Place) -> None:
    """Removes what is there of a service that is not loaded, under its lock, which goes too; and folders that nobody else needs."""
    remove_tree(place.pins)
    place.remove_files()
    remove_lock(place.name)
    remove_folders(place)


def remove_folders(place: Place) -> None:
    """Removes the folders above those of a service where they are empty. A command that needs one makes it again."""
    for folder in (place.pins.parent, place.folder.parent, run_folder()):
        with suppress(OSError):
            os.rmdir(folder)


def not_restored(name: str) -> RuntimeProblem:
    """The problem `not-restored`."""
    text = f"`{name}` was loaded when the machine went down, and is not loaded now"
    return RuntimeProblem("not-restored", text, f"`pcnc restore {name}` brings it back, `pcnc unload {name}` forgets it")


def not_loaded(name: str) -> RuntimeProblem:
    """The problem `not-loaded`."""
    return RuntimeProblem("not-loaded", f"nothing is loaded under the name `{name}`", "`pcnc show` lists what is loaded")
