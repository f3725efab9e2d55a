"""Bringing back what was loaded when the machine went down, and putting back what somebody took off.

Nothing is compiled: the code, the rules, the settings and the order of devices are those that were written down. While a service
is on its way back, what is known of it as saved stays as it is; who is killed meanwhile leaves it saved.
"""

from __future__ import annotations

import errno
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace

from pcnc.program_words import ChainName
from pcnc_runtime.attach import XdpMode
from pcnc_runtime.attachments import check_devices, put_on, state_here, with_qdisc
from pcnc_runtime.bundle_store import StoredBundle, stored_source
from pcnc_runtime.chain_entries import make_entry
from pcnc_runtime.changes import Attachment, Change, Restored
from pcnc_runtime.describe_change import entry_of, version_of
from pcnc_runtime.devices import DeviceFacts
from pcnc_runtime.errors import RuntimeProblem
from pcnc_runtime.first_load import make_pins_folder
from pcnc_runtime.generation import Parent, build_generation, put_into_force
from pcnc_runtime.history import add_entry
from pcnc_runtime.kernel_needs import check_needs
from pcnc_runtime.namespaces import entered, namespace_of_name
from pcnc_runtime.pins import open_program, remove_tree
from pcnc_runtime.programs import Program, program_id
from pcnc_runtime.records import AttachedAt, Carried, Generation, State
from pcnc_runtime.recovery import is_in_order, not_loaded, recover, sweep, undo_restore, write_history
from pcnc_runtime.refusals import compiled_from
from pcnc_runtime.saved_counts import save_counts, with_saved_counts
from pcnc_runtime.state import Place, locked, names_with_records, place_of, told


def restore_service(name: str, *, mend: bool) -> Change | None:
    """See `operations.restore`; None where there was nothing to do. Without `mend` one that is loaded is left alone."""
    began = time.perf_counter()
    place = place_of(name)
    if not place.folder.exists() and not place.pins.exists():
        raise not_loaded(name)
    with locked(name):
        state = place.read()
        if state is not None and state.phase == "restoring":
            undo_restore(place, state)
            state = place.read()
        if state is not None and state.phase == "saved":
            return _restore(place, state, began)
        try:
            state = recover(place)
        except RuntimeProblem as problem:
            if problem.name != "pins-lost" or state is None:
                raise
            # Its programs are on the devices still, and drop everything: they stay there until the new ones take their places.
            return _restore(place, state, began)
        if state is None:
            raise not_loaded(name)
        if not is_in_order(place, state):
            with suppress(RuntimeProblem, OSError):
                save_counts(place, state)
            return _restore(place, state, began)
        return _mend(place, state, began) if mend else None


_NOT_THERE_YET = ("no-such-device", "no-namespace")
_BETWEEN_TRIES = 0.2


def names_to_restore() -> tuple[str, ...]:
    """Every name that something is written down of, in the order in which they were loaded; damaged ones last."""
    loaded: list[tuple[float, str]] = []
    for name in names_with_records():
        try:
            state = place_of(name).read()
        except RuntimeProblem as problem:
            if problem.name != "broken-record":
                raise
            loaded.append((math.inf, name))
        else:
            loaded += [(state.loaded, name)] if state is not None and state.phase not in ("loading", "unloading") else []
    return tuple(name for _, name in sorted(loaded))


def restore_all(names: Sequence[str], *, mend: bool, wait: float) -> tuple[Restored, ...]:
    """See `operations.restore`."""
    deadline = time.monotonic() + wait
    done = {name: _try(name, mend) for name in names}
    while time.monotonic() < deadline and (missing := [each.name for each in done.values() if _may_come(each)]):
        time.sleep(_BETWEEN_TRIES)
        done |= {name: _try(name, mend) for name in missing}
    return tuple(done.values())


def _try(name: str, mend: bool) -> Restored:
    try:
        with told(f"restore `{name}`"):
            change = restore_service(name, mend=mend)
    except RuntimeProblem as problem:
        return Restored(name, "failed", problem=problem)
    if change is None:
        return Restored(name, "loaded")
    return Restored(name, "restored" if change.programs else "mended", change)


def _may_come(restored: Restored) -> bool:
    return restored.problem is not None and restored.problem.name in _NOT_THERE_YET


# ---- what was loaded when the machine went down


