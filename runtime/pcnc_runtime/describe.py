"""Gathers what is known of a loaded service: from its records, from the kernel, and from its devices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

from pcnc.manifest import BlockPlan, ChainPlan, Manifest, TableEntry, Variant
from pcnc.rule_values import format_rule
from pcnc.show_value import show_value
from pcnc_runtime.advance import no_such_table
from pcnc_runtime.bundle_store import StoredBundle, stored_source
from pcnc_runtime.facts import (
    BlockFacts,
    ChainFacts,
    RuleFacts,
    SavedFacts,
    ServiceFacts,
    SettingFacts,
    Statistics,
    TableFacts,
    TableStatistics,
)
from pcnc_runtime.generation import chains_of, entry_program, is_whole, runs_in
from pcnc_runtime.inspect_devices import inspect_devices
from pcnc_runtime.live import read_loaded
from pcnc_runtime.live_rules import LiveRule
from pcnc_runtime.pins import open_map
from pcnc_runtime.programs import open_program_by_id
from pcnc_runtime.records import Generation
from pcnc_runtime.state import Place, place_of
from pcnc_runtime.statistics import open_view


def describe_service(name: str) -> ServiceFacts:
    """See `operations.describe`."""
    place = place_of(name)
    view = open_view(place)
    try:
        state, live, statistics = view.state, view.live, view.read()
    finally:
        view.close()
    bundle = StoredBundle(place.bundles / live.bundle)
    manifest, variant = bundle.manifest, bundle.variant(live.variant).variant
    source = stored_source(live.source, place.sources)
    previous = next((number for number in state.mentioned if number != live.number), None)
    return ServiceFacts(
        name=name,
        service=manifest.service,
        hook=manifest.hook,
        generation=live.number,
        previous=previous,
        what=live.what,
        loaded=state.loaded,
        since=state.summaries[live.number].since,
        variant=variant.name,
        exact=live.exact,
        source=source.path if source else manifest.source,
        source_hash=manifest.source_hash,
        compiler=manifest.pcnc,
        toolchain=manifest.toolchain,
        toolchain_version=manifest.toolchain_version,
        attachments=inspect_devices(state),
        chains=tuple(_chain(place, live.number, chain) for chain in variant.chains),
        tables=tuple(_table(entry, live, variant, statistics) for entry in manifest.tables),
        settings=settings_of(manifest, live),
        statistics=statistics,
        faults=tuple(_faults(place, live)),
    )


def _faults(place: Place, live: Generation) -> Iterator[str]:
    there = chains_of(place)
    for chain in live.chains:
        if chain not in there:
            yield f"the pins of chain {chain} were removed"
        elif not is_whole(place, live.number, (chain,)):
            yield f"blocks of chain {chain} are gone; its packets are dropped"
        elif not runs_in(place, chain, live.number):
            yield f"the entry of chain {chain} was emptied or changed; packets that find it empty are dropped"


def describe_saved(name: str) -> SavedFacts | None:
    """See `operations.describe_saved`."""
    place = place_of(name)
    state = place.read()
    if state is None or state.phase not in ("saved", "restoring"):
        return None
    live = place.read_record(state.kept[0])
    bundle = StoredBundle(place.bundles / live.bundle)
    manifest = bundle.manifest
    bundle.variant(live.variant)
    return SavedFacts(
        name=name,
        service=manifest.service,
        hook=manifest.hook,
        generation=live.number,
        loaded=state.loaded,
        since=state.summaries[live.number].since,
        netns=state.netns,
        attachments=inspect_devices(state),
        rules=tuple((table, len(record.rules)) for table, record in live.tables.items()),
        settings=settings_of(manifest, live),
    )


def describe_table(name: str, table: str) -> TableFacts:
    """See `operations.read_table`."""
    place = place_of(name)
    view = open_view(place)
    try:
        live, statistics = view.live, view.read()
    finally:
        view.close()
    bundle = StoredBundle(place.bundles / live.bundle)
    try:
        entry = bundle.manifest.table(table)
    except KeyError:
        raise no_such_table(bundle.manifest, table) from None
    return _table(entry, live, bundle.variant(live.variant).variant, statistics)


def describe_settings(name: str) -> tuple[SettingFacts, ...]:
    """See `operations.read_settings`."""
    place = place_of(name)
    _, number = read_loaded(place)
    live = place.read_record(number)
    return settings_of(StoredBundle(place.bundles / live.bundle).manifest, live)


def settings_of(manifest: Manifest, live: Generation) -> tuple[SettingFacts, ...]:
    """The settings and their values."""
    values = ((plan, live.settings.get(plan.name, plan.value)) for plan in manifest.configs)
    return tuple(SettingFacts(plan, value, show_value(value, plan.type)) for plan, value in values)


def _chain(place: Place, number: int, plan: ChainPlan) -> ChainFacts:
    entry: int | None = None
    slots: Sequence[int | None] = ()
    with suppress(FileNotFoundError):
        entry = entry_program(place, plan.chain)
        with open_map(place.generation(number) / f"blocks_{plan.chain}") as blocks:
            slots = blocks.slots()
    ids = [*slots, *[None] * (len(plan.blocks) - len(slots))]
    return ChainFacts(plan, entry or 0, tuple(_block(block, ids[block.slot]) for block in plan.blocks))


def _block(plan: BlockPlan, id: int | None) -> BlockFacts:
    if id is not None:
        with suppress(FileNotFoundError), open_program_by_id(id) as program:
            facts = program.facts
            lengths = facts.translated_length, facts.jited_length, facts.verified_instructions
            return BlockFacts(plan, id, facts.name, *lengths)
    return BlockFacts(plan, 0, "", 0, 0, 0)


def _table(entry: TableEntry, live: Generation, variant: Variant, statistics: Statistics) -> TableFacts:
    schema = entry.schema
    counted = statistics.table(schema.name)
    plan = next((plan for plan in variant.tables if plan.table == schema.name), None)
    rules = live.tables[schema.name].rules
    return TableFacts(
        schema=schema,
        default=entry.default,
        counts_packets=entry.count_packets,
        counts_bytes=entry.count_bytes,
        plan=plan,
        rules=_rules(entry, rules, counted),
        default_count=counted.default if counted else None,
    )


def _rules(entry: TableEntry, rules: Sequence[LiveRule], counted: TableStatistics | None) -> tuple[RuleFacts, ...]:
    counts = dict(counted.rules) if counted else {}
    return tuple(
        RuleFacts(rule.id, position, rule.origin, rule.rule, format_rule(rule.rule, entry.schema), counts.get(rule.id))
        for position, rule in enumerate(rules, start=1)
    )
