"""The rules of a running table: who owns each, its id, its place, and what edits make of them.

In an ordered table the operator's rules stand before the file's unless placed otherwise, and the file's in the order of the
file. A rule that both have is one rule; it stands where the operator put it, and goes back to its place in the file when
the operator lets go of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import assert_never

from pcnc.rule_check import missing_columns
from pcnc.rule_values import format_match, format_rule
from pcnc.rules import Interval, MaskedValue, Pattern, Rule, TableSchema
from pcnc.shadowing import covering_rules
from pcnc_runtime.changes import AddRule, DeleteRule, Edit, Origin, ReplaceRules, RuleChanges
from pcnc_runtime.errors import RuntimeProblem

_MOST_TOLD = 20


@dataclass(frozen=True, slots=True)
class LiveRule:
    """A rule in force. `slot` is its place in the counters, 0 where it has none; `file_index` its place among the file's rules."""

    id: int
    origin: Origin
    rule: Rule
    slot: int = 0
    file_index: int | None = None


@dataclass(frozen=True, slots=True)
class Edited:
    """A table's rules after edits, the next id to give, and what the operator should know."""

    rules: tuple[LiveRule, ...]
    next_id: int
    notes: tuple[str, ...] = ()


def rules_of_file(rules: Sequence[Rule], next_id: int = 1) -> Edited:
    """A table's rules when it is loaded; ids begin with `next_id`."""
    live = tuple(LiveRule(next_id + index, "file", rule, 0, index) for index, rule in enumerate(rules))
    return Edited(live, next_id + len(live))


def edit_rules(schema: TableSchema, rules: Sequence[LiveRule], next_id: int, edits: Iterable[Edit]) -> Edited:
    """Carries out edits one after another; all of them are for this table.

    RuntimeProblem: `bad-rule`, `rule-exists`, `no-such-rule`, `bad-position`, `table-full`.
    """
    editing = _Editing(schema, rules, next_id)
    for edit in edits:
        match edit:
            case AddRule():
                editing.add(edit)
            case DeleteRule():
                editing.delete(edit)
            case ReplaceRules():
                editing.replace(edit)
            case _:
                assert_never(edit)
    made = editing.result()
    check_size(schema, len(made.rules))
    return made


def check_size(schema: TableSchema, count: int) -> None:
    """RuntimeProblem `table-full` where a table has no room for so many rules."""
    if count > schema.size:
        text = f"table `{schema.name}` has room for {schema.size} rules, and {count} would be in it"
        raise RuntimeProblem("table-full", text, "give it a larger `size` in the file and swap, or delete rules first")


def compare(table: str, before: Sequence[LiveRule], after: Sequence[LiveRule]) -> RuleChanges:
    """What became of a table's rules."""
    old = {rule.id: rule.rule for rule in before}
    new = {rule.id for rule in after}
    return RuleChanges(
        table,
        tuple(rule.id for rule in after if rule.id not in old),
        tuple(rule.id for rule in before if rule.id not in new),
        tuple(rule.id for rule in after if rule.id in old and old[rule.id] != rule.rule),
    )


def shadowed(schema: TableSchema, rules: Sequence[LiveRule], new: frozenset[int]) -> tuple[str, ...]:
    """Warnings of rules that an earlier one covers, where one of the two is new."""
    if not schema.ordered or not new:
        return ()
    ids = {id(rule.rule): rule.id for rule in rules}
    warnings = []
    for rule, earlier in covering_rules([rule.rule for rule in rules], schema):
        late, early = ids[id(rule)], ids[id(earlier)]
        if late in new or early in new:
            what = f"rule {late} of `{schema.name}` (`{format_rule(rule, schema)}`) can never match"
            warnings.append(f"{what}: rule {early} (`{format_rule(earlier, schema)}`) comes first and covers it")
    return _first(warnings, f"more rules of `{schema.name}` can never match")


def _first(lines: list[str], others: str) -> tuple[str, ...]:
    more = len(lines) - _MOST_TOLD
    return (*lines[:_MOST_TOLD], f"{more} {others}") if more > 0 else tuple(lines)


def why_not(rule: Rule, schema: TableSchema) -> str:
    """What is wrong with a rule by itself; empty where nothing is."""
    action = next((action for action in schema.actions if action.name == rule.action), None)
    if action is None:
        return f"table `{schema.name}` has no action `{rule.action}`"
    if len(rule.arguments) != len(action.parameters):
        return f"`{action.name}` takes {len(action.parameters)} arguments, not {len(rule.arguments)}"
    for value, parameter in zip(rule.arguments, action.parameters, strict=True):
        if not 0 <= value <= parameter.type.maximum:
            return f"{value} does not fit `{parameter.name}: {parameter.type}`"
    if len(rule.matches) != len(schema.columns):
        return f"table `{schema.name}` matches {len(schema.columns)} fields, not {len(rule.matches)}"
    for pattern, column in zip(rule.matches, schema.columns, strict=True):
        if pattern is None:
            if column.kind == "exact" and not schema.ordered:
                return f"`*` cannot stand for `{column.name}`, which is matched exactly"
        elif not _is_of_kind(pattern, column.kind, column.type.maximum):
            return f"`{column.name}` is matched by {column.kind}, which this is not: {pattern}"
    if missing := missing_columns(rule, schema):
        return f"`{rule.action}` needs a header that only {' or '.join(f'`{name}`' for name in missing)} can promise"
    return ""


