"""What another version would change: blocks, tables, settings, and what becomes of every piece of state.

Pure: what is compared has been read already, and nothing is touched. A swap does to rules, settings and maps what is said here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from pcnc.manifest import ChainPlan, ConfigPlan, Manifest, TableEntry, TablePlan, Variant
from pcnc.rules import Rule, TableSchema
from pcnc.shape import Shape, shape_of
from pcnc.show_value import show_value
from pcnc_runtime.live_rules import LiveRule
from pcnc_runtime.misfits import Misfit, ShapeRow, setting_shapes, table_shapes
from pcnc_runtime.same_code import BlockCode
from pcnc_runtime.take_over import Held, TakenOver, take_over, what_changed

Fate = Literal["kept", "migrated", "new", "gone", "lost"]
"""Of a piece of state: the same map or value; carried over into another; begun; gone with nothing of the operator's in it; or
something of the operator's that the new version cannot hold."""

Presence = Literal["kept", "changed", "added", "removed"]


# ---- what is compared


@dataclass(frozen=True, slots=True)
class Coded:
    """A variant and the code of its blocks, by chain and name."""

    variant: Variant
    code: Mapping[tuple[str, str], BlockCode]


@dataclass(frozen=True, slots=True)
class Version:
    """A version to be compared: what people call it, its manifest with the file's rules, what it holds, and its code.

    `coded` gives the variant that would run for rules of a shape; `slots` the rules of a table with their slots in its map of
    counts, for a size, and None where a map of that size must be made anew.
    """

    label: str
    manifest: Manifest
    held: Held
    coded: Callable[[Shape], Coded]
    slots: Callable[[TableSchema, tuple[LiveRule, ...]], tuple[LiveRule, ...] | None]


# ---- what is found


@dataclass(frozen=True, slots=True)
class StateFate:
    """What becomes of a piece of state, and how, in words. `what` is `rules`, `counts`, `ends` (of a chain) or `value`."""

    what: Literal["rules", "counts", "ends", "value"]
    name: str
    fate: Fate
    how: str = ""


@dataclass(frozen=True, slots=True)
class BlockChange:
    """A block; `rebuilt`: of the same name, with other code."""

    name: str
    change: Literal["kept", "rebuilt", "added", "removed"]
    summary: str


@dataclass(frozen=True, slots=True)
class ChainChange:
    """A chain: its blocks, and the fields that it begins or ceases to extract."""

    chain: str
    change: Presence
    blocks: tuple[BlockChange, ...]
    parses_added: tuple[str, ...]
    parses_removed: tuple[str, ...]
    ends: StateFate


@dataclass(frozen=True, slots=True)
class RuleCounts:
    """How many rules of the file come, go, or say something else; how many of the operator go over, and do not fit."""

    added: int = 0
    removed: int = 0
    changed: int = 0
    kept: int = 0
    operator: int = 0
    unfit: int = 0


@dataclass(frozen=True, slots=True)
class TableChange:
    """A table: its shapes side by side, its rules, and what becomes of its maps."""

    table: str
    change: Presence
    shape: tuple[ShapeRow, ...]
    rules: RuleCounts
    state: tuple[StateFate, ...]


@dataclass(frozen=True, slots=True)
class SettingChange:
    """A setting: its shapes side by side, and what becomes of its value."""

    setting: str
    change: Presence
    shape: tuple[ShapeRow, ...]
    value: StateFate


@dataclass(frozen=True, slots=True)
class Comparison:
    """All that would change from `old` to `new`. `misfits` would be lost; `refused` are those of them that may not be."""

    old: str
    new: str
    chains: tuple[ChainChange, ...]
    tables: tuple[TableChange, ...]
    settings: tuple[SettingChange, ...]
    misfits: tuple[Misfit, ...]
    refused: tuple[Misfit, ...]

    @property
    def maps(self) -> tuple[StateFate, ...]:
        """What becomes of the kernel's maps that hold state."""
        return (*(state for table in self.tables for state in table.state), *(chain.ends for chain in self.chains))


# ---- comparing


def compare_versions(old: Version, new: Version, discard: Collection[str] = ()) -> Comparison:
    """What would change if `new` took the place of `old`.

    RuntimeProblem `nothing-to-discard`, and what reading the code of a version raises.
    """
    taken = take_over(old.manifest, old.held, new.manifest, discard)
    before = old.coded(shape_of(old.manifest.schemas, _plain(old.held)))
    after = new.coded(shape_of(new.manifest.schemas, _plain(taken.held)))
    chains = _pairs({chain.chain: chain for chain in before.variant.chains}, {chain.chain: chain for chain in after.variant.chains})
    tables = _Tables(old, new, taken, before.variant, after.variant)
    return Comparison(
        old.label,
        new.label,
        tuple(_chain(name, had, has, before, after) for name, had, has in chains),
        tuple(tables.compare()),
        tuple(_settings(old, new, taken)),
        taken.misfits,
        taken.refused,
    )


