"""Whether a manifest agrees with itself, so that nothing is looked up in vain later: names, slots, places."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from pcnc.manifest import ChainPlan, ColumnPlan, Manifest, Place, TableEntry, TablePlan, Variant
from pcnc.rules import Rule, TableSchema
from pcnc_runtime.errors import RuntimeProblem

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HEAD = 8  # the action's number and the slot in the counters
_LARGEST_VALUE = 1 << 16


def check_manifest(manifest: Manifest) -> None:
    """RuntimeProblem `broken-bundle` names the first thing that cannot be right."""
    for fault in _faults(manifest):
        raise RuntimeProblem("broken-bundle", f"the manifest is not consistent: {fault}", "build it again")


def _faults(manifest: Manifest) -> Iterator[str]:
    chains = [entry.chain for entry in manifest.entries]
    tables = {table.schema.name: table.schema for table in manifest.tables}
    if not chains:
        yield "there is no chain"
    if not manifest.variants:
        yield "there is no variant"
    yield from _twice("chain", chains)
    yield from _twice("table", [table.schema.name for table in manifest.tables])
    yield from _twice("setting", [config.name for config in manifest.configs])
    yield from _twice("variant", [variant.name for variant in manifest.variants])
    yield from (f"`{name}` is no name" for name in tables if not _NAME.fullmatch(name))
    if not 0 <= manifest.config_size <= _LARGEST_VALUE:
        yield f"the settings have {manifest.config_size} bytes"
    for config in manifest.configs:
        yield from _place(config.place, manifest.config_size, f"setting {config.name}")
        if not 0 <= config.value < 1 << config.place.bits:
            yield f"setting {config.name} starts with {config.value}, which has more than {config.place.bits} bits"
    for entry in manifest.tables:
        yield from _rules(entry)
    for variant in manifest.variants:
        yield from _variant(variant, chains, tables)


def _twice(what: str, names: Iterable[str]) -> Iterator[str]:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            yield f"{what} {name} is there twice"
        seen.add(name)


def _rules(entry: TableEntry) -> Iterator[str]:
    schema = entry.schema
    if schema.size < 1:
        yield f"table {schema.name} has room for {schema.size} rules"
    if len(entry.rules) > schema.size:
        yield f"table {schema.name} has {len(entry.rules)} rules and room for {schema.size}"
    parameters = {action.name: len(action.parameters) for action in schema.actions}
    for rule in entry.rules:
        if not _fits(rule, schema, parameters):
            yield f"a rule of table {schema.name} does not fit it: {rule}"


def _fits(rule: Rule, schema: TableSchema, parameters: dict[str, int]) -> bool:
    return len(rule.matches) == len(schema.columns) and len(rule.arguments) == parameters.get(rule.action, -1)


def _variant(variant: Variant, chains: Sequence[str], tables: dict[str, TableSchema]) -> Iterator[str]:
    where = f"variant {variant.name}"
    if [chain.chain for chain in variant.chains] != chains:
        yield f"{where} has other chains than the service"
    if [name for name, _ in variant.shape.tables] != sorted(tables):
        yield f"the shape of {where} is not that of the tables"
    for chain in variant.chains:
        yield from (f"{where}, {fault}" for fault in _chain(chain))
    for plan in variant.tables:
        if plan.table not in tables:
            yield f"{where} looks things up in a table {plan.table}, which there is not"
        else:
            yield from (f"{where}, table {plan.table}: {fault}" for fault in _table(plan, tables[plan.table]))


def _chain(chain: ChainPlan) -> Iterator[str]:
    if [block.slot for block in chain.blocks] != list(range(len(chain.blocks))) or not chain.blocks:
        yield f"chain {chain.chain}: the slots are not 0, 1, …"
    if not 0 <= chain.frame_size <= _LARGEST_VALUE:
        yield f"chain {chain.chain}: the frame has {chain.frame_size} bytes"
    if not chain.reasons:
        yield f"chain {chain.chain}: there is no reason for a packet to end"
    yield from _twice(f"chain {chain.chain}: reason", chain.reasons)


def _table(plan: TablePlan, schema: TableSchema) -> Iterator[str]:
    if not _HEAD <= plan.value_size <= _LARGEST_VALUE or not 1 <= plan.key_size <= _LARGEST_VALUE:
        yield f"a key of {plan.key_size} bytes, a value of {plan.value_size}"
    within = plan.value_size if plan.classifier == "list" else plan.key_size
    for column in plan.columns:
        yield from _column(column, plan, schema, within)
    if plan.classifier == "lpm_trie":
        if not 0 <= plan.present <= plan.key_size - 4:
            yield f"`present` lies at {plan.present}"
        if sum(schema.columns[column.column].kind == "lpm" for column in plan.columns if column.column < len(schema.columns)) != 1:
            yield "not just one lpm column"
    parameters = {action.name: len(action.parameters) for action in schema.actions}
    for action in plan.actions:
        if parameters.get(action.name, -1) != len(action.arguments):
            yield f"action {action.name} is not that of the table"
        for place in action.arguments:
            yield from _place(place, plan.value_size, f"an argument of {action.name}")


def _column(column: ColumnPlan, plan: TablePlan, schema: TableSchema, within: int) -> Iterator[str]:
    if not 0 <= column.column < len(schema.columns):
        yield f"there is no column {column.column}"
        return
    name = schema.columns[column.column].name
    yield from _place(column.first, within, f"column {name}")
    if (column.second is not None) != (plan.classifier == "list"):
        yield f"column {name} has the places of another classifier"
    if column.second is not None:
        yield from _place(column.second, within, f"column {name}")


def _place(place: Place, within: int, what: str) -> Iterator[str]:
    if place.size not in (1, 2, 4, 8, 16) or not 0 < place.bits <= place.size * 8 or not 0 <= place.offset <= within - place.size:
        yield f"{what} lies at {place.offset}, with {place.size} bytes, of {within}"
