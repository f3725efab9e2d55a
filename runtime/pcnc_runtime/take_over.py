"""What of the rules and settings of a version goes over to another one, and what would be lost on the way."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pcnc.manifest import Manifest
from pcnc.rules import TableSchema
from pcnc_runtime.discards import ALL, check_discards
from pcnc_runtime.live_rules import LiveRule, rules_of_file
from pcnc_runtime.merge_rules import merge_rules, misfits_of
from pcnc_runtime.misfits import Misfit, MisfitRule, table_shapes
from pcnc_runtime.settings import merge_settings

Rules = Mapping[str, tuple[LiveRule, ...]]


@dataclass(frozen=True, slots=True)
class Held:
    """What a version holds beside its program: the rules of each table, the settings that were given values, the ids to give."""

    rules: Rules
    settings: Mapping[str, int]
    next_ids: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class TakenOver:
    """What another version will hold, without what does not fit; `refused` is what of that may not be lost."""

    held: Held
    misfits: tuple[Misfit, ...]
    refused: tuple[Misfit, ...]

    def rules(self, table: str) -> Sequence[LiveRule]:
        """The rules of a table."""
        return self.held.rules[table]


def take_over(old: Manifest, held: Held, new: Manifest, discard: Collection[str] = ()) -> TakenOver:
    """Brings rules and settings to a new version; `discard` names tables and settings of which something may be lost.

    RuntimeProblem `nothing-to-discard` for a name that the old version does not have.
    """
    check_discards(discard, held.rules, [plan.name for plan in old.configs])
    rules: dict[str, tuple[LiveRule, ...]] = {}
    next_ids = dict(held.next_ids)
    misfits: list[Misfit] = []
    for entry in new.tables:
        name, schema = entry.schema.name, entry.schema
        if name not in held.rules:
            made = rules_of_file(entry.rules, next_ids.get(name, 1))
            rules[name], next_ids[name] = made.rules, made.next_id
            continue
        before = old.table(name)
        merged = merge_rules(before.schema, held.rules[name], schema, entry.rules, next_ids.get(name, 1))
        rules[name], next_ids[name] = merged.rules, merged.next_id
        if merged.misfits:
            misfits.append(Misfit("table", name, _reason(merged.misfits), merged.misfits, table_shapes(before, entry)))
    for entry in old.tables:
        name = entry.schema.name
        if name not in rules and (gone := misfits_of(entry.schema, held.rules[name], NO_TABLE)):
            misfits.append(Misfit("table", name, NO_TABLE, gone, table_shapes(entry, None)))
    settings = merge_settings(old, new, held.settings)
    misfits += settings.misfits
    refused = () if ALL in discard else tuple(misfit for misfit in misfits if misfit.name not in discard)
    return TakenOver(Held(rules, settings.values, next_ids), tuple(misfits), refused)


NO_TABLE = "there is no such table"


def _reason(misfits: Sequence[MisfitRule]) -> str:
    """The reason of all, or of the first and that there are others."""
    reasons = dict.fromkeys(misfit.reason for misfit in misfits)
    first, *others = reasons
    return f"{first}, and {len(others)} more reasons" if others else first


def what_changed(old: TableSchema, new: TableSchema) -> Iterator[str]:
    """What another shape asks of the rules that go over to it, in a few words each."""
    before, after = ({column.name: column for column in schema.columns} for schema in (old, new))
    for name, column in after.items():
        had = before.get(name)
        if had is None:
            yield f"`{name}` is `*` in rules that were there"
        elif had.type != column.type:
            yield f"`{name}` is of type {column.type}"
        if had is not None and had.kind != column.kind:
            yield f"`{name}` is matched by {column.kind}"
    yield from (f"`{name}` is not matched" for name in before if name not in after)
    if old.ordered != new.ordered:
        yield "the first rule wins, so longer prefixes come first" if new.ordered else "rules have no order"
