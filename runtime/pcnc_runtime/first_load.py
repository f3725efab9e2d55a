"""Loading a service under a new name: everything is built and pinned, the entry is filled, and only then are devices touched."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace

from pcnc.shape import shape_of
from pcnc_runtime.advance import Planner, Wanted, choose_variant
from pcnc_runtime.attach import XdpMode
from pcnc_runtime.attachments import attach_all, check_devices, unfinished_checksums
from pcnc_runtime.bundle import Bundle
from pcnc_runtime.bundle_store import store_bundle, store_source
from pcnc_runtime.chain_entries import make_entry
from pcnc_runtime.changes import Attachment, Change, Recompile, SourceRecord
from pcnc_runtime.describe_change import entry_of, version_of
from pcnc_runtime.devices import DeviceFacts
from pcnc_runtime.errors import RuntimeProblem
from pcnc_runtime.generation import build_generation, put_into_force
from pcnc_runtime.history import add_entry
from pcnc_runtime.kernel_needs import check_needs
from pcnc_runtime.live_rules import rules_of_file
from pcnc_runtime.namespaces import current_namespace, name_of_namespace
from pcnc_runtime.pins import make_directory, remove_tree
from pcnc_runtime.programs import Program
from pcnc_runtime.records import AttachedAt, Carried, State
from pcnc_runtime.recovery import recover, remove_everything, tear_down
from pcnc_runtime.refusals import compiled_from
from pcnc_runtime.settings import checked_settings
from pcnc_runtime.state import Place, locked, place_of


def load_service(
    bundle: Bundle,
    name: str,
    devices: Sequence[str],
    mode: XdpMode | None,
    settings: Mapping[str, int],
    source: SourceRecord | None,
    recompile: Recompile | None,
) -> Change:
    """See `operations.load`."""
    began = time.perf_counter()
    place = place_of(name)
    check_needs(bundle.manifest)
    chosen_settings = checked_settings(bundle.manifest, settings)
    found = check_devices(devices)
    with locked(name):
        if recover(place) is not None:
            help = f"`pcnc swap {name} FILE` replaces it, `pcnc unload {name}` removes it"
            raise RuntimeProblem("name-in-use", f"a service is loaded as `{name}` already", help)
        loading = _Loading(place, bundle, found, mode)
        try:
            with compiled_from(lambda: source):
                return loading.run(began, chosen_settings, source, recompile)
        except BaseException:
            loading.undo()
            raise


class _Loading:
    """One load, until it is done or undone."""

    def __init__(self, place: Place, bundle: Bundle, devices: Sequence[DeviceFacts], mode: XdpMode | None) -> None:
        self._place, self._bundle, self._devices, self._mode = place, bundle, devices, mode
        self._state: State | None = None

    def undo(self) -> None:
        """Takes everything off again that is on, and removes everything."""
        if self._state is not None:
            tear_down(self._place, self._state)
        else:
            remove_tree(self._place.pins)
        remove_everything(self._place)

    def run(self, began: float, settings: Mapping[str, int], source: SourceRecord | None, recompile: Recompile | None) -> Change:
        """Loads and attaches."""
        place, manifest = self._place, self._bundle.manifest
        place.make_folder()
        stored = store_bundle(self._bundle, place.bundles)
        rules = {table.schema.name: rules_of_file(table.rules) for table in manifest.tables}
        wanted = Wanted(
            what="load",
            bundle=stored,
            manifest=stored.manifest,
            source=store_source(source, place.sources),
            settings=settings,
            rules={name: made.rules for name, made in rules.items()},
            next_ids={name: made.next_id for name, made in rules.items()},
            warnings=unfinished_checksums(manifest.variants, self._devices),
        )
        shape = shape_of(manifest.schemas, {table.schema.name: table.rules for table in manifest.tables})
        chosen = choose_variant(stored, shape, source, recompile)
        planner = Planner(wanted, chosen, None, (), 0)
        record = planner.plan(1)
        state = State(
            name=place.name,
            phase="loading",
            loaded=time.time(),
            namespace=current_namespace(),
            netns=name_of_namespace(current_namespace()),
            mode=self._mode or "",
            attachments=(),
            kept=(1,),
            target=(),
            last=1,
            last_map=planner.last_map,
            summaries={1: record.summary},
            next_ids=wanted.next_ids,
            carried=Carried(),
        )
        make_pins_folder(place)
        programs = build_generation(place, record, wanted.manifest, chosen.variant, None)
        place.write_record(record)
        with ExitStack() as stack:
            entries: dict[str, Program] = {
                entry.chain: stack.enter_context(make_entry(place, entry, stored)) for entry in manifest.entries
            }
            flip = put_into_force(place, 1)
            self._tell(state, ())
            done = attach_all(self._devices, manifest.entries, entries, self._mode, place.name, lambda at: self._tell(state, at))
        in_force = time.perf_counter() - began
        new = version_of(place, record, chosen.variant.variant)
        add_entry(place.history, entry_of("load", new, None, (), compiled=chosen.compiled))
        self._tell(replace(state, phase="loaded"), done)
        return Change(
            name=place.name,
            what="load",
            generation=1,
            previous=None,
            in_force=in_force,
            flip=flip,
            variant=chosen.variant.variant.name,
            exact=chosen.exact,
            compiled=chosen.compiled,
            programs=programs,
            attachments=tuple(Attachment(at.device, at.index, at.chain, at.hook, at.mode) for at in done),
            warnings=wanted.warnings,
            notes=chosen.notes,
        )

    def _tell(self, state: State, attachments: tuple[AttachedAt, ...]) -> None:
        """Writes down what may be on devices from now on."""
        self._state = replace(state, attachments=attachments)
        self._place.write(self._state)


def make_pins_folder(place: Place) -> None:
    """Makes the folder of a service's pins."""
    for attempt in range(3):
        try:
            make_directory(place.pins)
        except RuntimeProblem as problem:
            # The last service to go takes the folder above along, maybe at this very moment.
            if problem.name != "not-there" or attempt == 2:
                raise
        else:
            return
