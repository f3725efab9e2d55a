"""What a swap makes of a table's rules: the file's become the new file's, the operator's stay, ids live on where they can.

Tables, columns, actions and parameters of two versions are the same when their names are. A rule fits where all that it asks and
does has its like in the new table; what the old table did not ask of is `*` there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from pcnc.rule_values import format_rule
from pcnc.rules import ActionSchema, Pattern, Rule, TableSchema
from pcnc_runtime.fit_values import Unfit, fit_pattern, fit_value
from pcnc_runtime.live_rules import LiveRule, why_not
from pcnc_runtime.misfits import MisfitRule
from pcnc_runtime.order_rules import NO_PLACE, lose_order, prefix_lengths, put_in_order

Matches = tuple[Pattern, ...]


@dataclass(frozen=True, slots=True)
class Merged:
    """A table's rules after a swap, the next id to give, and the operator's rules that could not stay, each with the reason."""

    rules: tuple[LiveRule, ...]
    next_id: int
    misfits: tuple[MisfitRule, ...] = ()


def merge_rules(old: TableSchema, rules: Sequence[LiveRule], new: TableSchema, file_rules: Sequence[Rule], next_id: int) -> Merged:
    """Brings a table's rules into the table of the same name of the new version.

    A rule continues an old one, with its id and slot, where it has the same match. The operator's rules keep their places in an
    ordered table: before all of the file's, behind all of them, or before the one of the file that followed. Where order comes
    or goes they stand so that the same rule wins, or do not fit. Where there is no room for all, those that were added last go.
    """
    merging = _Merging(old, rules, new)
    merging.translate_mine()
    from_file, next_id = merging.take_over_file(file_rules, next_id)
    mine = merging.mine
    if old.ordered and not new.ordered:
        merging.leave_out(lose_order(merging.as_it_was(from_file), new))
    if not new.ordered:
        merged = sorted([*mine.values(), *from_file], key=lambda rule: rule.id)
    elif old.ordered:
        merged = _in_order(rules, mine, from_file)
    else:
        lengths, column = prefix_lengths(rules, old)
        place = next((index for index, each in enumerate(new.columns) if each.name == column), None)
        merged, placeless = put_in_order(list(mine.values()), from_file, lengths, place)
        merging.leave_out(dict.fromkeys(placeless, NO_PLACE))
    merged = merging.make_room(merged)
    misfits = tuple(merging.misfits[id] for id in sorted(merging.misfits))
    return Merged(tuple(rules) if merged == list(rules) else tuple(merged), next_id, misfits)


def misfits_of(schema: TableSchema, rules: Sequence[LiveRule], reason: str) -> tuple[MisfitRule, ...]:
    """The operator's rules of a table, all for the same reason."""
    return tuple(MisfitRule(rule.id, format_rule(rule.rule, schema), reason) for rule in rules if rule.origin != "file")


class _Merging:
    """The operator's rules of one table on their way into the new one."""

    def __init__(self, old: TableSchema, rules: Sequence[LiveRule], new: TableSchema) -> None:
        self._old, self._new = old, new
        self._by_id = {rule.id: rule for rule in rules}
        self._translation = _Translation(old, new)
        self.mine: dict[int, LiveRule] = {}
        """Those that fit, by id, as the new table writes them."""
        self.misfits: dict[int, MisfitRule] = {}

    def translate_mine(self) -> None:
        """Brings the operator's rules over."""
        for rule in self._by_id.values():
            if rule.origin == "file":
                continue
            try:
                translated = self._translation.rule(rule.rule)
            except Unfit as unfit:
                self._refuse(rule, str(unfit))
                continue
            # Most swaps change nothing about most rules, and the very same objects are soon compared.
            if translated is rule.rule and rule.origin == "operator" and self._translation.same:
                self.mine[rule.id] = rule
            elif reason := why_not(translated, self._new):
                self._refuse(rule, reason)
            else:
                self.mine[rule.id] = LiveRule(rule.id, "operator", translated, rule.slot)

    def _refuse(self, rule: LiveRule, reason: str) -> None:
        self.misfits[rule.id] = MisfitRule(rule.id, format_rule(rule.rule, self._old), reason)

    def leave_out(self, reasons: dict[int, str]) -> None:
        """Takes rules that came over out again."""
        for id, reason in reasons.items():
            self._refuse(self._by_id[id], reason)
            self.mine.pop(id, None)

    def take_over_file(self, file_rules: Sequence[Rule], next_id: int) -> tuple[list[LiveRule], int]:
        """The new file's rules but those that the operator has, too, and the next id to give."""
        new, inherited = self._new, self._inherited()
        by_rule = {rule.rule: rule for rule in self.mine.values()}
        by_match: dict[Matches, list[int]] = {}
        for rule in self.mine.values():
            by_match.setdefault(rule.rule.matches, []).append(rule.id)
        from_file: list[LiveRule] = []
        for index, wanted in enumerate(file_rules):
            if wanted in by_rule:
                same = by_rule.pop(wanted)
                self.mine[same.id] = replace(same, origin="both", file_index=index)
                continue
            others = by_match.get(wanted.matches, ()) if not new.ordered else ()
            if others:
                self.leave_out(dict.fromkeys(others, f"the new file says `{format_rule(wanted, new)}`"))
                kept: LiveRule | None = self._by_id[others[0]]
            else:
                kept = inherited.take(wanted.matches)
            if kept is None:
                from_file.append(LiveRule(next_id, "file", wanted, 0, index))
                next_id += 1
            else:
                from_file.append(LiveRule(kept.id, "file", wanted, kept.slot, index))
        return from_file, next_id

    def _inherited(self) -> _Inherited:
        found: dict[Matches, list[LiveRule]] = {}
        for rule in self._by_id.values():
            if rule.origin == "file":
                try:
                    found.setdefault(self._translation.matches(rule.rule), []).append(rule)
                except Unfit:
                    continue
        return _Inherited(found)

    def as_it_was(self, from_file: Sequence[LiveRule]) -> list[LiveRule]:
        """The rules that live on, in the order of the old table."""
        alive = {**{rule.id: rule for rule in from_file}, **self.mine}
        return [alive[id] for id in self._by_id if id in alive]

    def make_room(self, merged: list[LiveRule]) -> list[LiveRule]:
        """The rules without those that the new size has no room for."""
        over = len(merged) - self._new.size
        if over <= 0:
            return merged
        last = set(sorted((rule.id for rule in merged if rule.origin == "operator"), reverse=True)[:over])
        self.leave_out(dict.fromkeys(last, f"the table has room for {self._new.size:,} rules, and {len(merged):,} would be in it"))
        return [rule for rule in merged if rule.id not in last]