def _restore(place: Place, state: State, began: float) -> Change:
    if state.coming is not None:
        add_entry(place.history, state.coming)
    returning = _Returning(place, state)
    try:
        change = returning.run(began)
    except BaseException:
        returning.undo()
        raise
    returning.tell_history()
    return change


class _Returning:
    """One service on its way back, until it is there or the way is undone."""

    def __init__(self, place: Place, saved: State) -> None:
        self._place, self._saved = place, saved
        self._state: State | None = None

    def undo(self) -> None:
        """Takes everything off again that is on; what is written down is what was."""
        if self._state is not None:
            undo_restore(self._place, self._state)
        else:
            remove_tree(self._place.pins)
            self._place.record(self._saved.last + 1).unlink(missing_ok=True)

    def run(self, began: float) -> Change:
        """Builds what was in force and the generation before it, and puts the entries on the devices."""
        place, saved = self._place, self._saved
        before = place.read_record(saved.kept[0])
        stored = StoredBundle(place.bundles / before.bundle)
        manifest, variant = stored.manifest, stored.variant(before.variant)
        check_needs(manifest)
        with _devices_of(saved) as (namespace, devices):
            source, notes = self._source(before)
            record = replace(before, number=saved.last + 1, what="restore", since=time.time(), source=source)
            remove_tree(place.pins)
            make_pins_folder(place)
            with compiled_from(lambda: stored_source(source, place.sources)):
                blocks = build_generation(place, record, manifest, variant, None)
            place.write_record(record)
            previous, lacking = self._bring_previous(saved, Parent(record, variant.variant))
            kept = (record, *previous)
            carried, told = self._counts(kept)
            state = replace(
                saved,
                carried=carried,
                coming=None,
                phase="restoring",
                namespace=namespace,
                kept=tuple(each.number for each in kept),
                target=(),
                last=record.number,
                summaries={each.number: each.summary for each in kept},
                # Who was killed while a chain came or went may have left one that the generation does not have.
                attachments=tuple(at for at in saved.attachments if at.chain in record.chains),
            )
            with ExitStack() as stack:
                entries = {entry.chain: stack.enter_context(make_entry(place, entry, stored)) for entry in manifest.entries}
                flip = put_into_force(place, record.number)
                attachments, warnings = self._attach(state, entries, devices)
        in_force = time.perf_counter() - began
        new = version_of(place, record, variant.variant)
        entry = entry_of("restore", new, replace(new, record=before), ())
        state = replace(state, phase="loaded", attachments=attachments, coming=entry)
        self._tell(state, attachments)
        sweep(place, state)
        return Change(
            name=place.name,
            what="restore",
            generation=record.number,
            previous=saved.kept[0],
            in_force=in_force,
            flip=flip,
            variant=variant.variant.name,
            exact=record.exact,
            compiled=False,
            programs=blocks,
            attachments=_reported(attachments),
            warnings=warnings,
            notes=(*notes, *lacking, *told),
        )

    def tell_history(self) -> None:
        """Writes down that it came into force."""
        assert self._state is not None
        write_history(self._place, self._state)

    def _source(self, before: Generation) -> tuple[str, tuple[str, ...]]:
        try:
            stored_source(before.source, self._place.sources)
        except RuntimeProblem as problem:
            return "", (f"it goes on without its source, so other kinds of rules run by wider code: {problem.message}",)
        return before.source, ()

    def _counts(self, kept: Sequence[Generation]) -> tuple[Carried, tuple[str, ...]]:
        try:
            return with_saved_counts(self._place, self._saved.carried, kept), ()
        except RuntimeProblem as problem:
            return self._saved.carried, (f"counts go on from those of the last change: {problem.message}",)

    def _bring_previous(self, saved: State, live: Parent) -> tuple[tuple[Generation, ...], tuple[str, ...]]:
        """The generation to roll back to, if there is one that still can be built."""
        if len(saved.kept) < 2:
            return (), ()
        number = saved.kept[1]
        try:
            record = self._place.read_record(number)
            stored = StoredBundle(self._place.bundles / record.bundle)
            build_generation(self._place, record, stored.manifest, stored.variant(record.variant), live)
        except RuntimeProblem as problem:
            return (), (f"generation {number} was not brought back, there is no rollback to it: {problem.message}",)
        return (record,), ()

    def _attach(
        self, state: State, entries: Mapping[ChainName, Program], devices: Sequence[DeviceFacts]
    ) -> tuple[tuple[AttachedAt, ...], tuple[str, ...]]:
        """Puts the entries on the devices, in the order in which they were put there first."""
        indexes = {device.name: device.index for device in devices}
        attachments, warnings = list(state.attachments), []
        for at, was in enumerate(state.attachments):
            program = entries[was.chain]
            beside = (*attachments[:at], *([was] if was.program_id else []))
            planned = with_qdisc(replace(was, index=indexes[was.device], program_id=program_id(program.fd)), beside)
            attachments[at] = planned
            self._tell(state, tuple(attachments))
            attachments[at], warning = _put_on(planned, was, program, self._place.name, beside)
            warnings += warning
        return tuple(attachments), tuple(warnings)

    def _tell(self, state: State, attachments: tuple[AttachedAt, ...]) -> None:
        """Writes down what may be on devices from now on."""
        self._state = replace(state, attachments=attachments)
        self._place.write(self._state)