def _plain(held: Held) -> dict[str, list[Rule]]:
    return {table: [live.rule for live in rules] for table, rules in held.rules.items()}


T = TypeVar("T")


def _pairs(before: Mapping[str, T], after: Mapping[str, T]) -> Iterator[tuple[str, T | None, T | None]]:
    """What both have and what the new one has, in its order, and then what is gone."""
    for name in (*after, *(name for name in before if name not in after)):
        yield name, before.get(name), after.get(name)


def _presence(had: object, has: object, changed: bool) -> Presence:
    if had is None:
        return "added"
    if has is None:
        return "removed"
    return "changed" if changed else "kept"


# ---- blocks


def _chain(name: str, had: ChainPlan | None, has: ChainPlan | None, before: Coded, after: Coded) -> ChainChange:
    blocks: list[BlockChange] = []
    old = {block.name: block for block in had.blocks} if had else {}
    new = {block.name: block for block in has.blocks} if has else {}
    for block, was, comes in _pairs(old, new):
        if comes is None:
            blocks.append(BlockChange(block, "removed", was.summary if was else ""))
        elif was is None:
            blocks.append(BlockChange(block, "added", comes.summary))
        else:
            same = before.code[name, block].is_same(after.code[name, block])
            blocks.append(BlockChange(block, "kept" if same else "rebuilt", comes.summary))
    parsed = set(had.parses if had else ()), set(has.parses if has else ())
    return ChainChange(
        name,
        _presence(had, has, any(block.change != "kept" for block in blocks)),
        tuple(blocks),
        tuple(field for field in (has.parses if has else ()) if field not in parsed[0]),
        tuple(field for field in (had.parses if had else ()) if field not in parsed[1]),
        _ends(name, had, has),
    )


def _ends(name: str, had: ChainPlan | None, has: ChainPlan | None) -> StateFate:
    """What becomes of the counts of a chain's ends."""
    if had is None:
        return StateFate("ends", name, "new")
    if has is None:
        return StateFate("ends", name, "gone", "totals go on where the chain comes back")
    if had.reasons == has.reasons:
        return StateFate("ends", name, "kept")
    return StateFate("ends", name, "migrated", "the reasons are others; totals go on by reason")


# ---- tables


