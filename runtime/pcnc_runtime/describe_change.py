"""What a change of a service did, told from the generations before and after it: for reports, and for the history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from pcnc.manifest import Manifest, Variant
from pcnc.rule_values import format_rule
from pcnc.rules import TableSchema
from pcnc.show_value import show_value
from pcnc_runtime.bundle_store import StoredBundle, stored_source
from pcnc_runtime.changes import RuleChanges, SettingChange
from pcnc_runtime.counts import ReadRecord
from pcnc_runtime.errors import RuntimeProblem
from pcnc_runtime.history_entry import HistoryEntry, HistoryWhat, SomeRules, TableHistory
from pcnc_runtime.live_rules import LiveRule, compare
from pcnc_runtime.records import Generation, Summary
from pcnc_runtime.state import Place

MOST_RULES = 3
"""Of many rules that were added, removed or changed at once the first are written down; of the others, how many there are."""

_MOST_CHARACTERS = 200
"""Of one rule."""


@dataclass(frozen=True, slots=True)
class Version:
    """A generation with what it was made from. `source` is the path of its source, as it was given."""

    record: Generation
    manifest: Manifest
    variant: Variant
    source: str


def version_of(place: Place, record: Generation, variant: Variant | None = None) -> Version:
    """A generation with what is kept of it; `variant` is its own, where that has been read. RuntimeProblem `broken-record`."""
    bundle = StoredBundle(place.bundles / record.bundle)
    manifest, source = bundle.manifest, None
    with suppress(RuntimeProblem):  # its path is known to the manifest, too
        source = stored_source(record.source, place.sources)
    return Version(record, manifest, variant or bundle.variant(record.variant).variant, source.path if source else manifest.source)


def read_version(place: Place, summary: Summary) -> tuple[Manifest, Variant]:
    """What a generation was made from, without its record. RuntimeProblem `broken-record`."""
    bundle = StoredBundle(place.bundles / summary.bundle)
    return bundle.manifest, bundle.variant(summary.variant).variant


def version_before(place: Place, record: Generation, variant: Variant | None = None) -> Version | None:
    """The same of one that is to be replaced; None where what is kept of it is damaged, which is no reason to keep it."""
    try:
        return version_of(place, record, variant)
    except RuntimeProblem:
        return None


def rule_changes(before: Generation, after: Mapping[str, Sequence[LiveRule]]) -> tuple[RuleChanges, ...]:
    """What becomes of the rules in tables that there are afterwards, of those where something does."""
    found = []
    for table, rules in after.items():
        old = before.tables[table].rules if table in before.tables else ()
        if old is not rules:
            found.append(compare(table, old, rules))
    return tuple(each for each in found if each.added or each.removed or each.replaced)


def entry_of(
    what: HistoryWhat,
    new: Version,
    old: Version | None,
    changes: Sequence[RuleChanges],
    *,
    compiled: bool = False,
) -> HistoryEntry:
    """What is going to be said of `new` coming into force after `old`; `changes` are those of the rules in tables of `new`."""
    before, after = _blocks(old.variant if old else None), _blocks(new.variant)
    return HistoryEntry(
        number=0,
        generation=new.record.number,
        previous=old.record.number if old else None,
        when=new.record.since,
        what=what,
        tables=tuple(_tables(new, old, changes)),
        settings=setting_changes(new, old) if old else (),
        blocks=len(after),
        blocks_added=tuple(after[block] for block in after if block not in before) if old else (),
        blocks_removed=tuple(before[block] for block in before if block not in after),
        variant=new.variant.name,
        exact=new.record.exact,
        compiled=compiled,
        source=new.source,
        source_hash=new.manifest.source_hash,
        source_changed=old is not None and old.manifest.source_hash != new.manifest.source_hash,
    )


def entry_for(
    place: Place,
    what: HistoryWhat,
    new: tuple[Generation, Variant],
    old: tuple[Generation, Variant | None],
    changes: Sequence[RuleChanges],
    *,
    compiled: bool,
) -> HistoryEntry:
    """The same of generations of a service, each with its variant, where that has been read."""
    return entry_of(what, version_of(place, *new), version_before(place, *old), changes, compiled=compiled)


def bare_entry(what: HistoryWhat, generation: int, previous: int, when: float) -> HistoryEntry:
    """An entry that says no more than that a generation came into force; `complete_entry` finds out the rest."""
    return HistoryEntry(0, generation, previous, when, what, (), (), 0, (), (), "", False, False, "", "", False)


def complete_entry(place: Place, entry: HistoryEntry, read_record: ReadRecord) -> tuple[HistoryEntry, tuple[RuleChanges, ...]]:
    """A bare entry with all there is to say, from the records of both generations, and what became of the rules.

    RuntimeProblem `broken-record` where that of the new one cannot be read.
    """
    new = version_of(place, replace(read_record(entry.generation), since=entry.when))
    try:
        old = None if entry.previous is None else version_of(place, read_record(entry.previous))
    except RuntimeProblem:
        old = None
    changes = rule_changes(old.record, {name: table.rules for name, table in new.record.tables.items()}) if old else ()
    return entry_of(entry.what, new, old, changes), changes


def setting_changes(new: Version, old: Version) -> tuple[SettingChange, ...]:
    """Settings that have another value, have come, or have gone."""
    before, after = _settings(old), _settings(new)
    return tuple(
        SettingChange(name, before.get(name, ""), after.get(name, ""))
        for name in dict.fromkeys((*before, *after))
        if before.get(name) != after.get(name)
    )


def _settings(version: Version) -> dict[str, str]:
    given = version.record.settings
    return {plan.name: show_value(given.get(plan.name, plan.value), plan.type) for plan in version.manifest.configs}


def _blocks(variant: Variant | None) -> dict[tuple[str, str], str]:
    """What each block is called, by chain and name: where there are two chains both are told."""
    chains = variant.chains if variant else ()
    several = len(chains) > 1
    return {(chain.chain, b.name): f"{chain.chain} {b.name}" if several else b.name for chain in chains for b in chain.blocks}


def _tables(new: Version, old: Version | None, changes: Sequence[RuleChanges]) -> Sequence[TableHistory]:
    after = {entry.schema.name: entry.schema for entry in new.manifest.tables}
    if old is None:
        changes = [compare(table, (), new.record.tables[table].rules) for table in after if new.record.tables[table].rules]
        return [_table(each, None, after[each.table], (), new.record.tables[each.table].rules) for each in changes]
    before = {entry.schema.name: entry.schema for entry in old.manifest.tables}
    rules: Mapping[str, Sequence[LiveRule]] = {name: table.rules for name, table in old.record.tables.items()}
    found = [
        _table(each, before.get(each.table), after[each.table], rules.get(each.table, ()), new.record.tables[each.table].rules)
        for each in changes
    ]
    gone = [compare(table, rules[table], ()) for table in before if table not in after and rules[table]]
    return [*found, *(_table(each, before[each.table], before[each.table], rules[each.table], ()) for each in gone)]


def _table(
    changes: RuleChanges, old: TableSchema | None, new: TableSchema, before: Sequence[LiveRule], after: Sequence[LiveRule]
) -> TableHistory:
    return TableHistory(
        changes.table,
        _some(changes.added, after, new),
        _some(changes.removed, before, old or new),
        _some(changes.replaced, after, new),
    )


def _some(ids: Sequence[int], rules: Sequence[LiveRule], schema: TableSchema) -> SomeRules:
    wanted = set(ids[:MOST_RULES])
    texts = [format_rule(rule.rule, schema) for rule in rules if rule.id in wanted] if wanted else []
    return SomeRules(len(ids), tuple(text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}…" for text in texts))