@contextmanager
def _devices_of(saved: State) -> Iterator[tuple[int, tuple[DeviceFacts, ...]]]:
    """Enters the namespace in which a service was loaded, and finds its devices there by name."""
    found = saved.namespace or (namespace_of_name(saved.netns) if saved.netns is not None else None)
    with entered(found or 0) as there:
        if not there or not found:
            raise _no_namespace(saved)
        yield found, check_devices([at.device for at in saved.attachments])


def _no_namespace(saved: State) -> RuntimeProblem:
    if saved.netns is None:
        text = f"`{saved.name}` was loaded in a network namespace without a name, which cannot be found again"
        return RuntimeProblem("no-namespace", text, f"`pcnc unload {saved.name}`, and load it anew where it is to be")
    text = f"there is no network namespace `{saved.netns}`, in which `{saved.name}` was loaded"
    return RuntimeProblem("no-namespace", text, f"ip netns add {saved.netns}", errno=errno.ENOENT)


def _put_on(
    planned: AttachedAt, was: AttachedAt, program: Program, name: str, beside: Sequence[AttachedAt]
) -> tuple[AttachedAt, list[str]]:
    """Puts an entry where it was, in the place of the one that sits there still. XDP runs in the mode it ran in, if it can."""
    try:
        return put_on(planned, was, program, XdpMode(planned.mode) if planned.mode else None, name, beside), []
    except RuntimeProblem as problem:
        if problem.name != "not-supported" or planned.mode != XdpMode.NATIVE:
            raise
    text = f"`{planned.device}` has no native XDP any more; it runs in generic mode, which is slower"
    return put_on(planned, was, program, XdpMode.GENERIC, name, beside), [text]


def _reported(attachments: Sequence[AttachedAt]) -> tuple[Attachment, ...]:
    return tuple(Attachment(at.device, at.index, at.chain, at.hook, at.mode) for at in attachments)


# ---- what somebody took off


def _mend(place: Place, state: State, began: float) -> Change | None:
    """Puts the entries of a loaded service back on devices that do not carry them. Where another program is, that is a problem."""
    with entered(state.namespace) as found:
        if not found:
            raise _no_namespace(state)
        off = [at for at in state.attachments if state_here(at) != "attached"]
        if not off:
            return None
        devices = {device.name: device.index for device in check_devices([at.device for at in off])}
        warnings: list[str] = []
        for at in off:
            with open_program(place.pins / f"program_{at.chain}") as program:
                beside = state.attachments
                planned = with_qdisc(replace(at, index=devices[at.device], added_qdisc=False), beside)
                state = _written(place, state, at, planned)
                attached, warning = _put_on(planned, at, program, place.name, beside)
                state = _written(place, state, planned, attached)
                warnings += warning
    live = place.read_record(state.kept[0])
    return Change(
        name=place.name,
        what="restore",
        generation=live.number,
        previous=None,
        in_force=time.perf_counter() - began,
        flip=0.0,
        variant=StoredBundle(place.bundles / live.bundle).variant(live.variant).variant.name,
        exact=live.exact,
        compiled=False,
        programs=0,
        attachments=_reported([at for at in state.attachments if (at.device, at.chain) in {(o.device, o.chain) for o in off}]),
        warnings=tuple(warnings),
    )


def _written(place: Place, state: State, before: AttachedAt, after: AttachedAt) -> State:
    changed = replace(state, attachments=tuple(after if at == before else at for at in state.attachments))
    if changed != state:
        place.write(changed)
    return changed
