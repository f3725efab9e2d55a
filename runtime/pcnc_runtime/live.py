"""Which generation of a service is live, and its manifest: read without the lock, by whoever only wants to know."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from pcnc.manifest import Hook, Manifest, Variant
from pcnc.shape import widest_shape
from pcnc_runtime.bundle_store import StoredBundle, stored_source
from pcnc_runtime.changes import SourceRecord
from pcnc_runtime.generation import chains_of, is_whole, runs_in
from pcnc_runtime.history import read_entries
from pcnc_runtime.history_entry import HistoryEntry
from pcnc_runtime.records import State
from pcnc_runtime.recovery import not_loaded, not_restored, whole_entry
from pcnc_runtime.state import Place, place_of


def read_loaded(place: Place) -> tuple[State, int]:
    """The state of a service and which generation is live. RuntimeProblem `not-loaded`, `not-restored`."""
    state = place.read()
    if state is not None and state.phase in ("saved", "restoring"):
        raise not_restored(place.name)
    if state is None or state.phase != "loaded":
        raise not_loaded(place.name)
    chains = chains_of(place)
    if state.target and chains and all(runs_in(place, chain, state.target[0]) for chain in chains):
        return state, state.target[0]
    return state, state.kept[0]


def live_manifest(name: str) -> Manifest:
    """The manifest of a loaded service, without the rules of its file. RuntimeProblem `not-loaded`."""
    place = place_of(name)
    state, number = read_loaded(place)
    return StoredBundle(place.bundles / state.summaries[number].bundle).manifest


@dataclass(frozen=True, slots=True)
class Running:
    """Which generation of a service is in force, of which service, at which hook.

    `loaded` is when it was loaded, in seconds of the epoch: it tells two apart that had the same name one after the other.
    """

    generation: int
    loaded: float
    service: str
    hook: Hook


def read_running(name: str) -> Running:
    """See `operations.read_running`."""
    place = place_of(name)
    state, number = read_loaded(place)
    manifest = StoredBundle(place.bundles / state.summaries[number].bundle).manifest
    return Running(number, state.loaded, manifest.service, manifest.hook)


def read_source(name: str) -> SourceRecord | None:
    """See `operations.read_source`."""
    place = place_of(name)
    state, number = read_loaded(place)
    return stored_source(state.summaries[number].source, place.sources)


@dataclass(frozen=True, slots=True)
class LiveVariants:
    """What runs of a loaded service, and the variant that would run every rule set: what is pruned is in it."""

    manifest: Manifest
    running: Variant
    widest: Variant


def live_variants(name: str) -> LiveVariants:
    """See `operations.read_variants`."""
    place = place_of(name)
    _, number = read_loaded(place)
    live = place.read_record(number)
    bundle = StoredBundle(place.bundles / live.bundle)
    widest = bundle.covering(widest_shape(bundle.manifest.schemas)).variant
    return LiveVariants(bundle.manifest, bundle.variant(live.variant).variant, widest)


def history_of(name: str) -> tuple[HistoryEntry, ...]:
    """See `operations.history`."""
    place = place_of(name)
    state, live = read_loaded(place)
    is_coming = state.target[:1] == (live,)
    kept = state.target if is_coming else state.kept
    coming = state.coming if is_coming or not state.target else None
    entries = read_entries(place.history, whole_entry(place, coming, place.read_record) if coming else None)
    marks: dict[int, Literal["live", "previous"]] = {live: "live"}
    if len(kept) > 1 and is_whole(place, kept[1], state.summaries[kept[1]].chains):
        marks[kept[1]] = "previous"
    marked: list[HistoryEntry] = []
    for entry in reversed(entries):
        # A generation that came into force several times is what it was the last time.
        mark = marks.pop(entry.generation, None)
        marked.append(replace(entry, mark=mark) if mark else entry)
    return tuple(reversed(marked))