class _Inherited:
    """The file's old rules by match, each continued by one new rule at most."""

    def __init__(self, found: dict[Matches, list[LiveRule]]) -> None:
        self._found = found

    def take(self, matches: Matches) -> LiveRule | None:
        """The old rule with this match, the first where there are several."""
        rules = self._found.get(matches)
        return rules.pop(0) if rules else None


class _Translation:
    """Rules of the old table as rules of the new one."""

    def __init__(self, old: TableSchema, new: TableSchema) -> None:
        self._old, self._new = old, new
        self._same_columns = old.columns == new.columns and old.ordered == new.ordered
        self.same = self._same_columns and old.actions == new.actions
        self._columns = {column.name: (index, column) for index, column in enumerate(new.columns)}
        actions = {action.name: action for action in new.actions}
        self._arguments = {action.name: _arguments(action, actions.get(action.name)) for action in old.actions}

    def rule(self, rule: Rule) -> Rule:
        """The rule; the very same one where it says the same. Raises Unfit."""
        if self.same:
            return rule
        translated = Rule(self.matches(rule), rule.action, self._arguments[rule.action](rule.arguments))
        return rule if translated == rule else translated

    def matches(self, rule: Rule) -> Matches:
        """What the rule asks of the new columns. Raises Unfit."""
        if self._same_columns:
            return rule.matches
        matches: list[Pattern] = [None] * len(self._new.columns)
        for column, pattern in zip(self._old.columns, rule.matches, strict=True):
            if pattern is None:
                continue
            if column.name not in self._columns:
                raise Unfit(f"the table does not match `{column.name}` any more")
            index, wanted = self._columns[column.name]
            matches[index] = fit_pattern(pattern, column, wanted)
        for pattern, column in zip(matches, self._new.columns, strict=True):
            if pattern is None and column.kind == "exact" and not self._new.ordered:
                raise Unfit(f"the table matches `{column.name}` exactly now, and `*` cannot stand for it")
        return tuple(matches)


def _arguments(old: ActionSchema, new: ActionSchema | None) -> Callable[[tuple[int, ...]], tuple[int, ...]]:
    """The arguments of an action as those of the new one, brought together by the parameters' names."""

    def translate(arguments: tuple[int, ...]) -> tuple[int, ...]:
        if new is None:
            raise Unfit(f"the table has no action `{old.name}` any more")
        given = {parameter.name: (value, parameter.type) for value, parameter in zip(arguments, old.parameters, strict=True)}
        if given.keys() != {parameter.name for parameter in new.parameters}:
            raise Unfit(f"`{old.name}` has other parameters now")
        return tuple(
            fit_value(f"`{parameter.name}` of `{new.name}`", *given[parameter.name], parameter.type) for parameter in new.parameters
        )

    return translate


def _in_order(old: Sequence[LiveRule], mine: dict[int, LiveRule], from_file: list[LiveRule]) -> list[LiveRule]:
    """The operator's rules around and between those of the file, as they stood around the old file's."""
    survivors = {rule.id for rule in from_file}
    places = [index for index, rule in enumerate(old) if rule.origin == "file"]
    first, last = (places[0], places[-1]) if places else (len(old), len(old))
    followed_by: list[int | None] = []
    following = None
    for rule in reversed(old):
        following = rule.id if rule.id in survivors else following
        followed_by.append(following)
    followed_by.reverse()
    front: list[LiveRule] = []
    behind: list[LiveRule] = []
    before: dict[int, list[LiveRule]] = {}
    after: dict[int, list[LiveRule]] = {}
    preceding = None
    for index, rule in enumerate(old):
        preceding = rule.id if rule.id in survivors else preceding
        if rule.id not in mine:
            continue
        moved, following = mine[rule.id], followed_by[index]
        if index < first:
            front.append(moved)
        elif index > last:
            behind.append(moved)
        elif following is not None:
            before.setdefault(following, []).append(moved)
        elif preceding is not None:
            after.setdefault(preceding, []).append(moved)
        else:
            front.append(moved)
    middle = [each for rule in from_file for each in (*before.get(rule.id, ()), rule, *after.get(rule.id, ()))]
    return [*front, *middle, *behind]