def _is_of_kind(pattern: Interval | MaskedValue, kind: str, maximum: int) -> bool:
    match pattern:
        case Interval(low=low, high=high):
            return kind == "range" and 0 <= low <= high <= maximum
        case MaskedValue(value=value, mask=mask):
            if not 0 <= value <= mask <= maximum or value & ~mask:
                return False
            below = maximum ^ mask
            return {"exact": not below, "range": False, "ternary": True}.get(kind, not below & (below + 1))


# ---- edits


@dataclass(slots=True)
class _Editing:
    """A table's rules while edits go on. Many edits of one kind take no longer than all of them need."""

    schema: TableSchema
    before: Sequence[LiveRule]
    next_id: int
    notes: list[str] = field(default_factory=list)
    _rules: list[LiveRule] = field(init=False)
    _by_id: dict[int, LiveRule] = field(init=False)
    _by_match: dict[tuple[Pattern, ...], list[int]] = field(init=False)
    _waiting: list[LiveRule] = field(default_factory=list)
    """New rules that want the usual place, which is the same for all of them."""
    _gone: set[int] = field(default_factory=set)
    """`id()` of those in `_rules` that are there no more."""

    def __post_init__(self) -> None:
        self._rules = list(self.before)
        self._by_id = {}
        self._by_match = {}
        for rule in self._rules:
            self._enter(rule)

    def result(self) -> Edited:
        self._settle()
        rules = self._rules if self.schema.ordered else sorted(self._rules, key=lambda rule: rule.id)
        return Edited(tuple(rules), self.next_id, _first(self.notes, f"more notes on rules of `{self.schema.name}`"))

    # -- bookkeeping

    def _enter(self, rule: LiveRule) -> None:
        self._by_id[rule.id] = rule
        self._by_match.setdefault(rule.rule.matches, []).append(rule.id)

    def _remove(self, rule: LiveRule) -> None:
        self._gone.add(id(rule))
        del self._by_id[rule.id]
        same = self._by_match[rule.rule.matches]
        same.remove(rule.id)
        if not same:
            del self._by_match[rule.rule.matches]

    def _settle(self) -> None:
        """Takes out those that are gone and puts in those that wait."""
        if self._waiting:
            place = next((i for i, rule in enumerate(self._rules) if rule.origin == "file"), len(self._rules))
            self._rules[place:place] = self._waiting
            self._waiting = []
        if self._gone:
            self._rules = [rule for rule in self._rules if id(rule) not in self._gone]
            self._gone = set()

    def _with_match(self, matches: tuple[Pattern, ...]) -> list[LiveRule]:
        return [self._by_id[id] for id in self._by_match.get(matches, ())]

    def _place(self, rule: LiveRule, edit: AddRule) -> None:
        self._enter(rule)
        if edit.before is None and edit.at is None and not edit.last:
            self._waiting.append(rule)
            return
        self._settle()
        if edit.last:
            self._rules.append(rule)
            return
        place = edit.at - 1 if edit.at is not None else self._rules.index(self._by_id[edit.before or 0])
        self._rules.insert(place, rule)

    def _back_to_file(self, rule: LiveRule) -> None:
        """A rule that only the file has from now on, in its place."""
        self._settle()
        index = rule.file_index or 0
        later = (i for i, each in enumerate(self._rules) if each.origin == "file" and (each.file_index or 0) > index)
        last = max((i for i, each in enumerate(self._rules) if each.origin == "file"), default=len(self._rules) - 1)
        self._rules.insert(next(later, last + 1), rule)
        self._enter(rule)

    def _new(self, rule: Rule) -> LiveRule:
        made = LiveRule(self.next_id, "operator", replace(rule, span=None) if rule.span else rule)
        self.next_id += 1
        return made

    # -- what is asked for

    def add(self, edit: AddRule) -> None:
        _check(edit.rule, self.schema)
        self._check_place(edit)
        same = self._with_match(edit.rule.matches)
        equal = next((rule for rule in same if rule.rule == edit.rule), None)
        if equal is not None and equal.origin == "file":
            self._remove(equal)
            self._place(replace(equal, origin="both"), edit)
        elif equal is not None or (same and not self.schema.ordered):
            raise self._exists(edit.rule, equal or same[0])
        else:
            self._place(self._new(edit.rule), edit)

    def _check_place(self, edit: AddRule) -> None:
        name = self.schema.name
        given = (edit.before is not None) + (edit.at is not None) + edit.last
        if given > 1:
            raise RuntimeProblem("bad-position", "a rule has one place: before another, at a position, or last")
        if given and not self.schema.ordered:
            raise RuntimeProblem("bad-position", f"table `{name}` is not ordered: its rules have no places", "leave the place out")
        if edit.before is not None:
            if edit.before not in self._by_id:
                raise self._unknown(edit.before)
            if self._by_id[edit.before].rule == edit.rule:
                raise RuntimeProblem(
                    "bad-position", f"rule {edit.before} of `{name}` is the same rule, and has no place before itself"
                )
        if edit.at is not None and not 1 <= edit.at <= len(self._by_id) + 1:
            text = f"table `{name}` has {len(self._by_id)} rules, so there is no position {edit.at}"
            raise RuntimeProblem("bad-position", text, f"positions go from 1 to {len(self._by_id) + 1}")

    def delete(self, edit: DeleteRule) -> None:
        found = self._find(edit)
        self._remove(found)
        match found.origin:
            case "operator":
                pass
            case "file":
                text = format_rule(found.rule, self.schema)
                self.notes.append(f"rule {found.id} of `{self.schema.name}` (`{text}`) is the file's: a swap brings it back")
            case "both":
                text = format_rule(found.rule, self.schema)
                self.notes.append(f"rule {found.id} of `{self.schema.name}` (`{text}`) stays: the file has it, too")
                self._back_to_file(replace(found, origin="file"))
            case _:
                assert_never(found.origin)

    def _find(self, edit: DeleteRule) -> LiveRule:
        if (edit.id is None) == (edit.match is None):
            raise RuntimeProblem("no-such-rule", "a rule is named by its id or by its match")
        if edit.id is not None:
            if edit.id not in self._by_id:
                raise self._unknown(edit.id)
            return self._by_id[edit.id]
        match = edit.match or ()
        ids = self._by_match.get(match, [])
        if len(ids) > 1:  # in an ordered table: the first one
            self._settle()
            return next(rule for rule in self._rules if rule.id in ids)
        if not ids:
            text = format_match(match, self.schema) if len(match) == len(self.schema.columns) else str(match)
            raise RuntimeProblem("no-such-rule", f"table `{self.schema.name}` has no rule that matches `{text}`", _LIST_HELP)
        return self._by_id[ids[0]]

    def replace(self, edit: ReplaceRules) -> None:
        self._settle()
        file = [rule for rule in self._rules if rule.origin != "operator"]
        old = _Kept(rule for rule in self._rules if rule.origin == "operator")
        both = {rule.rule: rule for rule in file}
        matched = {rule.rule.matches: rule for rule in file}
        mine: list[LiveRule] = []
        seen: dict[object, Rule] = {}
        for rule in edit.rules:
            _check(rule, self.schema)
            key: object = rule if self.schema.ordered else rule.matches
            if key in seen:
                text = f"`{format_match(rule.matches, self.schema)}` is there twice among the new rules of `{self.schema.name}`"
                raise RuntimeProblem("rule-exists", text, "keep one of them")
            seen[key] = rule
            if rule in both:
                mine.append(replace(both.pop(rule), origin="both"))
            elif rule.matches in matched and not self.schema.ordered:
                raise self._exists(rule, matched[rule.matches])
            elif kept := old.take(rule):
                mine.append(replace(kept, rule=replace(rule, span=None) if rule.span else rule))
            else:
                mine.append(self._new(rule))
        rest = [replace(rule, origin="file") for rule in both.values()]
        self._rules = [*mine, *sorted(rest, key=lambda rule: rule.file_index or 0)]
        self._by_id, self._by_match = {}, {}
        for live in self._rules:
            self._enter(live)

    # -- problems

    def _unknown(self, id: int) -> RuntimeProblem:
        return RuntimeProblem("no-such-rule", f"table `{self.schema.name}` has no rule {id}", _LIST_HELP)

    def _exists(self, rule: Rule, there: LiveRule) -> RuntimeProblem:
        match = format_match(rule.matches, self.schema)
        whose = "" if there.origin == "operator" else ", from the file,"
        text = f"table `{self.schema.name}` has a rule for `{match}` already: rule {there.id}{whose} says `{there.rule.action}`"
        return RuntimeProblem("rule-exists", text, f"delete rule {there.id} first")


_LIST_HELP = "`pcnc rules NAME TABLE list` shows them with their ids"


def _check(rule: Rule, schema: TableSchema) -> None:
    if reason := why_not(rule, schema):
        raise RuntimeProblem("bad-rule", reason)


class _Kept:
    """Old rules by match, each handed out once, an equal one before one that only has the same match."""

    def __init__(self, rules: Iterable[LiveRule]) -> None:
        self._by_match: dict[tuple[Pattern, ...], list[LiveRule]] = {}
        for rule in rules:
            self._by_match.setdefault(rule.rule.matches, []).append(rule)

    def take(self, rule: Rule) -> LiveRule | None:
        """The old rule that this one continues."""
        found = self._by_match.get(rule.matches)
        if not found:
            return None
        return found.pop(next((i for i, old in enumerate(found) if old.rule == rule), 0))
