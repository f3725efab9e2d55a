"""Versions to be compared, from a bundle or from what is loaded; nothing is written, and the kernel is not asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from pcnc.manifest import Manifest, Variant
from pcnc.rules import Rule, TableSchema
from pcnc.shape import Shape, shape_of
from pcnc_runtime.bundle import Bundle
from pcnc_runtime.bundle_store import StoredBundle, StoredVariant
from pcnc_runtime.changes import Recompile, SourceRecord
from pcnc_runtime.compare_versions import Coded, Version
from pcnc_runtime.count_slots import capacity_for, give_slots
from pcnc_runtime.errors import RuntimeProblem
from pcnc_runtime.live_rules import LiveRule, rules_of_file
from pcnc_runtime.records import Generation, TableRecord
from pcnc_runtime.same_code import code_of
from pcnc_runtime.state import Place
from pcnc_runtime.take_over import Held

Read = Callable[[str], bytes | None]
"""A file of a version by its path, None where it has none of that name."""


def coded(variant: Variant, read: Read) -> Coded:
    """A variant with the code of its blocks."""
    blocks = ((chain.chain, block) for chain in variant.chains for block in chain.blocks)
    return Coded(variant, {(chain, block.name): code_of(read(block.code), read(block.object)) for chain, block in blocks})


def held_by_file(manifest: Manifest) -> Held:
    """What a version holds before anybody has changed anything: the file's rules."""
    made = {entry.schema.name: rules_of_file(entry.rules) for entry in manifest.tables}
    return Held({name: each.rules for name, each in made.items()}, {}, {name: each.next_id for name, each in made.items()})


def version_as_built(label: str, manifest: Manifest, choose: Callable[[Shape], Coded]) -> Version:
    """A version that nobody runs: it holds the file's rules, with slots as if it had just been loaded."""
    held = held_by_file(manifest)
    numbered = {
        entry.schema.name: tuple(replace(rule, slot=slot) for slot, rule in enumerate(held.rules[entry.schema.name], start=1))
        if entry.count_packets or entry.count_bytes
        else held.rules[entry.schema.name]
        for entry in manifest.tables
    }
    live = {
        entry.schema.name: TableRecord(numbered[entry.schema.name], 1, capacity_for(entry.schema.size)) for entry in manifest.tables
    }

    def slots(schema: TableSchema, rules: tuple[LiveRule, ...]) -> tuple[LiveRule, ...] | None:
        return give_slots(schema.name, rules, capacity_for(schema.size), live.get(schema.name), ())

    return Version(label, manifest, replace(held, rules=numbered), choose, slots)


def version_of_bundle(
    label: str, bundle: Bundle, source: SourceRecord | None = None, recompile: Recompile | None = None
) -> Version:
    """A bundle; where `recompile` is given, shapes of rules that it has no code for are compiled for, as a swap would do."""
    manifest = bundle.manifest

    def choose(shape: Shape) -> Coded:
        exact = next((variant for variant in manifest.variants if variant.shape == shape), None)
        if exact is None and recompile is not None and source is not None:
            try:
                built = recompile(source, shape)
            except RuntimeProblem as problem:
                if problem.name not in ("no-clang", "no-bcc"):
                    raise
            else:
                return coded(built.variant, built.files.get)
        chosen = exact or manifest.variant_for(shape)
        if chosen is None:
            raise RuntimeProblem("broken-bundle", "the bundle has no code for rules like these", "build it again")
        return coded(chosen, bundle.files.get)

    return version_as_built(label, manifest, choose)


def version_of_loaded(place: Place, live: Generation, kept: Sequence[Generation], next_ids: Mapping[str, int]) -> Version:
    """A generation of a loaded service, as it runs; `kept` are all that are kept. Of the file's rules those that nobody deleted."""
    bundle = StoredBundle(place.bundles / live.bundle)
    running = bundle.variant(live.variant)
    rules = {name: table.rules for name, table in live.tables.items()}
    own = shape_of(bundle.manifest.schemas, {name: [rule.rule for rule in each] for name, each in rules.items()})

    def choose(shape: Shape) -> Coded:
        chosen = running if shape == own else bundle.exact(shape) or bundle.covering(shape)
        return coded(chosen.variant, _reading(chosen))

    def slots(schema: TableSchema, rules: tuple[LiveRule, ...]) -> tuple[LiveRule, ...] | None:
        return give_slots(schema.name, rules, capacity_for(schema.size), live.tables.get(schema.name), kept)

    tables = tuple(replace(entry, rules=_of_file(live, entry.schema.name)) for entry in bundle.manifest.tables)
    return Version(place.name, replace(bundle.manifest, tables=tables), Held(rules, live.settings, next_ids), choose, slots)


def _of_file(live: Generation, table: str) -> tuple[Rule, ...]:
    rules = [rule for rule in live.tables[table].rules if rule.origin != "operator"]
    return tuple(rule.rule for rule in sorted(rules, key=lambda rule: rule.file_index or 0))


def _reading(variant: StoredVariant) -> Read:
    """Of what is loaded there are only objects."""
    return lambda path: variant.read(path) if path.endswith(".o") else None
