"""Another version of a running service: what of the rules and settings goes over, and the generation that runs it."""

from __future__ import annotations

from collections.abc import Collection

from pcnc.manifest import Manifest
from pcnc_runtime.advance import Loaded, Step, Wanted, opened
from pcnc_runtime.attachments import devices_here, unfinished_checksums
from pcnc_runtime.bundle import Bundle
from pcnc_runtime.bundle_store import store_bundle, store_source
from pcnc_runtime.changes import Change, Recompile, SourceRecord
from pcnc_runtime.compare_versions import Comparison, compare_versions
from pcnc_runtime.discards import refuse
from pcnc_runtime.errors import RuntimeProblem
from pcnc_runtime.kernel_needs import check_needs
from pcnc_runtime.live_rules import check_size
from pcnc_runtime.namespaces import entered
from pcnc_runtime.read_versions import version_of_bundle, version_of_loaded
from pcnc_runtime.take_over import Held, TakenOver, take_over


def replace_version(
    name: str, bundle: Bundle, source: SourceRecord | None, recompile: Recompile | None, discard: Collection[str]
) -> Change:
    """See `operations.swap`."""
    with opened(name) as loaded:
        taken = _taken_over(loaded, bundle.manifest, discard)
        if taken.refused:
            raise refuse(taken.refused)
        stored = store_bundle(bundle, loaded.place.bundles)
        wanted = Wanted(
            what="swap",
            bundle=stored,
            manifest=stored.manifest,
            source=store_source(source, loaded.place.sources),
            settings=taken.held.settings,
            rules=taken.held.rules,
            next_ids=taken.held.next_ids,
            warnings=_new_warnings(loaded, bundle.manifest),
            notes=tuple(f"dropped {line}" for misfit in taken.misfits for line in misfit.lines),
        )
        return Step(loaded, wanted, recompile).take()


def preview_version(
    name: str, label: str, bundle: Bundle, source: SourceRecord | None, recompile: Recompile | None, discard: Collection[str]
) -> Comparison:
    """See `operations.preview_swap`."""
    with opened(name) as loaded:
        _taken_over(loaded, bundle.manifest, discard)
        kept = [loaded.record(number) for number in loaded.state.kept]
        running = version_of_loaded(loaded.place, loaded.live, kept, loaded.state.next_ids)
        return compare_versions(running, version_of_bundle(label, bundle, source, recompile), discard)


def _taken_over(loaded: Loaded, new: Manifest, discard: Collection[str]) -> TakenOver:
    """What goes over, everything checked but whether the kernel takes the programs."""
    check_needs(new)
    old, live = loaded.bundle.manifest, loaded.live
    _check_replaceable(loaded.place.name, old, new)
    rules = {name: table.rules for name, table in live.tables.items()}
    taken = take_over(old, Held(rules, live.settings, loaded.state.next_ids), new, discard)
    for entry in new.tables:
        check_size(entry.schema, len(taken.rules(entry.schema.name)))
    return taken


def _new_warnings(loaded: Loaded, new: Manifest) -> tuple[str, ...]:
    """What a load of the new version would warn of, and what runs gave no reason to warn of."""
    with entered(loaded.state.namespace) as found:
        devices = devices_here(loaded.state.attachments) if found else ()
    running = loaded.bundle.variant(loaded.live.variant).variant
    known = unfinished_checksums([running], devices)
    return tuple(warning for warning in unfinished_checksums(new.variants, devices) if warning not in known)


def _check_replaceable(name: str, old: Manifest, new: Manifest) -> None:
    # At both hooks at once a packet would meet both versions or none, between one write and the other.
    if old.hook != new.hook:
        text = f"`{name}` runs at {old.hook}, and the new version was compiled for {new.hook}"
        help = f"compile it with --hook {old.hook}, or `pcnc unload {name}`, then load the new one"
        raise RuntimeProblem("other-hook", text, help)