class _Tables:
    """The tables of two versions."""

    def __init__(self, old: Version, new: Version, taken: TakenOver, before: Variant, after: Variant) -> None:
        self._old, self._new, self._taken = old, new, taken
        self._before = {plan.table: plan for plan in before.tables}
        self._after = {plan.table: plan for plan in after.tables}
        self._unfit = {misfit.name: misfit for misfit in taken.misfits if misfit.kind == "table"}

    def compare(self) -> Iterator[TableChange]:
        """All tables."""
        before, after = ({entry.schema.name: entry for entry in side.manifest.tables} for side in (self._old, self._new))
        for name, had, has in _pairs(before, after):
            shape = table_shapes(had, has)
            state = [self._rules(name, had, has), *self._counts(name, had, has)]
            yield TableChange(
                name,
                _presence(had, has, any(row.differs for row in shape)),
                shape,
                self._rule_counts(name),
                tuple(fate for fate in state if fate is not None),
            )

    def _held(self, name: str) -> tuple[tuple[LiveRule, ...], tuple[LiveRule, ...]]:
        return self._old.held.rules.get(name, ()), self._taken.held.rules.get(name, ())

    def _rule_counts(self, name: str) -> RuleCounts:
        before, after = self._held(name)
        old, new = {rule.id: rule for rule in before}, {rule.id: rule for rule in after}
        unfit = {rule.id for rule in self._unfit[name].rules} if name in self._unfit else set()
        return RuleCounts(
            added=sum(id not in old for id in new),
            removed=sum(id not in new and id not in unfit for id in old),
            changed=sum(_does(old[id]) != _does(rule) for id, rule in new.items() if id in old and rule.origin == "file"),
            kept=sum(id in old and rule.origin == "file" for id, rule in new.items()),
            operator=sum(rule.origin != "file" for rule in after),
            unfit=len(unfit),
        )

    def _rules(self, name: str, had: TableEntry | None, has: TableEntry | None) -> StateFate | None:
        """What becomes of the map of a table's rules; None where there is none on either side."""
        before, after = self._before.get(name), self._after.get(name)
        if name in self._unfit:
            count = len(self._unfit[name].rules)
            return StateFate("rules", name, "lost", f"{count:,} of the operator's {'does' if count == 1 else 'do'} not fit")
        if before is None and after is None:
            return None
        if after is None:
            return StateFate("rules", name, "gone", "there is no such table" if has is None else "no rule is left")
        if before is None or had is None or has is None:
            return StateFate("rules", name, "new")
        if before == after and self._same_entries(name):
            return StateFate("rules", name, "kept")
        ways = list(what_changed(had.schema, has.schema)) or list(_other_form(before, after))
        return StateFate("rules", name, "migrated", "; ".join(ways) or "made anew with the rules that there are")

    def _same_entries(self, name: str) -> bool:
        """Whether rules and their slots in the counters stay as they are."""
        before, after = self._held(name)
        planned = self._planned(name)
        if planned is None:
            # A map of counts that is made anew has its slots in order.
            planned = tuple(replace(rule, slot=slot) for slot, rule in enumerate(after, start=1))
        return len(before) == len(planned) and all(
            mine.slot == its.slot and mine.rule == its.rule for mine, its in zip(before, planned, strict=True)
        )

    def _planned(self, name: str) -> tuple[LiveRule, ...] | None:
        """The rules of the new version, with the slots that they would have in the map of counts; None where that is a new one."""
        entry, rules = self._new.manifest.table(name), self._taken.held.rules[name]
        if not _counted(entry):
            return tuple(replace(rule, slot=0) for rule in rules)
        return self._old.slots(entry.schema, rules)

    def _counts(self, name: str, had: TableEntry | None, has: TableEntry | None) -> Iterable[StateFate]:
        """What becomes of the map of a table's counts, where one of the versions counts."""
        counted, counts = _counted(had), _counted(has)
        if not counted and not counts:
            return
        if not counts:
            how = "totals rest, and go on where a version counts again" if has is not None else "with their table"
            yield StateFate("counts", name, "gone" if has is None else "migrated", how)
        elif not counted:
            yield StateFate("counts", name, "new")
        elif self._planned(name) is None:
            sized = had is not None and has is not None and had.schema.size != has.schema.size
            how = "a map of the new size" if sized else "a new map, as the generation before still knows every slot of this one"
            yield StateFate("counts", name, "migrated", f"{how}; totals go on")
        else:
            more = [word for word in counts if word not in counted]
            yield StateFate("counts", name, "kept", f"{' and '.join(more)} from now on" if more else "")


def _does(rule: LiveRule) -> tuple[str, tuple[int, ...]]:
    return rule.rule.action, rule.rule.arguments


def _counted(entry: TableEntry | None) -> list[str]:
    if entry is None:
        return []
    return [word for word, counts in (("packets", entry.count_packets), ("bytes", entry.count_bytes)) if counts]


def _other_form(before: TablePlan, after: TablePlan) -> Iterator[str]:
    """Why rules of the same table lie otherwise in its map."""
    if before.classifier != after.classifier:
        yield f"a {after.classifier} instead of a {before.classifier}"
    elif (before.columns, before.actions) != (after.columns, after.actions):
        yield "the rules ask for other columns or actions"


# ---- settings


def _settings(old: Version, new: Version, taken: TakenOver) -> Iterator[SettingChange]:
    before, after = ({plan.name: plan for plan in side.manifest.configs} for side in (old, new))
    for name, had, has in _pairs(before, after):
        given = old.held.settings.get(name)
        shape = setting_shapes(had, has, given)
        changed = any(row.differs for row in shape if row.label != "value")
        yield SettingChange(name, _presence(had, has, changed), shape, _value(name, had, has, given, taken))


def _value(name: str, had: ConfigPlan | None, has: ConfigPlan | None, given: int | None, taken: TakenOver) -> StateFate:
    if had is None or has is None:
        fate: Fate = "new" if had is None else "gone" if given is None else "lost"
        shown = had if has is None else has
        value = given if given is not None else shown.value if shown else 0
        return StateFate("value", name, fate, show_value(value, shown.type) if shown else "")
    if given is None:
        values = show_value(had.value, had.type), show_value(has.value, has.type)
        return StateFate("value", name, "kept", values[0] if values[0] == values[1] else f"{values[0]} -> {values[1]}, never set")
    if name not in taken.held.settings:
        return StateFate("value", name, "lost", f"{show_value(given, had.type)} does not fit {has.type}")
    fate = "kept" if had.type == has.type else "migrated"
    return StateFate("value", name, fate, f"{show_value(given, has.type)}, as it was set")
