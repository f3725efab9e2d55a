"""Another version of a running service: what of the rules and settings goes over, and the generation that runs it."""

from __future__ import annotations

from collections.abc import Sequence

from pcnc.manifest import Manifest
from pcnc_runtime.advance import Step, Wanted, opened
from pcnc_runtime.bundle import Bundle
from pcnc_runtime.bundle_store import store_bundle, store_source
from pcnc_runtime.changes import Change, Recompile, SourceRecord
from pcnc_runtime.errors import RuntimeProblem
from pcnc_runtime.kernel_needs import check_needs
from pcnc_runtime.live_rules import LiveRule, check_size, rules_of_file
from pcnc_runtime.merge_rules import merge_rules, misfits_of
from pcnc_runtime.settings import kept_settings

_MOST_LISTED = 20


def replace_version(name: str, bundle: Bundle, source: SourceRecord | None, recompile: Recompile | None, discard: bool) -> Change:
    """See `operations.swap`."""
    new = bundle.manifest
    with opened(name) as loaded:
        check_needs(new)
        old, live = loaded.bundle.manifest, loaded.live
        _check_replaceable(name, old, new)
        rules: dict[str, tuple[LiveRule, ...]] = {}
        next_ids = dict(loaded.state.next_ids)
        misfits: list[str] = []
        for entry in new.tables:
            table = entry.schema.name
            if table in live.tables:
                schema = old.table(table).schema
                merged = merge_rules(schema, live.tables[table].rules, entry.schema, entry.rules, next_ids.get(table, 1))
                rules[table], next_ids[table] = merged.rules, merged.next_id
                misfits += merged.misfits
            else:
                made = rules_of_file(entry.rules, next_ids.get(table, 1))
                rules[table], next_ids[table] = made.rules, made.next_id
        for entry in old.tables:
            if entry.schema.name not in rules:
                misfits += misfits_of(entry.schema.name, entry.schema, live.tables[entry.schema.name].rules)
        if misfits and not discard:
            raise _do_not_fit(misfits)
        for entry in new.tables:
            check_size(entry.schema, len(rules[entry.schema.name]))
        settings, notes = kept_settings(old, new, live.settings)
        stored = store_bundle(bundle, loaded.place.bundles)
        wanted = Wanted(
            what="swap",
            bundle=stored,
            manifest=stored.manifest,
            source=store_source(source, loaded.place.sources),
            settings=settings,
            rules=rules,
            next_ids=next_ids,
            notes=(*notes, *(f"dropped {misfit}" for misfit in misfits)),
        )
        return Step(loaded, wanted, recompile).take()


def _check_replaceable(name: str, old: Manifest, new: Manifest) -> None:
    help = f"`pcnc unload {name}`, then load the new one"
    if old.hook != new.hook:
        text = f"`{name}` runs at {old.hook}, and the new version was compiled for {new.hook}"
        raise RuntimeProblem("other-hook", text, f"compile it with --hook {old.hook}, or {help}")
    chains = [sorted(entry.chain for entry in manifest.entries) for manifest in (old, new)]
    if chains[0] != chains[1]:
        text = f"`{name}` has the chains {' and '.join(chains[0])}, the new version {' and '.join(chains[1])}"
        raise RuntimeProblem("other-chains", text, help)


def _do_not_fit(misfits: Sequence[str]) -> RuntimeProblem:
    listed = [*misfits[:_MOST_LISTED], *([f"and {len(misfits) - _MOST_LISTED} more"] if len(misfits) > _MOST_LISTED else [])]
    text = f"{len(misfits)} of the operator's rules do not fit the new version:\n" + "\n".join(f"  {each}" for each in listed)
    return RuntimeProblem("rules-do-not-fit", text, "delete them first, or drop them with --discard")
